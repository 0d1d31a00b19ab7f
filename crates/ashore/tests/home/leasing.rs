//! What has to hold of leases, with every DHCP server and wherever containers come from: scenarios that know neither.
//!
//! A scenario asserts what the server's own table, the wire and other machines of the LAN show.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ashore_core::link::{LinkSpec, LinkType, Place as At};
use ashore_core::step::Step;
use ashore_lab::{Engines, Machine, cannot_run};

use super::dhcp::relay::Relay;
use super::dhcp::{Brand, Row, Server, Setup};
use super::dns;
use super::frames::{Said, What, Wire};
use super::site::Site;
use super::{
    Home, arp_answered, comes_true, eventually, eventually_within, is_defended, mac_known_to, reaches, takes,
};

/// What takes as long as leases last, and longer where the servers have only two processors between them.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where containers come from.
pub trait Place {
    fn home(&self) -> &Home;
    /// Starts a container on it: its address.
    fn start(&mut self, name: &str) -> Ipv4Addr;
    /// Starts many at once.
    fn start_all(&mut self, names: &[String]) -> Vec<Ipv4Addr>;
    /// Starts one that has to be refused: what is said.
    fn is_refused(&mut self, name: &str) -> String;
    /// Ends a container. Its name is remembered.
    fn stop(&mut self, name: &str);
    /// Kills the daemon, and starts it again.
    fn kill_daemon(&mut self);
    /// Cuts the NAS's power, and starts it and this container on it.
    fn reboot(&mut self, engines: &Engines, name: &str) -> Ipv4Addr;
    /// Where a container's default route leads to.
    fn router_of(&self, name: &str) -> Option<Ipv4Addr>;
}

/// Containers of nobody's: namespaces, and `ashore attach`.
pub struct Engineless {
    home: Home,
    containers: BTreeMap<String, Machine>,
}

impl Engineless {
    /// A home with the network `lan`, whose addresses a server hands out.
    pub fn begin(_: &Engines) -> Self {
        let home = Home::new();
        home.ok("network create lan --parent eth0 --dhcp");
        Engineless { home, containers: BTreeMap::new() }
    }

    fn attach(&self, name: &str) -> ashore_lab::Ran {
        let netns = self.containers[name].namespace().path().display();
        self.home.run(&format!("attach lan --netns {netns} --name {name}"))
    }

    fn add(&mut self, name: &str) {
        let container = self.home.world.container(name).unwrap();
        self.containers.insert(name.to_owned(), container);
    }
}

impl Place for Engineless {
    fn home(&self) -> &Home {
        &self.home
    }

    fn start(&mut self, name: &str) -> Ipv4Addr {
        self.add(name);
        self.attach(name).expect_success();
        address_of(&self.home, name).expect("it is attached")
    }

    fn start_all(&mut self, names: &[String]) -> Vec<Ipv4Addr> {
        for name in names {
            self.add(name);
        }
        let daemon = self.home.daemon();
        std::thread::scope(|scope| {
            for name in names {
                let netns = self.containers[name].namespace().path().display().to_string();
                scope.spawn(move || {
                    let words = ["attach", "lan", "--netns", &netns, "--name", name];
                    daemon.run(&words).unwrap().expect_success();
                });
            }
        });
        names.iter().map(|name| address_of(&self.home, name).expect("it is attached")).collect()
    }

    fn is_refused(&mut self, name: &str) -> String {
        self.add(name);
        let ran = self.attach(name);
        assert_eq!(ran.code, Some(6), "{}{}", ran.stdout, ran.stderr);
        ran.stderr
    }

    fn stop(&mut self, name: &str) {
        self.home.ok(&format!("detach lan {name}"));
        self.containers.remove(name);
    }

    fn kill_daemon(&mut self) {
        self.home.restart();
    }

    fn reboot(&mut self, _: &Engines, name: &str) -> Ipv4Addr {
        self.containers.clear();
        self.home.restart_nas();
        self.home.start();
        self.start(name)
    }

    fn router_of(&self, name: &str) -> Option<Ipv4Addr> {
        let routes = self.containers[name].kernel().observe(&[]).unwrap().host.routes;
        let default = routes.into_iter().find(|route| route.route.to.to_string() == "0.0.0.0/0")?;
        default.route.via?.to_string().parse().ok()
    }
}

