//! A clock that goes on while the machine sleeps.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// Now, by `CLOCK_BOOTTIME`. Only differences between two such moments mean anything: the kernel's timers and
/// [`Instant::now`] stand still while the machine sleeps.
pub fn boottime() -> Instant {
    static START: OnceLock<(Instant, Duration)> = OnceLock::new();
    let elapsed = || clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    let (start, before) = START.get_or_init(|| (Instant::now(), elapsed()));
    *start + elapsed().saturating_sub(*before)
}
