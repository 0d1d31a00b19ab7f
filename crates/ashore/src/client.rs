//! The client's side of the control socket, and the errors of commands.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, IsTerminal, Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal, RefusalKind};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::net::remedy::Remedy;
use ashore_kernel::wait_readable;
use clap::Args;

use crate::messages::message;
use crate::out::{complain, escaped_json, line_if_read, say};
use crate::protocol::{self, OtherVersion};

/// The control socket, unless it is said otherwise.
const SOCKET: &str = "/run/ashore/ashore.sock";
/// The file name of the read socket, in the directory of the control socket.
pub(crate) const READ: &str = "ashore-read.sock";
/// The group whose members may use the read socket.
pub(crate) const GROUP: &str = "ashore";
/// A person who waits longer for an answer is told for what.
const AT_ONCE: Duration = Duration::from_secs(1);
/// No other request takes longer after that. The longest one asks the LAN for an address with the timing of the RFC.
const PATIENCE: Duration = Duration::from_secs(15);
/// A diagnosis asks the DHCP servers of several networks, one after the other.
const PATIENCE_OF_DIAGNOSES: Duration = Duration::from_secs(120);

/// What is wrong with a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// There is no such command, or only a part of it is there.
    Command,
    /// The command has no such option, or takes no further word.
    Option,
    /// The value is none of those that there are.
    Value,
    /// Something that is needed is missing.
    Missing,
    /// What is there excludes each other.
    Together,
    /// None of these.
    Other,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon refused the request, or the command did before it asked the daemon.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Nothing listens on the control socket.
    #[error("the daemon cannot be reached at {socket}: {source}")]
    Unreachable {
        /// The path of the control socket.
        socket: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The user may not use the socket.
    #[error("{0}")]
    Privilege(String),
    /// The system allows no user to do this.
    #[error("{message}")]
    Restricted {
        /// What is not allowed, and the setting that forbids it.
        message: String,
        /// The command that allows it.
        remedy: &'static str,
    },
    /// Client and daemon are of versions that do not understand each other.
    #[error("{0}")]
    OtherVersion(#[from] OtherVersion),
    /// The connection broke before the answer. The daemon completes or undoes the request, so it is safe to
    /// repeat it.
    #[error(
        "the daemon went away before it answered ({0}); it completes or undoes the request, and repeating it is safe"
    )]
    NoAnswer(io::Error),
    /// The init system could not start or stop the service.
    #[error("{0}")]
    Service(String),
    /// An error that the user cannot correct.
    #[error("{0:#}")]
    Internal(#[from] anyhow::Error),
    /// The doctor has found something. It is printed already.
    #[error("{0}")]
    Unwell(String, u8),
    /// The command line asks for what does not go together.
    #[error("{message}")]
    Usage {
        /// What kind of mistake it is.
        mistake: Mistake,
        /// What is wrong with it.
        message: String,
        /// What was meant, or where it is explained.
        remedy: Option<String>,
    },
    /// The command succeeded, but the result is not as expected.
    #[error("{0}")]
    NotAsExpected(String),
}

/// The exit code for a user who may not do what he asks for.
pub(crate) const UNPRIVILEGED: u8 = 9;

/// The exit code for a kind of refusals.
pub(crate) fn exit_code_of(kind: RefusalKind) -> u8 {
    match kind {
        RefusalKind::Invalid => 3,
        RefusalKind::NotFound => 4,
        RefusalKind::Taken => 5,
        RefusalKind::Kernel => 6,
        RefusalKind::State => 7,
        RefusalKind::Internal => 1,
    }
}

impl Failure {
    /// The exit code, as listed by `ashore --help`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::NoAnswer(_) | Failure::Service(_) | Failure::Internal(_) | Failure::NotAsExpected(_) => {
                1
            }
            Failure::Refused(refusal) => exit_code_of(refusal.kind),
            Failure::Unwell(_, code) => *code,
            Failure::Usage { .. } => 2,
            Failure::Unreachable { .. } | Failure::OtherVersion(_) => 8,
            Failure::Privilege(_) | Failure::Restricted { .. } => UNPRIVILEGED,
        }
    }

    /// The remedy.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Failure::Refused(refusal) => refusal.remedy.as_ref().map(ToString::to_string),
            Failure::Unreachable { .. } => Some(
                "as root, start it with `systemctl start ashore`, or `ashore daemon` where it is not installed; or set its socket \
                 with --socket or ASHORE_SOCKET"
                    .into(),
            ),
            Failure::OtherVersion(other) => Some(other.hint.clone()),
            Failure::Usage { remedy, .. } => remedy.clone(),
            Failure::Restricted { remedy, .. } => Some((*remedy).to_owned()),
            Failure::Privilege(_) => Some("run it as root, with sudo".into()),
            Failure::Service(_) => Some("see why: journalctl --boot --unit ashore".into()),
            Failure::NoAnswer(_) => Some("check the result with: ashore status".into()),
            Failure::Internal(_) | Failure::NotAsExpected(_) | Failure::Unwell(..) => None,
        }
    }
}

/// Sends the daemon a request. If the daemon goes away before it answers, and the request is repeatable,
/// sends it once more. Returns a refusal as an error.
pub(crate) fn ask(client: &ClientArgs, request: &Request) -> Result<Reply, Failure> {
    match ask_once(client, request) {
        Err(Failure::NoAnswer(_)) if request.is_repeatable() => ask_once(client, request),
        answered => answered,
    }
}

