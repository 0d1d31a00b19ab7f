//! A NAS that runs Docker and Podman, with one daemon for both.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_lab::{Beside, Daemon, Docker, Engines, Podman, Ran, cannot_run};
use serde_json::Value;

use super::{Home, PROGRAM};

pub const SUBNET: &str = "--subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1";

/// A NAS with both engines, and the daemon of both.
pub struct Nas {
    pub docker: Docker,
    pub podman: Podman,
    pub home: Home,
}

impl Nas {
    pub fn new(engines: &Engines) -> Nas {
        let mut home = Home::new();
        home.daemon = None;
        let directory = home.directory.path();
        let docker = Docker::start(engines, "sid", &home.nas, directory).unwrap();
        let podman = Podman::start(engines, "sid", &home.nas, directory).unwrap();
        podman.install_plugin("ashore", &super::cni::plug()).unwrap();
        let beside = Beside::Both(&docker, &podman);
        let daemon = Daemon::start_beside(PROGRAM.as_ref(), &home.nas, directory, beside).unwrap();
        home.daemon = Some(daemon);
        Nas { docker, podman, home }
    }

    /// Runs a command of Docker's.
    #[track_caller]
    pub fn docker(&self, command: &str) -> String {
        self.succeeded(command, &self.docker.run(&words(command)).unwrap())
    }

    /// Runs a command of Podman's.
    #[track_caller]
    pub fn podman(&self, command: &str) -> String {
        self.succeeded(command, &self.podman.run(&words(command)).unwrap())
    }

    #[track_caller]
    pub fn succeeded(&self, command: &str, ran: &Ran) -> String {
        let log = self.home.daemon().log();
        assert_eq!(ran.code, Some(0), "{command}: {}{}\n{log}", ran.stdout, ran.stderr);
        ran.stdout.trim().to_owned()
    }

    /// Where each container is: address and MAC by name.
    pub fn places(&self) -> BTreeMap<String, (IpAddr, String)> {
        let status = self.home.status();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        let place = |one: &Value| (text(one, "name"), (super::addresses(one)[0], text(one, "mac")));
        status["endpoints"].as_array().unwrap().iter().map(place).collect()
    }
}

pub fn words(command: &str) -> Vec<&str> {
    command.split_whitespace().collect()
}

pub fn with_both(test: &str, run: impl Fn(&Nas, &Engines)) {
    match Engines::find() {
        Ok(engines) => run(&Nas::new(&engines), &engines),
        Err(why) => cannot_run(test, &why),
    }
}
