//! What systemd says of Ashore's units, and what it is told.

use std::process::{Command, Stdio};

use super::unit::{SERVICE, SOCKET};
use crate::client::Failure;
use crate::out::complain;

/// Both, as systemctl is told them.
pub(super) const ENABLE: &[&str] = &["enable", "--now", SOCKET, SERVICE];
/// One by one: with both at once, one that is missing would keep the other.
pub(super) const DISABLE: [&[&str]; 2] = [&["disable", "--now", SOCKET], &["disable", "--now", SERVICE]];
pub(super) const STOP: &[&str] = &["stop", SOCKET, SERVICE];
pub(super) const RESTART: &[&str] = &["restart", SERVICE];
pub(super) const RELOAD: &[&str] = &["daemon-reload"];

/// How the units are.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Units {
    pub(super) enabled: bool,
    pub(super) socket_active: bool,
    pub(super) service_active: bool,
}

impl Units {
    /// How they are now, on a host that systemd runs.
    pub(super) fn now() -> Self {
        // With several units, `is-enabled` is content with one of them.
        let both = |question| [SOCKET, SERVICE].iter().all(|unit| says_yes(&[question, unit]));
        Units {
            enabled: both("is-enabled"),
            socket_active: says_yes(&["is-active", SOCKET]),
            service_active: says_yes(&["is-active", SERVICE]),
        }
    }

    /// Takes back that the units came to life, before their files go.
    pub(super) fn stop_new_ones(self) {
        let now = Units::now();
        if !self.enabled && (now.enabled || now.socket_active || now.service_active) {
            for words in DISABLE {
                complain(systemctl(words));
            }
        }
    }

    /// What ran before runs again, by the files that are there again.
    pub(super) fn bring_back(self) {
        complain(systemctl(RELOAD));
        if self.service_active {
            complain(systemctl(RESTART));
        }
    }
}

fn complain(result: Result<(), Failure>) {
    if let Err(failure) = result {
        complain!("ashore: {failure}");
    }
}

/// Runs systemctl; what it complains of is the reason.
pub(super) fn systemctl(words: &[&str]) -> Result<(), Failure> {
    let output = Command::new("systemctl").args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| anyhow::Error::new(error).context("systemctl"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    Err(Failure::Service(format!("`systemctl {}` failed: {said}", words.join(" "))))
}

/// Whether systemctl answers a question with yes.
fn says_yes(question: &[&str]) -> bool {
    let mut command = Command::new("systemctl");
    command.args(question).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The service's process, if it runs.
pub(super) fn main_pid() -> Option<i32> {
    let output =
        Command::new("systemctl").args(["show", "--property=MainPID", "--value", SERVICE]).output().ok()?;
    let pid = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
    (pid != 0).then_some(pid)
}
