//! The control socket: one line of JSON in, one line of JSON out (see [`crate::protocol`]), one thread for each
//! connection.
//!
//! The number of clients is limited, so that the daemon keeps threads and descriptors for its own work.
//! Further clients wait in the socket's queue. A client has a limited time to send a whole request, and to
//! read the whole answer.
//!
//! The read socket works in the same way and passes reading requests only. Its clients count by themselves, and
//! their requests are answered one at a time, so that they keep nobody from the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;

use super::controller::Controller;
use crate::client::GROUP;
use crate::protocol;
use crate::sockets::{Access, ListenFds, Socket};
use crate::supervise::{contained, needed};

mod clients;

use clients::{Client, Clients};

/// The maximum length of a request, in bytes. The largest request is the import of a state.
const LONGEST: u64 = 16 * 1024 * 1024;

/// The maximum length of a reading request, in bytes.
const LONGEST_READING: u64 = 64 * 1024;

/// How long a client may take to send a request, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The control socket, or the read socket. Its file is removed by the daemon that created it.
pub(super) struct Control {
    path: PathBuf,
    door: Arc<Door>,
    /// Whether the socket existed before the daemon, which then does not remove its file.
    handed: bool,
}

impl Control {
    /// Takes the socket at a path, or creates it.
    pub(super) fn at(path: PathBuf, handed: &mut ListenFds) -> anyhow::Result<Self> {
        let socket = handed.socket(&path, Access::Owner)?;
        Control::of(path, socket, Passes::All)
    }

    /// Takes the read socket at a path, or creates it. `control` is the path of the control socket.
    pub(super) fn for_reading(path: PathBuf, control: &Path, handed: &mut ListenFds) -> anyhow::Result<Self> {
        let socket = handed.socket(&path, Access::Group)?;
        let passes = Passes::Reading { control: control.to_owned(), turn: Mutex::new(()) };
        Control::of(path, socket, passes)
    }

    fn of(path: PathBuf, socket: Socket, passes: Passes) -> anyhow::Result<Self> {
        let Socket { listener, handed } = socket;
        // The process that bound it may have made it non-blocking.
        listener.set_nonblocking(false)?;
        Ok(Control { path, door: Arc::new(Door { clients: Clients::of(listener), passes }), handed })
    }

    /// Begins to answer clients.
    pub(super) fn serve(&self, controller: &Arc<Controller>) -> io::Result<()> {
        await_client(self.door.clone(), controller.clone())
    }
}

/// A listening socket with its clients, and what it passes.
struct Door {
    clients: Clients,
    passes: Passes,
}

/// The requests that pass a socket.
enum Passes {
    All,
    /// Those that only read. All others are refused before the controller sees them.
    Reading {
        /// The path of the control socket.
        control: PathBuf,
        /// Held while the controller answers, so that it has one reader at a time.
        turn: Mutex<()>,
    },
}

impl Passes {
    /// The name of the threads.
    fn name(&self) -> &'static str {
        match self {
            Passes::All => "control",
            Passes::Reading { .. } => "read",
        }
    }

    fn longest(&self) -> u64 {
        match self {
            Passes::All => LONGEST,
            Passes::Reading { .. } => LONGEST_READING,
        }
    }

    fn handle(&self, controller: &Controller, request: Request) -> Result<Reply, Refusal> {
        match self {
            Passes::All => Ok(controller.handle(request)),
            Passes::Reading { turn, .. } if request.is_reading() => {
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(controller.handle(request))
            }
            Passes::Reading { control, .. } => Err(Refusal::of(
                Code::ReadOnly,
                format!(
                    "the read socket passes only status, lists and plans without a change; everything else goes to \
                     {}",
                    control.display()
                ),
                format!("run it as root, with sudo; members of the group {GROUP} may only read"),
            )),
        }
    }
}

/// Starts a thread for the next client. Once that client is there, the thread leaves the socket to a
/// successor thread and answers the client itself, so that no client waits for a thread to start. If no
/// successor can be started, because threads or memory are short for a moment, the thread goes on with the
/// next client itself.
fn await_client(door: Arc<Door>, controller: Arc<Controller>) -> io::Result<()> {
    std::thread::Builder::new().name(door.passes.name().into()).spawn(move || {
        loop {
            let (client, successor) = needed(|| {
                let client = door.clients.accept();
                (client, await_client(door.clone(), controller.clone()))
            });
            match contained(|| answer(&controller, &door.passes, &client)) {
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
fn answer(controller: &Controller, passes: &Passes, client: &Client<'_>) -> io::Result<()> {
    let mut reader = BufReader::new(Until::soon(client.stream()));
    loop {
        let mut line = Vec::new();
        reader.by_ref().take(passes.longest()).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let is_too_long = line.len() as u64 == passes.longest() && !line.ends_with(b"\n");
        if is_too_long {
            // Otherwise its end would be taken for the next request.
            reader.skip_until(b'\n')?;
        }
        client.is_served();
        let (form, request) = if is_too_long {
            protocol::too_long(&line, passes.longest())
        } else {
            protocol::read_request(&line)
        };
        let reply = request
            .and_then(|request| contained(|| passes.handle(controller, request)).and_then(|reply| reply));
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
