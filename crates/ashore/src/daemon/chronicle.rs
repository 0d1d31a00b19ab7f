//! The daemon's chronicle: what has happened, for `ashore events`.
//!
//! It follows the state, so whatever changes the state is in it, and no request tells it. Conflict detection tells it
//! of claims, and a thread of its own of troubles (`controller/troubles.rs`). It is in memory, and on the disk a minute
//! later at most; how often a claim was made, a quarter of an hour later. Its lock is taken after the controller's and after that of the LAN, and nothing waits under it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ashore_core::model::event::{Event, Happening, Kind};
use ashore_core::model::events::{Events, UNWRITTEN};
use ashore_core::model::state::State;
use ashore_core::net::name::IfName;
use ashore_store::EventsFile;
use ashore_wire::Mac;

use super::follower::{Follower, Published};
use crate::clock::now;
use crate::unlocked::Unlocked;

/// The chronicle. All copies are the same one.
#[derive(Clone)]
pub(crate) struct Chronicle(Arc<Shared>);

struct Shared {
    kept: Mutex<Kept>,
    /// Notified when there is something to write, or a reason to look for troubles.
    stirred: Condvar,
    /// Locked while it is written.
    file: Mutex<File>,
}

struct Kept {
    events: Events,
    /// The state of which all is known.
    state: Arc<State>,
    /// What the file lacks.
    to_write: Lacks,
    /// The last number of what was written.
    written: u64,
    /// Whether troubles may have begun or ended.
    to_look: bool,
}

/// What the file lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lacks {
    /// Nothing.
    #[default]
    Nothing,
    /// How often claims were made. Machines that make them all the time would wear out an SD card.
    Counts,
    /// What has happened.
    Events,
}

struct File {
    file: EventsFile,
    /// Whether the last write has failed.
    failed: bool,
}

