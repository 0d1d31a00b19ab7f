//! `ashore-plug`: what Podman's netavark, and CNI runtimes, execute for each container. It carries the call to
//! Ashore's daemon, and prints the answer: with the network namespace's descriptor to root's socket, and with the numbers of
//! its file to the socket for everybody. The kernel tells the daemon who
//! calls. Nothing is decided here, except what is to be said if no daemon answers.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ashore_plug::CNI_VERSIONS;
use ashore_plug::wire::{Delegated, Reply, Request, STDIN_MAX, VARIABLES};

mod call;
mod client;
mod delegate;
mod json;

use call::{Asked, Call, Fault, Netavark};
use delegate::Delegate;

/// The environment variable that names the daemon's socket.
const SOCKET: &str = "ASHORE_PLUG_SOCKET";
/// Where the daemon's socket is. The second place is for Podman without root, which has a `/run` of its own while
/// it sets up a container.
const PLACES: [&str; 2] = ["/run/ashore/ashore-plug.sock", "/var/lib/ashore-plug/sock"];
/// How long to wait for the daemon's answer.
const PATIENCE: Duration = Duration::from_secs(150);

const VERSION: &str = concat!("ashore-plug ", env!("CARGO_PKG_VERSION"), "\n");

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let reply = match Asked::of(&arguments, std::env::var_os("CNI_COMMAND").as_deref()) {
        Asked::Version => Reply { stdout: VERSION.into(), ..Reply::default() },
        Asked::Nothing => Reply { stderr: about().into_bytes(), ..Reply::default() },
        Asked::Unknown(command) => call::unknown_command(&command),
        // What cannot be read names no version.
        Asked::Call(call) => {
            call.own_answer(|| stdin().unwrap_or_default()).unwrap_or_else(|| carry_out(call, &arguments))
        }
    };
    print(&reply)
}

fn about() -> String {
    format!(
        "ashore-plug {}: a network driver for Podman (netavark) and a CNI plugin, which call it; versions of CNI: {}\n",
        env!("CARGO_PKG_VERSION"),
        CNI_VERSIONS.join(", ")
    )
}

/// Carries out a call: passes it on to the daemon, beside the plugin that chooses the addresses, if there is one.
fn carry_out(call: Call, arguments: &[OsString]) -> Reply {
    let stdin = match stdin() {
        Ok(stdin) => stdin,
        Err(fault) => return call.without_answer(&fault),
    };
    let name = called_as(std::env::args_os().next().as_deref());
    let ask = |environment: Vec<(Vec<u8>, Vec<u8>)>, delegated: Option<Delegated>| {
        let request = Request {
            name: name.clone(),
            arguments: arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect(),
            environment,
            stdin: stdin.clone(),
            opened: None,
            unopened: None,
            delegated,
        };
        pass_on(call, request)
    };
    match (call, Delegate::of(&stdin, &name)) {
        (Call::Cni(cni), Some(delegate)) => {
            delegate.with(cni, |command, delegated| ask(environment_for(command.as_str()), delegated))
        }
        _ => ask(environment(), None).unwrap_or_else(|fault| call.without_answer(&fault)),
    }
}

/// Passes a call on to the daemon.
fn pass_on(call: Call, request: Request) -> Result<Reply, Fault> {
    let netns = match call {
        Call::Netavark(Netavark::Setup | Netavark::Teardown) => {
            request.arguments.get(1).map(|path| OsString::from_vec(path.clone()))
        }
        Call::Cni(_) => std::env::var_os("CNI_NETNS"),
        Call::Netavark(_) => None,
    };
    let netns = netns.filter(|path| !path.is_empty()).map(File::open);
    let (netns, opened, unopened) = match netns.map(|netns| netns.and_then(with_numbers)) {
        Some(Ok((netns, numbers))) => (Some(netns), Some(numbers), None),
        // The daemon decides whether that matters.
        Some(Err(error)) => (None, None, Some(error.to_string())),
        None => (None, None, None),
    };
    let request = Request { opened, unopened, ..request }.encode().map_err(Fault::Request)?;
    // The namespace stays open until the answer, so that no other one gets its numbers meanwhile.
    let netns = netns.as_ref().map(AsFd::as_fd);
    match named_place() {
        Some(place) => client::ask(&[place], &request, netns, PATIENCE),
        None => client::ask(&PLACES.map(PathBuf::from), &request, netns, PATIENCE)
            .map_err(|fault| if is_for_root() { fault } else { fault.for_user(PLACES[1].as_ref()) }),
    }
}

/// Whether root's socket is the one that counts: this is root, or there is one for users too. Where Podman runs without
/// root its user looks like root, who has no other id beside; the root of a container that is a whole system has.
fn is_for_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    is_root && has_more_than_root(&map) || Path::new(PLACES[1]).exists()
}

/// Whether other ids follow that of root in a map of user ids.
fn has_more_than_root(map: &str) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        matches!((numbers.next(), numbers.nth(1)), (Some(Ok(0)), Some(Ok(2..))))
    })
}

/// A file, with its device and inode numbers.
fn with_numbers(file: File) -> io::Result<(File, (u64, u64))> {
    let metadata = file.metadata()?;
    Ok((file, (metadata.dev(), metadata.ino())))
}

/// The file name by which the program was called: the driver's name, for netavark.
fn called_as(program: Option<&OsStr>) -> Vec<u8> {
    program.and_then(|program| Path::new(program).file_name()).unwrap_or_default().as_bytes().to_vec()
}

fn environment() -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec()));
    entries.filter(|(name, _)| name.starts_with(VARIABLES)).collect()
}

/// The environment for a command of CNI's, which may be another than the runtime's.
fn environment_for(command: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = environment();
    let commands = all.iter_mut().filter(|(name, _)| name == b"CNI_COMMAND");
    commands.for_each(|(_, value)| *value = command.into());
    all
}

/// The whole standard input, unless it is too long.
fn stdin() -> Result<Vec<u8>, Fault> {
    let mut read = Vec::new();
    let most = STDIN_MAX as u64 + 1;
    io::stdin().lock().take(most).read_to_end(&mut read).map_err(Fault::Unreadable)?;
    if read.len() > STDIN_MAX { Err(Fault::TooLong) } else { Ok(read) }
}

/// The socket that the environment names.
fn named_place() -> Option<PathBuf> {
    std::env::var_os(SOCKET).filter(|socket| !socket.is_empty()).map(PathBuf::from)
}

/// Prints a reply, and returns its exit code. An answer that its caller cannot read is a failure.
fn print(reply: &Reply) -> ExitCode {
    let _ = io::stderr().write_all(&reply.stderr);
    let mut stdout = io::stdout().lock();
    if stdout.write_all(&reply.stdout).and_then(|()| stdout.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    u8::try_from(reply.code).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_looks_like_root_is_known_by_the_map() {
        for (map, is) in [
            ("         0          0 4294967295\n", true),
            ("         0     100000      65536\n", true),
            ("         0       1000          1\n", false),
            ("         0       1000          1\n         1     100000      65536\n", false),
            ("      1000       1000          1\n", false),
            ("", false),
        ] {
            assert_eq!(has_more_than_root(map), is, "{map}");
        }
    }
}
