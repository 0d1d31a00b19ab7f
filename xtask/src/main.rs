//! `cargo xtask …`: the command for developers.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use clap::Parser;

mod arch;
mod bench;
mod docs;
mod fuzz;
mod in_vm;
mod lint;
mod mutants;
mod package;
mod packages;
mod plug;
mod plugin;
mod predecessor;
mod record;
mod test;
mod vm;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Tests, benchmarks and packages of Ashore")]
enum Task {
    /// Check and test everything; fetches the engines that the tests need
    Test(test::TestArgs),
    /// Fuzz the parsers of all input from outside
    Fuzz(fuzz::FuzzArgs),
    /// Break core, routers, store and wire on purpose, and check whether their tests notice
    Mutants(mutants::MutantsArgs),
    /// Measure Ashore and its peers
    Bench(bench::BenchArgs),
    /// Run a command, or the tests that need it, on a Debian kernel in a virtual machine
    Vm(in_vm::VmArgs),
    /// Build the directory from which `docker plugin create` makes a managed plugin
    Plugin(plugin::PluginArgs),
    /// Build `ashore-plug`, which Podman and CNI runtimes execute, as a static program, and print its path
    Plug(plug::PlugArgs),
    /// Build what a release consists of: static programs, packages for Debian and rpm, an archive, a system extension,
    /// Docker's managed plugin, a bill of materials, checksums and their signature
    Package(package::PackageArgs),
    /// Build the book of `docs/` as web pages, and check their links
    Docs,
    /// Record `ashore lab` as the picture that the documents show
    Record,
    /// Check formatting, lints, licences and sources
    Lint,
}

fn main() -> ExitCode {
    match perform(&Task::parse(), &root()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: &Task, root: &Path) -> anyhow::Result<ExitCode> {
    std::env::set_current_dir(root).with_context(|| root.display().to_string())?;
    match task {
        Task::Test(arguments) => test::run(root, arguments)?,
        Task::Fuzz(arguments) => fuzz::run(root, arguments)?,
        Task::Mutants(arguments) => mutants::run(root, arguments)?,
        Task::Bench(arguments) => bench::run(root, arguments)?,
        Task::Plugin(arguments) => plugin::run(root, arguments)?,
        Task::Plug(arguments) => plug::run(root, arguments)?,
        Task::Package(arguments) => package::run(root, arguments)?,
        Task::Vm(arguments) => return in_vm::run(root, arguments),
        Task::Docs => _ = docs::run(root)?,
        Task::Record => record::run(root)?,
        Task::Lint => lint::run(root)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The workspace's root directory.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_owned()
}

/// Runs a command and waits for its end. Its output is shown.
fn execute(command: &mut Command) -> anyhow::Result<()> {
    println!("$ {}", shown(command));
    let status = command.status().with_context(|| shown(command))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs a build that reports its artifacts as one JSON message per line, and returns the messages about
/// artifacts.
fn artifacts(build: &mut Command) -> anyhow::Result<Vec<serde_json::Value>> {
    println!("$ {}", shown(build));
    let mut child = build.stdout(Stdio::piped()).spawn().context("cargo")?;
    let mut made = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("stdout is piped")).lines() {
        let message: serde_json::Value = serde_json::from_str(&line?)?;
        if message["reason"] == "compiler-artifact" {
            made.push(message);
        }
    }
    if !child.wait()?.success() {
        bail!("the build failed");
    }
    Ok(made)
}

/// A command as a user would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
