//! How the program was called, and the words in which its caller understands an error.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ashore_plug::CNI_VERSIONS;
use ashore_plug::wire::{Reply, STDIN_MAX, WireError};

use crate::json;

/// What the program was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Its version, by a user.
    Version,
    /// What Podman or a CNI runtime wants.
    Call(Call),
    /// A command that CNI does not have.
    Unknown(String),
    /// Nothing.
    Nothing,
}

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Netavark(Netavark),
    Cni(Cni),
}

/// A call by Podman or netavark: the first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Netavark {
    Create,
    Setup,
    Teardown,
    Info,
}

/// A call by a CNI runtime: `CNI_COMMAND`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cni {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

impl Cni {
    /// As `CNI_COMMAND` has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Cni::Add => "ADD",
            Cni::Del => "DEL",
            Cni::Check => "CHECK",
            Cni::Gc => "GC",
            Cni::Status => "STATUS",
            Cni::Version => "VERSION",
        }
    }
}

/// The version of netavark's interface for plugins. There is one so far.
const NETAVARK_VERSION: &str = "1.0.0";

/// CNI's code for an environment variable that is missing or invalid.
const ENVIRONMENT: u32 = 4;
/// CNI's code for input that cannot be read.
const IO: u32 = 5;
/// CNI's code for input that cannot be decoded.
const UNDECODED: u32 = 6;
/// CNI's code for a configuration that is invalid.
const CONFIG: u32 = 7;
/// What plugins use for all that has no code of its own.
const DELEGATE: u32 = 999;
/// CNI's code for "try again later".
const LATER: u32 = 11;
/// CNI's code for "the plugin is not available", as an answer to STATUS.
const UNAVAILABLE: u32 = 50;

impl Asked {
    pub(crate) fn of(arguments: &[OsString], cni_command: Option<&OsStr>) -> Self {
        let first = arguments.first().map(|argument| argument.to_string_lossy());
        match (first.as_deref(), cni_command.filter(|command| !command.is_empty())) {
            (Some("--version" | "-V"), _) => Asked::Version,
            (Some("create"), _) => Asked::Call(Call::Netavark(Netavark::Create)),
            (Some("setup"), _) => Asked::Call(Call::Netavark(Netavark::Setup)),
            (Some("teardown"), _) => Asked::Call(Call::Netavark(Netavark::Teardown)),
            (Some("info"), _) => Asked::Call(Call::Netavark(Netavark::Info)),
            (None, Some(command)) => Asked::of_cni(&command.to_string_lossy()),
            _ => Asked::Nothing,
        }
    }

    fn of_cni(command: &str) -> Self {
        Asked::Call(Call::Cni(match command {
            "ADD" => Cni::Add,
            "DEL" => Cni::Del,
            "CHECK" => Cni::Check,
            "GC" => Cni::Gc,
            "STATUS" => Cni::Status,
            "VERSION" => Cni::Version,
            other => return Asked::Unknown(other.to_owned()),
        }))
    }
}

/// Why the daemon could not be asked, or did not answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The standard input cannot be read.
    Unreadable(io::Error),
    /// The standard input is too long.
    TooLong,
    /// The request cannot be encoded.
    Request(WireError),
    /// The daemon does not answer.
    Unanswered { at: PathBuf, why: Unanswered },
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    Io(io::Error),
    /// Nobody but root can call here: the administrator has not installed that socket.
    NotForUsers,
    TimedOut(Duration),
    HungUp,
    Answer(WireError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unreadable(error) => write!(f, "standard input: {error}"),
            Fault::TooLong => write!(f, "standard input is longer than {STDIN_MAX} bytes"),
            Fault::Request(error) => write!(f, "the call cannot be passed on: {error}"),
            Fault::Unanswered { at, why } => {
                write!(f, "the daemon does not answer at {}: {why}", at.display())
            }
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::Io(error) => error.fmt(f),
            Unanswered::NotForUsers => f.write_str("there is no socket for users other than root"),
            Unanswered::TimedOut(patience) => write!(f, "nothing came in {} s", patience.as_secs()),
            Unanswered::HungUp => f.write_str("it hung up before its answer was complete"),
            Unanswered::Answer(error) => write!(f, "its answer is not understood: {error}"),
        }
    }
}

impl Fault {
    fn remedy(&self) -> Option<&'static str> {
        match self {
            Fault::Unanswered { why: Unanswered::NotForUsers, .. } => {
                Some("try, as root: ashore install --users")
            }
            Fault::Unanswered { .. } => Some("try: systemctl start ashore"),
            _ => None,
        }
    }

    /// The same for a user other than root, where nothing is at the only place at which he can call. Then starting the
    /// daemon does not help, and that root's socket is closed to him says nothing.
    pub(crate) fn for_user(self, place: &Path) -> Self {
        match self {
            Fault::Unanswered { why: Unanswered::Io(error), .. }
                if [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied].contains(&error.kind()) =>
            {
                Fault::Unanswered { at: place.to_owned(), why: Unanswered::NotForUsers }
            }
            other => other,
        }
    }

    /// Whether the daemon has nothing of the call.
    pub(crate) fn is_unsent(&self) -> bool {
        !matches!(self, Fault::Unanswered { .. })
    }

    /// Whether the daemon may still be at work.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self, Fault::Unanswered { why: Unanswered::TimedOut(_), .. })
    }

    /// The code of a CNI error.
    fn code(&self, call: Cni) -> u32 {
        match self {
            Fault::Unreadable(_) => IO,
            Fault::TooLong => UNDECODED,
            Fault::Request(_) => ENVIRONMENT,
            Fault::Unanswered { .. } if call == Cni::Status => UNAVAILABLE,
            Fault::Unanswered { .. } => LATER,
        }
    }
}

