//! Numbers that differ between hosts, from a seed that the caller passes.

use std::time::Duration;

/// A linear congruential generator with Knuth's constants. It is for spreading times, not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub u64);

impl Random {
    /// The next number.
    pub(crate) fn number(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// A duration between `least` and `most`, both included, in steps of a microsecond.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.checked_sub(least).unwrap().as_micros()).unwrap_or(u64::MAX - 1);
        least + Duration::from_micros(u64::from(self.number()) % (span + 1))
    }
}
