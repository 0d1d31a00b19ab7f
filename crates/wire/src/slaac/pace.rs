//! A rate limit.

use std::time::Duration;

use crate::Boottime;

/// A rate limit: `at_once` times without a pause, and one more time per `every`. Rare events are not delayed,
/// and endless events cost no more than the limit allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    at_once: u32,
    every: Duration,
    /// When the whole allowance is available again.
    full: Boottime,
}

impl Pace {
    pub(super) fn new(at_once: u32, every: Duration, now: Boottime) -> Self {
        Pace { at_once, every, full: now }
    }

    /// Uses one time. Returns the moment at which one is available again if there is none now.
    pub(super) fn take(&mut self, now: Boottime) -> Result<(), Boottime> {
        let (full, most) = (self.full.max(now) + self.every, now + self.every * self.at_once);
        if full > most {
            return Err(now + (full - most));
        }
        self.full = full;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boottime::SOME_TIME;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_few_at_once_and_then_one_each_so_often() {
        let now = SOME_TIME + seconds(1000);
        let mut pace = Pace::new(3, seconds(10), now);
        for _ in 0..3 {
            assert_eq!(pace.take(now), Ok(()));
        }
        assert_eq!(pace.take(now), Err(now + seconds(10)));
        assert_eq!(pace.take(now + seconds(9)), Err(now + seconds(10)), "a refused attempt uses nothing");
        assert_eq!(pace.take(now + seconds(10)), Ok(()));
        assert_eq!(pace.take(now + seconds(11)), Err(now + seconds(20)));
        for _ in 0..3 {
            assert_eq!(pace.take(now + seconds(500)), Ok(()), "the allowance never exceeds its first value");
        }
        assert_eq!(pace.take(now + seconds(500)), Err(now + seconds(510)));
    }
}
