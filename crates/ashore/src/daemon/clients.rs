//! The connected clients. Their number is limited.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ashore_kernel::{end, wait_readable};

/// The maximum number of connected clients at a door for root. Each has a thread and a descriptor.
pub(super) const MOST: usize = 64;
/// A client that the daemon has waited for this long, for its request or for it to read its answer, gives way
/// to a client that waits in the queue.
const IDLE: Duration = Duration::from_secs(1);
/// How long to wait before checking again whether there is room, or a descriptor, for the next client.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How many connections one who has a share of the places may make at once, and in how much time he may make one more. A
/// thread for each of thousands would keep others waiting in the queue behind them.
const BURST: u32 = 32;
const PACE: Duration = Duration::from_millis(50);
/// From how many on those are forgotten who have made no connection for a while.
const MANY: usize = 256;

/// Whose connections count together, so that nobody takes the places of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// Who it is.
    pub(super) whose: Option<u32>,
    /// How many places he has at most. While some of his connections end, he has as many more.
    pub(super) most: usize,
}

/// Tells whose connection a stream is. Who has no business here is hung up on.
pub(super) type ShareOf = Box<dyn Fn(&UnixStream) -> io::Result<Share> + Send + Sync>;

/// The listening socket and the connected clients.
pub(super) struct Clients {
    listener: UnixListener,
    /// How many are connected at most.
    most: usize,
    share_of: ShareOf,
    present: Mutex<Present>,
    /// Notified whenever a client has left.
    left: Condvar,
}

#[derive(Default)]
struct Present {
    next: u64,
    all: BTreeMap<u64, Connection>,
    /// Until when the connections would have taken that each has made, at the pace that he may make them.
    paces: BTreeMap<Option<u32>, Instant>,
}

struct Connection {
    /// `None` while it is closed.
    stream: Option<Arc<UnixStream>>,
    share: Share,
    /// Since when the daemon waits for the client. `None` while the daemon works on its request.
    waits: Option<Instant>,
    /// Whether it was sent away.
    leaves: bool,
}

/// A client, for as long as it is connected.
pub(super) struct Client<'a> {
    clients: &'a Clients,
    number: u64,
    /// `None` only when it is closed.
    stream: Option<Arc<UnixStream>>,
}

