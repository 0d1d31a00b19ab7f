//! A point in time on a clock that keeps running while the machine sleeps.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A time of `CLOCK_BOOTTIME`: how long ago the machine started, also counting the time that it slept. Leases and
/// router advertisements run on while a machine sleeps, but [`std::time::Instant`] and the kernel's timers stand
/// still. The two do not mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boottime(Duration);

/// What the value counts from: this long before the machine started, because a lease may be older than that. It is
/// more than any lifetime on the wire (2^32 s).
const BEFORE: Duration = Duration::from_secs(1 << 33);

impl Boottime {
    /// The time at which the machine had been running for `duration`.
    ///
    /// # Panics
    ///
    /// If that is billions of years.
    pub const fn after_boot(duration: Duration) -> Self {
        Boottime(BEFORE.checked_add(duration).expect("no machine runs that long"))
    }

    /// The time `duration` before this. `None` if that is more than some 270 years before the machine started.
    #[must_use]
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        self.0.checked_sub(duration).map(Boottime)
    }

    /// How long after `earlier` this is. Zero if it is before.
    #[must_use]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// How long after `earlier` this is. `None` if it is before.
    #[must_use]
    pub fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0)
    }
}

impl Add<Duration> for Boottime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Boottime(self.0 + duration)
    }
}

impl AddAssign<Duration> for Boottime {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

/// How much later the first is than the second. Zero if it is earlier.
impl Sub for Boottime {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// As [`Boottime::checked_sub`], and the earliest time of all where that has none.
impl Sub<Duration> for Boottime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Boottime(self.0.saturating_sub(duration))
    }
}

/// A time for the units.
#[cfg(test)]
pub(crate) const SOME_TIME: Boottime = Boottime::after_boot(Duration::from_secs(1_000_000));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_before_the_machine_started_but_not_endlessly() {
        let (now, year) = (Boottime::after_boot(Duration::from_secs(1)), Duration::from_secs(31_557_600));
        let long_ago = now.checked_sub(100 * year).unwrap();
        assert_eq!((now - long_ago, long_ago - now), (100 * year, Duration::ZERO));
        assert_eq!(now.checked_sub(300 * year), None);
    }
}
