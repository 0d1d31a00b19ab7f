//! The parents that hosts have, and the events that happen to them. Containers must be on the LAN through all
//! of it, whichever way they were attached.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use ashore_core::net::range::Range;
use ashore_lab::Machine;

use super::site::Site;
use super::{Home, addresses, comes_true, eventually, ip, type_on};

/// A row of a table: a title, the host's kind of parent, and the events, in order.
pub type Row = (&'static str, Host, &'static [Befalls]);

/// The host's interface to the LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Nic,
    /// A NIC that its user calls by an alternative name.
    Altname,
    /// A bridge of the host that holds the NIC.
    Bridge,
    /// A bridge that `ashore bridge adopt` creates.
    AdoptedBridge,
    Bond,
    /// The host's interface in VLAN 200, on top of a bridge.
    VlanOnBridge,
}

/// An event that happens to a parent while containers are on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Befalls {
    /// The cable is plugged into a port that has carrier, but forwards only four seconds later (spanning
    /// tree).
    ForwardsLate,
    /// The NIC gets another name, and later its old one again.
    Renamed,
    /// The NIC disappears, and another one with the same name appears.
    Replaced,
    /// The host's bridge is removed and created again, as by a restart of the host's networking.
    MadeAgain,
    /// The network of Docker's own driver is removed and created again, as by `docker compose down` and `up`.
    NetworksMadeAgain,
}

use Befalls::{ForwardsLate, MadeAgain, NetworksMadeAgain, Renamed, Replaced};

/// The longest time that a container may be off the LAN.
const PATIENCE: Duration = Duration::from_secs(300);
/// The TCP port on which each container answers.
const PORT: u16 = 80;

impl Host {
    fn make(self, home: &Home) {
        match self {
            Host::Nic => {}
            Host::Altname => type_on(&home.nas, "ip link property add dev eth0 altname enp1s0"),
            Host::Bridge => home.bridge(),
            Host::AdoptedBridge => bridge_adopt(home, ""),
            Host::Bond => {
                home.nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
                type_on(&home.nas, "ip link add bond0 type bond mode active-backup miimon 100");
                type_on(&home.nas, "ip link set dev eth0 down");
                type_on(&home.nas, "ip link set dev eth0 master bond0");
                type_on(&home.nas, "ip link set dev bond0 up");
                home.take_place("bond0");
            }
            Host::VlanOnBridge => {
                home.bridge();
                home.nas.add_vlan("br0", 200, "10.0.200.9/24".parse().unwrap()).unwrap();
                // The laptop may already be in this VLAN.
                let _ = home.laptop.add_vlan("eth0", 200, "10.0.200.50/24".parse().unwrap());
                home.router.add_vlan("eth0", 200, "10.0.200.1/24".parse().unwrap()).unwrap();
            }
        }
    }

    /// Turns the host back into one with a plain NIC.
    fn unmake(self, home: &Home) {
        let without = |link: &str| {
            home.nas.remove_link(link).unwrap();
            home.nas.set_up("eth0", true).unwrap();
            home.take_place("eth0");
        };
        match self {
            Host::Nic => {}
            Host::Altname => type_on(&home.nas, "ip link property del dev eth0 altname enp1s0"),
            Host::Bridge | Host::VlanOnBridge => without("br0"),
            Host::AdoptedBridge => bridge_adopt(home, "--undo"),
            Host::Bond => without("bond0"),
        }
    }

    /// The parent's name as its user writes it.
    fn parent(self) -> &'static str {
        match self {
            Host::Nic => "eth0",
            Host::Altname => "enp1s0",
            Host::Bridge | Host::AdoptedBridge => "br0",
            Host::Bond => "bond0",
            Host::VlanOnBridge => "br0.200",
        }
    }

    /// The first three bytes of the LAN's addresses.
    fn lan(self) -> &'static str {
        if self == Host::VlanOnBridge { "10.0.200" } else { "192.168.88" }
    }

    /// The options that `ashore network create` and `docker network create` need for this host. A parent with
    /// the default route needs none. The altname is given because it is what that row tests.
    fn said(self) -> [&'static str; 2] {
        match self {
            Host::Nic | Host::Bridge | Host::AdoptedBridge | Host::Bond => ["", ""],
            Host::Altname => ["--parent enp1s0", "-o parent=enp1s0"],
            Host::VlanOnBridge => [
                "--parent br0.200 --gateway 10.0.200.1",
                "-o parent=br0.200 --subnet 10.0.200.0/24 --ip-range 10.0.200.64/28 --gateway 10.0.200.1",
            ],
        }
    }
}

