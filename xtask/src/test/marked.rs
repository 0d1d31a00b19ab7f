//! Test programs that need a kernel with more than the usual one has: they run in the virtual machine, all in one boot.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Ground;
use super::program::{PATIENCE, Program};
use super::tally::{Ended, Tally};
use crate::vm::{VirtualMachine, shell_line};

/// How their names begin.
pub(super) const MARK: &str = "/vm_";

/// For how long the machine may run: its programs share it, and its processors with all that runs beside it.
const MOST: Duration = Duration::from_secs(2 * PATIENCE.as_secs());

/// What a script says when a program has ended, before its status.
const ENDED: &str = "== ended: ";

/// The virtual machine.
pub(super) struct Machine(VirtualMachine);

pub(super) fn is_marked(program: &Program) -> bool {
    program.name.contains(MARK)
}

/// The machine for those of the programs that are marked, or why there is none, with which each of them is listed.
pub(super) fn machine_for(root: &Path, programs: &[Program], tally: &mut Tally) -> Result<Machine, String> {
    let mut marked = programs.iter().filter(|program| is_marked(program)).peekable();
    if marked.peek().is_none() {
        return Err("no program needs it".into());
    }
    let machine = VirtualMachine::fetch(root);
    if let Err(why) = &machine {
        for program in marked {
            tally.cannot_run.push(format!("{}: {why}", program.name));
        }
    }
    machine.map(Machine)
}

impl Machine {
    /// Runs programs one after another in one boot, and tells of each that has ended.
    pub(super) fn run(&self, programs: &[&Program], ground: &Ground, tell: &mut dyn FnMut(Ended)) {
        let mut left = programs.iter();
        let (mut output, mut began) = (String::new(), Instant::now());
        let run = self.0.run(&script_of(programs, ground), MOST, &mut |line| {
            if let Some(status) = line.strip_prefix(ENDED)
                && let Some(program) = left.next()
            {
                let (well, how) = (status == "0", format!("exit status: {status}"));
                let output = std::mem::take(&mut output);
                tell(Ended { name: program.name.clone(), output, well, how, took: began.elapsed() });
                began = Instant::now();
                return;
            }
            output.push_str(line);
            output.push('\n');
        });
        if let Err(why) = run {
            output = format!("{output}{why:#}");
        }
        for program in left {
            let how = "the virtual machine ended before it did".to_owned();
            let output = std::mem::take(&mut output);
            tell(Ended { name: program.name.clone(), output, well: false, how, took: began.elapsed() });
        }
    }
}

/// Runs programs one after another, for the virtual machine.
fn script_of(programs: &[&Program], ground: &Ground) -> String {
    let mut lines = vec![
        // Once a tunnel's module is loaded, by whatever program, each new namespace would have a link of it (Linux 5.8).
        "echo 2 >/proc/sys/net/core/fb_tunnels_only_for_init_net".to_owned(),
    ];
    for program in programs {
        lines.push(shell_line(&program.command(ground)));
        lines.push(format!("echo \"{ENDED}$?\""));
    }
    lines.push("exit 0".to_owned());
    lines.join("\n")
}
