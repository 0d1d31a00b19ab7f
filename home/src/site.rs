//! A home whose NAS runs a real Docker engine.

use std::time::Duration;

use ashore_lab::{Beside, Daemon, Docker, Engines, Ran, cannot_run};

use super::untouched::{Own, is_untouched, untouched};
use super::{Home, PROGRAM, comes_true, eventually};

pub struct Site {
    pub docker: Docker,
    pub home: Home,
    /// The Debian release that the engine is from.
    pub suite: String,
    /// Whether the daemon cannot reach the engine's API.
    pub silent: bool,
    /// The NAS as it was before Ashore was started. `None` after a reboot.
    own: Option<Own>,
}

impl Site {
    pub fn new(engines: &Engines, suite: &str) -> Site {
        let mut started = Site::without_daemon(engines, suite);
        started.start_daemon();
        started
    }

    pub fn without_daemon(engines: &Engines, suite: &str) -> Site {
        Site::without_daemon_with(engines, suite, &[])
    }

    /// The same with options of dockerd.
    pub fn without_daemon_with(engines: &Engines, suite: &str, options: &[&str]) -> Site {
        let mut home = Home::new();
        home.daemon = None;
        let docker = Docker::start_with(engines, suite, &home.nas, home.directory.path(), options).unwrap();
        let own = Some(untouched(&home));
        Site { docker, home, suite: suite.to_owned(), silent: false, own }
    }

    /// Cuts the NAS's power and starts everything again from its disk: the host, the daemon, the engine.
    pub fn reboot(self, engines: &Engines) -> Site {
        let Site { docker, mut home, suite, silent, .. } = self;
        home.daemon = None;
        drop(docker);
        home.restart_nas();
        let directory = home.directory.path().to_owned();
        let docker = Docker::at_rest(engines, &suite, &directory).unwrap();
        let mut site = Site { docker, home, suite, silent, own: None };
        site.start_daemon();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        site
    }

    /// Starts the daemon, which must not be running.
    pub fn start_daemon(&mut self) {
        let directory = self.home.directory.path();
        let beside =
            if self.silent { Beside::SilentEngine(&self.docker) } else { Beside::Engine(&self.docker) };
        let daemon = Daemon::start_beside(PROGRAM.as_ref(), &self.home.nas, directory, beside);
        self.home.daemon = Some(daemon.unwrap());
    }

    pub fn docker(&self, command: &str) -> Ran {
        self.docker.run(&command.split_whitespace().collect::<Vec<_>>()).unwrap()
    }

    #[track_caller]
    pub fn ok(&self, command: &str) -> String {
        let ran = self.docker(command);
        assert_eq!(ran.code, Some(0), "docker {command}: {}\n{}", ran.stderr, self.logs());
        ran.stdout.trim().to_owned()
    }

    /// Runs a command that must fail with an error that contains these words.
    #[track_caller]
    pub fn engine_refuses(&self, command: &str, words: &[&str]) {
        let ran = self.docker(command);
        assert_ne!(ran.code, Some(0), "docker {command}: {}\n{}", ran.stdout, self.logs());
        for word in words {
            assert!(ran.stderr.contains(word), "{word:?} is not in: {}", ran.stderr);
        }
    }

    /// Asserts that one ping from a container is answered.
    #[track_caller]
    pub fn container_reaches(&self, container: &str, to: &str) {
        self.ok(&format!("exec {container} ping -c 1 -w 2 {to}"));
    }

    /// An endpoint in the output of `ashore status`.
    #[track_caller]
    pub fn endpoint(&self, name: &str) -> serde_json::Value {
        let status = self.home.status();
        let mut all = status["endpoints"].as_array().unwrap().iter();
        let one = all.find(|endpoint| endpoint["name"] == name);
        one.unwrap_or_else(|| panic!("{name} is not in {status:#}")).clone()
    }

    pub fn logs(&self) -> String {
        let daemon = self.home.daemon.as_ref().map(Daemon::log).unwrap_or_default();
        format!("daemon: {daemon}\nengine: {}", self.docker.log())
    }

    /// Chooses an answer by engine: Docker 28.5's, or Docker 20.10's.
    pub fn on<'a>(&self, new: &'a str, old: &'a str) -> &'a str {
        if self.suite == "sid" { new } else { old }
    }

    /// Creates the network that most tests use.
    pub fn create_lan(&self) {
        self.create_lan_as("lan", "192.168.88.192/27");
    }