fn ask_once(client: &ClientArgs, request: &Request) -> Result<Reply, Failure> {
    let (mut stream, socket) = connect(client, request)?;
    let line = protocol::request_line(request).map_err(anyhow::Error::from)?;
    let mut answer = Vec::new();
    stream.write_all(&line).map_err(Failure::NoAnswer)?;
    wait_for_answer(&socket, &stream, request).map_err(Failure::NoAnswer)?;
    BufReader::new(stream).read_until(b'\n', &mut answer).map_err(Failure::NoAnswer)?;
    if answer.is_empty() {
        return Err(Failure::NoAnswer(io::ErrorKind::UnexpectedEof.into()));
    }
    match protocol::read_reply(&answer)? {
        Reply::Refused(refusal) => Err(refusal.into()),
        reply => Ok(reply),
    }
}

/// Connects to the control socket. If this user may not use it, a reading request goes to the read socket next
/// to it. Also returns the path of the socket.
fn connect(client: &ClientArgs, request: &Request) -> Result<(UnixStream, PathBuf), Failure> {
    let source = match UnixStream::connect(&client.socket) {
        Ok(stream) => return Ok((stream, client.socket.clone())),
        Err(source) => source,
    };
    let control = client.socket.display();
    if source.kind() != io::ErrorKind::PermissionDenied {
        return Err(Failure::Unreachable { socket: client.socket.clone(), source });
    }
    if !request.is_reading() {
        return Err(Failure::Privilege(format!("only the owner of {control} may use it")));
    }
    let read = client.socket.with_file_name(READ);
    let source = match UnixStream::connect(&read) {
        Ok(stream) => return Ok((stream, read)),
        Err(source) => source,
    };
    let at = read.display();
    Err(Failure::Privilege(match source.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("only the owner of {control} may use it, and only the group {GROUP} may read at {at}")
        }
        _ => format!("only the owner of {control} may use it, and {at} cannot be read at: {source}"),
    }))
}

/// Whether whoever reads standard error knows that the command waits.
static KNOWN_TO_WAIT: AtomicBool = AtomicBool::new(false);

/// Notes that the command has said itself that it takes some time.
pub(crate) fn has_said_it_waits() {
    KNOWN_TO_WAIT.store(true, Ordering::Relaxed);
}

/// Waits for the answer to begin. On a terminal, this says after a second what the command waits for. An init system
/// that holds the socket keeps callers waiting until there is a daemon. If that takes long, everybody is told.
fn wait_for_answer(socket: &Path, stream: &UnixStream, request: &Request) -> io::Result<()> {
    let comes_within = |most| wait_readable(&[stream.as_fd()], Some(most)).map(|readable| readable[0]);
    if comes_within(AT_ONCE)? {
        return Ok(());
    }
    if stderr().is_terminal() && !KNOWN_TO_WAIT.swap(true, Ordering::Relaxed) {
        let what =
            if asks_the_lan(request) { message!("waits-for-lan") } else { message!("waits-for-daemon") };
        complain!("{what}");
    }
    let patience = if matches!(request, Request::Diagnose(_)) { PATIENCE_OF_DIAGNOSES } else { PATIENCE };
    if !comes_within(patience)? {
        let socket = socket.display();
        complain!("ashore: no answer at {socket} yet; with systemd, `systemctl status ashore` shows why");
    }
    Ok(())
}

/// Whether it is the LAN that takes the time.
fn asks_the_lan(request: &Request) -> bool {
    matches!(
        request,
        Request::CreateNetwork(_)
            | Request::MoveNetwork { .. }
            | Request::Readdress(_)
            | Request::Attach(_)
            | Request::CheckPool(_)
            | Request::Diagnose(_)
    )
}

/// The error for a reply of a kind that does not belong to the request.
pub(crate) fn unexpected(reply: &Reply) -> Failure {
    anyhow::anyhow!("the daemon's reply does not match the request: {reply:?}").into()
}

/// Whether a command has printed JSON. A second document would make both unreadable.
static PRINTED: AtomicBool = AtomicBool::new(false);

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    PRINTED.store(true, Ordering::Relaxed);
    say!("{}", escaped_json(&serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?));
    Ok(())
}

/// Prints a refusal as JSON, unless the command has printed what it found out. The exit code tells programs that it is one, so a reader that is gone is no error.
pub(crate) fn print_refusal(refusal: &Refusal) {
    #[derive(serde::Serialize)]
    struct Shown<'a> {
        code: Code,
        kind: RefusalKind,
        about: &'a About,
        message: &'a str,
        remedy: &'a Option<Remedy>,
    }
    if PRINTED.load(Ordering::Relaxed) {
        return;
    }
    let Refusal { kind, code, about, message, remedy } = refusal;
    let shown = Shown { code: *code, kind: *kind, about, message, remedy };
    if let Ok(json) = serde_json::to_string_pretty(&BTreeMap::from([("refused", shown)])) {
        line_if_read(&escaped_json(&json));
    }
}

/// How a client command reaches the daemon, and how it prints.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArgs {
    /// Control socket of the daemon
    #[arg(long, value_name = "PATH", env = "ASHORE_SOCKET", default_value = SOCKET)]
    pub(crate) socket: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl ClientArgs {
    /// Those of a command line without options.
    pub(crate) fn usual() -> Self {
        let socket = std::env::var_os("ASHORE_SOCKET").map_or_else(|| SOCKET.into(), PathBuf::from);
        ClientArgs { socket, json: false }
    }
}