/// Docker's containers.
pub struct Engined(Option<Site>);

impl Engined {
    /// The same, on the engine of one of Debian's releases.
    pub fn begin(engines: &Engines, suite: &str) -> Self {
        let place = Engined(Some(Site::new(engines, suite)));
        place.site().ok("network create -d ashore --ipam-driver ashore --ipam-opt addressing=dhcp lan");
        place
    }

    fn site(&self) -> &Site {
        self.0.as_ref().expect("its power is on")
    }

    fn address(&self, name: &str) -> Ipv4Addr {
        self.site().address_of(name).0.parse().unwrap()
    }
}

impl Place for Engined {
    fn home(&self) -> &Home {
        &self.site().home
    }

    fn start(&mut self, name: &str) -> Ipv4Addr {
        self.site().start(name, "");
        self.address(name)
    }

    fn start_all(&mut self, names: &[String]) -> Vec<Ipv4Addr> {
        names.iter().map(|name| self.start(name)).collect()
    }

    fn is_refused(&mut self, name: &str) -> String {
        let ran = self.site().docker(&format!("run -d --name {name} --network lan box sleep 1"));
        assert_ne!(ran.code, Some(0), "{}", ran.stdout);
        self.site().ok(&format!("rm -f {name}"));
        ran.stderr
    }

    fn stop(&mut self, name: &str) {
        self.site().ok(&format!("rm -f {name}"));
    }

    fn kill_daemon(&mut self) {
        let site = self.0.as_mut().expect("its power is on");
        site.home.daemon = None;
        site.start_daemon();
    }

    fn reboot(&mut self, engines: &Engines, name: &str) -> Ipv4Addr {
        self.0 = self.0.take().map(|site| site.reboot(engines));
        self.site().ok(&format!("start {name}"));
        self.address(name)
    }

    fn router_of(&self, name: &str) -> Option<Ipv4Addr> {
        let routes = self.site().ok(&format!("exec {name} ip route"));
        routes.lines().find_map(|line| line.strip_prefix("default via ")?.split(' ').next()?.parse().ok())
    }
}

fn endpoint(home: &Home, name: &str) -> Option<serde_json::Value> {
    let status = home.status();
    status["endpoints"].as_array()?.iter().find(|endpoint| endpoint["name"] == name).cloned()
}

/// The address that an endpoint has by `ashore status`, if it has one.
fn address_of(home: &Home, name: &str) -> Option<Ipv4Addr> {
    endpoint(home, name)?["addresses"][0].as_str()?.split('/').next()?.parse().ok()
}

/// A place, and a server for it.
pub struct Leasing<P> {
    pub place: P,
    pub setup: Setup,
    pub server: Option<Server>,
    pub wire: Wire,
    brand: Brand,
    engines: Engines,
}

/// Plays a scenario with every server, side by side, each in a home of its own.
pub fn with_every_server(test: &str, setup: &Setup, scenario: fn(&mut Leasing<Engineless>)) {
    let grounds = Brand::ALL.map(|brand| (brand.name(), brand));
    play(test, &grounds, setup, |_, engines| Engineless::begin(engines), scenario);
}

/// Plays a scenario with one server.
pub fn with_server(test: &str, brand: Brand, setup: &Setup, scenario: fn(&mut Leasing<Engineless>)) {
    play(test, &[(brand.name(), brand)], setup, |_, engines| Engineless::begin(engines), scenario);
}

/// Plays a scenario with one server on every engine, side by side.
pub fn on_every_engine(test: &str, brand: Brand, setup: &Setup, scenario: fn(&mut Leasing<Engined>)) {
    let grounds = [("bookworm", brand), ("sid", brand)];
    play(test, &grounds, setup, |suite, engines| Engined::begin(engines, suite), scenario);
}