    /// Creates such a network with another name and range.
    pub fn create_lan_as(&self, name: &str, range: &str) {
        self.ok(&format!(
            "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range {range} \
             --gateway 192.168.88.1 -o parent=eth0 {name}"
        ));
    }

    /// Runs an `ashore` command that must be refused. Returns its exit code and error text.
    pub fn refused(&self, command: &str) -> (Option<i32>, String) {
        let ran = self.home.run(command);
        assert_ne!(ran.code, Some(0), "{command}");
        (ran.code, ran.stderr)
    }

    /// Starts a container that does nothing.
    pub fn start(&self, name: &str, options: &str) {
        self.ok(&format!("run -d --init --name {name} --network lan {options} box sleep 1000"));
    }

    /// A container's IPv4 address and MAC, as the engine shows them. Waits until the container is on a
    /// network: if its name was not known when it started, it may still be moving to its own address.
    pub fn address_of(&self, container: &str) -> (String, String) {
        let mut place = None;
        eventually(&format!("{container} is on a network"), || {
            place = self.place_of(container);
            place.is_some()
        });
        place.expect("it was waited for")
    }

    /// A container's IPv4 address and MAC. Returns `None` if it is on no network at this moment.
    pub fn place_of(&self, container: &str) -> Option<(String, String)> {
        let format = "{{range.NetworkSettings.Networks}}{{.IPAddress}}|{{.MacAddress}}{{end}}";
        let shown = self.ok(&format!("inspect --format {format} {container}"));
        let (ip, mac) = shown.split_once('|')?;
        Some((ip.to_owned(), mac.to_owned()))
    }

    pub fn addresses_of(&self, containers: &[&str]) -> Vec<(String, String)> {
        containers.iter().map(|name| self.address_of(name)).collect()
    }

    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let home = &self.home;
        eventually("nothing is left", || home.made_links().is_empty() && home.made_routes().is_empty());
        // What Docker does not tell Ashore of, Ashore may still be working on.
        let mut left = Vec::new();
        let is_empty = || {
            let state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
            let rows = state["rows"].as_object().unwrap().keys();
            left = rows.filter(|key| !super::lasts(key)).cloned().collect();
            left.is_empty()
        };
        let is_nothing = comes_true(Duration::from_secs(10), is_empty);
        assert!(is_nothing, "{left:?}");
    }

    /// Asserts that the host is as it was when Docker ran and Ashore had not been started. Not for tests in
    /// which the test or Docker changes the host itself; Docker enables forwarding for its own bridges.
    #[track_caller]
    pub fn assert_untouched(&self) {
        is_untouched(&self.home, self.own.as_ref().expect("the NAS has not been rebooted"));
    }
}

/// The Debian releases with the engines: Docker 20.10, and Docker 28.5 or later.
const SUITES: [&str; 2] = ["bookworm", "sid"];

/// Runs a test on every engine.
pub fn on_every_engine(test: &str, run: impl Fn(&mut Site)) {
    at_every_site(test, |mut site, _| run(&mut site));
}

/// Runs a test on the newest engine, and on every engine only with `cargo xtask test --all`: for what does not
/// depend on the engine's version. What an engine tells of a container before it starts does.
pub fn on_an_engine(test: &str, run: impl Fn(&mut Site)) {
    match Engines::find() {
        Ok(engines) => suites().iter().for_each(|suite| run(&mut Site::new(&engines, suite))),
        Err(why) => cannot_run(test, &why),
    }
}

/// The releases whose engines [`on_an_engine`] uses.
pub fn suites() -> &'static [&'static str] {
    if std::env::var_os("ASHORE_TEST_ALL").is_some() { &SUITES } else { &SUITES[1..] }
}

/// Runs a test on one engine, where it takes long and all engines behave alike.
pub fn on_engine(suite: &str, test: &str, run: impl Fn(&Site)) {
    match Engines::find() {
        Ok(engines) => run(&Site::new(&engines, suite)),
        Err(why) => cannot_run(test, &why),
    }
}

/// Runs a test that reboots the NAS on every engine.
pub fn at_every_site(test: &str, run: impl Fn(Site, &Engines)) {
    on_every(test, &SUITES, Site::new, run);
}

/// Runs a test on the engine of each of these releases, at a site that `begin` creates.
pub fn on_every(
    test: &str,
    suites: &[&str],
    begin: impl Fn(&Engines, &str) -> Site,
    run: impl Fn(Site, &Engines),
) {
    match Engines::find() {
        Ok(engines) => {
            for suite in suites {
                run(begin(&engines, suite), &engines);
            }
        }
        Err(why) => cannot_run(test, &why),
    }
}
