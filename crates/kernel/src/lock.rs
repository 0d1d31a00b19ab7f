//! One daemon rules one network namespace: two would take each other's links for strays.
//!
//! The lock is on a file of the namespace itself, a sysctl that nobody but the namespace's root may open. So it is the same
//! whatever directories a daemon was given, is never stale, leaves nothing behind, and no ordinary user can take it. The
//! file is another wherever `/proc` was mounted anew: in a container that shares the host's network, or a managed plugin
//! of Docker's. There a second guard tells: an abstract Unix socket, whose name is the namespace's too. Everybody may
//! bind that, so only one that belongs to the same user counts.

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

/// Mode 0600 and one for each network namespace (Linux 4.15). It is only opened, never read.
const FILE: &str = "/proc/sys/net/ipv4/tcp_fastopen_key";

const NAME: &[u8] = b"ashore";

/// Held for as long as a daemon runs.
#[derive(Debug)]
#[expect(dead_code, reason = "they hold the lock and the name")]
pub struct NamespaceLock(File, Option<UnixListener>);

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it, with its process id if that can be told from here.
    #[error("another ashore daemon{} rules this network namespace", .0.map_or_else(String::new, |pid| format!(" (pid {pid})")))]
    Held(Option<i32>),
    /// It is not for this user.
    #[error("this network namespace is not this user's to rule")]
    Permission,
    /// The system failed.
    #[error("the lock on this network namespace: {0}")]
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

/// Who holds a lock on a file: the kernel lists locks as `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`.
fn holder(file: &File) -> Option<i32> {
    let meta = file.metadata().ok()?;
    let (device, inode) = (meta.st_dev(), meta.st_ino());
    let this = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let line = locks.lines().find(|line| line.split_whitespace().any(|word| word == this))?;
    line.split_whitespace().nth(4)?.parse().ok().filter(|pid| *pid > 0)
}

/// Binds the name. Without it goes who finds it bound by another user.
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
                    "the socket @ashore is another user's, so a daemon in a container would not notice this one"
                );
                Ok(None)
            }
        },
        Err(error) => Err(error.into()),
    }
}

/// The user and the process that have bound the name; none if they do not listen, or let callers queue up.
fn binder() -> io::Result<Option<(u32, i32)>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let caller = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    if connect(std::os::fd::AsRawFd::as_raw_fd(&caller), &UnixAddr::new_abstract(NAME)?).is_err() {
        return Ok(None);
    }
    let credentials = getsockopt(&caller, PeerCredentials)?;
    Ok(Some((credentials.uid(), credentials.pid())))
}
