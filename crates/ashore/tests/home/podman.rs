//! A home whose NAS runs a real Podman, with `ashore-plug` installed as netavark's plugin.

use std::path::{Path, PathBuf};

use ashore_lab::{Beside, Daemon, Engines, Podman, Ran, cannot_run};
use serde_json::Value;

use super::{Home, PROGRAM};

/// The releases whose netavark calls plugins.
pub const SUITES: [&str; 2] = ["sid", "trixie"];

pub struct PodmanSite {
    pub podman: Podman,
    pub home: Home,
    pub suite: String,
}

/// The static `ashore-plug`.
fn plug() -> PathBuf {
    Path::new(PROGRAM).with_file_name("ashore-plug")
}

impl PodmanSite {
    pub fn new(engines: &Engines, suite: &str) -> PodmanSite {
        let mut home = Home::new();
        home.daemon = None;
        let podman = Podman::start(engines, suite, &home.nas, home.directory.path()).unwrap();
        podman.install_plugin("ashore", &plug()).unwrap();
        let mut site = PodmanSite { podman, home, suite: suite.to_owned() };
        site.start_daemon();
        site
    }

    /// Starts the daemon, which must not be running.
    pub fn start_daemon(&mut self) {
        let (nas, directory) = (&self.home.nas, self.home.directory.path());
        let daemon = Daemon::start_beside(PROGRAM.as_ref(), nas, directory, Beside::Podman(&self.podman));
        self.home.daemon = Some(daemon.unwrap());
    }

    pub fn run(&self, command: &str) -> Ran {
        self.podman.run(&command.split_whitespace().collect::<Vec<_>>()).unwrap()
    }

    #[track_caller]
    pub fn ok(&self, command: &str) -> String {
        let ran = self.run(command);
        let log = self.home.daemon().log();
        assert_eq!(ran.code, Some(0), "podman {command}: {}{}\n{log}", ran.stdout, ran.stderr);
        ran.stdout.trim().to_owned()
    }

    /// Runs a command that must fail with an error that contains these words.
    #[track_caller]
    pub fn refused(&self, command: &str, words: &[&str]) {
        let ran = self.run(command);
        assert_ne!(ran.code, Some(0), "podman {command}: {}", ran.stdout);
        for word in words {
            assert!(ran.stderr.contains(word), "{word:?} is not in: {}", ran.stderr);
        }
    }

    /// Starts a container that does nothing.
    #[track_caller]
    pub fn start(&self, name: &str, options: &str) {
        self.ok(&format!("run -d --name {name} --network lan {options} box sleep 1000"));
    }

    /// A container's IPv4 address and MAC on a network, as Podman shows them.
    #[track_caller]
    pub fn place_on(&self, container: &str, network: &str) -> (String, String) {
        let shown: Value = serde_json::from_str(&self.ok(&format!("inspect {container}"))).unwrap();
        let there = &shown[0]["NetworkSettings"]["Networks"][network];
        let text = |key: &str| there[key].as_str().unwrap_or_default().to_owned();
        (text("IPAddress"), text("MacAddress"))
    }

    #[track_caller]
    pub fn address_of(&self, container: &str) -> (String, String) {
        self.place_on(container, "lan")
    }

    /// The names of the endpoints that the daemon has.
    pub fn endpoints(&self) -> Vec<String> {
        let status = self.home.status();
        let all = status["endpoints"].as_array().unwrap();
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// Runs a test on each Podman whose netavark calls plugins.
pub fn on_every_podman(test: &str, run: impl Fn(&mut PodmanSite)) {
    match Engines::find() {
        Ok(engines) => SUITES.iter().for_each(|suite| run(&mut PodmanSite::new(&engines, suite))),
        Err(why) => cannot_run(test, &why),
    }
}
