//! A clock that keeps running while the machine sleeps.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// The current time of `CLOCK_BOOTTIME`. Only differences between two such instants are meaningful. The
/// kernel's timers and [`Instant::now`] stop while the machine sleeps; this clock does not.
pub fn boottime() -> Instant {
    static START: OnceLock<(Instant, Duration)> = OnceLock::new();
    let elapsed = || clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    let (start, before) = START.get_or_init(|| (Instant::now(), elapsed()));
    *start + elapsed().saturating_sub(*before)
}
