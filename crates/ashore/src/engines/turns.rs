//! Turns in which the engine's lists are taken. Other threads ask for one and wait for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ashore_core::api::trouble::Trouble;
use tokio::sync::Notify;

use super::running::Version;
use crate::unlocked::Unlocked;

/// The handle by which other threads ask for new lists.
#[derive(Clone, Default)]
pub(crate) struct Lists {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    turns: Mutex<Turns>,
    ended: Condvar,
    asked: Notify,
    /// Containers that are off their networks until they can be reconnected, by the engine's ids, with the
    /// reason.
    off: Mutex<BTreeMap<(String, String), Trouble>>,
    /// Whether the engine runs, and why its API cannot be reached.
    reach: Mutex<Reach>,
}

/// Whether an engine can be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The engine does not run here.
    #[default]
    Absent,
    /// It answers, and is of this version, if that is known.
    Answers(Option<Version>),
    /// It runs and cannot be asked: since when, and why.
    Unreachable(Instant, String),
}

/// An engine that starts runs for some seconds before it answers.
const STARTING: Duration = Duration::from_secs(15);

/// Counters that only increase.
#[derive(Default)]
struct Turns {
    asked: u64,
    /// The last turn that was taken, and the last that the engine answered.
    taken: u64,
    answered: u64,
}

impl Lists {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for new lists without waiting. Returns the number of the turn.
    pub(crate) fn ask(&self) -> u64 {
        let mut turns = self.turns();
        turns.asked += 1;
        self.shared.asked.notify_one();
        turns.asked
    }

    /// Whether the engine answered in a turn. Returns `None` until that is known.
    pub(crate) fn outcome(&self, turn: u64) -> Option<bool> {
        let turns = self.turns();
        (turns.taken >= turn).then_some(turns.answered >= turn)
    }

    /// Asks for new lists, and waits. Returns whether they were taken in time.
    pub(crate) fn refresh(&self, _: &Unlocked, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mine = self.ask();
        let mut turns = self.turns();
        while turns.taken < mine {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.ended.wait_timeout(turns, left);
            turns = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        turns.answered >= mine
    }

    /// Records whether the engine can be asked.
    pub(super) fn reach(&self, now: Reach) {
        let mut reach = self.shared.reach.lock().unwrap_or_else(PoisonError::into_inner);
        *reach = match (now, &*reach) {
            (Reach::Unreachable(_, why), Reach::Unreachable(since, _)) => Reach::Unreachable(*since, why),
            (now, _) => now,
        };
    }

    /// Whether the engine answers. `None` if it does not run here, or has only begun to. The error is why it
    /// cannot be asked.
    pub(crate) fn answers(&self) -> Option<Result<(), String>> {
        match &*self.shared.reach.lock().unwrap_or_else(PoisonError::into_inner) {
            Reach::Absent => None,
            Reach::Answers(_) => Some(Ok(())),
            Reach::Unreachable(since, why) => (since.elapsed() >= STARTING).then(|| Err(why.clone())),
        }
    }

    /// The version of the engine, while it answers.
    pub(crate) fn version(&self) -> Option<Version> {
        match &*self.shared.reach.lock().unwrap_or_else(PoisonError::into_inner) {
            Reach::Answers(version) => *version,
            Reach::Absent | Reach::Unreachable(..) => None,
        }
    }

    /// Why containers are off their networks.
    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        self.off().values().cloned().collect()
    }

    /// Records why a container is off its network, or, with `None`, that it is back.
    pub(super) fn settle(&self, container: &str, network: &str, trouble: Option<Trouble>) {
        let key = (container.to_owned(), network.to_owned());
        match trouble {
            Some(trouble) => drop(self.off().insert(key, trouble)),
            None => drop(self.off().remove(&key)),
        }
    }

    fn off(&self) -> MutexGuard<'_, BTreeMap<(String, String), Trouble>> {
        self.shared.off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to take the lists, for all threads that have asked until now.
    pub(crate) fn begin(&self) -> u64 {
        self.turns().asked
    }

    /// Ends a turn: the lists were taken, or the engine does not answer.
    pub(crate) fn end(&self, turn: u64, answered: bool) {
        let mut turns = self.turns();
        turns.taken = turn;
        if answered {
            turns.answered = turn;
        }
        self.shared.ended.notify_all();
    }

    pub(super) async fn asked(&self) {
        self.shared.asked.notified().await;
    }
}
