//! Processes in namespaces, processes that do not outlive their parent or that do, and how a process is asked to end.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

use crate::netns::Namespace;

/// A command that will run in a network namespace.
pub trait InNamespace {
    /// Makes the command enter a namespace before it begins.
    fn in_namespace(&mut self, namespace: &Namespace) -> io::Result<&mut Self>;
}

impl InNamespace for Command {
    fn in_namespace(&mut self, namespace: &Namespace) -> io::Result<&mut Self> {
        let fd = namespace.fd()?;
        // SAFETY: between fork and exec the closure makes one system call on a descriptor that it owns, and allocates
        // nothing.
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

/// Makes the command die (`SIGKILL`) with the thread that starts it, so that a killed test or lab leaves no process.
pub fn kill_with_parent(command: &mut Command) -> &mut Command {
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // It may have died before it could be noticed.
            if nix::unistd::getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        })
    }
}

/// Makes the command the first of a session of its own, so that no terminal's end is its end.
pub fn in_own_session(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        })
    }
}

/// Has all threads of the process share two places to take memory from. With glibc's default those that run at the same time have one each, up to eight
/// for each processor, and what they freed stays there. To be called before there is a second thread.
pub fn share_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes two numbers, and nothing else runs that could be taking memory.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 2);
    }
}

/// Lets the process open as many files as its hard limit allows: the soft one is 1,024 by custom, for the sake of programs that
/// call `select(2)`.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// The signals by which an init system, a terminal or a person asks a process to end, held back until it asks for them.
#[derive(Debug)]
pub struct EndSignals(SigSet);

impl EndSignals {
    /// Holds them back from the calling thread and from those that it starts.
    pub fn hold() -> io::Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
        signals.thread_block()?;
        Ok(EndSignals(signals))
    }

    /// Waits for one for at most so long, and tells whether it came.
    pub fn come_within(&self, most: Duration) -> io::Result<bool> {
        let most = nix::sys::time::TimeSpec::from_duration(most);
        // SAFETY: both pointers are to values that live during the call; nothing is written without a siginfo.
        let signal = unsafe { nix::libc::sigtimedwait(self.0.as_ref(), std::ptr::null_mut(), most.as_ref()) };
        match nix::errno::Errno::result(signal) {
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for one.
    pub fn wait(&self) -> io::Result<()> {
        Ok(self.0.wait().map(|_| ())?)
    }
}
