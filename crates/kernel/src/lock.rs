//! The lock that lets only one daemon manage a network namespace. Two daemons would remove each other's links
//! as strays.
//!
//! The lock is on a file that belongs to the namespace itself: a sysctl that only the namespace's root may
//! open. So the lock is the same whatever directories a daemon was given. It is never stale, it leaves
//! nothing behind, and no ordinary user can take it. Where `/proc` was mounted again, the file is a different
//! one. This is so in a container that shares the host's network and in a managed plugin of Docker. An
//! abstract Unix socket is the second guard for that case, because its name belongs to the network namespace
//! too. Any user can bind that name, so only a socket of the same user counts.

use std::fs::{File, TryLockError};
use std::io;
use std::os::linux::fs::MetadataExt;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt::PeerCredentials,
};
use nix::sys::stat::{major, minor};
use nix::unistd::geteuid;

/// A file of mode 0600 that exists once per network namespace (Linux 4.15). It is opened but never read.
const FILE: &str = "/proc/sys/net/ipv4/tcp_fastopen_key";

const NAME: &[u8] = b"ashore";

/// The lock. A daemon holds it for as long as it runs.
#[derive(Debug)]
#[expect(dead_code, reason = "they hold the lock and the name")]
pub struct NamespaceLock(File, Option<UnixListener>);

/// Why the lock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon holds it. Its process id is included if it can be determined from here.
    #[error("another ashore daemon{} runs in this network namespace", .0.map_or_else(String::new, |pid| format!(" (pid {pid})")))]
    Held(Option<i32>),
    /// The user may not open the lock file.
    #[error("permission denied: the daemon needs root in this network namespace")]
    Permission,
    /// The system returned an error.
    #[error("cannot lock this network namespace: {0}")]
    System(#[from] io::Error),
}

impl NamespaceLock {
    /// Takes the lock on the calling thread's namespace.
    pub fn take() -> Result<Self, LockError> {
        let file = File::open(FILE).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => LockError::Permission,
            _ => error.into(),
        })?;
        match file.try_lock() {
            Ok(()) => Ok(NamespaceLock(file, take_name()?)),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(holder(&file))),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

/// The process that holds the lock on a file. The kernel lists locks as `1: FLOCK ADVISORY WRITE PID
/// MAJOR:MINOR:INODE 0 EOF`.
fn holder(file: &File) -> Option<i32> {
    let meta = file.metadata().ok()?;
    let (device, inode) = (meta.st_dev(), meta.st_ino());
    let this = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let line = locks.lines().find(|line| line.split_whitespace().any(|word| word == this))?;
    line.split_whitespace().nth(4)?.parse().ok().filter(|pid| *pid > 0)
}

/// Binds the name. Returns `Ok(None)` if another user has bound it: the daemon then runs without this guard.
fn take_name() -> Result<Option<UnixListener>, LockError> {
    let address = SocketAddr::from_abstract_name(NAME)?;
    match UnixListener::bind_addr(&address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match binder()? {
            Some((uid, pid)) if uid == geteuid().as_raw() => {
                Err(LockError::Held(Some(pid).filter(|pid| *pid > 0)))
            }
            other => {
                let (uid, pid) = other.unzip();
                tracing::warn!(
                    ?uid,
                    ?pid,
                    "another user owns the socket @ashore, so a daemon in a container would not notice this one"
                );
                Ok(None)
            }
        },
        Err(error) => Err(error.into()),
    }
}

/// The user and the process that bound the name. Returns `None` if they do not listen, or if their queue of
/// callers is full.
fn binder() -> io::Result<Option<(u32, i32)>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let caller = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    if connect(std::os::fd::AsRawFd::as_raw_fd(&caller), &UnixAddr::new_abstract(NAME)?).is_err() {
        return Ok(None);
    }
    let credentials = getsockopt(&caller, PeerCredentials)?;
    Ok(Some((credentials.uid(), credentials.pid())))
}
