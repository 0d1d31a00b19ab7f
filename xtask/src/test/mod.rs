//! `cargo xtask test`: checks everything that must hold, and lists at the end what could not be checked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::bail;
use clap::Args;

use crate::{docs, lint, package, packages, plugin, predecessor};

mod marked;
mod program;
mod side_by_side;
mod tally;

use program::Program;
use tally::Tally;

/// The test program that needs the managed plugin.
const PLUGIN_TEST: &str = "ashore/docker_plugin";
/// The test program that needs an earlier version of Ashore.
const UPGRADE_TEST: &str = "ashore/upgrade";
/// The test programs that need packages of the program under test.
const PACKAGE_TESTS: [&str; 3] = ["ashore/deb", "ashore/rpm", "ashore/sysext"];

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Run only test programs whose names contain this
    only: Option<String>,
    /// Leave out formatting, lints and licences
    #[arg(long)]
    no_lint: bool,
    /// Also run what takes too long for every change: all combinations of scenarios, servers and engines
    #[arg(long)]
    all: bool,
}

/// What the test programs are told about this machine.
struct Ground<'a> {
    provided: &'a Provided,
    /// Whether all combinations of scenarios run.
    all: bool,
}

/// What the test programs find in their environment. Each item is the reason if it is missing.
struct Provided {
    engines: Result<PathBuf, String>,
    plugin: Result<PathBuf, String>,
    predecessor: Result<PathBuf, String>,
    packages: Result<PathBuf, String>,
}

impl Ground<'_> {
    fn equip(&self, command: &mut Command) {
        for (there, absent, provided) in [
            ("ASHORE_ENGINES", "ASHORE_NO_ENGINES", &self.provided.engines),
            ("ASHORE_PLUGIN", "ASHORE_NO_PLUGIN", &self.provided.plugin),
            ("ASHORE_PREDECESSOR", "ASHORE_NO_PREDECESSOR", &self.provided.predecessor),
            ("ASHORE_PACKAGES", "ASHORE_NO_PACKAGES", &self.provided.packages),
        ] {
            match provided {
                Ok(directory) => command.env(there, directory),
                Err(why) => command.env(absent, why),
            };
        }
        if self.all {
            command.env("ASHORE_TEST_ALL", "1");
        }
    }
}

/// Runs only the marked test programs.
pub(crate) fn run_marked(root: &Path) -> anyhow::Result<()> {
    run(root, &TestArgs { only: Some(marked::MARK.to_owned()), no_lint: true, all: false })
}

pub(crate) fn run(root: &Path, arguments: &TestArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    // The downloads need the network and hardly the processor, which is needed for the builds.
    let engines = thread::spawn({
        let root = root.to_owned();
        move || packages::fetch(&root)
    });
    if !arguments.no_lint {
        lint::run(root)?;
    }
    if arguments.all {
        docs::run(root)?;
    }
    let unasked = || Err("it was not requested".to_owned());
    let make_plugin = || {
        if is_asked_for(PLUGIN_TEST, arguments) {
            plugin::make_for_tests(root, arguments.all).and_then(package::lay_out_plugin)
        } else {
            unasked()
        }
    };
    // A static program comes first, because it takes the place of the tests' own.
    let made_before = arguments.all.then(make_plugin);
    let predecessor =
        if is_asked_for(UPGRADE_TEST, arguments) { predecessor::build(root) } else { unasked() };
    let programs = program::chosen(program::build()?, arguments.only.as_deref())?;
    // These are of the programs that were built for the tests.
    let plugin = made_before.unwrap_or_else(make_plugin);
    let of_debian = if PACKAGE_TESTS.iter().any(|program| is_asked_for(program, arguments)) {
        package::make_for_tests(root)
    } else {
        unasked()
    };
    let engines = engines.join().expect("downloading does not panic")?;
    let engines = engines.inspect_err(|why| println!("the engines are not available: {why}"));
    let provided = Provided { engines, plugin, predecessor, packages: of_debian };
    let ground = Ground { provided: &provided, all: arguments.all };
    let mut tally = Tally::default();
    let machine = marked::machine_for(root, &programs, &mut tally);
    let built = started.elapsed().as_secs();
    println!("Test programs run in parallel; each one's output appears when it has ended.");
    side_by_side::run(&programs, &ground, machine.as_ref().ok(), &mut tally)?;
    let unsteady = diagnose(&programs, &ground, machine.as_ref().ok(), &mut tally)?;
    println!("\nThe longest:\n{}", tally.longest());
    if tally.cannot_run.is_empty() {
        println!("Everything could run here.");
    } else {
        println!("What could not run here:\n{}", tally.cannot_run.join("\n"));
    }
    for (name, how) in &unsteady {
        println!("unsteady, a fault to be found: {name} failed among others ({how}), but passed alone");
    }
    for broken in &tally.broken {
        println!("failed: {broken}");
    }
    println!("In {} s, of which {built} s before the first test:", started.elapsed().as_secs());
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if !tally.broken.is_empty() {
        bail!("tests failed");
    }
    if !tally.cannot_run.is_empty()
        && provided.engines.is_ok()
        && provided.predecessor.is_ok()
        && machine.is_ok()
    {
        bail!("on Debian as root every test can run");
    }
    Ok(())
}

/// Runs the failed tests once more, alone, and returns those that pass then. A test that fails only under
/// load is a fault, in the test or in Ashore.
fn diagnose(
    programs: &[Program],
    ground: &Ground,
    machine: Option<&marked::Machine>,
    tally: &mut Tally,
) -> anyhow::Result<Vec<(String, String)>> {
    let first = std::mem::take(&mut tally.broken);
    if first.is_empty() {
        return Ok(Vec::new());
    }
    println!("\n{} of the programs failed; their failed tests run once more, alone:", first.len());
    let mut unsteady = Vec::new();
    for broken in first {
        let program = programs.iter().find(|program| program.name == broken.name);
        let again = program.expect("a failed program is one of the programs").only(&broken.tests);
        let mut alone = Tally::default();
        if marked::is_marked(&again) {
            let Some(machine) = machine else { continue };
            machine.run(&[&again], ground, &mut |ended| alone.take(ended));
        } else {
            alone.take(side_by_side::run_one(&again, ground)?);
        }
        if let Some(still) = alone.broken.pop() {
            tally.broken.push(still);
        } else {
            tally.passed += alone.passed;
            tally.failed = tally.failed.saturating_sub(broken.tests.len().max(1));
            unsteady.push((broken.name, broken.how));
        }
    }
    Ok(unsteady)
}

/// Returns whether a test program is to run.
fn is_asked_for(program: &str, arguments: &TestArgs) -> bool {
    arguments.only.as_ref().is_none_or(|only| program.contains(only))
}
