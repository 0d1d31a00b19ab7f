//! What must hold for leases with every DHCP server, for containers with and without an engine. The scenarios
//! know neither.
//!
//! A scenario asserts what the server's own table, the wire and other machines on the LAN show.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ashore_core::net::link::{LinkSpec, LinkType, Place as At};
use ashore_core::net::step::Step;
use ashore_lab::{Engines, Machine, cannot_run};

use super::dhcp::relay::Relay;
use super::dhcp::{Brand, Row, Server, Setup};
use super::frames::{Said, What, Wire};
use super::site::Site;
use super::{
    Home, arp_answered, comes_true, dns, eventually, eventually_within, is_defended, mac_known_to, reaches,
    takes,
};

pub mod scenarios;

/// For waits that last as long as leases do, and longer where the servers share only two processors.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where containers come from: an engine, or `ashore attach`.
pub trait Place {
    fn home(&self) -> &Home;
    /// Starts a container and returns its address.
    fn start(&mut self, name: &str) -> Ipv4Addr;
    /// Starts many containers at once.
    fn start_all(&mut self, names: &[String]) -> Vec<Ipv4Addr>;
    /// Starts a container that must be refused, and returns the error text.
    fn is_refused(&mut self, name: &str) -> String;
    /// Removes a container. The daemon remembers its name.
    fn stop(&mut self, name: &str);
    /// Kills the daemon and starts it again.
    fn kill_daemon(&mut self);
    /// Cuts the NAS's power, starts the NAS and then this container. Returns the container's address.
    fn reboot(&mut self, engines: &Engines, name: &str) -> Ipv4Addr;
    /// The gateway of a container's default route.
    fn router_of(&self, name: &str) -> Option<Ipv4Addr>;
}

/// Containers without an engine: namespaces and `ashore attach`.
pub struct Engineless {
    home: Home,
    containers: BTreeMap<String, Machine>,
}

impl Engineless {
    /// Creates a home with the network `lan`, whose addresses a DHCP server assigns.
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
    /// Creates such a home with the engine of one of Debian's releases.
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

/// The address that `ashore status` shows for an endpoint. Returns `None` if it has none.
fn address_of(home: &Home, name: &str) -> Option<Ipv4Addr> {
    endpoint(home, name)?["addresses"][0].as_str()?.split('/').next()?.parse().ok()
}

/// A place and its DHCP server.
pub struct Leasing<P> {
    pub place: P,
    pub setup: Setup,
    pub server: Option<Server>,
    pub wire: Wire,
    brand: Brand,
    engines: Engines,
}

/// Runs a scenario with every server at the same time, each in its own home.
pub fn with_every_server(test: &str, setup: &Setup, scenario: fn(&mut Leasing<Engineless>)) {
    let grounds = Brand::ALL.map(|brand| (brand.name(), brand));
    play(test, &grounds, setup, |_, engines| Engineless::begin(engines), scenario);
}

/// Runs a scenario with one server.
pub fn with_server(test: &str, brand: Brand, setup: &Setup, scenario: fn(&mut Leasing<Engineless>)) {
    play(test, &[(brand.name(), brand)], setup, |_, engines| Engineless::begin(engines), scenario);
}

/// Runs a scenario with one server on every engine, at the same time.
pub fn on_every_engine(test: &str, brand: Brand, setup: &Setup, scenario: fn(&mut Leasing<Engined>)) {
    let grounds = [("bookworm", brand), ("sid", brand)];
    play(test, &grounds, setup, |suite, engines| Engined::begin(engines, suite), scenario);
}

/// Runs a scenario with one server on the newest engine, and on every engine with `cargo xtask test --all`.
pub fn on_an_engine(test: &str, brand: Brand, setup: &Setup, scenario: fn(&mut Leasing<Engined>)) {
    let grounds: Vec<_> = super::site::suites().iter().map(|suite| (*suite, brand)).collect();
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
            // A panic message names the thread.
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

    /// Asserts that the server's table lists the container exactly once, under its name, MAC and address.
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

    /// Asserts that the router's DNS answers a machine on the LAN with the container's address for its name,
    /// and with its name for its address.
    #[track_caller]
    fn dns_knows(&self, name: &str, at: Ipv4Addr) {
        let (name, at, asker) = (format!("{name}.lan"), IpAddr::from(at), &self.home().laptop);
        let told =
            || (dns::addresses_of(&self.engines, asker, &name), dns::names_of(&self.engines, asker, at));
        let wanted = (vec![at], vec![name.clone()]);
        assert!(comes_true(Duration::from_secs(60), || told() == wanted), "{:?} and not {wanted:?}", told());
    }

    /// Waits until the container has another address than `than` and the router reaches it there. Returns the
    /// new address.
    #[track_caller]
    fn comes_to_have_another(&self, name: &str, than: Ipv4Addr) -> Ipv4Addr {
        let mut now = None;
        eventually_within(PATIENCE, "the container has another address and is reached there", || {
            now = address_of(self.home(), name).filter(|now| *now != than);
            now.is_some_and(|now| self.home().router.ping(now.into()).is_some())
        });
        now.expect("it was waited for")
    }

    #[track_caller]
    fn leaves_the_lan(&self, at: Ipv4Addr) {
        eventually_within(PATIENCE, &format!("nothing answers at {at}"), || {
            self.home().laptop.ping(at.into()).is_none()
        });
        assert!(!arp_answered(&self.home().laptop, "eth0", at.into()), "ARP is still answered for {at}");
    }
}
