//! The daemon's chronicle: what has happened, for `ashore events`.
//!
//! It follows the state, so whatever changes the state is in it, and no request tells it. Conflict detection tells it
//! of claims, and a thread of its own of troubles (`controller/troubles.rs`). It is in memory, and on the disk a minute
//! later at most. Its lock is taken after the controller's and after that of the LAN, and nothing waits under it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ashore_core::model::event::{Event, Happening, Kind};
use ashore_core::model::events::Events;
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
    /// Whether the file lacks something.
    to_write: bool,
    /// Whether troubles may have begun or ended.
    to_look: bool,
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
        let kept = Mutex::new(Kept { events, state, to_write: true, to_look: true });
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
        kept.enter(all);
        self.stir(&mut kept, |kept| &mut kept.to_write);
    }

    /// Enters that a machine on a parent's LAN claims an address.
    pub(super) fn claimed(&self, parent: &IfName, ip: IpAddr, mac: Mac) {
        let mut kept = self.kept();
        let claim = kept.state.claim_on(parent, ip, mac);
        kept.enter(vec![claim]);
        self.stir(&mut kept, |kept| &mut kept.to_write);
    }

    /// Has the troubles looked at soon.
    pub(super) fn stir_troubles(&self) {
        self.stir(&mut self.kept(), |kept| &mut kept.to_look);
    }

    /// Wakes the thread for a reason, unless it has that reason already.
    fn stir(&self, kept: &mut Kept, reason: impl Fn(&mut Kept) -> &mut bool) {
        if !std::mem::replace(reason(kept), true) {
            self.0.stirred.notify_all();
        }
    }

    /// Waits for a new reason, but not for longer than until a time that depends on the reasons that there are. Returns
    /// whether there is something to write, and whether troubles are to be looked at.
    pub(super) fn wait(&self, _: &Unlocked, until: impl Fn(bool, bool) -> Instant) -> (bool, bool) {
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
        let events = {
            let mut kept = self.kept();
            if !std::mem::take(&mut kept.to_write) {
                return;
            }
            kept.events.after(0, None)
        };
        match file.file.write(&events) {
            Ok(()) => file.failed = false,
            Err(error) => {
                if !std::mem::replace(&mut file.failed, true) {
                    tracing::warn!("the events cannot be written to {}: {error}", file.file.path().display());
                }
                self.kept().to_write = true;
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
    fn enter(&mut self, all: Vec<Happening>) {
        for what in all {
            self.events.add(what, now());
        }
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
            kept.enter(all);
            self.stir(&mut kept, |kept| &mut kept.to_write);
            self.stir(&mut kept, |kept| &mut kept.to_look);
        }
    }
}
