//! A listening socket and its clients: one thread for each connection.
//!
//! The number of clients is limited, so that the daemon keeps threads and descriptors for its own work.
//! Further clients wait in the socket's queue. A client has a limited time to send a whole request, and to
//! read the whole answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ashore_kernel::{read_bare, take_no_descriptors};

use super::clients::{Client, Clients, MOST, Share, ShareOf};
use crate::sockets::Socket;
use crate::supervise::{contained, needed};

/// How long a client may take to send a request, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers all requests of a connection.
pub(super) type Answer = Box<dyn Fn(&Client<'_>) -> io::Result<()> + Send + Sync>;

/// A socket that clients connect to. Its file is removed by the daemon that created it.
pub(super) struct Door {
    path: PathBuf,
    clients: Arc<Clients>,
    /// The name of its threads.
    name: &'static str,
    /// Whether the socket existed before the daemon, which then does not remove its file.
    handed: bool,
}

impl Door {
    /// A door for root, or for those who are trusted with it: all places are anybody's.
    pub(super) fn of(path: PathBuf, socket: Socket, name: &'static str) -> anyhow::Result<Self> {
        Self::shared(path, socket, name, MOST, Box::new(|_| Ok(Share { whose: None, most: MOST })))
    }

    /// A door through which no descriptor comes, of those that the kernel can keep out.
    pub(super) fn without_descriptors(self) -> Self {
        take_no_descriptors(self.clients.listener());
        self
    }

    /// A door at which everybody has a share of this many places.
    pub(super) fn shared(
        path: PathBuf,
        socket: Socket,
        name: &'static str,
        most: usize,
        share_of: ShareOf,
    ) -> anyhow::Result<Self> {
        let Socket { listener, handed } = socket;
        // The process that bound it may have made it non-blocking.
        listener.set_nonblocking(false)?;
        Ok(Door { path, clients: Arc::new(Clients::of(listener, most, share_of)), name, handed })
    }

    /// Begins to answer clients.
    pub(super) fn serve(&self, answer: Answer) -> io::Result<()> {
        await_client(self.name, self.clients.clone(), Arc::new(answer))
    }
}

/// Starts a thread for the next client. Once that client is there, the thread leaves the socket to a
/// successor thread and answers the client itself, so that no client waits for a thread to start. If no
/// successor can be started, because threads or memory are short for a moment, the thread goes on with the
/// next client itself.
fn await_client(name: &'static str, clients: Arc<Clients>, answer: Arc<Answer>) -> io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(move || {
        loop {
            let (client, successor) = needed(|| {
                let client = clients.accept();
                (client, await_client(name, clients.clone(), answer.clone()))
            });
            match contained(|| answer(&client)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!("a client went away: {error}"),
                Err(fault) => tracing::error!("a client: {fault}"),
            }
            match successor {
                Ok(()) => return,
                Err(error) => tracing::error!("no thread for the next client: {error}"),
            }
        }
    })?;
    Ok(())
}

impl Drop for Door {
    fn drop(&mut self) {
        if !self.handed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A stream with a deadline for all its reads or writes together, however little is transferred at a time.
pub(super) struct Until<'a> {
    pub(super) stream: &'a UnixStream,
    end: Instant,
}

impl<'a> Until<'a> {
    pub(super) fn soon(stream: &'a UnixStream) -> Self {
        Until { stream, end: Instant::now() + PATIENCE }
    }

    /// The time that is left, for the next read or write.
    pub(super) fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        // A descriptor that comes with the bytes would be closed by this thread.
        read_bare(self.stream, buffer)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
