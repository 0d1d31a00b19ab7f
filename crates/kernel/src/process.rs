//! Processes in namespaces, processes that die with their parent or outlive it, and the signals that ask a
//! process to end.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

use crate::netns::Namespace;

/// A command that runs in a network namespace.
pub trait InNamespace {
    /// Makes the command enter a namespace before it starts.
    fn in_namespace(&mut self, namespace: &Namespace) -> io::Result<&mut Self>;
}

impl InNamespace for Command {
    fn in_namespace(&mut self, namespace: &Namespace) -> io::Result<&mut Self> {
        let fd = namespace.fd()?;
        // SAFETY: between fork and exec the closure makes one system call on a descriptor that it owns, and
        // it allocates nothing.
        unsafe {
            self.pre_exec(move || {
                nix::sched::setns(fd.as_fd(), CloneFlags::CLONE_NEWNET)?;
                debug_assert!(fd.as_raw_fd() >= 0);
                Ok(())
            });
        }
        Ok(self)
    }
}

/// Makes the command die (`SIGKILL`) with the thread that starts it, so that a killed test or lab leaves no
/// process behind.
pub fn kill_with_parent(command: &mut Command) -> &mut Command {
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the call took effect.
            if nix::unistd::getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        })
    }
}

/// Starts the command in a session of its own, so that it survives the end of any terminal.
pub fn in_own_session(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        })
    }
}

/// Makes all threads of the process share two malloc arenas. By default glibc gives threads that run at the
/// same time an arena each, up to eight per processor, and freed memory stays in its arena. Call this before
/// a second thread is started.
pub fn share_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes two numbers, and no other thread runs that could be allocating.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 2);
    }
}

/// Raises the soft limit on open files to the hard limit. The soft limit is 1,024 by convention, for programs
/// that call `select(2)`.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// The signals by which an init system, a terminal or a user asks a process to end. They are blocked and are
/// received only on request.
#[derive(Debug)]
pub struct EndSignals(SigSet);

impl EndSignals {
    /// Blocks the signals in the calling thread and in the threads that it starts.
    pub fn hold() -> io::Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
        signals.thread_block()?;
        Ok(EndSignals(signals))
    }

    /// Waits at most `most` for one of the signals. Returns whether one arrived.
    pub fn come_within(&self, most: Duration) -> io::Result<bool> {
        let most = nix::sys::time::TimeSpec::from_duration(most);
        // SAFETY: both pointers point to values that live during the call. Without a siginfo nothing is
        // written.
        let signal = unsafe { nix::libc::sigtimedwait(self.0.as_ref(), std::ptr::null_mut(), most.as_ref()) };
        match nix::errno::Errno::result(signal) {
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for one of the signals.
    pub fn wait(&self) -> io::Result<()> {
        Ok(self.0.wait().map(|_| ())?)
    }
}

/// Whether this process is in a user namespace other than the initial one, which maps all ids
/// (`user_namespaces`).
pub fn is_in_users_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && !map.split_whitespace().eq(["0", "0", "4294967295"])
}