impl Chronicle {
    /// The chronicle of a daemon that begins with a state. What the last daemon has kept is taken over.
    pub(crate) fn of(directory: &Path, state: Arc<State>) -> Self {
        let file = EventsFile::of(directory);
        let kept = file.read().unwrap_or_else(|error| {
            tracing::warn!("the events in {} are lost: {error}", file.path().display());
            ashore_store::KeptEvents::default()
        });
        if kept.unread > 0 {
            tracing::warn!("{} lines of {} cannot be read", kept.unread, file.path().display());
        }
        let mut events = Events::restored(kept.events);
        let text = format!("the daemon has started (Ashore {})", env!("CARGO_PKG_VERSION"));
        events.add(Happening::new(Kind::Started, &text), now());
        let written = events.last();
        let kept = Mutex::new(Kept { events, state, to_write: Lacks::Events, written, to_look: true });
        let file = Mutex::new(File { file, failed: false });
        Chronicle(Arc::new(Shared { kept, stirred: Condvar::new(), file }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters what has happened.
    pub(super) fn enter(&self, all: Vec<Happening>) {
        if all.is_empty() {
            return;
        }
        let mut kept = self.kept();
        let lacks = kept.enter(all);
        self.lacks(&mut kept, lacks);
    }

    /// Enters that a machine on a parent's LAN claims an address.
    pub(super) fn claimed(&self, parent: &IfName, ip: IpAddr, mac: Mac) {
        let mut kept = self.kept();
        let claim = kept.state.claim_on(parent, ip, mac);
        let lacks = kept.enter(vec![claim]);
        self.lacks(&mut kept, lacks);
    }

    /// Has the troubles looked at soon.
    pub(super) fn stir_troubles(&self) {
        self.look(&mut self.kept());
    }

    /// Wakes the thread to look for troubles, unless it is to look already.
    fn look(&self, kept: &mut Kept) {
        if !std::mem::replace(&mut kept.to_look, true) {
            self.0.stirred.notify_all();
        }
    }

    /// Wakes the thread because the file lacks something, unless it lacks as much already.
    fn lacks(&self, kept: &mut Kept, lacks: Lacks) {
        if lacks > kept.to_write {
            kept.to_write = lacks;
            self.0.stirred.notify_all();
        }
    }

    /// Waits for a new reason, but not for longer than until a time that depends on the reasons that there are. Returns
    /// what is to be written, and whether troubles are to be looked at.
    pub(super) fn wait(&self, _: &Unlocked, until: impl Fn(Lacks, bool) -> Instant) -> (Lacks, bool) {
        let kept = self.kept();
        let left = until(kept.to_write, kept.to_look).saturating_duration_since(Instant::now());
        let (kept, _) = self.0.stirred.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner);
        (kept.to_write, kept.to_look)
    }

    /// Notes that troubles are looked at now.
    pub(super) fn looks(&self) {
        self.kept().to_look = false;
    }

    /// The troubles that have begun and not ended.
    pub(super) fn open_troubles(&self) -> Vec<Happening> {
        self.kept().events.open_troubles()
    }

    /// The events after a number, of which some are about something, and the last number.
    pub(super) fn tell(&self, after: u64, about: Option<&str>) -> (Vec<Event>, u64) {
        let kept = self.kept();
        (kept.events.after(after, about), kept.events.last())
    }

    /// Writes the file, if it lacks something. A file that cannot be written stops nothing.
    pub(super) fn write(&self, _: &Unlocked) {
        // What is written is taken under this lock, so that nothing older is written after it.
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (events, last) = {
            let mut kept = self.kept();
            if std::mem::take(&mut kept.to_write) == Lacks::Nothing {
                return;
            }
            (kept.events.after(0, None), kept.events.last())
        };
        match file.file.write(&events) {
            Ok(()) => {
                file.failed = false;
                self.kept().written = last;
            }
            Err(error) => {
                if !std::mem::replace(&mut file.failed, true) {
                    tracing::warn!("the events cannot be written to {}: {error}", file.file.path().display());
                }
                self.kept().to_write = Lacks::Events;
            }
        }
    }

    /// Enters that the daemon was asked to end, and writes the file.
    pub(super) fn close(&self, unlocked: &Unlocked) {
        self.enter(vec![Happening::new(Kind::Stopped, "the daemon was asked to end")]);
        self.write(unlocked);
    }
}

impl Kept {
    /// Enters what has happened. Returns what the file lacks then.
    fn enter(&mut self, all: Vec<Happening>) -> Lacks {
        let mut lacks = Lacks::Counts;
        for what in all {
            if self.events.add(what, now()) {
                lacks = Lacks::Events;
            }
        }
        // A daemon that is killed must not have given more numbers than the next one leaves out.
        if self.events.last() - self.written > UNWRITTEN / 2 { Lacks::Events } else { lacks }
    }
}

impl Follower for Chronicle {
    fn follow(&self, published: &Published) {
        let mut kept = self.kept();
        let before = std::mem::replace(&mut kept.state, published.state.clone());
        if Arc::ptr_eq(&before, &published.state) {
            return;
        }
        let all = published.state.happened_since(&before);
        if !all.is_empty() {
            let lacks = kept.enter(all);
            self.lacks(&mut kept, lacks);
            self.look(&mut kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use ashore_core::model::identity::Seed;

    use super::*;

    #[test]
    fn claims_that_are_counted_are_written_later() {
        let directory = tempfile::tempdir().unwrap();
        let chronicle = Chronicle::of(directory.path(), Arc::new(State::new(Seed([0; 16]))));
        let (eth0, ip) = ("eth0".parse().unwrap(), "192.168.88.7".parse().unwrap());
        let claim = |mac: u8| chronicle.claimed(&eth0, ip, Mac([2, 0, 0, 0, 0, mac]));
        let lacks = || chronicle.kept().to_write;
        let is_written = || chronicle.kept().to_write = Lacks::Nothing;
        claim(1);
        assert_eq!(lacks(), Lacks::Events);
        is_written();
        claim(1);
        assert_eq!(lacks(), Lacks::Counts);
        claim(2);
        assert_eq!(lacks(), Lacks::Events);
        claim(1);
        assert_eq!(lacks(), Lacks::Events, "it is not put off");
        is_written();
        let all = chronicle.kept().events.after(0, None);
        chronicle.kept().events = Events::restored(all);
        claim(1);
        assert_eq!(lacks(), Lacks::Events, "too many numbers were given");
    }
}
