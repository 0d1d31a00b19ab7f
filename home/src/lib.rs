//! What the end-to-end tests share: a home LAN with a NAS, a daemon on the NAS, and all that can stand beside them. A library
//! of its own, because more than a hundred test programs would otherwise compile it once each.

#![allow(missing_docs, reason = "the names say it")]
#![allow(clippy::missing_panics_doc, reason = "a test ends where a helper panics")]
#![allow(
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "a test that drops the value fails"
)]
#![allow(clippy::new_without_default, reason = "each of these starts processes")]

pub mod advertiser;
pub mod booted;
pub mod both;
pub mod cni;
pub mod demonstration;
pub mod dhcp;
pub mod dns;
pub mod engine;
pub mod fake_engine;
pub mod frames;
pub mod inside;
pub mod leasing;
pub mod openwrt;
pub mod packaged;
pub mod parents;
pub mod podman;
pub mod priority;
pub mod router;
pub mod rules;
pub mod scripted;
pub mod shown;
pub mod site;
pub mod strace;
pub mod together;
pub mod told;
pub mod tracer;
pub mod typed;
pub mod untouched;
pub mod users;
pub mod voice;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ashore_core::api::envelope::{Envelope, Head, PROTOCOL};
use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::Step;
use ashore_kernel::{InNamespace, Namespace};
use ashore_lab::{Daemon, Engines, Machine, Pings, Ran, World};
use voice::Voice;

pub struct Home {
    pub world: World,
    pub router: Machine,
    pub laptop: Machine,
    pub nas: Machine,
    /// Declared before `directory`, so that it is dropped before the directory that holds its log.
    pub daemon: Option<Daemon>,
    pub directory: tempfile::TempDir,
}

/// The program under test.
pub const PROGRAM: &str = env!("ASHORE_PROGRAM");
pub const HOST: &str = "192.168.88.9";
pub const HOST6: &str = "fd88::9";
/// A machine on the internet. The LAN's machines reach it through the router.
pub const BEYOND: &str = "203.0.113.7";

impl Home {
    pub fn new() -> Home {
        let world = World::new(None).expect("namespaces (run as root, or under `unshare -Urn`)");
        let router = world.machine("router", 1).unwrap();
        router.add_address("lo", format!("{BEYOND}/32").parse().unwrap()).unwrap();
        let laptop = world.machine("laptop", 50).unwrap();
        let nas = world.machine("nas", 9).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let daemon = Some(Daemon::start(Path::new(PROGRAM), &nas, directory.path()).unwrap());
        Home { world, router, laptop, nas, daemon, directory }
    }

    /// Creates a home whose NAS has its NIC in a bridge, as an administrator sets it up.
    pub fn bridged() -> Home {
        let home = Home::new();
        home.bridge();
        home
    }

    /// Puts the NAS's NIC into a new bridge and moves the host's address and default route to that bridge.
    pub fn bridge(&self) {
        self.nas.del_default_route("eth0", ip("192.168.88.1")).unwrap();
        self.nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
        self.make_bridge();
    }

    /// Creates only the bridge, from a NIC on which the host has no address, and gives the bridge the host's
    /// address and default route.
    pub fn make_bridge(&self) {
        let name = |text: &str| text.parse::<ashore_core::net::name::IfName>().unwrap();
        let (place, bridge, nic) = (Place::Host, name("br0"), name("eth0"));
        let spec = LinkSpec { name: bridge.clone(), kind: LinkType::Bridge, mac: None, mtu: None };
        self.nas
            .apply(&[
                Step::AddLink { place: place.clone(), link: spec },
                Step::SetMaster { place: place.clone(), link: nic, master: Some(bridge.clone()), was: None },
                Step::SetUp { place, link: bridge, up: true },
            ])
            .unwrap();
        self.take_place("br0");
    }

    /// Gives the host its address and default route on a new interface.
    pub fn take_place(&self, link: &str) {
        self.nas.add_address(link, format!("{HOST}/24").parse().unwrap()).unwrap();
        self.nas.add_default_route(link, ip("192.168.88.1")).unwrap();
    }

