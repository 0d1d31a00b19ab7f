//! Containers that start at once: Docker up to 28 does not say whose address it asks for, and each has to be itself all the
//! same, again and again.

use std::net::IpAddr;
use std::time::Duration;

use ashore_lab::Docker;

use super::site::Site;
use super::{comes_true, mac_known_to};

/// Rounds, each compared with the first.
pub const ROUNDS: usize = 8;
/// The same on 20.10, which tells as little of whom it asks for: it has all rounds by `cargo xtask test --all`.
const ROUNDS_ON_THE_OLDER: usize = 3;
/// Where a template finds the one network that a container is on.
const ONE: &str = "range.NetworkSettings.Networks";
/// Long enough for a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(90);
/// An engine takes an earlier end of a container for its end within so long, and does not show the container meanwhile.
const MISTAKEN: Duration = Duration::from_secs(1);

/// How many rounds there are on the engine of a site.
pub fn rounds(site: &Site) -> std::ops::RangeInclusive<usize> {
    let is_older = site.suite == "bookworm" && std::env::var_os("ASHORE_TEST_ALL").is_none();
    1..=if is_older { ROUNDS_ON_THE_OLDER } else { ROUNDS }
}

/// Where each of some containers is.
pub struct Together {
    names: Vec<String>,
    first: Vec<Place>,
}

/// Starts containers in the same moment: Docker's command would start one after the other.
pub fn start_at_once<'a>(docker: &Docker, names: impl IntoIterator<Item = &'a str>) {
    std::thread::scope(|scope| {
        for name in names {
            scope.spawn(move || docker.run(&["start", name]).unwrap().expect_success());
        }
    });
}

/// A container's place on its network, as the engine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub v4: String,
    pub v6: String,
    pub mac: String,
}

impl Place {
    /// Its place on the one network that it is on.
    pub fn of(site: &Site, container: &str) -> Option<Place> {
        Place::read(site, container, ONE)
    }

    /// Its place on one of several.
    pub fn on(site: &Site, container: &str, network: &str) -> Option<Place> {
        Place::read(site, container, &format!("with.NetworkSettings.Networks.{network}"))
    }

    fn read(site: &Site, container: &str, of: &str) -> Option<Place> {
        Place::read_all(site, &[container.to_owned()], of).pop().flatten()
    }

    /// The places of several, by one command: who asks again and again for each would keep a processor busy with it alone.
    fn read_all(site: &Site, containers: &[String], of: &str) -> Vec<Option<Place>> {
        const FIELDS: &str = "{{.IPAddress}}|{{.GlobalIPv6Address}}|{{.MacAddress}}{{end}}";
        let format = format!("{{{{{of}}}}}{FIELDS}");
        let ran = site.docker(&format!("inspect --format {format} {}", containers.join(" ")));
        let places: Vec<_> = ran.stdout.lines().map(Place::parse).collect();
        // It leaves out one that it does not find.
        if places.len() == containers.len() { places } else { vec![None; containers.len()] }
    }

    fn parse(line: &str) -> Option<Place> {
        let mut parts = line.trim().split('|').map(str::to_owned);
        let (v4, v6, mac) = (parts.next()?, parts.next()?, parts.next()?);
        (!v4.is_empty() && !mac.is_empty()).then_some(Place { v4, v6, mac })
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [&self.v4, &self.v6].into_iter().filter_map(|text| text.parse().ok())
    }
}

impl Together {
    /// What containers that run have now.
    pub fn of(site: &Site, names: &[&str]) -> Together {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let places = Place::read_all(site, &names, ONE).into_iter();
        let first = places.map(|place| place.expect("it is on the network")).collect();
        Together { names, first }
    }

    /// What one of them had at first.
    pub fn place(&self, name: &str) -> &Place {
        &self.first[self.names.iter().position(|known| known == name).unwrap()]
    }

    /// Stops all of them, and starts them in the same moment.
    pub fn start_anew(&self, site: &Site) {
        site.ok(&format!("stop -t 0 {}", self.names.join(" ")));
        self.start(site);
    }

    /// Starts all of them in the same moment.
    pub fn start(&self, site: &Site) {
        start_at_once(&site.docker, self.names.iter().map(String::as_str));
    }

    /// Each has the addresses and the MAC of the first time again, for its engine and for the LAN.
    #[track_caller]
    pub fn are_as_at_first(&self, site: &Site, when: &str) {
        self.are_as(site, when, Place::clone);
    }

    /// The same where the engine chooses the addresses: each has its MAC.
    #[track_caller]
    pub fn have_their_macs(&self, site: &Site, when: &str) {
        self.are_as(site, when, |place| Place {
            mac: place.mac.clone(),
            v4: String::new(),
            v6: String::new(),
        });
    }

    #[track_caller]
    fn are_as(&self, site: &Site, when: &str, what: impl Fn(&Place) -> Place) {
        let now = || Place::read_all(site, &self.names, ONE);
        let same = |now: &Option<Place>, first: &Place| now.as_ref().map(&what) == Some(what(first));
        let are = || now().iter().zip(&self.first).all(|(now, first)| same(now, first));
        let patient = comes_true(PATIENCE, are);
        assert!(
            patient,
            "{when}: {:#?}\nand at first: {:#?}\n{}\n{}",
            now(),
            self.first,
            site.home.ok("status"),
            site.ok("ps -a --no-trunc")
        );
        for place in now().into_iter().flatten() {
            for address in place.addresses() {
                let answers = || site.home.laptop.ping(address).is_some();
                assert!(comes_true(PATIENCE, answers), "{when}: the laptop does not reach {address}");
                let host = || site.home.nas.ping(address).is_some();
                assert!(comes_true(PATIENCE, host), "{when}: the host does not reach {address}");
            }
            let v4: IpAddr = place.v4.parse().unwrap();
            let known =
                || site.home.laptop.ping(v4).is_some() && mac_known_to(&site.home.laptop, v4) == place.mac;
            assert!(comes_true(PATIENCE, known), "{when}: the laptop does not know {v4} as {}", place.mac);
        }
    }

    /// Starts all of them after the engine was killed. One that it was starting may run without its knowledge. At the next start the
    /// engine ends that, takes it for the end of the one that it has just started, and starts it anew, over and over (moby issue 48912,
    /// seen on 28.5), until somebody stops the container and ends what is left.
    pub fn start_after_a_kill(&self, site: &Site) {
        for _ in 0..3 {
            self.start(site);
            let all = self.names.join(" ");
            let show = |what: &str| site.ok(&format!("inspect --format {what} {all}"));
            let killed = || show("{{.State.Restarting}},{{.State.ExitCode}}").contains("true,137");
            if !comes_true(MISTAKEN, killed) {
                return;
            }
            site.ok(&format!("stop -t 0 {all}"));
            for id in show("{{.Id}}").lines() {
                if site.docker.kill_leftover(id).unwrap() {
                    println!("the engine had started {id} twice");
                }
            }
            // It hears of these ends.
            std::thread::sleep(MISTAKEN);
        }
    }
}
