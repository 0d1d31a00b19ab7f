//! Sockets that the service manager bound and passed to this process (`sd_listen_fds(3)`).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};

/// Why the inherited sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenFdsError {
    /// The environment variables are malformed, or name descriptors that are not open.
    #[error("the inherited sockets (LISTEN_FDS): {0}")]
    Environment(#[source] io::Error),
    /// The descriptor is not a listening Unix stream socket.
    #[error("the inherited descriptor {0} is not a listening Unix stream socket")]
    NoListener(RawFd),
    /// The system returned an error.
    #[error("the inherited descriptor {fd}: {source}")]
    System {
        /// The descriptor.
        fd: RawFd,
        /// The system error.
        source: io::Error,
    },
}

/// Whether the descriptors were taken. They exist once, so only one owner may take them.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Returns the listening sockets that this process inherited. Returns an empty list from the second call on.
pub fn inherited_listeners() -> Result<Vec<UnixListener>, ListenFdsError> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    // Marks each descriptor close-on-exec, which fails if it is not open.
    let descriptors = sd_notify::listen_fds().map_err(ListenFdsError::Environment)?;
    descriptors.map(listener).collect()
}

fn listener(fd: RawFd) -> Result<UnixListener, ListenFdsError> {
    // SAFETY: the descriptor was just found to be open, the protocol gives it to this process, and it is
    // taken once.
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
