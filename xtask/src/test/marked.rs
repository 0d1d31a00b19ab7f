//! Test programs that need a kernel with more features than the usual one. They run in the virtual machine,
//! all in one boot.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Ground;
use super::program::{PATIENCE, Program};
use super::tally::{Ended, Tally};
use crate::vm::{VirtualMachine, shell_line};

/// How the names of these programs begin.
pub(super) const MARK: &str = "/vm_";

/// How long the virtual machine may run. Its programs share it, and it shares its processors with everything
/// else that runs.
const MOST: Duration = Duration::from_secs(2 * PATIENCE.as_secs());

/// Printed by the script when a program has ended, followed by the exit status.
const ENDED: &str = "== ended: ";

/// The virtual machine.
pub(super) struct Machine(VirtualMachine);

pub(super) fn is_marked(program: &Program) -> bool {
    program.name.contains(MARK)
}

/// The virtual machine for the marked programs. Returns the reason if there is none. Each marked program is
/// then listed as one that cannot run.
pub(super) fn machine_for(root: &Path, programs: &[Program], tally: &mut Tally) -> Result<Machine, String> {
    let mut marked = programs.iter().filter(|program| is_marked(program)).peekable();
    if marked.peek().is_none() {
        return Err("no test program needs it".into());
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
    /// Runs programs one after another in one boot, and reports each one when it has ended.
    pub(super) fn run(&self, programs: &[&Program], ground: &Ground, tell: &mut dyn FnMut(Ended)) {
        let mut left = programs.iter();
        let (mut output, mut began) = (String::new(), Instant::now());
        let run = self.0.run(&script_of(programs, ground), MOST, &mut |line| {
            if let Some(status) = line.strip_prefix(ENDED)
                && let Some(program) = left.next()
            {
                let (well, how) = (status == "0", format!("exit status: {status}"));
                let output = std::mem::take(&mut output);
                tell(Ended {
                    name: program.name.clone(),
                    output,
                    well,
                    how,
                    took: began.elapsed(),
                    processor: None,
                });
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
            let how = "the virtual machine ended before the program did".to_owned();
            let output = std::mem::take(&mut output);
            tell(Ended {
                name: program.name.clone(),
                output,
                well: false,
                how,
                took: began.elapsed(),
                processor: None,
            });
        }
    }
}

/// The script that runs the programs one after another in the virtual machine.
fn script_of(programs: &[&Program], ground: &Ground) -> String {
    let mut lines = vec![
        // Once a program has loaded a tunnel module, each new namespace would get a link of that module
        // (Linux 5.8).
        "echo 2 >/proc/sys/net/core/fb_tunnels_only_for_init_net".to_owned(),
    ];
    for program in programs {
        lines.push(shell_line(&program.command(ground)));
        lines.push(format!("echo \"{ENDED}$?\""));
    }
    lines.push("exit 0".to_owned());
    lines.join("\n")
}
