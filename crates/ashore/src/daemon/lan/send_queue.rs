//! Queues of frames that the kernel has no room for at the moment, and that are sent a little later.
//!
//! The kernel copies each broadcast of a macvlan to all siblings. With some hundreds of siblings, a few
//! broadcasts fill the processor's queue (`net.core.netdev_max_backlog`, 1000 frames). The next broadcast
//! fails (`ENOBUFS`), and succeeds some milliseconds later.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use ashore_core::net::name::IfName;

use super::Send;

/// When to try again. By then the siblings have received a thousand frames.
const AGAIN: Duration = Duration::from_millis(3);
/// How long a parent may have no room before sending through it counts as failed.
const FULL_FOR: Duration = Duration::from_secs(1);
/// How many frames may wait for one parent: more than are sent in that time.
const MOST: usize = 512;

/// The parents that have no room, with the frames that wait.
#[derive(Default)]
pub(super) struct SendQueue(BTreeMap<IfName, Full>);

/// A parent that has no room.
struct Full {
    /// Since when no frame could be sent.
    since: Instant,
    /// When to try again.
    again: Instant,
    waiting: VecDeque<Vec<u8>>,
}

/// Why a frame was not sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// There is no room before this moment.
    Full(Instant),
    /// The frame cannot be sent.
    Failed(io::Error),
}

impl Unsent {
    pub(super) fn into_error(self) -> io::Error {
        match self {
            Unsent::Full(_) => no_room(),
            Unsent::Failed(error) => error,
        }
    }
}

impl SendQueue {
    /// Sends a frame, or queues it behind those that wait. Returns whether it was sent.
    pub(super) fn send(
        &mut self,
        parent: &IfName,
        frame: &[u8],
        now: Instant,
        send: &Send,
    ) -> io::Result<bool> {
        match self.send_now(parent, frame, now, send) {
            Ok(()) => Ok(true),
            Err(Unsent::Failed(error)) => Err(error),
            Err(Unsent::Full(_)) => {
                let waiting = self.0.get_mut(parent).map(|full| &mut full.waiting);
                let room = waiting.filter(|waiting| waiting.len() < MOST);
                room.ok_or_else(no_room)?.push_back(frame.to_vec());
                Ok(false)
            }
        }
    }

    /// Sends a frame now or not at all.
    pub(super) fn send_now(
        &mut self,
        parent: &IfName,
        frame: &[u8],
        now: Instant,
        send: &Send,
    ) -> Result<(), Unsent> {
        // Every attempt costs the siblings as much as a frame that is sent.
        if let Some(full) = self.0.get(parent).filter(|full| now < full.again || !full.waiting.is_empty()) {
            return Err(Unsent::Full(full.again.max(now)));
        }
        match send(parent, frame) {
            Ok(()) => {
                self.0.remove(parent);
                Ok(())
            }
            Err(error) if is_full(&error) => {
                let waiting = VecDeque::new();
                let full = self.0.entry(parent.clone()).or_insert(Full { since: now, again: now, waiting });
                full.again = now + AGAIN;
                let again = full.again;
                let patient = now.saturating_duration_since(full.since) < FULL_FOR;
                Err(if patient { Unsent::Full(again) } else { Unsent::Failed(error) })
            }
            Err(error) => Err(Unsent::Failed(error)),
        }
    }

    /// Sends the waiting frames that have room now. Returns the parents through which they cannot be sent,
    /// with the error.
    pub(super) fn turn(&mut self, now: Instant, send: &Send) -> Vec<(IfName, io::Error)> {
        let mut failed = Vec::new();
        self.0.retain(|parent, full| {
            let mut has_room = false;
            while now >= full.again
                && let Some(frame) = full.waiting.front()
            {
                match send(parent, frame) {
                    Ok(()) => {
                        full.waiting.pop_front();
                        (full.since, has_room) = (now, full.waiting.is_empty());
                    }
                    Err(error) => {
                        full.again = now + AGAIN;
                        let patient = now.saturating_duration_since(full.since) < FULL_FOR;
                        if !(patient && is_full(&error)) {
                            full.waiting.clear();
                            failed.push((parent.clone(), error));
                        }
                    }
                }
            }
            // A caller of `send_now` keeps its frame and tries again if it still wants to.
            !full.waiting.is_empty() || !has_room && now < full.again + FULL_FOR
        });
        failed
    }

