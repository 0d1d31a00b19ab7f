//! Makes system calls of a running daemon fail, or kills the daemon at one, by strace.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ashore_lab::{Engines, cannot_run};

pub struct Strace(Engines);

/// Faults in a running process. When this is dropped, its system calls work again.
pub struct Faults(Child);

/// A trace of a running process.
pub struct Trace {
    tracing: Faults,
    into: PathBuf,
}

impl Strace {
    pub fn find(test: &str) -> Option<Self> {
        Engines::find().inspect_err(|why| cannot_run(test, why)).ok().map(Strace)
    }

    /// Kills the daemon at its n-th of the named system calls.
    pub fn kill_at(&self, daemon: u32, calls: &str, n: u32) -> Child {
        self.attach(daemon, calls, &format!("signal=KILL:when={n}"), &[])
    }

    /// Kills the daemon at its first of the named system calls that concerns a file.
    pub fn kill_at_file(&self, daemon: u32, calls: &str, file: &str) -> Child {
        self.attach(daemon, calls, "signal=KILL:when=1", &["-P", file])
    }

    /// Injects a fault into system calls of a running process. strace counts them separately for each thread
    /// (`when=`).
    pub fn inject(&self, process: u32, calls: &str, fault: &str) -> Faults {
        Faults(self.attach(process, calls, fault, &[]))
    }

    /// Traces the named system calls of a running process.
    pub fn trace(&self, process: u32, calls: &str, into: &Path) -> Trace {
        let mut command = Command::new(self.0.path("usr/bin/strace"));
        command.args(["-f", "-qq", "-y", "-e", &format!("trace={calls}"), "-e", "signal=none"]);
        command.arg("-o").arg(into).args(["-p", &process.to_string()]);
        let strace = self.0.equip(&mut command).stdin(Stdio::null()).spawn().unwrap();
        wait_until(|| all_traced(process));
        Trace { tracing: Faults(strace), into: into.to_owned() }
    }

    /// Injects a fault into system calls of the threads with these names only.
    pub fn inject_in_threads<const N: usize>(
        &self,
        process: u32,
        names: [&str; N],
        calls: &str,
        fault: &str,
    ) -> Faults {
        let mut command = self.own_command(calls, fault);
        let tasks = names.map(|name| {
            let mut task = None;
            // A thread sets its name only once it runs.
            wait_until(|| {
                task = task_called(process, name);
                task.is_some()
            });
            task.expect("it was waited for")
        });
        for task in &tasks {
            command.arg("-p").arg(task.file_name().unwrap());
        }
        let strace = command.spawn().unwrap();
        wait_until(|| tasks.iter().all(|task| is_traced(task)));
        Faults(strace)
    }

    /// A launcher ([`Home::start_by`](super::Home::start_by)) of a daemon in which the calls meet a fault from its
    /// first call on. [`let_go`] ends that.
    pub fn launcher(&self, calls: &str, fault: &str) -> Vec<String> {
        let command = self.command(calls, fault);
        let text = |part: &std::ffi::OsStr| part.to_str().unwrap().to_owned();
        let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let set = set.map(|(name, value)| format!("{}={}", text(name), text(value)));
        let mut launcher: Vec<String> = std::iter::once("env".to_owned()).chain(set).collect();
        // The daemon is the child of whoever starts it, and strace is not in between. It heeds SIGTERM.
        launcher.extend([text(command.get_program()), "-D".to_owned(), "-I2".to_owned()]);
        launcher.extend(command.get_args().map(text));
        launcher
    }

    /// The command for a program in which the calls meet a fault. This includes the program's children.
    pub fn command(&self, calls: &str, fault: &str) -> Command {
        let mut command = self.own_command(calls, fault);
        command.arg("-f");
        command
    }

    fn own_command(&self, calls: &str, fault: &str) -> Command {
        let mut command = Command::new(self.0.path("usr/bin/strace"));
        command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:{fault}")]);
        self.0.equip(&mut command).stdin(Stdio::null());
        command
    }

    fn attach(&self, process: u32, calls: &str, fault: &str, more: &[&str]) -> Child {
        let mut command = self.command(calls, fault);
        let strace = command.args(["-p", &process.to_string()]).args(more).spawn().unwrap();
        wait_until(|| all_traced(process));
        strace
    }
}

impl Trace {
    /// Ends the trace and returns it: a line for each call, or two if other threads made calls meanwhile.
    pub fn end(self) -> String {
        drop(self.tracing);
        std::fs::read_to_string(self.into).unwrap()
    }
}

/// Ends the faults of a process that [`Strace::launcher`] has started.
pub fn let_go(process: u32) {
    let tracer = || {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
        tracer.trim().parse::<i32>().unwrap()
    };
    let strace = nix::unistd::Pid::from_raw(tracer());
    nix::sys::signal::kill(strace, nix::sys::signal::Signal::SIGTERM).unwrap();
    wait_until(|| tracer() == 0);
}

fn wait_until(mut traced: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !traced() {
        assert!(Instant::now() < end, "strace does not attach or detach");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // On SIGTERM, strace detaches from the process first. If it were killed, it would leave a call half
        // injected.
        let strace = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::kill(strace, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// The thread of a process with a name.
fn task_called(process: u32, name: &str) -> Option<PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten();
    let called =
        |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
    tasks.map(|task| task.path()).find(called)
}

fn all_traced(process: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return false };
    tasks.flatten().all(|task| is_traced(&task.path()))
}

fn is_traced(task: &Path) -> bool {
    let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
}
