//! The thread that listens to the LAN on every parent in use, and sends what is due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ashore_core::net::name::IfName;
use ashore_kernel::{Namespace, PacketSocket, wait_readable};
use ashore_wire::Mac;
use ashore_wire::filter::{self, Instruction};

use super::mouths::Mouths;
use super::{Lan, MOST_AT_ONCE, Table, Tap, Unreachable, said};

/// The thread that owns all packet sockets.
pub(super) struct Listener {
    namespace: Namespace,
    lan: Lan,
    sockets: Sockets,
    /// Sockets for the answers of DHCPv4 servers, by the parents on which one is asked.
    answers: Sockets,
    /// Sockets for the answers of DHCPv6 servers.
    answers6: Sockets,
    /// Sockets for the names of containers.
    mouths: Mouths,
    copies: BTreeMap<IfName, Copies>,
    /// The parents whose sockets have more frames than were read so far.
    behind: BTreeSet<IfName>,
}

/// For each parent, a socket on the parent and one on its shim.
type Sockets = BTreeMap<IfName, (Tap, Vec<PacketSocket>)>;

impl Listener {
    pub(super) fn new(namespace: Namespace, lan: Lan) -> Self {
        Listener {
            namespace,
            lan,
            sockets: Sockets::new(),
            answers: Sockets::new(),
            answers6: Sockets::new(),
            mouths: Mouths::default(),
            copies: BTreeMap::new(),
            behind: BTreeSet::new(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let next = self.turn();
            self.wait(next);
            self.lan.shared.waker.clear();
            self.listen();
        }
    }

    fn wait(&self, until: Instant) {
        let all = self.sockets.values().chain(self.answers.values()).chain(self.answers6.values());
        let sockets = all.flat_map(|(_, sockets)| sockets).map(AsFd::as_fd);
        // Only this thread opens and closes the sockets in containers.
        let inside = {
            let table = self.lan.table();
            [table.leases.open_inside(), table.leases6.open_inside()].concat()
        };
        let mut fds = vec![self.lan.shared.waker.as_fd()];
        fds.extend(sockets.chain(inside.iter().map(AsFd::as_fd)).chain(self.mouths.fds()));
        let wait = until.saturating_duration_since(Instant::now());
        if let Err(error) = wait_readable(&fds, Some(wait)) {
            tracing::error!("waiting for the LAN: {error}");
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Opens and closes sockets as parents come and go, and does what is due.
    fn turn(&mut self) -> Instant {
        let lan = self.lan.clone();
        let mut table = lan.table();
        self.open_sockets(&mut table);
        table.begin_ahead();
        take_in(&mut self.sockets, |parent| table.asking_groups(parent));
        take_in(&mut self.answers, |parent| table.leases.macs_on(parent));
        table.behind = std::mem::take(&mut self.behind);
        let mut given_up = false;
        for (parent, (_, sockets)) in &self.sockets {
            // If the counter cannot be read, no loss is known.
            if sockets.iter().any(|socket| socket.lost().is_ok_and(|lost| lost > 0)) {
                given_up |= table.missed(parent, Instant::now());
            }
        }
        let (next, ended) = table.turn(&|parent, frame| send(&self.sockets, parent, frame));
        if ended || given_up {
            lan.shared.ended.notify_all();
        }
        for parent in self.mouths.open(&self.namespace, &table.parents, &table.names) {
            table.names.link_up(&parent);
        }
        let wait = table.names.turn(&|parent| self.mouths.hears(parent), &|parent, mouth, bytes| {
            self.mouths.say(parent, mouth, bytes, |frame| send_to_siblings(&self.sockets, parent, frame));
        });
        wait.map(|wait| Instant::now() + wait).into_iter().chain([next]).min().unwrap_or(next)
    }

    fn open_sockets(&mut self, table: &mut Table) {
        let Table { parents, unreachable, leases, leases6, inquiries, surveys, .. } = table;
        let wanted: BTreeSet<&IfName> = leases.parents().chain(surveys.parents()).collect();
        let wanted6: BTreeSet<&IfName> = leases6.parents().chain(inquiries.parents()).collect();
        let asked6 = parents.iter().filter(|(parent, _)| wanted6.contains(parent));
        let asked = parents.iter().filter(|(parent, _)| wanted.contains(parent));
        open(&self.namespace, &mut self.sockets, parents.iter(), &filter::arp_and_ndp(), unreachable);
        open(&self.namespace, &mut self.answers, asked, &filter::dhcp4_to_client(), unreachable);
        open(&self.namespace, &mut self.answers6, asked6, &filter::dhcp6_to_client(), unreachable);
        self.copies.retain(|parent, _| self.sockets.contains_key(parent));
    }

    fn listen(&mut self) {
        let now = Instant::now();
        let mut buffer = [0; 2048];
        let mut table = self.lan.table();
        let mut awaited = false;
        for (parent, (tap, sockets)) in &self.sockets {
            for (socket, of_parent) in sockets.iter().rev().zip([true, false]) {
                for at in 1..=MOST_AT_ONCE {
                    // An error means that the link goes down, which the next reconciliation sees.
                    let Ok(Some(frame)) = socket.receive(&mut buffer) else { break };
                    if at == MOST_AT_ONCE {
                        self.behind.insert(parent.clone());
                    }
                    let copies = self.copies.entry(parent.clone()).or_default();
                    if tap.shim.is_none() || !copies.is_one(of_parent, frame, now) {
                        table.hear(parent, frame, &|parent, frame| send(&self.sockets, parent, frame));
                    }
                    awaited |= table.routers.hear(parent, frame);
                    awaited |= of_parent && table.gateways.hear(parent, frame, now);
                    // Frames of siblings arrive on the shim only, and do not count here.
                    awaited |= of_parent && table.overhear(parent, frame);
                }
            }
        }
        for (parent, (_, sockets)) in &self.answers {
            for (socket, of_parent) in sockets.iter().rev().zip([true, false]) {
                for _ in 0..MOST_AT_ONCE {
                    let Ok(Some(frame)) = socket.receive(&mut buffer) else { break };
                    table.leases.hear(parent, frame);
                    awaited |= table.surveys.hear(parent, frame);
                    awaited |= of_parent && table.overhear_answer(parent, frame);
                }
            }
        }
        for (parent, (_, sockets)) in &self.answers6 {
            for socket in sockets {
                for _ in 0..MOST_AT_ONCE {
                    let Ok(Some(frame)) = socket.receive(&mut buffer) else { break };
                    table.leases6.hear(parent, frame);
                    table.inquiries.hear(parent, frame);
                }
            }
        }
        if awaited {
            self.lan.shared.ended.notify_all();
        }
        table.leases.hear_inside();
        table.leases6.hear_inside();
        self.mouths.hear(&mut table.names);
    }
}

/// The frames that either a parent or its shim has received. Both receive a frame from the wire. The shim
/// gets a broadcast up to some milliseconds later, because the kernel forwards it from a queue. Without this,
/// the copy of a frame that came before a probe could be taken for the answer to it.
#[derive(Default)]
struct Copies(VecDeque<(Instant, bool, u64)>);

impl Copies {
    /// A copy arrives at most this much later.
    const LATEST: Duration = Duration::from_secs(1);
    /// How many frames are kept.
    const MOST: usize = 512;

    /// Whether the other link has received the same frame before.
    fn is_one(&mut self, of_parent: bool, frame: &[u8], now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        frame.hash(&mut hasher);
        let hash = hasher.finish();
        self.0.retain(|(at, ..)| now.saturating_duration_since(*at) < Self::LATEST);
        let is_first = |(_, by, heard): &(_, bool, u64)| (*by, *heard) == (!of_parent, hash);
        if let Some(at) = self.0.iter().position(is_first) {
            self.0.remove(at);
            return true;
        }
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back((now, of_parent, hash));
        false
    }
}

/// Opens sockets on the parents that have none. Closes those of parents that are gone or have another shim.
fn open<'a>(
    namespace: &Namespace,
    sockets: &mut Sockets,
    parents: impl Iterator<Item = (&'a IfName, &'a Tap)>,
    filter: &[Instruction],
    unreachable: &mut BTreeMap<IfName, (Unreachable, Instant)>,
) {
    let mut before = std::mem::take(sockets);
    for (name, tap) in parents {
        if let Some(there) = before.remove(name).filter(|(there, _)| there == tap) {
            sockets.insert(name.clone(), there);
            continue;
        }
        // The shim comes first: a frame sent through it reaches siblings and the wire. Without a shim, a
        // frame sent through the parent reaches the wire.
        let links = tap.shim.into_iter().chain([tap.parent]);
        match links.map(|link| PacketSocket::open(namespace, link, filter)).collect() {
            Ok(opened) => {
                sockets.insert(name.clone(), (tap.clone(), opened));
            }
            // The next turn tries again.
            Err(error) => {
                said(unreachable, name, Err(error));
            }
        }
    }
}

/// Makes the links of parents accept frames for MACs other than their own.
fn take_in(sockets: &mut Sockets, wanted: impl Fn(&IfName) -> BTreeSet<Mac>) {
    for (parent, (_, sockets)) in sockets {
        let wanted = wanted(parent);
        for socket in sockets {
            if let Err(error) = socket.take_in(&wanted) {
                tracing::debug!(%parent, "the link may drop frames for containers: {error}");
            }
        }
    }
}

/// Sends a frame through the shim, so that siblings hear it too. One of the parent's own MAC goes by the parent, to the
/// wire alone: siblings would send what is for the host to that MAC, where the kernel does not let them reach it.
fn send(sockets: &Sockets, parent: &IfName, frame: &[u8]) -> io::Result<()> {
    let of_parent = |tap: &Tap| frame.get(6..12) == Some(&tap.own.0[..]);
    let first = |(tap, sockets): &'_ (Tap, Vec<PacketSocket>)| -> Option<usize> {
        if of_parent(tap) { sockets.len().checked_sub(1) } else { Some(0) }
    };
    let there = sockets.get(parent);
    match there.and_then(|there| there.1.get(first(there)?)) {
        Some(socket) => match socket.send(frame) {
            // As with a link without carrier, the frame is lost silently.
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => Ok(()),
            sent => sent,
        },
        None => Err(io::Error::new(io::ErrorKind::NotConnected, "it cannot be listened on")),
    }
}

/// Sends a frame through the shim of a parent, if it has one.
fn send_to_siblings(sockets: &Sockets, parent: &IfName, frame: &[u8]) -> io::Result<()> {
    let there = sockets.get(parent).filter(|(tap, _)| tap.shim.is_some());
    there.and_then(|(_, sockets)| sockets.first()).map_or(Ok(()), |shim| shim.send(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_over_the_wire_is_heard_once_and_what_is_said_twice_is_heard_twice() {
        let start = Instant::now();
        let late = start + Copies::LATEST;
        // The receiving link, the frame, the time, and whether it is a copy.
        let (parent, shim) = (true, false);
        let cases: &[(bool, &[u8], Instant, bool)] = &[
            (parent, b"one", start, false),
            (shim, b"one", start, true),
            (shim, b"one", start, false),
            (parent, b"one", start, true),
            (parent, b"two", start, false),
            (parent, b"two", start, false),
            (shim, b"two", start, true),
            (shim, b"two", start, true),
            (shim, b"of a sibling", start, false),
            (shim, b"of a sibling", start, false),
            (parent, b"late", start, false),
            (shim, b"late", late, false),
        ];
        let mut copies = Copies::default();
        for (at, (by, frame, now, is_copy)) in cases.iter().enumerate() {
            assert_eq!(copies.is_one(*by, frame, *now), *is_copy, "{at}");
        }
        for n in 0..10_000_u32 {
            copies.is_one(parent, &n.to_be_bytes(), late);
        }
        assert_eq!(copies.0.len(), Copies::MOST);
    }
}