    /// Plugs the NAS into a switch port with spanning tree. The port has carrier at once, and forwards after
    /// twice `forward_delay` (seconds).
    pub fn plug_into_shut_port(&self, forward_delay: u32) {
        let has_carrier = || !self.troubles().to_string().contains("has no carrier");
        self.world.set_cable(&self.nas, false).unwrap();
        let centiseconds = 100 * forward_delay;
        let spanning_tree =
            format!("ip link set dev br0 type bridge stp_state 1 forward_delay {centiseconds}");
        type_on(self.world.switch(), &spanning_tree);
        eventually("the daemon sees that the cable is out", || !has_carrier());
        self.world.set_cable(&self.nas, true).unwrap();
        eventually("the daemon sees that it is in again", has_carrier);
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("the daemon runs")
    }

    pub fn run(&self, command: &str) -> Ran {
        let words: Vec<&str> = command.split_whitespace().collect();
        self.daemon().run(&words).unwrap()
    }

    pub fn ok(&self, command: &str) -> String {
        self.run(command).expect_success()
    }

    /// Runs a command on the NAS itself, for those that look at the host without the daemon.
    pub fn run_on_nas(&self, command: &str) -> Ran {
        let mut program = self.nas.command(PROGRAM).unwrap();
        program.args(command.split_whitespace()).env("ASHORE_SOCKET", self.daemon().socket());
        Ran::of(&mut program).unwrap()
    }

    /// Whether the daemon knows the kernel's index of an endpoint's link, which it notes a moment after the
    /// attach. Before that it knows less about a link that its container changes.
    pub fn has_seen(&self, network: &str, name: &str) -> bool {
        let state: serde_json::Value = serde_json::from_str(&self.ok("state export")).unwrap();
        !state["rows"][format!("endpoint/{network}/{name}")]["seen"].is_null()
    }

    /// Attaches a container to a network and returns the daemon's report.
    pub fn attach(&self, network: &str, container: &Machine, options: &str) -> serde_json::Value {
        let netns = container.namespace().path().display().to_string();
        let name = container.name();
        let json = self.ok(&format!("attach {network} --netns {netns} --name {name} --json {options}"));
        serde_json::from_str(&json).unwrap()
    }

    /// Sends the daemon a request, as its command line would: a test that polls does not start a program each time.
    pub fn ask(&self, request: &Request) -> Result<Reply, Refusal> {
        let mut stream = UnixStream::connect(self.daemon().socket()).unwrap();
        let head = Head { protocol: PROTOCOL, version: "test".to_owned() };
        let mut line = serde_json::to_vec(&Envelope::new(head, request)).unwrap();
        line.push(b'\n');
        stream.write_all(&line).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        match serde_json::from_str::<Envelope<Reply>>(&answer).unwrap().body {
            Reply::Refused(refusal) => Err(refusal),
            reply => Ok(reply),
        }
    }

    /// The status, once no request is being carried out.
    pub fn status(&self) -> serde_json::Value {
        let mut status = serde_json::Value::Null;
        eventually("the daemon is at rest", || {
            let told = self.ask(&Request::Status);
            let Ok(Reply::Status(told)) = told else { panic!("{told:?}") };
            status = serde_json::to_value(told).unwrap();
            !status["troubles"].to_string().contains("requests are being carried out right now")
        });
        status
    }

    /// The troubles, each as the sentence that `ashore status` prints. Their values are checked.
    pub fn troubles(&self) -> serde_json::Value {
        let troubles = self.status()["troubles"].take();
        let troubles: Vec<Trouble> = serde_json::from_value(troubles).unwrap();
        for Trouble { code, severity, message, remedy, .. } in &troubles {
            assert!(*code != Code::Unknown && *severity == code.severity(), "{code:?} {severity:?}");
            let remedy = remedy.as_ref().map_or("try: ".to_owned(), ToString::to_string);
            assert!(!message.contains("try: ") && !message.contains(&remedy), "{message}");
        }
        troubles.iter().map(ToString::to_string).collect()
    }

    /// The codes of the troubles, by their names.
    pub fn codes(&self) -> Vec<String> {
        let status = self.status();
        let all = status["troubles"].as_array().unwrap().iter();
        all.map(|trouble| trouble["code"].as_str().unwrap().to_owned()).collect()
    }

