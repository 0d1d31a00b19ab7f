//! The control socket: one line of JSON in, one line of JSON out (see [`crate::protocol`]), one thread for each
//! connection.
//!
//! The number of clients is limited, so that the daemon keeps threads and descriptors for its own work.
//! Further clients wait in the socket's queue. A client has a limited time to send a whole request, and to
//! read the whole answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ashore_core::api::reply::Reply;

use super::controller::Controller;
use crate::protocol;
use crate::sockets::{ListenFds, Socket};
use crate::supervise::{contained, needed};

mod clients;

use clients::{Client, Clients};

/// The maximum length of a request, in bytes. The largest request is the import of a state.
const LONGEST: u64 = 16 * 1024 * 1024;

/// How long a client may take to send a request, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The control socket. Its file is removed by the daemon that created it.
pub(super) struct Control {
    path: PathBuf,
    clients: Arc<Clients>,
    /// Whether the socket existed before the daemon, which then does not remove its file.
    handed: bool,
}

impl Control {
    /// Takes the socket at a path, or creates it.
    pub(super) fn at(path: PathBuf, handed: &mut ListenFds) -> anyhow::Result<Self> {
        let Socket { listener, handed } = handed.socket(&path)?;
        // The process that bound it may have made it non-blocking.
        listener.set_nonblocking(false)?;
        Ok(Control { path, clients: Arc::new(Clients::of(listener)), handed })
    }

    /// Begins to answer clients.
    pub(super) fn serve(&self, controller: &Arc<Controller>) -> io::Result<()> {
        await_client(self.clients.clone(), controller.clone())
    }
}

/// Starts a thread for the next client. Once that client is there, the thread leaves the socket to a
/// successor thread and answers the client itself, so that no client waits for a thread to start. If no
/// successor can be started, because threads or memory are short for a moment, the thread goes on with the
/// next client itself.
fn await_client(clients: Arc<Clients>, controller: Arc<Controller>) -> io::Result<()> {
    std::thread::Builder::new().name("control".into()).spawn(move || {
        loop {
            let (client, successor) = needed(|| {
                let client = clients.accept();
                (client, await_client(clients.clone(), controller.clone()))
            });
            match contained(|| answer(&controller, &client)) {
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

impl Drop for Control {
    fn drop(&mut self) {
        if !self.handed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Answers all requests of a connection.
fn answer(controller: &Controller, client: &Client<'_>) -> io::Result<()> {
    let mut reader = BufReader::new(Until::soon(client.stream()));
    loop {
        let mut line = Vec::new();
        reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        client.is_served();
        let (form, request) = protocol::read_request(&line);
        let reply = request.and_then(|request| contained(|| controller.handle(request)));
        let bytes = protocol::reply_line(form, &reply.unwrap_or_else(Reply::Refused))?;
        client.is_waited_for();
        Until::soon(client.stream()).write_all(&bytes)?;
        *reader.get_mut() = Until::soon(client.stream());
    }
}

/// A stream with a deadline for all its reads or writes together, however little is transferred at a time.
struct Until<'a> {
    stream: &'a UnixStream,
    end: Instant,
}

impl<'a> Until<'a> {
    fn soon(stream: &'a UnixStream) -> Self {
        Until { stream, end: Instant::now() + PATIENCE }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
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