/// Moves the NIC into `br0`, or out of it.
fn bridge_adopt(home: &Home, undo: &str) {
    let root = home.directory.path().display();
    home.ok(&format!("bridge adopt eth0 br0 {undo} --root {root}"));
    home.ok(&format!("bridge confirm --root {root}"));
}

/// The containers on a host, one for each way of attaching.
struct Guests<'a> {
    site: &'a Site,
    title: &'static str,
    host: Host,
    /// The Compose file.
    file: PathBuf,
    /// The containers without an engine.
    bare: Vec<(Machine, TcpListener)>,
    /// All containers by name, with their addresses.
    all: Vec<(String, IpAddr)>,
    failed: &'a mut Vec<String>,
}

/// Runs the rows of a table on one host with one engine, and returns all failures.
pub fn walk(site: &Site, rows: &[Row]) -> Vec<String> {
    let mut failed = Vec::new();
    for &(title, host, befalls) in rows {
        host.make(&site.home);
        let mut guests = Guests {
            site,
            title,
            host,
            file: site.home.directory.path().join("nas/compose.yaml"),
            bare: Vec::new(),
            all: Vec::new(),
            failed: &mut failed,
        };
        guests.arrive();
        guests.are_on_the_lan("at first");
        for what in befalls {
            guests.are_befallen_by(*what);
        }
        guests.leave();
        host.unmake(&site.home);
        site.assert_nothing_left();
    }
    failed
}