    /// Changes something on the host, so that the daemon observes it now. Without a change, the daemon does
    /// so every minute.
    pub fn nudge(&self) {
        let elsewhere = "192.168.77.1/32".parse().unwrap();
        let settle = || std::thread::sleep(Duration::from_millis(300));
        self.nas.add_address("eth0", elsewhere).unwrap();
        settle();
        self.nas.del_address("eth0", elsewhere).unwrap();
        settle();
    }

    /// Creates the network that most tests use.
    pub fn create_lan(&self) {
        self.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1");
    }

    /// Kills the daemon (`SIGKILL`) and starts it again on the same state.
    pub fn restart(&mut self) {
        self.daemon.take().expect("the daemon runs").kill().unwrap();
        self.start();
    }

    /// Cuts the NAS's power and starts it again, without its daemon. No container may be left on it.
    pub fn restart_nas(&mut self) {
        self.daemon = None;
        // The kernel destroys a namespace, and its NIC with it, when nothing uses it any more.
        self.nas = self.world.container("off").unwrap();
        eventually("the NAS is back", || match self.world.machine("nas", 9) {
            Ok(nas) => {
                self.nas = nas;
                true
            }
            Err(_) => false,
        });
    }

    pub fn start(&mut self) {
        self.daemon = Some(Daemon::start(Path::new(PROGRAM), &self.nas, self.directory.path()).unwrap());
    }

    /// Starts the daemon through another command, which then executes it.
    pub fn start_by(&mut self, launcher: &[&str]) {
        let daemon = Daemon::start_by(launcher, Path::new(PROGRAM), &self.nas, self.directory.path());
        self.daemon = Some(daemon.unwrap());
    }

    /// The links of the NAS that the lab did not create.
    pub fn made_links(&self) -> Vec<String> {
        let observed = self.nas.kernel().observe(&[]).unwrap();
        let names = observed.host.links.iter().map(|link| link.name.to_string());
        names.filter(|name| name != "lo" && name != "eth0").collect()
    }

    /// The MAC of the NAS's NIC.
    pub fn nic(&self) -> String {
        let host = self.nas.kernel().observe(&[]).unwrap().host;
        host.link(&"eth0".parse().unwrap()).unwrap().mac.unwrap().to_string()
    }

    /// The routes of the NAS that Ashore owns.
    pub fn made_routes(&self) -> Vec<String> {
        let observed = self.nas.kernel().observe(&[]).unwrap();
        let ours = observed.host.routes.iter().filter(|route| route.protocol == 65);
        ours.map(|route| route.route.to_string()).collect()
    }
}

/// Whether a row of the state stays when no network is left: what is remembered of names, and whose state it is.
pub fn lasts(row: &str) -> bool {
    row.starts_with("identity/") || ["seed", "machine"].contains(&row)
}

pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Runs a command on a machine, with the tools from the fetched packages, or the host's own where no packages are to be
/// had.
pub fn type_on(machine: &Machine, command: &str) {
    shown_on(machine, command);
}

