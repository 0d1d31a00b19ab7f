//! The client's side of the control socket, and what an unsuccessful command ends with.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use ashore_core::api::refusal::{Refusal, RefusalKind};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_kernel::wait_readable;
use clap::Args;

use crate::out::{complain, escaped_json, say};

/// No request takes longer: the longest asks the LAN for an address by the RFC's times.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon, or the command before it asked, refused.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Nobody listens.
    #[error("the daemon cannot be reached at {socket}: {source}")]
    Unreachable {
        /// The control socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is not for this user.
    #[error("{0}")]
    Privilege(String),
    /// The system lets nobody do this here.
    #[error("{message}")]
    Restricted {
        /// What is not allowed, and by which setting.
        message: String,
        /// The command that allows it.
        remedy: &'static str,
    },
    /// The connection broke before the answer. What was asked for is either done or undone; asking again is safe.
    #[error(
        "the daemon went away before it answered ({0}); it finishes or undoes what it had begun, and asking again is safe"
    )]
    NoAnswer(io::Error),
    /// The init system did not do its part.
    #[error("{0}")]
    Service(String),
    /// Anything that no user can do something about.
    #[error("{0:#}")]
    Internal(#[from] anyhow::Error),
    /// It was done and shown, and the result is not as it should be.
    #[error("{0}")]
    NotAsExpected(String),
}

impl Failure {
    /// The exit code, as `ashore --help` lists them.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::NoAnswer(_) | Failure::Service(_) | Failure::Internal(_) | Failure::NotAsExpected(_) => {
                1
            }
            Failure::Refused(refusal) => match refusal.kind {
                RefusalKind::Invalid => 3,
                RefusalKind::NotFound => 4,
                RefusalKind::Taken => 5,
                RefusalKind::Kernel => 6,
                RefusalKind::State => 7,
                RefusalKind::Internal => 1,
            },
            Failure::Unreachable { .. } => 8,
            Failure::Privilege(_) | Failure::Restricted { .. } => 9,
        }
    }

    /// What helps.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Failure::Refused(refusal) => refusal.hint.clone(),
            Failure::Unreachable { .. } => Some(
                "start it with `ashore daemon` (as root), or name its socket with --socket or ASHORE_SOCKET"
                    .into(),
            ),
            Failure::Restricted { remedy, .. } => Some((*remedy).to_owned()),
            Failure::Privilege(_) => Some("run it as root, with sudo".into()),
            Failure::Service(_) => Some("see why: journalctl --boot --unit ashore".into()),
            Failure::NoAnswer(_) => Some("see what became of it with: ashore status".into()),
            Failure::Internal(_) | Failure::NotAsExpected(_) => None,
        }
    }
}

/// Asks the daemon one thing; once more, where that is the same, if the daemon dies over it. A refusal is an error.
pub(crate) fn ask(client: &ClientArgs, request: &Request) -> Result<Reply, Failure> {
    match ask_once(client, request) {
        Err(Failure::NoAnswer(_)) if request.is_repeatable() => ask_once(client, request),
        answered => answered,
    }
}

fn ask_once(client: &ClientArgs, request: &Request) -> Result<Reply, Failure> {
    let mut stream = UnixStream::connect(&client.socket).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => {
            Failure::Privilege(format!("{} may be used by its owner alone", client.socket.display()))
        }
        _ => Failure::Unreachable { socket: client.socket.clone(), source },
    })?;
    let mut line = serde_json::to_vec(request).map_err(anyhow::Error::from)?;
    line.push(b'\n');
    let mut answer = String::new();
    stream.write_all(&line).map_err(Failure::NoAnswer)?;
    wait_for_answer(client, &stream).map_err(Failure::NoAnswer)?;
    BufReader::new(stream).read_line(&mut answer).map_err(Failure::NoAnswer)?;
    if answer.is_empty() {
        return Err(Failure::NoAnswer(io::ErrorKind::UnexpectedEof.into()));
    }
    let reply = serde_json::from_str(&answer).map_err(|error| {
        anyhow::anyhow!("the daemon's answer does not read ({error}); is it of another version?")
    })?;
    match reply {
        Reply::Refused(refusal) => Err(refusal.into()),
        reply => Ok(reply),
    }
}

/// Waits for the answer to begin. An init system that holds the socket lets callers wait until there is a daemon; whoever
/// waits should know for what.
fn wait_for_answer(client: &ClientArgs, stream: &UnixStream) -> io::Result<()> {
    if !wait_readable(&[stream.as_fd()], Some(PATIENCE))?[0] {
        let socket = client.socket.display();
        complain!("ashore: no answer at {socket} yet; with systemd, `systemctl status ashore` tells why");
    }
    Ok(())
}

/// The answer was of a kind that the request does not have.
pub(crate) fn unexpected(reply: &Reply) -> Failure {
    anyhow::anyhow!("the daemon gave an answer to another question: {reply:?}").into()
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    say!("{}", escaped_json(&serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?));
    Ok(())
}

/// How a client command reaches the daemon and prints.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArgs {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", env = "ASHORE_SOCKET", default_value = "/run/ashore/ashore.sock")]
    pub(crate) socket: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
