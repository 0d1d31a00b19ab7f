//! The control socket: a line of JSON in, a line of JSON out, one thread for a connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ashore_core::request::{Refusal, RefusalKind, Reply};

use super::engine::Engine;
use super::socket::{Handed, Socket};

/// More than any request has, in bytes; an imported state is the largest.
const LONGEST: u64 = 16 * 1024 * 1024;

/// How long a client may take over its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket. Its file goes with the daemon that made it.
pub(super) struct Control {
    path: PathBuf,
    socket: Socket,
}

impl Control {
    /// Takes the socket at a path, or makes it.
    pub(super) fn at(path: PathBuf, handed: &mut Handed) -> anyhow::Result<Self> {
        let socket = handed.socket(&path)?;
        // Whoever bound it may have wanted it otherwise.
        socket.listener.set_nonblocking(false)?;
        Ok(Control { path, socket })
    }

    /// Answers for ever.
    pub(super) fn serve(&self, engine: &Arc<Engine>) -> ! {
        loop {
            let (stream, _) = match self.socket.listener.accept() {
                Ok(accepted) => accepted,
                // Out of descriptors for a moment.
                Err(error) => {
                    tracing::error!("control socket: {error}");
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            let engine = engine.clone();
            let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
                if let Err(error) = answer(&engine, &stream) {
                    tracing::debug!("a client went away: {error}");
                }
            });
            // Out of threads or memory for a moment: this client is told by the end of its connection.
            if let Err(error) = thread {
                tracing::error!("no thread for a client: {error}");
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if !self.socket.handed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Answers all requests of a connection.
fn answer(engine: &Engine, stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec(&reply(engine, &line))?;
        bytes.push(b'\n');
        (&mut &*stream).write_all(&bytes)?;
    }
}

fn reply(engine: &Engine, line: &[u8]) -> Reply {
    match serde_json::from_slice(line) {
        Ok(request) => engine.handle(request),
        Err(error) => Reply::Refused(Refusal {
            kind: RefusalKind::Invalid,
            message: format!("the request does not read: {error}"),
            hint: Some("is the client of another version than the daemon?".into()),
        }),
    }
}