impl Clients {
    pub(super) fn of(listener: UnixListener, most: usize, share_of: ShareOf) -> Self {
        Clients { listener, most, share_of, present: Mutex::default(), left: Condvar::new() }
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next client, and for room for it. One thread at a time does so.
    pub(super) fn accept(&self) -> Client<'_> {
        let mut said = false;
        loop {
            if self.present().all.len() >= self.most {
                // No client has to leave before another one comes.
                let _ = wait_readable(&[self.listener.as_fd()], None);
                self.make_room();
            }
            match self.listener.accept() {
                Ok((stream, _)) => match self.enter(stream) {
                    Ok(client) => return client,
                    // What was passed over it must not keep others waiting.
                    Err(refused) => end(refused),
                },
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
        while present.all.len() >= self.most {
            present.send_idle_away(|_| true);
            let waited = self.left.wait_timeout(present, LOOK_AGAIN);
            present = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets a client in. One who has all of his places already gives up his own idlest connection for it, and is hung up
    /// on if none of them is idle. Fails with the stream of whom it does not let in.
    fn enter(&self, stream: UnixStream) -> Result<Client<'_>, UnixStream> {
        let Ok(share) = (self.share_of)(&stream) else { return Err(stream) };
        let mut present = self.present();
        if present.is_too_fast(share) {
            return Err(stream);
        }
        let is_his = |there: &Connection| there.share.whose == share.whose;
        let stays = |there: &Connection| is_his(there) && !there.leaves;
        let has = present.all.values().filter(|there| is_his(there)).count();
        let has_all = present.all.values().filter(|there| stays(there)).count() >= share.most;
        if has >= 2 * share.most || has_all && !present.send_idle_away(stays) {
            tracing::debug!(whose = share.whose, "a client with too many connections is hung up on");
            return Err(stream);
        }
        let stream = Some(Arc::new(stream));
        present.next += 1;
        let number = present.next;
        let waits = Some(Instant::now());
        present.all.insert(number, Connection { stream: stream.clone(), share, waits, leaves: false });
        Ok(Client { clients: self, number, stream })
    }
}

impl Present {
    /// Whether somebody makes connections faster than he may. The connection counts if he does not.
    fn is_too_fast(&mut self, share: Share) -> bool {
        if share.most >= MOST {
            return false;
        }
        let now = Instant::now();
        if self.paces.len() >= MANY {
            self.paces.retain(|_, until| *until > now);
        }
        let until = self.paces.get(&share.whose).copied().unwrap_or(now).max(now) + PACE;
        let is_too_fast = until > now + BURST * PACE;
        if !is_too_fast {
            self.paces.insert(share.whose, until);
        }
        is_too_fast
    }

    /// Ends the connection of the client that has been idle for longest, if any of these is idle. The client's thread
    /// notices this and ends. Returns whether there was one.
    fn send_idle_away(&mut self, among: impl Fn(&Connection) -> bool) -> bool {
        let idle = |connection: &&mut Connection| {
            let is_idle = connection.waits.is_some_and(|since| since.elapsed() >= IDLE);
            is_idle && among(connection)
        };
        let oldest = self.all.values_mut().filter(idle).min_by_key(|connection| connection.waits);
        let Some(connection) = oldest else { return false };
        tracing::debug!("an idle client gives way to another");
        // The client is on its way out and must not be chosen again.
        (connection.waits, connection.leaves) = (None, true);
        if let Some(stream) = &connection.stream {
            let _ = stream.shutdown(Shutdown::Both);
        }
        true
    }
}

impl Client<'_> {
    pub(super) fn stream(&self) -> &UnixStream {
        self.stream.as_ref().expect("it is open until the client is dropped")
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
        if let Some(connection) = self.clients.present().all.get_mut(&self.number)
            && !connection.leaves
        {
            connection.waits = waits;
        }
    }
}

impl Drop for Client<'_> {
    /// The place is free when the stream is closed.
    fn drop(&mut self) {
        let before = self.clients.present().all.get_mut(&self.number).and_then(|connection| {
            (connection.waits, connection.leaves) = (None, true);
            connection.stream.take()
        });
        drop(before);
        if let Some(stream) = self.stream.take().and_then(Arc::into_inner) {
            end(stream);
        }
        self.clients.present().all.remove(&self.number);
        self.clients.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    use ashore_kernel::read_bare;
    use ashore_lab::{Machine, World};
    use nix::libc;
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt::Linger};

    use super::*;

    /// A socket that keeps whoever closes it last waiting for an hour, because its peer reads nothing.
    ///
    /// Both are on one machine, because the loopback of the test's own namespace may be down.
    fn lingering(machine: &Machine) -> [TcpStream; 2] {
        let connected = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            [stream, listener.accept().unwrap().0]
        };
        let [stream, peer] = machine.inside(connected).unwrap();
        stream.set_nonblocking(true).unwrap();
        let much = vec![0; 1 << 16];
        while (&stream).write(&much).is_ok() {}
        setsockopt(&stream, Linger, &libc::linger { l_onoff: 1, l_linger: 3600 }).unwrap();
        [stream, peer]
    }

    /// As on a kernel that cannot keep descriptors out, and as with those that came before the daemon.
    #[test]
    fn what_was_passed_keeps_nobody_waiting_who_closes_it() {
        let world = World::new(None).unwrap();
        let laptop = world.machine("laptop", 9).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("sock");
        let listener = UnixListener::bind(&at).unwrap();
        let is_welcome = AtomicBool::new(true);
        let share_of = move |_: &UnixStream| {
            if is_welcome.fetch_xor(true, Ordering::SeqCst) {
                Err(io::ErrorKind::PermissionDenied.into())
            } else {
                Ok(Share { whose: Some(1000), most: 8 })
            }
        };
        let clients = Clients::of(listener, MOST, Box::new(share_of));
        let mut peers = Vec::new();
        let began = Instant::now();
        for _ in 0..10 {
            // One that is refused, and one that is not.
            for _ in 0..2 {
                let [passed, peer] = lingering(&laptop);
                let stream = UnixStream::connect(&at).unwrap();
                let descriptors = [passed.as_raw_fd()];
                let rights = [ControlMessage::ScmRights(&descriptors)];
                let bytes = [IoSlice::new(b"ASHP")];
                sendmsg::<()>(stream.as_raw_fd(), &bytes, &rights, MsgFlags::empty(), None).unwrap();
                peers.push(peer);
            }
            let client = clients.accept();
            let read = read_bare(client.stream(), &mut [0; 8]);
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(clients.present().all.is_empty());
    }
}
