//! `cargo xtask vm`: runs commands in the virtual machine.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use crate::test;
use crate::vm::{VirtualMachine, shell_line};

#[derive(Debug, Args)]
pub(crate) struct VmArgs {
    /// How long it may take in total, in seconds
    #[arg(long, default_value_t = 900)]
    seconds: u64,
    /// The command to run, as root, in this directory; without it, the test programs whose names begin with
    /// `vm_` run
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Returns the command's exit status.
pub(crate) fn run(root: &Path, arguments: &VmArgs) -> anyhow::Result<ExitCode> {
    let Some((program, words)) = arguments.command.split_first() else {
        test::run_marked(root)?;
        return Ok(ExitCode::SUCCESS);
    };
    let machine = VirtualMachine::fetch(root).map_err(|why| anyhow!("no virtual machine: {why}"))?;
    let mut command = Command::new(program);
    command.args(words).current_dir(std::env::current_dir().context("the current directory")?);
    let line = format!("exec {}", shell_line(&command));
    let patience = Duration::from_secs(arguments.seconds);
    let status = machine.run(&line, patience, &mut |line| println!("{line}"))?;
    Ok(status.into())
}
