//! Addresses that an engine's process has requested and has no endpoint for: not yet, or no more and not
//! released.
//!
//! If the process ends in between, its successor does not know of the address. The container's next start
//! must not find the address, or the MAC that goes with it, taken. A running process may take its time. An
//! engine may greet a plugin again without having been restarted: it does so whenever a managed plugin is
//! enabled or restarted (moby, `plugin/manager_linux.go`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ashore_core::api::engine_call::EngineCall;
use ashore_core::api::reply::Reply;
use nix::errno::Errno;
use nix::unistd::Pid;

/// A process, identified uniquely, because process ids are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    /// The start time, in clock ticks since boot.
    started: u64,
}

impl Process {
    /// The process with an id. Returns `None` if it cannot be seen. A caller that is gone already counts as
    /// ended.
    pub(super) fn of(pid: i32) -> Option<Process> {
        let gone = || (pid > 0 && is_gone(pid)).then_some(Process { pid, started: 0 });
        Process::read(pid).map(|(process, _)| process).or_else(gone)
    }

    /// Reads a process, and whether it is a zombie.
    fn read(pid: i32) -> Option<(Process, bool)> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before this may contain anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let started = fields.split(' ').nth(19)?.parse().ok()?;
        Some((Process { pid, started }, fields.starts_with(['Z', 'X'])))
    }

    fn has_ended(self) -> bool {
        is_gone(self.pid) || Process::read(self.pid).is_some_and(|(now, has_ended)| now != self || has_ended)
    }
}

fn is_gone(pid: i32) -> bool {
    nix::sys::signal::kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
}

/// The addresses that engines' processes have reserved.
#[derive(Default)]
pub(super) struct Reserved(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// The process that greeted last.
    greeted: Option<Process>,
    by: BTreeMap<IpAddr, Process>,
}

impl Reserved {
    /// Records the process that greets. Returns whether it may be an engine that has been restarted.
    pub(super) fn greets(&self, process: Option<Process>) -> bool {
        let mut inside = self.inside();
        let is_known = process.is_some() && inside.greeted == process;
        inside.greeted = process;
        !is_known
    }

    /// Records what a process has reserved or released by a call. A caller that cannot be seen is not
    /// recorded.
    pub(super) fn note(&self, call: &EngineCall, reply: &Reply, process: Option<Process>) {
        match (call, reply) {
            (EngineCall::Reserve(requested), Reply::Address(net)) if !requested.gateway => {
                self.add(net.addr(), process);
            }
            (_, Reply::Deleted { addresses }) => addresses.iter().for_each(|ip| self.add(*ip, process)),
            (EngineCall::Free { ip, .. }, _) => self.remove(*ip),
            (EngineCall::Prepare(requested), _) => {
                requested.addresses.iter().for_each(|net| self.remove(net.addr()));
            }
            _ => {}
        }
    }

    /// Records that a process has requested an address, or has removed the endpoint from it.
    fn add(&self, ip: IpAddr, process: Option<Process>) {
        match process {
            Some(process) => drop(self.inside().by.insert(ip, process)),
            None => self.remove(ip),
        }
    }

    /// Removes an address on which an endpoint was made, or which was released.
    pub(super) fn remove(&self, ip: IpAddr) {
        self.inside().by.remove(&ip);
    }

    /// Takes out the addresses whose processes have ended.
    pub(super) fn of_the_ended(&self) -> Vec<IpAddr> {
        let mut inside = self.inside();
        let ended: Vec<IpAddr> =
            inside.by.iter().filter(|(_, process)| process.has_ended()).map(|(ip, _)| *ip).collect();
        inside.by.retain(|ip, _| !ended.contains(ip));
        ended
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_a_process_has_asked_for_is_its_own_until_it_ends() {
        let reserved = Reserved::default();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id().cast_signed());
        let [one, other, mine] = [1, 2, 3].map(|last| IpAddr::from([192, 168, 88, last]));
        reserved.add(one, process);
        reserved.add(other, process);
        reserved.add(mine, Process::of(std::process::id().cast_signed()));
        assert_eq!(reserved.of_the_ended(), [] as [IpAddr; 0]);
        reserved.remove(other);
        child.kill().unwrap();
        // It is a zombie now.
        let ended = (0..200).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            Some(reserved.of_the_ended()).filter(|ended| !ended.is_empty())
        });
        assert_eq!(ended, Some(vec![one]));
        child.wait().unwrap();
        reserved.add(other, Process::of(child.id().cast_signed()));
        assert_eq!(reserved.of_the_ended(), [other], "it had ended before it was read");
        assert_eq!(reserved.of_the_ended(), [] as [IpAddr; 0]);
        // The process id alone does not make another process the same.
        reserved.add(one, Some(Process { pid: std::process::id().cast_signed(), started: 0 }));
        assert_eq!(reserved.of_the_ended(), [one]);
    }

    #[test]
    fn an_engine_that_greets_again_has_not_started_anew() {
        let (reserved, process) = (Reserved::default(), Process::of(std::process::id().cast_signed()));
        assert!(reserved.greets(process));
        assert!(!reserved.greets(process));
        // A caller that cannot be seen may be any process.
        assert!(reserved.greets(None) && reserved.greets(None) && reserved.greets(process));
    }
}
