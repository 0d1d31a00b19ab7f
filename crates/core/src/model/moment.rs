//! A moment by the clock that lifetimes run by, and by the time of day.

use std::time::{Duration, Instant};

use ashore_wire::slaac::Lasting;

/// A moment by both clocks: the one that lifetimes run by, and the time of day by which they are written down.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the clock that goes on while the machine sleeps.
    pub now: Instant,
    /// In seconds since 1970.
    pub today: u64,
}

impl Moment {
    pub(crate) fn written(self, lasting: Lasting) -> Option<u64> {
        lasting.left(self.now).map(|left| self.today.saturating_add(left.as_secs()))
    }

    pub(crate) fn read(self, until: Option<u64>) -> Lasting {
        let left = |until: u64| Duration::from_secs(until.saturating_sub(self.today));
        Lasting(until.map(|until| self.now + left(until)))
    }
}
