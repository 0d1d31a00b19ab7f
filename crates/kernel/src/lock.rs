//! One daemon rules one network namespace: two would take each other's links for strays.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// Held for as long as a daemon runs. Abstract socket names belong to a network namespace and vanish with their owner,
/// so the lock is never stale.
#[derive(Debug)]
pub struct NamespaceLock(#[expect(dead_code, reason = "it holds the name")] UnixListener);

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error("another ashore daemon (pid {0}) rules this network namespace")]
    Held(i32),
    /// The system failed.
    #[error("the lock on this network namespace: {0}")]
    System(#[from] io::Error),
}

const NAME: &[u8] = b"ashore";

impl NamespaceLock {
    /// Takes the lock on the calling thread's namespace.
    pub fn take() -> Result<Self, LockError> {
        let address = SocketAddr::from_abstract_name(NAME)?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(NamespaceLock(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let holder = UnixStream::connect_addr(&address)?;
                let credentials = getsockopt(&holder, PeerCredentials).map_err(io::Error::from)?;
                Err(LockError::Held(credentials.pid()))
            }
            Err(error) => Err(error.into()),
        }
    }
}
