//! The connected clients. Their number is limited.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ashore_kernel::wait_readable;

/// The maximum number of connected clients. Each has a thread and a descriptor.
const MOST: usize = 64;
/// A client that the daemon has waited for this long, for its request or for it to read its answer, gives way
/// to a client that waits in the queue.
const IDLE: Duration = Duration::from_secs(1);
/// How long to wait before checking again whether there is room, or a descriptor, for the next client.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The listening socket and the connected clients.
pub(super) struct Clients {
    listener: UnixListener,
    present: Mutex<Present>,
    /// Notified whenever a client has left.
    left: Condvar,
}

#[derive(Default)]
struct Present {
    next: u64,
    all: BTreeMap<u64, Connection>,
}

struct Connection {
    stream: Arc<UnixStream>,
    /// Since when the daemon waits for the client. `None` while the daemon works on its request.
    waits: Option<Instant>,
}

/// A client, for as long as it is connected.
pub(super) struct Client<'a> {
    clients: &'a Clients,
    number: u64,
    stream: Arc<UnixStream>,
}

impl Clients {
    pub(super) fn of(listener: UnixListener) -> Self {
        Clients { listener, present: Mutex::default(), left: Condvar::new() }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next client, and for room for it. One thread at a time does so.
    pub(super) fn accept(&self) -> Client<'_> {
        let mut said = false;
        loop {
            if self.present().all.len() >= MOST {
                // No client has to leave before another one comes.
                let _ = wait_readable(&[self.listener.as_fd()], None);
                self.make_room();
            }
            match self.listener.accept() {
                Ok((stream, _)) => return self.enter(stream),
                // The process is out of descriptors for a moment.
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::error!("control socket: {error}");
                    }
                    std::thread::sleep(LOOK_AGAIN);
                }
            }
        }
    }

    fn make_room(&self) {
        let mut present = self.present();
        while present.all.len() >= MOST {
            present.send_idle_away();
            let waited = self.left.wait_timeout(present, LOOK_AGAIN);
            present = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn enter(&self, stream: UnixStream) -> Client<'_> {
        let stream = Arc::new(stream);
        let mut present = self.present();
        present.next += 1;
        let number = present.next;
        let connection = Connection { stream: stream.clone(), waits: Some(Instant::now()) };
        present.all.insert(number, connection);
        Client { clients: self, number, stream }
    }
}

impl Present {
    /// Ends the connection of the client that has been idle for longest, if any is idle. The client's thread
    /// notices this and ends.
    fn send_idle_away(&mut self) {
        let idle =
            |connection: &&mut Connection| connection.waits.is_some_and(|since| since.elapsed() >= IDLE);
        let oldest = self.all.values_mut().filter(idle).min_by_key(|connection| connection.waits);
        if let Some(connection) = oldest {
            tracing::debug!("an idle client gives way to another");
            // The client is on its way out and must not be chosen again.
            connection.waits = None;
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }
}

impl Client<'_> {
    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Notes that the daemon works on the client's request.
    pub(super) fn is_served(&self) {
        self.set_waits(None);
    }

    /// Notes that the daemon waits for the client to read its answer and to send its next request.
    pub(super) fn is_waited_for(&self) {
        self.set_waits(Some(Instant::now()));
    }

    fn set_waits(&self, waits: Option<Instant>) {
        if let Some(connection) = self.clients.present().all.get_mut(&self.number) {
            connection.waits = waits;
        }
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        self.clients.present().all.remove(&self.number);
        self.clients.left.notify_all();
    }
}
