//! A clock that keeps running while the machine sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ashore_wire::Boottime;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};

/// The current time of `CLOCK_BOOTTIME`.
pub fn boottime() -> Boottime {
    // The clock is there since Linux 2.6.39, and the call cannot fail otherwise.
    Boottime::after_boot(clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from))
}

/// A timer that does not wait longer because the machine sleeps: it is over as soon as the machine wakes.
pub struct Alarm(TimerFd);

impl Alarm {
    /// A timer that is not set.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Alarm(TimerFd::new(timerfd::ClockId::CLOCK_BOOTTIME, flags)?))
    }

    /// Sets it anew. It is readable when the time is over.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        Ok(self.0.set(Expiration::OneShot(TimeSpec::from_duration(after)), TimerSetTimeFlags::empty())?)
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// How long the machine has slept since it was started: the time that `CLOCK_MONOTONIC` does not count.
pub fn asleep() -> Duration {
    let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    // It is read first, so that it is never the later one.
    let boottime = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(monotonic, Duration::from);
    boottime.saturating_sub(monotonic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_readable;

    #[test]
    fn an_alarm_goes_off_once_and_can_be_set_anew() {
        let alarm = Alarm::new().unwrap();
        let is_over = |most| wait_readable(&[alarm.as_fd()], Some(Duration::from_millis(most))).unwrap()[0];
        assert!(!is_over(10), "it is not set");
        alarm.set(Duration::from_millis(20)).unwrap();
        assert!(is_over(5000));
        alarm.set(Duration::from_secs(3600)).unwrap();
        assert!(!is_over(10), "setting it anew ends what was over");
        assert!(asleep() >= Duration::ZERO && asleep() < Duration::from_secs(86_400 * 365));
    }
}
