//! Containers that start at the same moment. Docker up to 28 does not say for which container it requests an
//! address. Each container must get its own identity all the same, again and again.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ashore_lab::Docker;

use super::site::Site;
use super::{comes_true, mac_known_to};

/// The number of rounds with `cargo xtask test --all`. Each is compared with the first.
const ALL: usize = 8;
/// The number of rounds otherwise.
const FEW: usize = 3;
/// The template prefix that finds the only network of a container.
const ONE: &str = "range.NetworkSettings.Networks";
/// Long enough for a machine with a lot of other work.
const PATIENCE: Duration = Duration::from_secs(300);
/// For this long, an engine may take an earlier end of a container for its present end. It does not show the
/// container meanwhile.
const MISTAKEN: Duration = Duration::from_secs(1);

/// The rounds of a test.
pub fn rounds() -> RangeInclusive<usize> {
    1..=if std::env::var_os("ASHORE_TEST_ALL").is_some() { ALL } else { FEW }
}

/// The first place of each container in a group.
pub struct Together {
    names: Vec<String>,
    first: Vec<Place>,
}

/// Starts containers at the same moment. `docker start` with several names would start one after the other.
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
    /// The container's place on its only network. Returns `None` if it has none.
    pub fn of(site: &Site, container: &str) -> Option<Place> {
        Place::read(site, container, ONE)
    }

    /// The container's place on one of several networks. Returns `None` if it has none.
    pub fn on(site: &Site, container: &str, network: &str) -> Option<Place> {
        Place::read(site, container, &format!("with.NetworkSettings.Networks.{network}"))
    }

    fn read(site: &Site, container: &str, of: &str) -> Option<Place> {
        Place::read_all(site, &[container.to_owned()], of).pop().flatten()
    }

    /// The places of several containers, with one command. One command for each, again and again, would keep
    /// a processor busy.
    fn read_all(site: &Site, containers: &[String], of: &str) -> Vec<Option<Place>> {
        const FIELDS: &str = "{{.IPAddress}}|{{.GlobalIPv6Address}}|{{.MacAddress}}{{end}}";
        let format = format!("{{{{{of}}}}}{FIELDS}");
        let ran = site.docker(&format!("inspect --format {format} {}", containers.join(" ")));
        let places: Vec<_> = ran.stdout.lines().map(Place::parse).collect();
        // Docker omits a container that it does not find.
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
    /// Records the places of running containers.
    pub fn of(site: &Site, names: &[&str]) -> Together {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let places = Place::read_all(site, &names, ONE).into_iter();
        let first = places.map(|place| place.expect("it is on the network")).collect();
        Together { names, first }
    }

    /// The first place of a container.
    pub fn place(&self, name: &str) -> &Place {
        &self.first[self.names.iter().position(|known| known == name).unwrap()]
    }

    /// Stops all containers and starts them at the same moment.
    pub fn start_anew(&self, site: &Site) {
        site.ok(&format!("stop -t 0 {}", self.names.join(" ")));
        self.start(site);
    }

    /// Starts all containers at the same moment.
    pub fn start(&self, site: &Site) {
        start_at_once(&site.docker, self.names.iter().map(String::as_str));
    }

    /// Asserts that each container has its first addresses and MAC again, for its engine and for the LAN.
    #[track_caller]
    pub fn are_as_at_first(&self, site: &Site, when: &str) {
        self.are_as(site, when, Place::clone);
    }

    /// Asserts that each container has its first MAC again, for networks where the engine chooses the
    /// addresses.
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

    /// Starts all containers after the engine was killed. A container that the engine was starting may run
    /// without the engine's knowledge. At the next start the engine ends that process, takes this for the end
    /// of the container that it has just started, and starts it again, over and over (moby issue 48912, seen
    /// on 28.5). It goes on until the container is stopped and the leftover process is killed.
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
            // The engine learns of these ends meanwhile.
            std::thread::sleep(MISTAKEN);
        }
    }
}
