//! strace, with which a call of a running daemon can be made its last.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ashore_lab::{Engines, cannot_run};

pub struct Strace(Engines);

impl Strace {
    pub fn find(test: &str) -> Option<Self> {
        Engines::find().inspect_err(|why| cannot_run(test, why)).ok().map(Strace)
    }

    /// Lets the daemon die at the n-th of the calls that are named.
    pub fn kill_at(&self, daemon: u32, calls: &str, n: u32) -> Child {
        self.attach(daemon, calls, n, &[])
    }

    /// Lets the daemon die at the first of the calls that are named and concern a file.
    pub fn kill_at_file(&self, daemon: u32, calls: &str, file: &str) -> Child {
        self.attach(daemon, calls, 1, &["-P", file])
    }

    fn attach(&self, daemon: u32, calls: &str, n: u32, more: &[&str]) -> Child {
        let mut command = Command::new(self.0.path("usr/bin/strace"));
        command.args(["-f", "-qq", "-o", "/dev/null", "-p", &daemon.to_string()]).args(more);
        command.args([
            "-e",
            &format!("trace={calls}"),
            "-e",
            &format!("inject={calls}:signal=KILL:when={n}"),
        ]);
        let strace = self.0.equip(&mut command).stdin(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while !all_traced(daemon) {
            assert!(Instant::now() < end, "strace does not attach");
            std::thread::sleep(Duration::from_millis(1));
        }
        strace
    }
}

fn all_traced(process: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return false };
    tasks.flatten().all(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    })
}
