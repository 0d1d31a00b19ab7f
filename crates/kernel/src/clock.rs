//! A clock that keeps running while the machine sleeps.

use std::time::Duration;

use ashore_wire::Boottime;
use nix::time::{ClockId, clock_gettime};

/// The current time of `CLOCK_BOOTTIME`.
pub fn boottime() -> Boottime {
    // The clock is there since Linux 2.6.39, and the call cannot fail otherwise.
    Boottime::after_boot(clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from))
}
