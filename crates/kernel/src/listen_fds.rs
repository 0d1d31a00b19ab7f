//! Sockets that whoever started this process has bound for it (`sd_listen_fds(3)`).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};

/// Why what was handed over cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ListenFdsError {
    /// The environment promises descriptors that do not read, or are not there.
    #[error("the sockets handed over (LISTEN_FDS): {0}")]
    Environment(#[source] io::Error),
    /// It is no Unix stream socket that listens.
    #[error("descriptor {0}, which was handed over, is no Unix stream socket that listens")]
    NoListener(RawFd),
    /// The system failed.
    #[error("descriptor {fd}, which was handed over: {source}")]
    System {
        /// Which one.
        fd: RawFd,
        /// What the system said.
        source: io::Error,
    },
}

/// The descriptors are there once, and so is their owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The listening sockets that were handed over to this process; none when asked a second time.
pub fn inherited_listeners() -> Result<Vec<UnixListener>, ListenFdsError> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    // Marks each to be closed on exec, which fails for one that is not open.
    let descriptors = sd_notify::listen_fds().map_err(ListenFdsError::Environment)?;
    descriptors.map(listener).collect()
}

fn listener(fd: RawFd) -> Result<UnixListener, ListenFdsError> {
    // SAFETY: the descriptor is open, as was just seen, and by the protocol this process's own; it is taken once.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let listens = || {
        Ok(socket.domain()? == Domain::UNIX && socket.r#type()? == Type::STREAM && socket.is_listener()?)
    };
    match listens() {
        Ok(true) => Ok(OwnedFd::from(socket).into()),
        Ok(false) => Err(ListenFdsError::NoListener(fd)),
        Err(source) => Err(ListenFdsError::System { fd, source }),
    }
}
