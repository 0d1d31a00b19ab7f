//! The thread that listens to the LAN by every parent in use, and says what is due.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ashore_core::name::IfName;
use ashore_kernel::{Namespace, PacketSocket, wait_readable};
use ashore_wire::filter;

use super::{Ear, Lan, Table, said};

/// The thread that owns all packet sockets.
pub(super) struct Listener {
    namespace: Namespace,
    lan: Lan,
    sockets: BTreeMap<IfName, (Ear, Vec<PacketSocket>)>,
}

impl Listener {
    pub(super) fn new(namespace: Namespace, lan: Lan) -> Self {
        Listener { namespace, lan, sockets: BTreeMap::new() }
    }

    pub(super) fn run(mut self) {
        loop {
            let next = self.turn();
            let sockets: Vec<&PacketSocket> =
                self.sockets.values().flat_map(|(_, sockets)| sockets).collect();
            let mut fds = vec![self.lan.shared.waker.as_fd()];
            fds.extend(sockets.iter().map(|socket| socket.as_fd()));
            let wait = next.saturating_duration_since(Instant::now());
            if let Err(error) = wait_readable(&fds, Some(wait)) {
                tracing::error!("waiting for the LAN: {error}");
                std::thread::sleep(Duration::from_secs(1));
            }
            self.lan.shared.waker.clear();
            self.listen();
        }
    }

    /// Opens and closes sockets as parents come and go, and does what is due.
    fn turn(&mut self) -> Instant {
        let lan = self.lan.clone();
        let mut table = lan.table();
        self.open_sockets(&mut table);
        table.begin_ahead();
        let (next, ended) = table.turn(&|parent, frame| send(&self.sockets, parent, frame));
        if ended {
            lan.shared.ended.notify_all();
        }
        next
    }

    fn open_sockets(&mut self, table: &mut Table) {
        self.sockets.retain(|name, (ear, _)| table.parents.get(name) == Some(ear));
        for (name, ear) in &table.parents {
            if self.sockets.contains_key(name) {
                continue;
            }
            // The shim first: what is sent by it reaches siblings and the wire; without one the parent reaches the wire.
            let links = ear.shim.into_iter().chain([ear.parent]);
            let open = |link| PacketSocket::open(&self.namespace, link, &filter::arp_and_ndp());
            match links.map(open).collect() {
                Ok(opened) => {
                    self.sockets.insert(name.clone(), (ear.clone(), opened));
                }
                // The next turn tries again.
                Err(error) => {
                    said(&mut table.deaf, name, Err(error));
                }
            }
        }
    }

    fn listen(&self) {
        let mut buffer = [0; 2048];
        let mut table = self.lan.table();
        for (_, sockets) in self.sockets.values() {
            for socket in sockets {
                // An error is the link going down, which the next reconciliation sees.
                while let Ok(Some(frame)) = socket.receive(&mut buffer) {
                    table.hear(frame, &|parent, frame| send(&self.sockets, parent, frame));
                }
            }
        }
    }
}

fn send(
    sockets: &BTreeMap<IfName, (Ear, Vec<PacketSocket>)>,
    parent: &IfName,
    frame: &[u8],
) -> io::Result<()> {
    match sockets.get(parent).and_then(|(_, sockets)| sockets.first()) {
        Some(socket) => socket.send(frame),
        None => Err(io::Error::new(io::ErrorKind::NotConnected, "it cannot be listened to")),
    }
}
