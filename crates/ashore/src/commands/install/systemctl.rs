//! Queries and controls Ashore's systemd units.

use std::process::{Command, Stdio};

use super::unit::{PLUG_SOCKET, READ_SOCKET, SERVICE, SOCKET, USERS_SOCKET};
use crate::client::Failure;
use crate::out::complain;

/// The systemctl commands for the units. The service starts the read socket itself.
pub(super) const ENABLE: &[&str] = &["enable", "--now", SOCKET, PLUG_SOCKET, SERVICE];
/// The same with the socket for users other than root, which the administrator has asked for.
pub(super) const ENABLE_WITH_USERS: &[&str] =
    &["enable", "--now", SOCKET, PLUG_SOCKET, USERS_SOCKET, SERVICE];
/// For that socket where it was started and is not enabled: it is stopped with the others.
pub(super) const START_USERS: &[&str] = &["start", USERS_SOCKET];
/// For one unit at a time, because with several at once, a missing one would prevent the others. The control
/// socket comes after the other sockets, because a call at these would start it again.
pub(super) const DISABLE: [&[&str]; 5] = [
    &["stop", READ_SOCKET],
    DISABLE_PLUG,
    DISABLE_USERS,
    &["disable", "--now", SOCKET],
    &["disable", "--now", SERVICE],
];
const DISABLE_PLUG: &[&str] = &["disable", "--now", PLUG_SOCKET];
const DISABLE_USERS: &[&str] = &["disable", "--now", USERS_SOCKET];
pub(super) const STOP: &[&str] = &["stop", SOCKET, READ_SOCKET, PLUG_SOCKET, USERS_SOCKET, SERVICE];
pub(super) const RESTART: &[&str] = &["restart", SERVICE];
pub(super) const RELOAD: &[&str] = &["daemon-reload"];

/// The state of the units.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Units {
    pub(super) enabled: bool,
    pub(super) socket_active: bool,
    pub(super) service_active: bool,
    pub(super) plug: PlugSocket,
    pub(super) users: PlugSocket,
}

/// A socket of `ashore-plug`. An earlier version has none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlugSocket {
    pub(super) enabled: bool,
    pub(super) active: bool,
}

impl PlugSocket {
    fn now(unit: &str) -> Self {
        PlugSocket { enabled: says_yes(&["is-enabled", unit]), active: says_yes(&["is-active", unit]) }
    }

    pub(super) fn is_in_use(self) -> bool {
        self.enabled && self.active
    }
}

impl Units {
    /// The current state, on a host that runs systemd.
    pub(super) fn now() -> Self {
        // With several units, `is-enabled` succeeds if one of them is enabled.
        let both = |question| [SOCKET, SERVICE].iter().all(|unit| says_yes(&[question, unit]));
        Units {
            enabled: both("is-enabled"),
            socket_active: says_yes(&["is-active", SOCKET]),
            service_active: says_yes(&["is-active", SERVICE]),
            plug: PlugSocket::now(PLUG_SOCKET),
            users: PlugSocket::now(USERS_SOCKET),
        }
    }

    /// Disables and stops units that were not enabled before. To be called before their files are removed.
    pub(super) fn stop_new_ones(self) {
        let now = Units::now();
        if !self.enabled && (now.enabled || now.socket_active || now.service_active) {
            for words in DISABLE {
                complain(systemctl(words));
            }
            return;
        }
        for (was, unit, disable) in
            [(self.plug, PLUG_SOCKET, DISABLE_PLUG), (self.users, USERS_SOCKET, DISABLE_USERS)]
        {
            if !was.enabled && says_yes(&["is-enabled", unit]) {
                complain(systemctl(disable));
            }
        }
    }

    /// Starts again what was active before: to stop the service's socket stops the one for users, which the service does
    /// not start. To be called after its files are restored.
    pub(super) fn bring_back(self) {
        complain(systemctl(RELOAD));
        if self.users.active {
            complain(systemctl(START_USERS));
        }
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

/// Runs systemctl. Fails with its standard error.
pub(super) fn systemctl(words: &[&str]) -> Result<(), Failure> {
    let output = Command::new("systemctl").args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| anyhow::Error::new(error).context("systemctl"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    Err(Failure::Service(format!("`systemctl {}` failed: {said}", words.join(" "))))
}

/// Whether systemctl answers a query with success.
fn says_yes(question: &[&str]) -> bool {
    let mut command = Command::new("systemctl");
    command.args(question).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The process id of the service, if it runs.
pub(super) fn main_pid() -> Option<i32> {
    let output =
        Command::new("systemctl").args(["show", "--property=MainPID", "--value", SERVICE]).output().ok()?;
    let pid = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
    (pid != 0).then_some(pid)
}
