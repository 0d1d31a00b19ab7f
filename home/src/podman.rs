//! A home whose NAS has a real Podman.

use std::path::{Path, PathBuf};

use ashore_lab::{Beside, Daemon, Engines, Podman, Ran, cannot_run};

use serde_json::Value;

use super::{Home, PROGRAM};

/// The releases whose netavark calls plugins: Podman 5.8 and 5.4.
pub const WITH_PLUGINS: [&str; 2] = ["sid", "trixie"];
/// All releases. Podman 4.3 calls CNI plugins.
pub const ALL: [&str; 3] = ["sid", "trixie", "bookworm"];

/// Of those with plugins, the releases for what hardly depends on Podman's version: the newest, and all of them
/// with `cargo xtask test --all`.
pub fn newest() -> &'static [&'static str] {
    if std::env::var_os("ASHORE_TEST_ALL").is_some() { &WITH_PLUGINS } else { &WITH_PLUGINS[..1] }
}

pub struct PodmanSite {
    pub podman: Podman,
    pub home: Home,
    /// The Debian release that Podman is from.
    pub suite: String,
}

impl PodmanSite {
    /// A NAS without a daemon. Podman would find its sockets in /run/ashore.
    pub fn without_daemon(engines: &Engines, suite: &str) -> PodmanSite {
        let mut home = Home::new();
        home.daemon = None;
        let podman = Podman::start(engines, suite, &home.nas, home.directory.path()).unwrap();
        PodmanSite { podman, home, suite: suite.to_owned() }
    }

    /// Starts the daemon, which must not be running.
    pub fn start_daemon(&mut self) {
        let (nas, directory) = (&self.home.nas, self.home.directory.path());
        let daemon = Daemon::start_beside(PROGRAM.as_ref(), nas, directory, Beside::Podman(&self.podman));
        self.home.daemon = Some(daemon.unwrap());
    }

    /// Cuts the NAS's power and starts it again from its disk, without a daemon. No container runs.
    pub fn reboot(self, engines: &Engines) -> PodmanSite {
        let PodmanSite { podman, mut home, suite } = self;
        home.daemon = None;
        drop(podman);
        home.restart_nas();
        let podman = Podman::at_rest(engines, &suite, &home.nas, home.directory.path()).unwrap();
        PodmanSite { podman, home, suite }
    }

    /// Installs the plugin, and starts the daemon.
    pub fn install_ashore(&mut self) {
        self.podman.install_plugin("ashore", &plug()).unwrap();
        self.start_daemon();
    }

    pub fn run(&self, command: &str) -> Ran {
        self.podman.run(&command.split_whitespace().collect::<Vec<_>>()).unwrap()
    }

    #[track_caller]
    pub fn ok(&self, command: &str) -> String {
        let ran = self.run(command);
        let log = self.home.daemon.as_ref().map(Daemon::log).unwrap_or_default();
        assert_eq!(ran.code, Some(0), "podman {command}: {}{}\n{log}", ran.stdout, ran.stderr);
        ran.stdout.trim().to_owned()
    }

    /// Runs a command that must fail with an error that contains these words.
    #[track_caller]
    pub fn podman_refuses(&self, command: &str, words: &[&str]) {
        let ran = self.run(command);
        assert_ne!(ran.code, Some(0), "podman {command}: {}", ran.stdout);
        for word in words {
            assert!(ran.stderr.contains(word), "{word:?} is not in: {}", ran.stderr);
        }
    }

    /// Starts a container that does nothing.
    #[track_caller]
    pub fn start(&self, name: &str, options: &str) {
        self.ok(&format!("run -d --name {name} {options} box sleep 1000"));
    }

    /// Starts a container on the network `lan`.
    #[track_caller]
    pub fn start_on_lan(&self, name: &str, options: &str) {
        self.start(name, &format!("--network lan {options}"));
    }

    /// A container's IPv4 address and MAC on a network, as Podman shows them.
    #[track_caller]
    pub fn place_on(&self, container: &str, network: &str) -> (String, String) {
        let shown: Value = serde_json::from_str(&self.ok(&format!("inspect {container}"))).unwrap();
        let there = &shown[0]["NetworkSettings"]["Networks"][network];
        let text = |key: &str| there[key].as_str().unwrap_or_default().to_owned();
        (text("IPAddress"), text("MacAddress"))
    }

    /// The same on the network `lan`.
    #[track_caller]
    pub fn address_of(&self, container: &str) -> (String, String) {
        self.place_on(container, "lan")
    }

    /// The names of the endpoints that the daemon has, in order.
    pub fn endpoints(&self) -> Vec<String> {
        let status = self.home.status();
        let all = status["endpoints"].as_array().unwrap();
        let mut names: Vec<String> = all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// Asserts that one ping from a container is answered.
    #[track_caller]
    pub fn container_reaches(&self, container: &str, to: &str) {
        self.ok(&format!("exec {container} ping -c 1 -w 2 {to}"));
    }
}

/// Runs a test for each of these releases.
pub fn on_every_podman(test: &str, suites: &[&str], run: impl Fn(PodmanSite)) {
    match Engines::find() {
        Ok(engines) => suites.iter().for_each(|suite| run(PodmanSite::without_daemon(&engines, suite))),
        Err(why) => cannot_run(test, &why),
    }
}

/// Runs a test on the newest Podman, and on each that calls plugins with `cargo xtask test --all`. Ashore is
/// installed for it.
pub fn with_ashore(test: &str, run: impl Fn(&mut PodmanSite)) {
    with_ashore_on(test, newest(), run);
}

/// Runs a test on each Podman that calls plugins, with Ashore installed for it: for what every version must do.
pub fn with_ashore_on_all(test: &str, run: impl Fn(&mut PodmanSite)) {
    with_ashore_on(test, &WITH_PLUGINS, run);
}

fn with_ashore_on(test: &str, suites: &[&str], run: impl Fn(&mut PodmanSite)) {
    on_every_podman(test, suites, |mut site| {
        site.install_ashore();
        run(&mut site);
    });
}

/// The program that Podman executes.
fn plug() -> PathBuf {
    Path::new(PROGRAM).with_file_name("ashore-plug")
}
