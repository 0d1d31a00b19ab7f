//! Runs test programs at the same time, as many as processors and memory allow. They spend most of their time
//! waiting.

use std::collections::VecDeque;
use std::io::Read;
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::Ground;
use super::marked::{Machine, is_marked};
use super::program::Program;
use super::tally::{Ended, Tally};

/// The interval between two looks at the processors.
const LOOK: Duration = Duration::from_millis(100);
/// How long the processors are watched before another program starts. A program that has just started needs this
/// long to show its load; many that start at once would get in each other's way for minutes.
const WINDOW: Duration = Duration::from_secs(2);
/// Another program starts if the processors were idle for at least this share of the time, in percent.
const IDLE: u64 = 25;
/// Another program starts if, on average, no more tasks than this per processor run or wait for one.
const QUEUE: u64 = 3;
/// The maximum number of programs per processor.
const MOST: usize = 6;
/// How much memory must be free to start another program, in bytes: enough for two engines with their
/// containers.
const MEMORY: u64 = 2 << 30;

/// Runs programs, the longest first. The marked ones run in the virtual machine, beside all others.
pub(super) fn run(
    programs: &[Program],
    ground: &Ground,
    machine: Option<&Machine>,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let (marked, mut plain): (Vec<&Program>, Vec<&Program>) =
        programs.iter().partition(|program| is_marked(program));
    plain.sort_by_key(|program| std::cmp::Reverse(program.seconds()));
    let mut waiting = VecDeque::from(plain);
    let (tell, ended) = channel();
    std::thread::scope(|scope| {
        let mut running = 0;
        if let Some(machine) = machine.filter(|_| !marked.is_empty()) {
            let tell = tell.clone();
            running += 1;
            scope.spawn(move || {
                machine.run(&marked, ground, &mut |one| _ = tell.send((Ok(one), false)));
                // The last message of the virtual machine. It makes room for another program.
                let last = "the virtual machine".to_owned();
                _ = tell.send((Err(anyhow::anyhow!(last)), true));
            });
        }
        let mut load = Load::begin();
        while running > 0 || !waiting.is_empty() {
            while load.has_room(running)
                && let Some(program) = waiting.pop_front()
            {
                let tell = tell.clone();
                running += 1;
                scope.spawn(move || _ = tell.send((run_one(program, ground), true)));
            }
            match ended.recv_timeout(LOOK) {
                Ok((one, was_last)) => {
                    running -= usize::from(was_last);
                    match one {
                        Ok(one) => tally.take(one),
                        Err(error) => println!("{error:#}"),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("this thread can tell, too"),
            }
        }
        Ok(())
    })
}

/// Runs one program to its end.
pub(super) fn run_one(program: &Program, ground: &Ground) -> anyhow::Result<Ended> {
    let began = Instant::now();
    let (mut read, write) = std::io::pipe()?;
    let mut command = program.command(ground);
    command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write);
    let mut child = command.spawn().context("cannot run `timeout` of coreutils")?;
    // The command holds the write ends of the pipe.
    drop(command);
    let mut output = Vec::new();
    read.read_to_end(&mut output)?;
    let processor = processor_time(child.id());
    let status = child.wait()?;
    let output = String::from_utf8_lossy(&output).into_owned();
    let (name, how) = (program.name.clone(), status.to_string());
    Ok(Ended { name, output, well: status.success(), how, took: began.elapsed(), processor })
}

/// The processor time that a child and all its descendants have used, once it has ended and before it is reaped.
/// The descendants are its own: the program is the first process of a PID namespace. `None` if the kernel does
/// not tell.
fn processor_time(child: u32) -> Option<Duration> {
    let pid = Pid::from_raw(child.try_into().ok()?);
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
    // After the name come the state and 10 other fields, then utime, stime, cutime, cstime (proc(5)).
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').skip(11).take(4).filter_map(|word| word.parse::<u64>().ok()).sum();
    let a_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_secs(ticks / u64::try_from(a_second).ok()?))
}

/// How busy the machine is.
struct Load {
    processors: usize,
    at: Instant,
    before: Times,
    /// The tasks that ran or waited for a processor, added up over so many looks.
    runnable: u64,
    looks: u64,
}

/// The processor time since the machine's start, in ticks, and the tasks that run or wait for a processor now.
#[derive(Clone, Copy, Default)]
struct Times {
    idle: u64,
    all: u64,
    runnable: u64,
}

impl Load {
    fn begin() -> Load {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Load { processors, at: Instant::now(), before: Times::now(), runnable: 0, looks: 0 }
    }

    /// Returns whether another program may start beside those that run.
    fn has_room(&mut self, running: usize) -> bool {
        if running <= self.processors {
            self.begin_anew();
            return true;
        }
        let now = Times::now();
        self.runnable += now.runnable;
        self.looks += 1;
        if running >= self.processors * MOST || self.at.elapsed() < WINDOW {
            return false;
        }
        let (before, runnable, looks) = (self.before, self.runnable, self.looks);
        self.begin_anew();
        let is_idle = now.idle.saturating_sub(before.idle) * 100 >= now.all.saturating_sub(before.all) * IDLE;
        let most = QUEUE * u64::try_from(self.processors).unwrap_or(1);
        is_idle && runnable <= most * looks && free_memory() >= MEMORY
    }

    fn begin_anew(&mut self) {
        (self.at, self.before, self.runnable, self.looks) = (Instant::now(), Times::now(), 0, 0);
    }
}

impl Times {
    /// The processor times so far. All zero if the kernel does not report them.
    fn now() -> Times {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let Some(line) = text.lines().next() else { return Times::default() };
        let ticks: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, … What runs at a lower priority gives way to the tests.
        let idle = ticks.iter().skip(3).take(2).chain(ticks.get(1)).sum();
        let runnable = text.lines().find_map(|line| line.strip_prefix("procs_running ")?.trim().parse().ok());
        Times { idle, all: ticks.iter().take(8).sum(), runnable: runnable.unwrap_or(0) }
    }
}

/// `MemAvailable`, in bytes.
fn free_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