    /// When to try the next waiting frame.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter(|full| !full.waiting.is_empty()).map(|full| full.again).min()
    }
}

fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::ENOBUFS)
}

fn no_room() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::ENOBUFS)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn eth0() -> IfName {
        "eth0".parse().unwrap()
    }

    #[test]
    fn what_has_no_room_is_sent_later_once_and_in_its_order() {
        let (room, came) = (Cell::new(2), RefCell::new(Vec::new()));
        let send = |_: &IfName, frame: &[u8]| {
            let left = room.get();
            if left == 0 {
                return Err(no_room());
            }
            room.set(left - 1);
            came.borrow_mut().push(frame[0]);
            Ok(())
        };
        let (mut send_queue, start) = (SendQueue::default(), Instant::now());
        for n in 0..20 {
            send_queue.send(&eth0(), &[n], start, &send).unwrap();
        }
        assert_eq!(*came.borrow(), [0, 1]);
        let mut now = start;
        while let Some(next) = send_queue.next() {
            assert!(next > now);
            now = next;
            room.set(2);
            assert!(send_queue.turn(now, &send).is_empty());
            assert!(
                matches!(send_queue.send_now(&eth0(), &[99], now, &send), Err(Unsent::Full(_)))
                    || send_queue.next().is_none()
            );
        }
        came.borrow_mut().retain(|n| *n != 99);
        assert!(came.borrow().iter().copied().eq(0..20), "{came:?}");
    }

    #[test]
    fn a_parent_that_never_has_room_is_one_by_which_nothing_can_be_said() {
        let tries = Cell::new(0);
        let send = |_: &IfName, _: &[u8]| {
            tries.set(tries.get() + 1);
            Err(no_room())
        };
        let (mut send_queue, start) = (SendQueue::default(), Instant::now());
        send_queue.send(&eth0(), &[0], start, &send).unwrap();
        let (mut now, mut failed) = (start, Vec::new());
        while let Some(next) = send_queue.next() {
            now = next;
            failed.extend(send_queue.turn(now, &send));
        }
        assert_eq!(failed.len(), 1);
        assert!(now - start >= FULL_FOR && now - start < FULL_FOR + 2 * AGAIN);
        assert!(tries.get() <= 1 + (FULL_FOR.as_millis() / AGAIN.as_millis()) as i32 + 1, "{tries:?}");

        // No later caller waits as long, until the parent has been left alone for a while.
        let waits_for = |send_queue: &mut SendQueue, start: Instant| {
            let mut now = start;
            while let Err(Unsent::Full(again)) = send_queue.send_now(&eth0(), &[0], now, &send) {
                now = again;
            }
            now - start
        };
        assert!(waits_for(&mut send_queue, now) <= 2 * AGAIN);
        assert!(waits_for(&mut send_queue, now) <= 2 * AGAIN);
        assert!(send_queue.turn(now + 3 * FULL_FOR, &send).is_empty());
        assert!(waits_for(&mut send_queue, now + 3 * FULL_FOR) >= FULL_FOR);
    }

    #[test]
    fn other_errors_are_said_at_once() {
        let send = |_: &IfName, _: &[u8]| Err(io::Error::from_raw_os_error(nix::libc::ENETDOWN));
        let mut send_queue = SendQueue::default();
        assert!(send_queue.send(&eth0(), &[0], Instant::now(), &send).is_err());
        assert_eq!(send_queue.next(), None);
    }
}