fn play<P: Place>(
    test: &str,
    grounds: &[(&'static str, Brand)],
    setup: &Setup,
    begin: fn(&str, &Engines) -> P,
    scenario: fn(&mut Leasing<P>),
) {
    let engines = match Engines::find() {
        Err(why) => return cannot_run(test, &why),
        Ok(_) if !super::is_root() => return cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => engines,
    };
    std::thread::scope(|scope| {
        let play = |(name, brand): (&'static str, Brand)| {
            let (engines, setup) = (engines.clone(), setup.clone());
            // What fails bears the thread's name.
            let thread = std::thread::Builder::new().name(format!("{test}, {name}"));
            let play = move || {
                let place = begin(name, &engines);
                scenario(&mut Leasing::begin(brand, place, engines, setup));
            };
            (name, thread.spawn_scoped(scope, play).unwrap())
        };
        let playing: Vec<_> = grounds.iter().copied().map(play).collect();
        let ended = playing.into_iter().map(|(name, playing)| (name, playing.join().is_ok()));
        let failed: Vec<_> = ended.filter(|(_, good)| !good).map(|(name, _)| name).collect();
        assert!(failed.is_empty(), "{test} fails with {}", failed.join(", "));
    });
}

impl<P: Place> Leasing<P> {
    fn begin(brand: Brand, place: P, engines: Engines, mut setup: Setup) -> Self {
        if brand == Brand::Dnsmasq {
            setup.seconds = setup.seconds.max(120);
        }
        let home = place.home();
        let wire = Wire::between(&home.world, &home.nas, &home.router);
        let mut leasing = Leasing { place, setup, server: None, wire, brand, engines };
        leasing.serve();
        leasing
    }

    fn home(&self) -> &Home {
        self.place.home()
    }

    /// Starts the server on the router.
    fn serve(&mut self) {
        let home = self.place.home();
        let served = self.brand.serve(&self.engines, &home.router, home.directory.path(), &self.setup);
        self.server = Some(served);
    }

    fn rows(&self) -> Vec<Row> {
        self.server.as_ref().expect("it runs").rows()
    }

    fn mac_of(&self, name: &str) -> String {
        endpoint(self.home(), name).expect("it is attached")["mac"].as_str().unwrap().to_owned()
    }

    /// The server's table has a container once: under its name, MAC and address.
    #[track_caller]
    fn is_listed(&self, name: &str, at: Ipv4Addr) {
        let (mac, at) = (self.mac_of(name), at.to_string());
        let listed = || {
            let rows = self.rows().into_iter().filter(|row| row.mac == mac || row.ip == at);
            matches!(rows.collect::<Vec<_>>().as_slice(), [row] if row.mac == mac && row.ip == at && row.name == name)
        };
        let is = comes_true(Duration::from_secs(60), listed);
        assert!(is, "{name} with {mac} at {at} is not listed once: {:?}", self.rows());
    }

    /// The router's DNS tells a machine of the LAN where a container is, and who is there.
    #[track_caller]
    fn dns_knows(&self, name: &str, at: Ipv4Addr) {
        let (name, at, asker) = (format!("{name}.lan"), IpAddr::from(at), &self.home().laptop);
        let told =
            || (dns::addresses_of(&self.engines, asker, &name), dns::names_of(&self.engines, asker, at));
        let wanted = (vec![at], vec![name.clone()]);
        assert!(comes_true(Duration::from_secs(60), || told() == wanted), "{:?} and not {wanted:?}", told());
    }

    /// The container has an address that another machine reaches it at, and the server knows of it.
    #[track_caller]
    fn comes_to_have_another(&self, name: &str, than: Ipv4Addr) -> Ipv4Addr {
        let mut now = None;
        eventually_within(PATIENCE, "it has another address", || {
            now = address_of(self.home(), name).filter(|now| *now != than);
            now.is_some_and(|now| self.home().router.ping(now.into()).is_some())
        });
        now.expect("it was waited for")
    }

    #[track_caller]
    fn leaves_the_lan(&self, at: Ipv4Addr) {
        eventually_within(PATIENCE, &format!("nobody is at {at}"), || {
            self.home().laptop.ping(at.into()).is_none()
        });
        assert!(!arp_answered(&self.home().laptop, "eth0", at.into()), "somebody answers for {at}");
    }
}

/// Asked for and answered in the RFC's order, from the container's own MAC, and in the server's table as it is on the LAN.
pub fn first_lease<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    on.is_listed("web", at);
    for machine in [&on.home().laptop, &on.home().nas, &on.home().router] {
        reaches(machine, at.into());
    }
    let mac = on.mac_of("web");
    assert_eq!(mac_known_to(&on.home().laptop, at.into()), mac);
    let asked = on.wire.asked();
    assert!(asked.iter().all(|said| said.mac.to_string() == mac), "{asked:?}");
    let mut whats: Vec<What> = asked.iter().map(|said| said.what).collect();
    // A server that looks for the address first may be asked twice.
    whats.dedup();
    assert_eq!(whats, [What::Discover, What::Select]);
    let acks = on.wire.answered().into_iter().filter(|said| said.what == What::Ack);
    assert_eq!(acks.map(|ack| ack.ip()).collect::<Vec<_>>(), [at]);
}

/// The router's DNS answers for the container, whatever becomes of the daemon, of the container, and of what the router knew.
pub fn answered_by_dns<P: Place>(on: &mut Leasing<P>) {
    let (web, db) = (on.place.start("web"), on.place.start("shop_db_1"));
    on.dns_knows("web", web);
    // What Compose has called so until its second version is no host's name (RFC 1123, 2.1).
    on.dns_knows("shop-db-1", db);
    on.place.stop("web");
    assert_eq!(on.place.start("web"), web);
    on.dns_knows("web", web);
    // The router starts anew and knows nobody: it is told by the daemon that has the lease confirmed.
    on.server.take().expect("it runs").lose_table();
    on.serve();
    assert!(dns::addresses_of(&on.engines, &on.home().laptop, "web.lan").is_empty());
    on.place.kill_daemon();
    on.dns_knows("web", web);
    on.dns_knows("shop-db-1", db);
}

/// A container that comes back confirms what it had in one exchange.
pub fn comes_back<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let discovers = on.wire.count(What::Discover);
    on.place.stop("web");
    on.place.kill_daemon();
    assert_eq!(on.place.start("web"), at);
    assert_eq!(on.wire.count(What::Discover), discovers);
    let asked = on.wire.asked();
    let reboot = asked.iter().rfind(|said| said.what == What::Reboot).expect("it asked for what it had");
    assert_eq!(reboot.ip(), at);
    on.is_listed("web", at);
    reaches(&on.home().laptop, at.into());
}

