//! The control socket: a line of JSON in, a line of JSON out, one thread for a connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
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
    listener: Arc<UnixListener>,
    /// Whether it was there before the daemon.
    handed: bool,
}

impl Control {
    /// Takes the socket at a path, or makes it.
    pub(super) fn at(path: PathBuf, handed: &mut Handed) -> anyhow::Result<Self> {
        let Socket { listener, handed } = handed.socket(&path)?;
        // Whoever bound it may have wanted it otherwise.
        listener.set_nonblocking(false)?;
        Ok(Control { path, listener: Arc::new(listener), handed })
    }

    /// Begins to answer.
    pub(super) fn serve(&self, engine: &Arc<Engine>) -> io::Result<()> {
        await_client(self.listener.clone(), engine.clone())
    }
}

/// Starts a thread for the next client. Once there is one, the thread leaves the socket to a successor and answers itself,
/// so that nobody waits for a thread to begin. Without a successor, out of threads or memory for a moment, it is its own.
fn await_client(listener: Arc<UnixListener>, engine: Arc<Engine>) -> io::Result<()> {
    std::thread::Builder::new().name("control".into()).spawn(move || {
        loop {
            let stream = accept(&listener);
            let successor = await_client(listener.clone(), engine.clone());
            if let Err(error) = answer(&engine, &stream) {
                tracing::debug!("a client went away: {error}");
            }
            match successor {
                Ok(()) => return,
                Err(error) => tracing::error!("no thread for the next client: {error}"),
            }
        }
    })?;
    Ok(())
}

fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return stream,
            // Out of descriptors for a moment.
            Err(error) => {
                tracing::error!("control socket: {error}");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if !self.handed {
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
