//! A tracer that kills a running daemon at its n-th relevant system call, in whichever thread. strace counts
//! each kind of call separately for each thread, and threads of this daemon may live for a single call.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What a system call changes. A process that dies at any other call leaves what it would have left at the
/// next of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// The kernel: a batch of netlink requests that does not begin with a query.
    Netlink,
    /// The kernel: a sysctl.
    Sysctl,
    /// The disk: pages of the state.
    Write,
    /// The disk: the end of a transaction.
    Sync,
    /// Only what the caller knows.
    Answer,
}

/// Records the relevant system calls, in order.
pub struct Tracer {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Call>>,
}

impl Tracer {
    /// Kills a process (`SIGKILL`) at the start of its n-th relevant system call, which is then not executed.
    pub fn kill_at(process: u32, n: usize) -> Tracer {
        let ended = Arc::new(AtomicBool::new(false));
        let (attached, traced) = mpsc::channel();
        let until = ended.clone();
        let thread = std::thread::spawn(move || {
            let mut watched = Tracee::attach(Pid::from_raw(process.cast_signed()));
            attached.send(()).unwrap();
            watched.run(n, &until);
            // The end of this thread detaches the tracer from the process.
            watched.calls
        });
        traced.recv().expect("the process can be traced");
        Tracer { ended, thread }
    }

    /// Detaches from the process. Returns the relevant calls that it began; if it was killed, the last one is
    /// where it died.
    pub fn end(self) -> Vec<Call> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The number of calls of each kind.
pub fn counted(calls: &[Call]) -> BTreeMap<Call, usize> {
    let mut counted = BTreeMap::new();
    for call in calls {
        *counted.entry(*call).or_default() += 1;
    }
    counted
}

struct Tracee {
    process: Pid,
    memory: File,
    calls: Vec<Call>,
}

impl Tracee {
    fn attach(process: Pid) -> Self {
        let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE;
        let mut known = Vec::new();
        // Repeats until no thread is new, because a thread that is not traced yet may start another.
        loop {
            let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
            let ids = tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap());
            let new: Vec<i32> = ids.filter(|id| !known.contains(id)).collect();
            if new.is_empty() {
                break;
            }
            for id in new {
                known.push(id);
                let thread = Pid::from_raw(id);
                // Fails for a thread that a traced thread started, which is traced already, and for one that
                // has ended.
                if ptrace::seize(thread, options).is_ok() {
                    let _ = ptrace::interrupt(thread);
                }
            }
        }
        let memory = File::open(format!("/proc/{process}/mem")).unwrap();
        Tracee { process, memory, calls: Vec::new() }
    }

    /// Runs until the process has made n relevant calls and is killed, or until `ended` is set.
    fn run(&mut self, n: usize, ended: &AtomicBool) {
        // Waits only for what this thread traces, not for other children of the test.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG;
        while !ended.load(Ordering::Relaxed) {
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_micros(50)),
                Ok(WaitStatus::PtraceSyscall(thread)) => {
                    self.calls.extend(self.call(thread));
                    if self.calls.len() == n {
                        kill(self.process, Signal::SIGKILL).unwrap();
                        return;
                    }
                    let _ = ptrace::syscall(thread, None);
                }
                Ok(WaitStatus::Stopped(thread, signal)) => {
                    let _ = ptrace::syscall(thread, signal);
                }
                Ok(WaitStatus::PtraceEvent(thread, ..)) => {
                    let _ = ptrace::syscall(thread, None);
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// What the system call changes that a thread is about to make. Returns `None` if it is not relevant.
    fn call(&self, thread: Pid) -> Option<Call> {
        let stop = ptrace::syscall_info(thread).ok()?;
        if stop.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return None;
        }
        // The call's number in decimal, then the arguments in hexadecimal.
        let line = std::fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
        let mut words = line.split_whitespace();
        let call: i64 = words.next()?.parse().ok()?;
        let arguments: Vec<u64> =
            words.filter_map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()).collect();
        match call {
            libc::SYS_pwrite64 | libc::SYS_ftruncate | libc::SYS_fallocate => Some(Call::Write),
            libc::SYS_fdatasync | libc::SYS_fsync => Some(Call::Sync),
            libc::SYS_write | libc::SYS_sendto => self.said(&arguments),
            _ => None,
        }
    }

    /// Classifies a write to a file or a socket.
    fn said(&self, arguments: &[u64]) -> Option<Call> {
        let [fd, address, length, ..] = *arguments else { return None };
        let to = std::fs::read_link(format!("/proc/{}/fd/{fd}", self.process)).ok()?;
        if to.starts_with("/proc/sys") {
            return Some(Call::Sysctl);
        }
        if !to.to_str()?.starts_with("socket:") {
            return None;
        }
        let mut start = [0; 8];
        self.memory.read_exact_at(&mut start, address).ok()?;
        let number = |at: usize| u16::from_ne_bytes([start[at], start[at + 1]]);
        let message_length = u64::from(number(0)) | u64::from(number(2)) << 16;
        let (kind, flags) = (number(4), number(6));
        let is_question = kind % 4 == 2 || flags & DUMP == DUMP;
        match start[0] {
            b'{' => Some(Call::Answer),
            // A frame to the LAN does not begin with a plausible message length.
            _ if (16..=length).contains(&message_length) => (!is_question).then_some(Call::Netlink),
            _ => None,
        }
    }
}

/// `NLM_F_DUMP`. In a request for a change, the same bits are `NLM_F_REPLACE` and `NLM_F_EXCL`, which exclude
/// each other.
const DUMP: u16 = 0x300;