/// The NAS loses power: the container comes back to what it had, and the server has it once.
pub fn host_reboot<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let mac = on.mac_of("web");
    assert_eq!(on.place.reboot(&on.engines, "web"), at);
    assert_eq!(on.mac_of("web"), mac);
    reaches(&on.home().laptop, at.into());
    on.is_listed("web", at);
}

/// While the daemon is dead the container stays reachable; the one that comes after it renews.
pub fn daemon_killed<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let pings = on.home().laptop.pings(at.into());
    on.wire.wait_for(What::Renew);
    on.place.kill_daemon();
    on.wire.wait_for(What::Renew);
    let acks = on.wire.answers(What::Ack);
    eventually("it is renewed by the new one", || on.wire.answers(What::Ack) > acks);
    on.is_listed("web", at);
    let counted = pings.end();
    assert_eq!(counted.lost, 0, "{counted:?}");
}

/// Ten that start together have ten addresses, all of them answered for and listed.
pub fn ten_at_once<P: Place>(on: &mut Leasing<P>) {
    let names: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    let all = on.place.start_all(&names);
    for (name, at) in names.iter().zip(&all) {
        reaches(&on.home().laptop, (*at).into());
        on.is_listed(name, *at);
    }
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), 10, "{all:?}");
}

/// At T1 the container asks its own server, by unicast and with nothing in it that RFC 2131, table 5, forbids.
pub fn renewed_at_t1<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let pings = on.home().laptop.pings(at.into());
    for _ in 0..2 {
        on.wire.wait_for(What::Renew);
    }
    let acks = on.wire.answers(What::Ack);
    eventually("it is answered", || on.wire.answers(What::Ack) > acks);
    let asked = on.wire.asked();
    let renew = asked.iter().find(|said| said.what == What::Renew).expect("it was waited for");
    assert_eq!((renew.from, renew.to, renew.message.ciaddr), (at, [192, 168, 88, 1].into(), at));
    assert_eq!(renew.mac.to_string(), on.mac_of("web"));
    assert!(!renew.message.broadcast);
    assert_eq!((on.wire.count(What::Rebind), on.wire.count(What::Discover)), (0, 1));
    let counted = pings.end();
    assert_eq!(counted.lost, 0, "{counted:?}");
    on.is_listed("web", at);
    // Also for a client that is no more, the router is the way to the server.
    on.place.stop("web");
    on.home().ok("forget web");
    eventually("the server has it back", || on.rows().is_empty());
}

