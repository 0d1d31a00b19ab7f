//! Addresses that an engine's process has asked for, and has made no endpoint on yet, or has no more and has not given back.
//!
//! If the process ends in between, its successor does not know of the address, and the container's next start must not find it or the MAC
//! that goes with it taken.
//! A process that runs may take its time. An engine can greet a plugin again without having started anew: it does so whenever a managed
//! plugin is enabled or restarted (moby, `plugin/manager_linux.go`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ashore_core::api::engine_call::EngineCall;
use ashore_core::api::reply::Reply;
use nix::errno::Errno;
use nix::unistd::Pid;

/// A process, known for good: a number alone is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    /// In clock ticks since the host's start.
    started: u64,
}

impl Process {
    /// None where the process cannot be seen. One that has called and is gone already has ended all the same.
    pub(super) fn of(pid: i32) -> Option<Process> {
        let gone = || (pid > 0 && is_gone(pid)).then_some(Process { pid, started: 0 });
        Process::read(pid).map(|(process, _)| process).or_else(gone)
    }

    /// Tells also whether it has ended, and its parent has not asked after it yet.
    fn read(pid: i32) -> Option<(Process, bool)> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before may hold anything.
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

/// What is known of engines' processes.
#[derive(Default)]
pub(super) struct Reserved(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// The process that greeted last.
    greeted: Option<Process>,
    by: BTreeMap<IpAddr, Process>,
}

impl Reserved {
    /// Notes who greets. Tells whether it may be an engine that has started anew.
    pub(super) fn greets(&self, process: Option<Process>) -> bool {
        let mut inside = self.inside();
        let is_known = process.is_some() && inside.greeted == process;
        inside.greeted = process;
        !is_known
    }

    /// Notes what a process has reserved or let go of by a call. A caller that cannot be seen may be anybody.
    pub(super) fn note(&self, call: &EngineCall, reply: &Reply, process: Option<Process>) {
        match (call, reply) {
            (EngineCall::Reserve(requested), Reply::Address(net)) if !requested.gateway => {
                self.add(net.addr(), process)
            }
            (_, Reply::Deleted { addresses }) => addresses.iter().for_each(|ip| self.add(*ip, process)),
            (EngineCall::Free { ip, .. }, _) => self.remove(*ip),
            (EngineCall::Prepare(requested), _) => {
                requested.addresses.iter().for_each(|net| self.remove(net.addr()))
            }
            _ => {}
        }
    }

    /// A process has asked for an address, or has taken the endpoint off it.
    fn add(&self, ip: IpAddr, process: Option<Process>) {
        match process {
            Some(process) => drop(self.inside().by.insert(ip, process)),
            None => self.remove(ip),
        }
    }

    /// An endpoint was made on it, or it was given back.
    pub(super) fn remove(&self, ip: IpAddr) {
        self.inside().by.remove(&ip);
    }

    /// Takes out those whose processes have ended.
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
        // Its parent has not asked after it yet.
        let ended = (0..200).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            Some(reserved.of_the_ended()).filter(|ended| !ended.is_empty())
        });
        assert_eq!(ended, Some(vec![one]));
        child.wait().unwrap();
        reserved.add(other, Process::of(child.id().cast_signed()));
        assert_eq!(reserved.of_the_ended(), [other], "it was gone before it was looked at");
        assert_eq!(reserved.of_the_ended(), [] as [IpAddr; 0]);
        // Its number alone does not make another process the same.
        reserved.add(one, Some(Process { pid: std::process::id().cast_signed(), started: 0 }));
        assert_eq!(reserved.of_the_ended(), [one]);
    }

    #[test]
    fn an_engine_that_greets_again_has_not_started_anew() {
        let (reserved, process) = (Reserved::default(), Process::of(std::process::id().cast_signed()));
        assert!(reserved.greets(process));
        assert!(!reserved.greets(process));
        // Whoever cannot be seen may be anybody.
        assert!(reserved.greets(None) && reserved.greets(None) && reserved.greets(process));
    }
}
