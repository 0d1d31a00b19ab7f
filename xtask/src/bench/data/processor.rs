//! Processor time: of one thread, and of the whole machine.

use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// The processor time that the calling thread has used so far.
pub(super) fn of_this_thread() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// The processor time that the whole machine has used, other programs included. It is the only count that
/// has the kernel's own threads, which deliver the broadcasts of a macvlan. It is exact to 10 ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfMachine {
    /// All time in which a processor was not idle.
    pub(super) busy: Duration,
    /// Of that, the time in which the kernel handled packets outside any thread.
    pub(super) softirq: Duration,
}

impl OfMachine {
    pub(super) fn until_now() -> anyhow::Result<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat")?)
    }

    fn parse(stat: &str) -> anyhow::Result<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).context("/proc/stat")?;
        let ticks = line.split_whitespace().map(str::parse::<u64>).collect::<Result<Vec<_>, _>>()?;
        let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
            anyhow::bail!("/proc/stat has only {} columns", ticks.len());
        };
        // `USER_HZ` is 100 on every architecture that Debian has.
        let time = |ticks: u64| Duration::from_millis(ticks * 10);
        Ok(OfMachine { busy: time(user + nice + system + irq + softirq), softirq: time(softirq) })
    }

    pub(super) fn since(self, earlier: OfMachine) -> OfMachine {
        OfMachine {
            busy: self.busy.saturating_sub(earlier.busy),
            softirq: self.softirq.saturating_sub(earlier.softirq),
        }
    }
}

/// The share of all processors that is in use while this thread waits, in percent.
pub(super) fn busy_at_rest(wait: Duration) -> anyhow::Result<f64> {
    let before = OfMachine::until_now()?;
    std::thread::sleep(wait);
    let busy = OfMachine::until_now()?.since(before).busy;
    let processors = std::thread::available_parallelism()?.get() as u32;
    Ok(busy.as_secs_f64() / (wait.as_secs_f64() * f64::from(processors)) * 1e2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_processors_and_those_that_wait_for_a_disk_are_not_busy() {
        let of = OfMachine::parse("cpu  10 2 30 999 888 4 5 77 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n").unwrap();
        assert_eq!((of.busy, of.softirq), (Duration::from_millis(510), Duration::from_millis(50)));
    }
}
