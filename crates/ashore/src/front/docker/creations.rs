//! Whether the engine is creating a network of Ashore's own driver at this moment.
//!
//! An engine does not tell an IPAM driver which network driver a pool is for. Since version 28 it asks the
//! network driver, right before it opens the network's pools, whether the network needs a gateway address
//! (moby, `libnetwork/controller.go`). Its IPAM calls until it creates the network are then for that driver.
//! A pool that is opened while no network of Ashore's is being created is for another driver.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::unanswered::{Note, Unanswered};
use crate::engines::docker::engine::Engine;
use crate::engines::docker::version;
use crate::engines::running::Version;

/// The first engine version that asks.
const ASKS: Version = Version(28, 0);
/// How long a creation lasts without a call. An engine that got an answer asks the next question within
/// milliseconds. An engine that gives up does not report that.
const LASTS: Duration = Duration::from_secs(30);
/// More than an engine ever creates at once.
const MOST: usize = 64;
/// The name of their notes, by which a daemon that starts in between knows of them.
const NOTED: &str = "creation";

pub(super) struct Creations {
    under_way: Mutex<Vec<UnderWay>>,
    unanswered: Arc<Unanswered>,
}

/// A network that is being created.
struct UnderWay {
    until: Instant,
    /// Removed together with this.
    _note: Note,
}

impl Creations {
    /// Takes over the creations that an earlier daemon has seen begin.
    pub(super) fn new(unanswered: Arc<Unanswered>) -> Self {
        let noted = unanswered.left_of(NOTED).into_iter();
        let under_way = noted.map(|note| UnderWay { until: Instant::now() + LASTS, _note: note }).collect();
        Creations { under_way: Mutex::new(under_way), unanswered }
    }

    fn under_way(&self) -> MutexGuard<'_, Vec<UnderWay>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        under_way.retain(|one| now < one.until);
        under_way
    }

    /// Updates the creations by a call of the engine and its outcome.
    pub(super) fn take_in(&self, method: &str, succeeded: bool) {
        match (method, succeeded) {
            ("NetworkDriver.GwAllocCheck", true) => self.begins(),
            ("NetworkDriver.CreateNetwork", _) | ("IpamDriver.RequestPool", false) => self.ends(),
            ("IpamDriver.RequestPool" | "IpamDriver.RequestAddress", _) => _ = self.goes_on(),
            _ => {}
        }
    }

    /// Begins a creation: the engine has asked what a network of Ashore's needs.
    fn begins(&self) {
        let mut under_way = self.under_way();
        if under_way.len() < MOST {
            let note = self.unanswered.note(NOTED, &[], None);
            under_way.push(UnderWay { until: Instant::now() + LASTS, _note: note });
        }
    }

    /// Whether a network of Ashore's is being created. This stays so while the engine makes further calls.
    fn goes_on(&self) -> bool {
        let mut under_way = self.under_way();
        under_way.iter_mut().for_each(|one| one.until = Instant::now() + LASTS);
        !under_way.is_empty()
    }

    /// Ends a creation: a network was created or refused.
    fn ends(&self) {
        let mut under_way = self.under_way();
        if !under_way.is_empty() {
            under_way.remove(0);
        }
    }

    /// Whether a pool is certainly for a network of another driver, because the engine would have asked
    /// otherwise. An engine that starts opens the pools of all its networks without asking, and answers no
    /// request yet.
    pub(super) async fn is_others(&self, engine: &Engine) -> bool {
        !self.goes_on() && version::answered_now(engine).await.is_some_and(|version| version >= ASKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creations(directory: &std::path::Path) -> Creations {
        Creations::new(Arc::new(Unanswered::in_directory(directory.to_owned(), Duration::from_secs(60))))
    }

    #[test]
    fn each_ends_once_and_the_next_daemon_knows_of_those_that_have_not() {
        let directory = tempfile::tempdir().unwrap();
        let before = creations(directory.path());
        assert!(!before.goes_on());
        before.begins();
        before.begins();
        before.ends();
        assert!(before.goes_on());
        // It is killed.
        std::mem::forget(before);
        let after = creations(directory.path());
        assert!(after.goes_on());
        after.ends();
        assert!(!after.goes_on());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        after.ends();
        assert!(!creations(directory.path()).goes_on());
    }

    #[test]
    fn what_is_not_gone_on_with_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let creations = creations(directory.path());
        creations.begins();
        creations.under_way()[0].until = Instant::now();
        assert!(!creations.goes_on());
        (0..2 * MOST).for_each(|_| creations.begins());
        assert_eq!(creations.under_way().len(), MOST);
    }
}
