//! A moment on two clocks: the clock of lifetimes and the time of day.

use std::time::Duration;

use ashore_wire::Boottime;
use ashore_wire::slaac::Lasting;

/// A moment on two clocks: the clock by which lifetimes run, and the time of day in which they are stored.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// On the clock that continues while the machine is suspended.
    pub now: Boottime,
    /// The time of day, in seconds since 1970.
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