/// Runs a command like `type_on` and returns its standard output.
pub fn shown_on(machine: &Machine, command: &str) -> String {
    let (program, words) = command.split_once(' ').unwrap();
    let mut command = machine.command(program).unwrap();
    if let Ok(engines) = Engines::find() {
        engines.equip(&mut command);
    }
    let output = command.args(words.split_whitespace()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `ip` in a namespace, with words that need not be valid UTF-8. Returns whether it succeeded.
pub fn type_ip(namespace: &Namespace, words: &[&[u8]]) -> bool {
    let engines = Engines::find().expect("the packages are fetched, or there is no virtual machine");
    let mut command = std::process::Command::new(engines.path("usr/sbin/ip"));
    command.in_namespace(namespace).unwrap();
    let words = words.iter().map(|word| OsStr::from_bytes(word));
    engines.equip(&mut command).args(words).output().unwrap().status.success()
}

/// Pings in both directions that run until `end_with_lost`.
pub struct Watched(Vec<Pings>);

impl Watched {
    pub fn begin(home: &Home) -> Watched {
        Watched(vec![
            home.laptop.pings(ip(HOST)),
            home.laptop.pings(ip(HOST6)),
            home.nas.pings(ip("192.168.88.1")),
            home.nas.pings(ip("fd88::1")),
            home.nas.pings(ip(BEYOND)),
        ])
    }

    /// Ends all pings and asserts that each stream has lost at most `most`.
    pub fn end_with_lost(self, most: u32) {
        for stream in self.0 {
            let counted = stream.end();
            // `ping` sends nothing while it waits a second for a lost answer.
            assert!(counted.sent > counted.lost, "{counted:?}");
            assert!(counted.lost <= most, "{counted:?}");
        }
    }
}

/// A macvlan on the NAS's own NIC, created by hand, with an address.
pub fn sibling_made_by_hand(home: &Home, address: &str) -> Machine {
    let plain = home.world.container("plain").unwrap();
    let name = |text: &str| text.parse().unwrap();
    let kind = LinkType::Macvlan {
        parent: name("eth0"),
        mode: MacvlanMode::Bridge,
        bc_queue_len: None,
        bc_limit: None,
    };
    let link = LinkSpec { name: name("eth0"), kind, mac: None, mtu: None };
    let place = Place::Netns(plain.namespace().identity());
    home.nas.apply(&[Step::AddLink { place, link }]).unwrap();
    plain.add_address("eth0", address.parse().unwrap()).unwrap();
    plain.set_up("eth0", true).unwrap();
    plain
}

/// The addresses in an endpoint's report, without their prefix lengths.
pub fn addresses(report: &serde_json::Value) -> Vec<IpAddr> {
    let nets = report["addresses"].as_array().unwrap().iter();
    nets.map(|net| ip(net.as_str().unwrap().split('/').next().unwrap())).collect()
}

/// Returns whether any machine answers this machine's ARP requests for an address.
pub fn arp_answered(machine: &Machine, link: &str, ip: IpAddr) -> bool {
    !who_answers(machine, link, ip).is_empty()
}

/// The MACs of all machines that answer this machine's ARP requests for an address.
pub fn who_answers(machine: &Machine, link: &str, ip: IpAddr) -> BTreeSet<String> {
    let busybox = Engines::find().expect("the packages are fetched").path("usr/bin/busybox");
    let mut arping = machine.command(busybox).unwrap();
    // Broadcasts every request (`-b`). Otherwise arping continues by unicast with the first machine that
    // answers.
    arping.args(["arping", "-b", "-c", "2", "-w", "3", "-I", link, &ip.to_string()]);
    let shown = String::from_utf8(arping.output().unwrap().stdout).unwrap();
    let macs = shown.lines().filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned()));
    macs.collect()
}

/// The MAC that a machine has learned for an address, by ARP or by neighbour discovery.
pub fn mac_known_to(machine: &Machine, ip: IpAddr) -> String {
    if ip.is_ipv6() {
        let table = shown_on(machine, &format!("ip -6 neigh show to {ip}"));
        let mut words = table.split_whitespace().skip_while(|word| *word != "lladdr");
        let mac = words.nth(1).unwrap_or_else(|| panic!("{} does not know {ip}: {table}", machine.name()));
        return mac.to_owned();
    }
    let table = machine.inside(|| std::fs::read_to_string("/proc/thread-self/net/arp")).unwrap().unwrap();
    let line = table.lines().find(|line| line.starts_with(&format!("{ip} ")));
    let line = line.unwrap_or_else(|| panic!("{} does not know {ip}", machine.name()));
    line.split_whitespace().nth(3).unwrap().to_owned()
}

/// Connects by TCP and returns the source address that `to` sees.
pub fn seen_as(from: &Machine, to: &Machine, at: IpAddr) -> IpAddr {
    let listener = to.inside(|| TcpListener::bind(SocketAddr::new(at, 0))).unwrap().unwrap();
    let target = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let accepted = scope.spawn(|| {
            let (mut stream, peer) = listener.accept().unwrap();
            stream.write_all(b"hello").unwrap();
            peer.ip()
        });
        let mut stream = from.inside(|| TcpStream::connect(target)).unwrap().unwrap();
        let mut hello = String::new();
        stream.read_to_string(&mut hello).unwrap();
        assert_eq!(hello, "hello");
        accepted.join().unwrap()
    })
}