impl Guests<'_> {
    fn home(&self) -> &Home {
        &self.site.home
    }

    /// Attaches one container in each way.
    fn arrive(&mut self) {
        let [by_ashore, by_docker] = self.host.said();
        self.home().ok(&format!("network create bare {by_ashore}"));
        self.attach("bare");
        self.compose_create();
        self.site.ok(&format!("network create -d ashore --ipam-driver ashore {by_docker} lan"));
        self.run("web", "lan");
        self.compose("start");
        self.finds("nas-web-1");
        self.make_old();
        self.home().ok("adopt old");
    }

    /// Attaches a container with Ashore alone.
    fn attach(&mut self, name: &str) {
        let container = self.home().world.container(name).unwrap();
        let at = addresses(&self.home().attach("bare", &container, ""))[0];
        let any = SocketAddr::new(ip("0.0.0.0"), PORT);
        let listener = container.inside(|| TcpListener::bind(any)).unwrap().unwrap();
        self.bare.push((container, listener));
        self.all.push((name.to_owned(), at));
    }

    /// Starts a container with Docker.
    fn run(&mut self, name: &str, network: &str) {
        self.site
            .ok(&format!("run -d --init --name {name} --network {network} box busybox httpd -f -p {PORT}"));
        self.finds(name);
    }

    fn finds(&mut self, name: &str) {
        let at = ip(&self.site.address_of(name).0);
        self.all.retain(|(known, _)| known != name);
        self.all.push((name.to_owned(), at));
    }

    /// Creates a container with a Compose file in which `driver: macvlan` was changed to `driver: ashore`.
    /// Compose 1 would name the container otherwise.
    fn compose_create(&self) {
        let file = &self.file;
        let (parent, lan) = (self.host.parent(), self.host.lan());
        let text = format!(
            "services:
  web: {{ container_name: nas-web-1, image: box, init: true, command: busybox httpd -f -p {PORT}, networks: [lan] }}
networks:
  lan:
    driver: ashore
    driver_opts: {{ parent: {parent} }}
    ipam:
      config: [{{ subnet: {lan}.0/24, ip_range: {lan}.192/28, gateway: {lan}.1 }}]
"
        );
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self.compose("create");
        // Docker assigns the addresses of this network itself. The daemon learns of it only from Docker's
        // list of networks.
        let networks = || self.home().ok("network ls");
        eventually("the daemon lists `nas_lan`", || networks().contains("nas_lan"));
    }

    fn compose(&self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let ran = self.site.docker.compose(&[&self.file], &words).unwrap();
        assert_eq!(ran.code, Some(0), "compose {command}: {}\n{}", ran.stderr, self.site.logs());
    }

    /// Creates a network with Docker's own driver. Docker's IPAM gives the router's address to only one
    /// network of a subnet.
    fn make_old(&mut self) {
        let (parent, lan) = (self.host.parent(), self.host.lan());
        self.site.ok(&format!(
            "network create -d macvlan --subnet {lan}.0/24 --ip-range {lan}.128/28 -o parent={parent} old"
        ));
        self.run("old", "old");
    }

    /// Applies an event to the parent. A container that starts at that moment must be on the LAN as well.
    fn are_befallen_by(&mut self, what: Befalls) {
        let home = self.home();
        match what {
            ForwardsLate => home.plug_into_shut_port(2),
            Renamed => self.rename("eth0", "lan0"),
            Replaced => {
                home.nas.remove_link("eth0").unwrap();
                home.world.plug_in(&home.nas).unwrap();
                home.take_place("eth0");
            }
            MadeAgain => {
                home.nas.remove_link("br0").unwrap();
                home.make_bridge();
            }
            NetworksMadeAgain => {
                self.site.ok("rm -f old");
                self.site.ok("network rm old");
                self.make_old();
            }
        }
        self.attach(&format!("new{}", self.bare.len()));
        self.site.ok("restart -t 0 web");
        self.finds("web");
        // Docker's own driver creates a link only when a container starts. `ashore status` says so.
        if [Replaced, MadeAgain].contains(&what) {
            self.site.ok("restart -t 0 old");
            self.finds("old");
        }
        self.are_on_the_lan(&format!("{what:?}"));
        match what {
            ForwardsLate => {
                type_on(self.home().world.switch(), "ip link set dev br0 type bridge stp_state 0");
            }
            Renamed => {
                self.rename("lan0", "eth0");
                self.are_on_the_lan("has its old name again");
            }
            _ => {}
        }
    }

    fn rename(&self, from: &str, to: &str) {
        type_on(&self.home().nas, &format!("ip link set dev {from} name {to}"));
        let parent = || self.home().ok("network inspect bare");
        eventually("the network's parent has the new name", || parent().contains(&format!("{to:?}")));
    }

    /// Checks that the laptop and the host reach each container by ping and by TCP, and that the status shows
    /// no trouble.
    fn are_on_the_lan(&mut self, when: &str) {
        let (home, title) = (&self.site.home, self.title);
        let mut failed = Vec::new();
        for (name, at) in &self.all {
            for from in [&home.laptop, &home.nas] {
                let is_reached = || from.ping(*at).is_some() && answers(from, *at);
                if !comes_true(PATIENCE, is_reached) {
                    failed.push(format!("{title}, {when}: {} does not reach `{name}` at {at}", from.name()));
                }
            }
        }
        let host = ip(&format!("{}.9", self.host.lan()));
        for (container, _) in &self.bare {
            if !comes_true(PATIENCE, || container.ping(host).is_some()) {
                failed.push(format!("{title}, {when}: `{}` does not reach its host", container.name()));
            }
        }
        let compose = Range::of_net(&format!("{}.192/28", self.host.lan()).parse().unwrap());
        for (name, at) in self.all.iter().filter(|(name, at)| compose.contains(*at) != (name == "nas-web-1"))
        {
            failed.push(format!("{title}, {when}: `{name}` has {at}"));
        }
        let troubles = || home.troubles();
        if !comes_true(PATIENCE, || troubles() == serde_json::json!([])) {
            failed.push(format!("{title}, {when}: {}", troubles()));
        }
        if !failed.is_empty() {
            eprintln!("{failed:#?}\n{}", home.ok("status"));
        }
        self.failed.extend(failed);
    }

    fn leave(&self) {
        for (container, _) in &self.bare {
            self.home().ok(&format!("detach bare {}", container.name()));
        }
        self.home().ok("network rm bare");
        self.compose("down -t 0");
        self.site.ok("rm -f web old");
        self.site.ok("network rm lan old");
        // The daemon hears a moment later what Docker does without a call to the plugin.
        let state = || self.home().ok("state export");
        eventually("the state has no network", || !state().contains("\"network/"));
    }
}

/// Returns whether a TCP connection to the container's port succeeds.
fn answers(from: &Machine, at: IpAddr) -> bool {
    let at = SocketAddr::new(at, PORT);
    from.inside(|| TcpStream::connect_timeout(&at, Duration::from_secs(2))).unwrap().is_ok()
}