/// The server is down at T1 and back for T2: the LAN notices nothing.
pub fn server_down_past_t1<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let pings = on.home().laptop.pings(at.into());
    on.server = None;
    on.wire.wait_for(What::Renew);
    on.serve();
    let before = on.wire.answers(What::Ack);
    eventually_within(PATIENCE, "somebody renews it", || {
        on.wire.count(What::Rebind) > 0 && on.wire.answers(What::Ack) > before
    });
    on.is_listed("web", at);
    let counted = pings.end();
    assert_eq!(counted.lost, 0, "{counted:?}");
    assert_eq!(on.wire.count(What::Discover), 1);
}

/// The server is down past the lease's end: the address is off the LAN. Once it is back, the container is, too.
pub fn server_down_past_expiry<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    on.server = None;
    on.leaves_the_lan(at);
    let troubles = || on.home().status()["troubles"].to_string();
    eventually("the status says so", || troubles().contains("`web` has no IPv4 address"));
    on.serve();
    let now = on.comes_to_have_another("web", Ipv4Addr::UNSPECIFIED);
    on.is_listed("web", now);
}

/// The server has forgotten everything: the container ends up with an address of which the server knows.
pub fn lease_file_lost<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    on.is_listed("web", at);
    on.server.take().expect("it runs").lose_table();
    on.serve();
    let mac = on.mac_of("web");
    eventually_within(PATIENCE, "the server knows of it again", || {
        let mut rows = on.rows().into_iter().filter(|row| row.mac == mac);
        rows.next().is_some_and(|row| address_of(on.home(), "web").is_some_and(|at| row.ip == at.to_string()))
    });
    let now = address_of(on.home(), "web").expect("it was waited for");
    reaches(&on.home().laptop, now.into());
    on.is_listed("web", now);
}

/// A new router with another subnet: the container follows, and is gone from where it was.
pub fn renumbered<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    on.server.take().expect("it runs").lose_table();
    on.home().router.add_address("eth0", "10.77.0.1/24".parse().unwrap()).unwrap();
    on.home().router.del_address("eth0", "192.168.88.1/24".parse().unwrap()).unwrap();
    on.setup.pool = ([10, 77, 0, 100].into(), [10, 77, 0, 120].into());
    on.serve();
    let now = on.comes_to_have_another("web", at);
    assert_eq!(now.octets()[..3], [10, 77, 0]);
    on.is_listed("web", now);
    on.leaves_the_lan(at);
    eventually("its default route is by the new router", || {
        on.place.router_of("web") == Some([10, 77, 0, 1].into())
    });
    // The host has followed too.
    let nas = &on.home().nas;
    nas.add_address("eth0", "10.77.0.9/24".parse().unwrap()).unwrap();
    nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
    eventually("the host reaches it", || nas.ping(now.into()).is_some());
    let route = format!("{now}/32 dev shim-eth0 src 10.77.0.9 proto 65");
    assert_eq!(on.home().made_routes(), [route]);
    for shown in [on.home().ok("status"), on.home().ok("network ls")] {
        assert!(shown.contains("10.77.0.0/24") && !shown.contains("192.168.88."), "{shown}");
    }
}

/// Of a pool of one the second is refused, with a reason, and the first is not disturbed.
pub fn pool_exhausted<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let said = on.place.is_refused("db");
    assert!(said.contains("has addresses left") && said.contains("no DHCP server"), "{said}");
    assert!(endpoint(on.home(), "db").is_none());
    reaches(&on.home().laptop, at.into());
    on.is_listed("web", at);
    assert_eq!(on.rows().len(), 1, "{:?}", on.rows());
}

