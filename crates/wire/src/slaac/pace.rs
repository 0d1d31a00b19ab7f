//! How often something may be done.

use std::time::{Duration, Instant};

/// So many times at once, and once more each so often: what happens now and then is not held up, and what never ends costs no more
/// than that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    at_once: u32,
    every: Duration,
    /// When all of it is there again.
    full: Instant,
}

impl Pace {
    pub(super) fn new(at_once: u32, every: Duration, now: Instant) -> Self {
        Pace { at_once, every, full: now }
    }

    /// Takes one time; or says when there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
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

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_few_at_once_and_then_one_each_so_often() {
        let now = Instant::now() + seconds(1000);
        let mut pace = Pace::new(3, seconds(10), now);
        for _ in 0..3 {
            assert_eq!(pace.take(now), Ok(()));
        }
        assert_eq!(pace.take(now), Err(now + seconds(10)));
        assert_eq!(pace.take(now + seconds(9)), Err(now + seconds(10)), "to ask costs nothing");
        assert_eq!(pace.take(now + seconds(10)), Ok(()));
        assert_eq!(pace.take(now + seconds(11)), Err(now + seconds(20)));
        for _ in 0..3 {
            assert_eq!(pace.take(now + seconds(500)), Ok(()), "no more of them gather than at first");
        }
        assert_eq!(pace.take(now + seconds(500)), Err(now + seconds(510)));
    }
}
