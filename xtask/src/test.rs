//! `cargo xtask test`: everything that must hold, with one list at the end of what could not be tried.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;

use crate::{cargo, lint, packages, shown};

/// A test program that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Run only test programs whose names contain this
    only: Option<String>,
    /// Leave out formatting, lints and licences
    #[arg(long)]
    no_lint: bool,
}

/// A test program.
struct Program {
    name: String,
    path: PathBuf,
    /// Its crate's directory, in which cargo would run it.
    directory: PathBuf,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    /// Programs that ended badly.
    broken: Vec<String>,
}

pub(crate) fn run(root: &Path, arguments: &TestArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    if !arguments.no_lint {
        lint::run(root)?;
    }
    let list = root.join("target/cannot-run");
    std::fs::create_dir_all(root.join("target"))?;
    std::fs::write(&list, "")?;
    let engines = packages::fetch(root).inspect_err(|why| println!("the engines are not at hand: {why}"));
    let programs = build()?;
    let mut tally = Tally::default();
    for program in &programs {
        if arguments.only.as_ref().is_none_or(|only| program.name.contains(only.as_str())) {
            run_program(program, &list, engines.as_deref(), &mut tally)?;
        }
    }
    let cannot_run = std::fs::read_to_string(&list)?;
    println!();
    if cannot_run.is_empty() {
        println!("Everything could run here.");
    } else {
        print!("What could not run here:\n{cannot_run}");
    }
    for name in &tally.broken {
        println!("failed: {name}");
    }
    println!("In {} s:", started.elapsed().as_secs());
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if !tally.broken.is_empty() {
        bail!("tests failed");
    }
    if !cannot_run.is_empty() && engines.is_ok() {
        bail!("on Debian as root every test can run");
    }
    Ok(())
}

/// Builds all test programs once, and says where they are.
fn build() -> anyhow::Result<Vec<Program>> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
    println!("$ {}", shown(&command));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo")?;
    let messages = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(&line?)?;
        let Some(path) = message["executable"].as_str().filter(|_| message["profile"]["test"] == true) else {
            continue;
        };
        let manifest = Path::new(message["manifest_path"].as_str().context("a manifest")?);
        let directory = manifest.parent().context("a crate's directory")?.to_owned();
        let name = format!("{}/{}", crate_of(&directory), message["target"]["name"].as_str().unwrap_or("?"));
        programs.push(Program { name, path: path.into(), directory });
    }
    if !child.wait()?.success() {
        bail!("the tests do not build");
    }
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

fn crate_of(directory: &Path) -> String {
    directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Runs one program in namespaces of its own: what it leaves running ends with it, and the host's network is out of reach.
fn run_program(
    program: &Program,
    list: &Path,
    engines: Result<&Path, &String>,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    println!("\n== {}", program.name);
    let mut command = Command::new("timeout");
    command.arg("--kill-after=10").arg(PATIENCE.as_secs().to_string()).arg("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(&program.path).current_dir(&program.directory);
    command.env("ASHORE_CANNOT_RUN", list).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    match engines {
        Ok(directory) => command.env("ASHORE_ENGINES", directory),
        Err(why) => command.env("ASHORE_NO_ENGINES", why),
    };
    let mut child = command.stdout(Stdio::piped()).spawn().context("unshare, of util-linux")?;
    let mut ended = false;
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let line = line?;
        if let Some(result) = line.strip_prefix("test result: ") {
            tally.passed += count(result, "passed");
            tally.failed += count(result, "failed");
            ended = true;
        }
        println!("{line}");
    }
    let status = child.wait()?;
    if !status.success() || !ended {
        tally.broken.push(format!("{} ({status})", program.name));
        tally.failed += usize::from(!ended);
    }
    Ok(())
}

/// The number before a word in `ok. 7 passed; 0 failed; …`.
fn count(result: &str, what: &str) -> usize {
    let words: Vec<&str> = result.split([' ', ';']).collect();
    let found = words.windows(2).find(|pair| pair[1] == what);
    found.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}