/// Somebody has taken the address while the container was away: it is declined, and another one used.
pub fn squatter_before<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    on.place.stop("web");
    let laptop = &on.home().laptop;
    laptop.add_address("eth0", ipnet::IpNet::new(at.into(), 24).unwrap()).unwrap();
    let now = on.place.start("web");
    assert_ne!(now, at);
    let asked = on.wire.asked();
    let declined = asked.iter().filter(|said| said.what == What::Decline);
    assert_eq!(declined.map(Said::ip).collect::<Vec<_>>(), [at]);
    reaches(&on.home().router, now.into());
    on.is_listed("web", now);
}

/// Somebody takes the address while the container has it: it is defended, shown, and renewed as before.
pub fn squatter_after<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let mac = on.mac_of("web");
    reaches(&on.home().router, at.into());
    let shown = || on.home().status()["troubles"].to_string().contains("claims the address of `web`");
    takes(&on.home().laptop, at.into(), shown);
    is_defended(&on.home().router, at.into(), &mac, &on.home().laptop);
    on.wire.wait_for(What::Renew);
    on.is_listed("web", at);
}

/// The router's page reserves another address for the container's MAC.
pub fn reservation<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let (mac, reserved) = (on.mac_of("web"), Ipv4Addr::new(192, 168, 88, 66));
    on.place.stop("web");
    on.server = None;
    on.setup.reserved = vec![(mac, reserved)];
    on.serve();
    let mut now = on.place.start("web");
    if now == at {
        // The server took more than two seconds to answer, and what was on record was used until it did.
        now = on.comes_to_have_another("web", at);
    }
    assert_eq!(now, reserved);
    reaches(&on.home().laptop, reserved.into());
    let answered = on.wire.answered();
    assert_eq!(answered.iter().rfind(|said| said.what == What::Ack).map(Said::ip), Some(reserved));
}

/// The server is on another LAN, and a relay between: asked through it at first, and straight by unicast at T1.
pub fn relayed<P: Place>(on: &mut Leasing<P>) {
    on.server = None;
    let home = on.place.home();
    let beyond = home.world.container("beyond").unwrap();
    let name = |text: &str| text.parse::<ashore_core::IfName>().unwrap();
    let kind = LinkType::Veth {
        peer: name("eth0"),
        peer_place: At::Netns(beyond.namespace().identity()),
        peer_mac: None,
    };
    let link = LinkSpec { name: name("eth1"), kind, mac: None, mtu: None };
    home.router.apply(&[Step::AddLink { place: At::Host, link }]).unwrap();
    for (machine, link, net) in [(&home.router, "eth1", "10.9.0.1/24"), (&beyond, "eth0", "10.9.0.2/24")] {
        machine.set_up(link, true).unwrap();
        machine.add_address(link, net.parse().unwrap()).unwrap();
    }
    beyond.add_default_route("eth0", IpAddr::from([10, 9, 0, 1])).unwrap();
    home.router.set_ipv4_conf("all", "forwarding", 1).unwrap();
    let server = Ipv4Addr::new(10, 9, 0, 2);
    on.setup.beyond_relay = Some(server);
    let serving = on.brand.serve(&on.engines, &beyond, home.directory.path(), &on.setup);
    let _relay = Relay::start(&on.engines, &home.router, server);
    on.server = Some(serving);
    let at = on.place.start("web");
    on.is_listed("web", at);
    let offer = on.wire.answered().into_iter().find(|said| said.what == What::Offer).expect("there was one");
    assert_eq!(offer.message.giaddr, Ipv4Addr::new(192, 168, 88, 1), "a relay brought it");
    let pings = on.home().laptop.pings(at.into());
    on.wire.wait_for(What::Renew);
    on.wire.wait_for(What::Renew);
    let asked = on.wire.asked();
    assert!(asked.iter().filter(|said| said.what == What::Renew).all(|said| said.to == server), "{asked:?}");
    assert_eq!(on.wire.count(What::Rebind), 0, "its server has answered");
    let counted = pings.end();
    assert_eq!(counted.lost, 0, "{counted:?}");
    on.is_listed("web", at);
}