impl Call {
    /// Whether it has to go on without the daemon. A container whose removal fails would stay for ever: after a
    /// teardown that failed, Podman never calls again.
    fn must_succeed(self) -> bool {
        matches!(self, Call::Netavark(Netavark::Teardown) | Call::Cni(Cni::Del | Cni::Gc))
    }

    /// What is printed if the daemon has not answered.
    pub(crate) fn without_answer(self, fault: &Fault) -> Reply {
        if self.must_succeed() {
            let warning = format!("ashore: warning: {fault}; going on all the same\n");
            return Reply { stderr: warning.into_bytes(), ..Reply::default() };
        }
        match self {
            Call::Netavark(_) => {
                let remedy = fault.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default();
                let text = format!("ashore: {fault}{remedy}");
                refused(format!("{{\"error\":{}}}\n", json::string(&text)))
            }
            Call::Cni(call) => {
                cni_error(fault.code(call), &format!("ashore: {fault}"), fault.remedy().unwrap_or_default())
            }
        }
    }

    /// The answer to a call that needs no daemon. `stdin` reads the standard input.
    pub(crate) fn own_answer(self, stdin: impl FnOnce() -> Vec<u8>) -> Option<Reply> {
        let text = match self {
            Call::Netavark(Netavark::Info) => format!(
                "{{\"version\":{},\"api_version\":\"{NETAVARK_VERSION}\"}}\n",
                json::string(env!("CARGO_PKG_VERSION"))
            ),
            Call::Cni(Cni::Version) => {
                let stdin = stdin();
                let asked = json::member(&stdin, "cniVersion");
                let version = CNI_VERSIONS.into_iter().find(|version| Some(*version) == asked);
                let newest = CNI_VERSIONS[CNI_VERSIONS.len() - 1];
                format!(
                    "{{\"cniVersion\":\"{}\",\"supportedVersions\":[\"{}\"]}}\n",
                    version.unwrap_or(newest),
                    CNI_VERSIONS.join("\",\"")
                )
            }
            _ => return None,
        };
        Some(Reply { stdout: text.into_bytes(), ..Reply::default() })
    }
}

/// The answer to a command that CNI does not have.
pub(crate) fn unknown_command(command: &str) -> Reply {
    cni_error(ENVIRONMENT, &format!("ashore: unknown CNI_COMMAND: {command}"), "")
}

/// The answer if the plugin that chooses the addresses is not there.
pub(crate) fn delegate_missing(why: &str) -> Reply {
    cni_error(
        CONFIG,
        &format!("ashore: {why}"),
        "try: install it there, or leave `\"ipam\"` out: Ashore chooses the addresses",
    )
}

/// The answer if the plugin that chooses the addresses has said nothing that its caller would understand.
pub(crate) fn delegate_failed(name: &str, why: &str) -> Reply {
    cni_error(DELEGATE, &format!("ashore: the IPAM plugin `{name}` has failed: {why}"), "")
}

fn cni_error(code: u32, message: &str, details: &str) -> Reply {
    refused(format!(
        "{{\"cniVersion\":\"1.0.0\",\"code\":{code},\"msg\":{},\"details\":{}}}\n",
        json::string(message),
        json::string(details)
    ))
}

fn refused(text: String) -> Reply {
    Reply { code: 1, stdout: text.into_bytes(), stderr: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_a_socket_is_told_what_root_is_to_type() {
        let failed = |kind: io::ErrorKind| Fault::Unanswered {
            at: "/run/ashore/ashore-plug.sock".into(),
            why: Unanswered::Io(kind.into()),
        };
        let setup = Call::Netavark(Netavark::Setup);
        let said = |fault: Fault| {
            let fault = fault.for_user("/var/lib/ashore-plug/sock".as_ref());
            String::from_utf8(setup.without_answer(&fault).stdout).unwrap()
        };
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied] {
            assert_eq!(
                said(failed(kind)),
                "{\"error\":\"ashore: the daemon does not answer at /var/lib/ashore-plug/sock: there is no socket for users other \
             than root; try, as root: ashore install --users\"}\n"
            );
        }
        assert!(said(failed(io::ErrorKind::ConnectionRefused)).contains("try: systemctl start ashore"));
    }

    fn asked(arguments: &[&str], cni_command: Option<&str>) -> Asked {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Asked::of(&arguments, cni_command.map(OsStr::new))
    }

    #[test]
    fn each_caller_is_known_by_how_it_calls() {
        let netavark = |call| Asked::Call(Call::Netavark(call));
        let cni = |call| Asked::Call(Call::Cni(call));
        for (arguments, command, wanted) in [
            (&["create"][..], None, netavark(Netavark::Create)),
            (&["setup", "/run/netns/x"], None, netavark(Netavark::Setup)),
            // The environment may be that of a CNI runtime, which started Podman.
            (&["teardown", "/run/netns/x"], Some("ADD"), netavark(Netavark::Teardown)),
            (&["info"], None, netavark(Netavark::Info)),
            (&[], Some("ADD"), cni(Cni::Add)),
            (&[], Some("DEL"), cni(Cni::Del)),
            (&[], Some("CHECK"), cni(Cni::Check)),
            (&[], Some("GC"), cni(Cni::Gc)),
            (&[], Some("STATUS"), cni(Cni::Status)),
            (&[], Some("VERSION"), cni(Cni::Version)),
            (&[], Some("add"), Asked::Unknown("add".to_owned())),
            (&[], Some(""), Asked::Nothing),
            (&[], None, Asked::Nothing),
            (&["update"], None, Asked::Nothing),
            (&["--version"], Some("ADD"), Asked::Version),
            (&["-V"], None, Asked::Version),
        ] {
            assert_eq!(asked(arguments, command), wanted, "{arguments:?} {command:?}");
        }
    }
}
