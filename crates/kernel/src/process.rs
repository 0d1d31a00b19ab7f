//! Processes in namespaces, and processes that do not outlive their parent.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::CloneFlags;
use nix::sys::signal::Signal;

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