/// Gives a machine an address and repeats its announcement until `was_heard`. The switch forwards nothing
/// from a port in the first moments after a machine is plugged in.
#[track_caller]
pub fn takes(machine: &Machine, ip: IpAddr, was_heard: impl Fn() -> bool) {
    machine.add_address("eth0", format!("{ip}/24").parse().unwrap()).unwrap();
    for _ in 0..15 {
        claims(machine, ip);
        if comes_true(Duration::from_secs(1), &was_heard) {
            return;
        }
    }
    panic!("no announcement was heard: {} takes {ip}", machine.name());
}

/// Announces a machine's address. A kernel does this itself when a link comes up (`arp_notify`), but
/// immediately, and the switch's kernel opens the port of that link a moment later. Announcements until then
/// are lost; under load, that is all of them.
fn claims(machine: &Machine, ip: IpAddr) {
    let host = machine.kernel().observe(&[]).unwrap().host;
    let mac = host.link(&"eth0".parse().unwrap()).unwrap().mac.unwrap();
    Voice::of(machine).claims(mac, ip);
}

/// Waits until a peer again knows the owner's MAC for an address that another machine has taken. A claim
/// within ten seconds of the last one is not answered (RFC 5227, 2.4), so this claims once more if earlier
/// claims came too close together.
#[track_caller]
pub fn is_defended(peer: &Machine, ip: IpAddr, owner: &str, from: &Machine) {
    eventually_within(Duration::from_secs(120), "the LAN knows the container again", || {
        let known = comes_true(Duration::from_secs(12), || mac_known_to(peer, ip) == owner);
        if !known {
            claims(from, ip);
        }
        known
    });
}

/// Runs `does`. Returns its result, and how long each call took that the daemon was asked meanwhile, one after the
/// other: calls that take the daemon's lock, and change nothing.
pub fn waits_beside<T>(home: &Home, does: impl FnOnce() -> T) -> (T, Vec<Duration>) {
    let socket = fake_engine::plugin_socket(home);
    let unknown = r#"{ "NetworkID": "none", "EndpointID": "none" }"#;
    std::thread::scope(|scope| {
        // The asking thread ends even if `does` panics, because that drops `goes_on`.
        let goes_on = Arc::new(());
        let is_so = Arc::downgrade(&goes_on);
        let asking = scope.spawn(move || {
            let mut waits = Vec::new();
            while is_so.strong_count() > 0 {
                let asked = Instant::now();
                fake_engine::call_on(&socket, "/NetworkDriver.Leave", unknown);
                waits.push(asked.elapsed());
            }
            waits
        });
        let done = does();
        drop(goes_on);
        (done, asking.join().unwrap())
    })
}

/// Waits up to 300 s for something that takes the daemon a moment, or many in the virtual machine and on a machine with
/// other work.
#[track_caller]
pub fn eventually(what: &str, is: impl FnMut() -> bool) {
    eventually_within(Duration::from_secs(300), what, is);
}

/// Waits for something that takes longer.
#[track_caller]
pub fn eventually_within(patience: Duration, what: &str, is: impl FnMut() -> bool) {
    assert!(comes_true(patience, is), "not within {} s: {what}", patience.as_secs());
}

/// Returns whether a condition becomes true within `patience`.
pub fn comes_true(patience: Duration, mut is: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        if is() {
            return true;
        }
        let (waited, took) = (began.elapsed(), asked.elapsed());
        if waited > patience {
            return false;
        }
        // Polls less often the longer it waits, and the longer a check takes: many a check starts a program, and those
        // that wait would take the processors from what they wait for.
        let pause = (waited / 10).clamp(Duration::from_millis(20), Duration::from_millis(250));
        std::thread::sleep(pause.max((2 * took).min(Duration::from_secs(3))));
    }
}

#[track_caller]
pub fn reaches(from: &Machine, to: IpAddr) {
    assert!(from.ping(to).is_some(), "{} does not reach {to}", from.name());
}

#[track_caller]
pub fn does_not_reach(from: &Machine, to: IpAddr) {
    assert!(from.ping(to).is_none(), "{} reaches {to}", from.name());
}
