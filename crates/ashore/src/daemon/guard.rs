//! The guard of a trial: a separate process that puts the host back if the daemon is not there to do so.
//!
//! The guard is started, and ready, before the first step. It ends when the trial's file is gone. It puts the
//! host back when the trial's time is over, and at once when it is asked to end. Systemd asks it too, because
//! it stops all processes of a service.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use ashore_kernel::{EndSignals, Kernel, in_own_session};

use crate::client::Failure;
use crate::out::say;
use crate::trial::TrialFile;
use crate::unlocked::Unlocked;

/// How often the guard checks whether the trial goes on.
pub(super) const LOOK: Duration = Duration::from_millis(100);

const READY: &str = "ready";

/// Runs the guard.
pub(crate) fn run(trial: &Path) -> Result<(), Failure> {
    super::log();
    watch(&TrialFile::at(trial)).map_err(Failure::from)
}

fn watch(file: &TrialFile) -> anyhow::Result<()> {
    let unlocked = &mut Unlocked::of_this_thread();
    let signals = EndSignals::hold().context("signals")?;
    let kernel = Kernel::here().context("the kernel's network state")?;
    let Some((trial, mark)) = file.read(unlocked).context("the trial's file")? else {
        bail!("there is no trial")
    };
    say!("{READY}");
    loop {
        let asked = signals.come_within(LOOK.min(trial.left())).context("signals")?;
        if !file.goes_on(unlocked, mark) {
            return Ok(());
        }
        if asked || trial.left().is_zero() {
            if let Some(held) = file.hold(unlocked).context("the trial's lock")? {
                held.put_back_by(unlocked, &kernel);
            }
            return Ok(());
        }
    }
}

/// Starts a guard, and returns when it is ready.
pub(super) fn start(_: &Unlocked, file: &TrialFile) -> anyhow::Result<()> {
    // This works even if the program's file was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg("guard").arg(file.path()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut guard = in_own_session(&mut command).spawn().context("starting the guard")?;
    let answer = guard.stdout.take().context("it is piped")?;
    let mut line = String::new();
    BufReader::new(answer).read_line(&mut line).context("the guard's answer")?;
    if line.trim_end() != READY {
        bail!("the guard ended ({}); the daemon's log says why", guard.wait()?);
    }
    reap(guard)
}

/// Waits in a thread for the guard to end. The result does not matter, but the process has to be reaped.
fn reap(mut guard: Child) -> anyhow::Result<()> {
    let wait = move || {
        let _ = guard.wait();
    };
    std::thread::Builder::new().name("guard".into()).spawn(wait).map(drop).context("a thread")
}
