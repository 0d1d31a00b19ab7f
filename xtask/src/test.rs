//! `cargo xtask test`: everything that must hold, with one list at the end of what could not be tried.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::Args;

use crate::vm::{VirtualMachine, shell_line};
use crate::{artifacts, cargo, lint, packages, plugin};

/// The test program that needs the managed plugin.
const PLUGIN_TEST: &str = "ashore/docker_plugin";

/// A test program that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How the names of test programs begin that need a kernel with more than the usual one has: they run in the virtual
/// machine, all in one boot.
const MARK: &str = "/vm_";

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
    /// Programs that ended badly, and how.
    broken: Vec<(String, String)>,
    /// Whether the program that is heard has tests and ran none of them.
    idle: bool,
}

/// What the test programs are told of this machine.
struct Ground<'a> {
    /// The file for what cannot run.
    list: PathBuf,
    provided: &'a Provided,
}

/// What they find in their environment, or why it is not there.
struct Provided {
    engines: Result<PathBuf, String>,
    plugin: Result<PathBuf, String>,
}

impl Provided {
    fn equip(&self, command: &mut Command) {
        for (there, absent, provided) in [
            ("ASHORE_ENGINES", "ASHORE_NO_ENGINES", &self.engines),
            ("ASHORE_PLUGIN", "ASHORE_NO_PLUGIN", &self.plugin),
        ] {
            match provided {
                Ok(directory) => command.env(there, directory),
                Err(why) => command.env(absent, why),
            };
        }
    }
}

/// Runs the marked test programs alone.
pub(crate) fn run_marked(root: &Path) -> anyhow::Result<()> {
    run(root, &TestArgs { only: Some(MARK.to_owned()), no_lint: true })
}

pub(crate) fn run(root: &Path, arguments: &TestArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    if !arguments.no_lint {
        lint::run(root)?;
    }
    let list = root.join("target/cannot-run");
    std::fs::create_dir_all(root.join("target"))?;
    std::fs::write(&list, "")?;
    // First, since it leaves the program linked otherwise than the tests' own build does.
    let plugin = make_plugin(root, arguments);
    let programs = chosen(build()?, arguments.only.as_deref())?;
    let engines = packages::fetch(root).inspect_err(|why| println!("the engines are not at hand: {why}"));
    let provided = Provided { engines, plugin };
    let ground = Ground { list: list.clone(), provided: &provided };
    let mut tally = Tally::default();
    let machine = run_all(root, &programs, &ground, &mut tally)?;
    let unsteady = run_again(root, programs, &ground, &mut tally)?;
    let cannot_run = std::fs::read_to_string(&list)?;
    println!();
    if cannot_run.is_empty() {
        println!("Everything could run here.");
    } else {
        print!("What could not run here:\n{cannot_run}");
    }
    for name in &unsteady {
        println!("failed, and passed when it was run once more: {name}");
    }
    for (name, how) in &tally.broken {
        println!("failed: {name} ({how})");
    }
    println!("In {} s:", started.elapsed().as_secs());
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if !tally.broken.is_empty() {
        bail!("tests failed");
    }
    if !cannot_run.is_empty() && provided.engines.is_ok() && machine.is_ok() {
        bail!("on Debian as root every test can run");
    }
    Ok(())
}

/// Runs programs, those that are marked last, and tells whether there is a virtual machine for them.
fn run_all(
    root: &Path,
    programs: &[Program],
    ground: &Ground,
    tally: &mut Tally,
) -> anyhow::Result<Result<(), String>> {
    let (marked, plain): (Vec<&Program>, Vec<&Program>) =
        programs.iter().partition(|program| program.name.contains(MARK));
    for program in plain {
        run_program(program, ground, tally)?;
    }
    if marked.is_empty() { Ok(Ok(())) } else { run_marked_ones(root, &marked, ground, tally) }
}

/// Runs what failed once more, and names what passes then. Engines, kernels and servers have timing of their own; that a test
/// meets one that it does not expect is to be looked into, and no reason to lose everything else.
fn run_again(
    root: &Path,
    mut programs: Vec<Program>,
    ground: &Ground,
    tally: &mut Tally,
) -> anyhow::Result<Vec<String>> {
    let first = std::mem::take(&mut tally.broken);
    programs.retain(|program| first.iter().any(|(name, _)| *name == program.name));
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    println!("\n{} of the programs failed and are run once more:", programs.len());
    let (passed, failed) = (tally.passed, std::mem::take(&mut tally.failed));
    run_all(root, &programs, ground, tally)?.unwrap_or_else(|why| println!("{why}"));
    let fails = |name: &String| tally.broken.iter().any(|(broken, _)| broken == name);
    let unsteady: Vec<String> = first.into_iter().map(|(name, _)| name).filter(|name| !fails(name)).collect();
    // Those that passed at first are not counted twice.
    tally.passed = passed + failed.saturating_sub(tally.failed);
    Ok(unsteady)
}

/// Makes the managed plugin, if the test that needs it is to run.
fn make_plugin(root: &Path, arguments: &TestArgs) -> Result<PathBuf, String> {
    let wanted = arguments.only.as_ref().is_none_or(|only| PLUGIN_TEST.contains(only));
    if wanted { plugin::make_for_tests(root) } else { Err("it was not asked for".into()) }
}

/// Builds all test programs once, and says where they are.
fn build() -> anyhow::Result<Vec<Program>> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
    let mut programs = Vec::new();
    for message in artifacts(&mut command)? {
        let Some(path) = message["executable"].as_str().filter(|_| message["profile"]["test"] == true) else {
            continue;
        };
        let manifest = Path::new(message["manifest_path"].as_str().context("a manifest")?);
        let directory = manifest.parent().context("a crate's directory")?.to_owned();
        let name = format!("{}/{}", crate_of(&directory), message["target"]["name"].as_str().unwrap_or("?"));
        programs.push(Program { name, path: path.into(), directory });
    }
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

/// The programs whose names contain something. One that none contains is a slip, and no success.
fn chosen(mut programs: Vec<Program>, only: Option<&str>) -> anyhow::Result<Vec<Program>> {
    let Some(only) = only else { return Ok(programs) };
    let names: Vec<String> = programs.iter().map(|program| program.name.clone()).collect();
    programs.retain(|program| program.name.contains(only));
    if programs.is_empty() {
        bail!("no test program's name contains `{only}`; there are:\n  {}", names.join("\n  "));
    }
    Ok(programs)
}

fn crate_of(directory: &Path) -> String {
    directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// One program in namespaces of its own: what it leaves running ends with it, and the host's network is out of reach.
fn confined(program: &Program, ground: &Ground) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=10").arg(PATIENCE.as_secs().to_string()).arg("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(&program.path).current_dir(&program.directory);
    command.env("ASHORE_CANNOT_RUN", &ground.list).env("RUST_BACKTRACE", "0");
    ground.provided.equip(&mut command);
    command
}

fn run_program(program: &Program, ground: &Ground, tally: &mut Tally) -> anyhow::Result<()> {
    println!("\n== {}", program.name);
    let mut command = confined(program, ground);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let child = child.as_mut().map_err(|error| anyhow!("unshare, of util-linux: {error}"))?;
    let mut ended = false;
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let line = line?;
        ended |= tally.hear(&line);
        println!("{line}");
    }
    let status = child.wait()?;
    tally.close(program, ended && status.success(), ended, &status.to_string());
    Ok(())
}

/// Runs the marked programs in the virtual machine, one after another in one boot. Where there is none, each is listed
/// with the reason, which is the inner answer.
fn run_marked_ones(
    root: &Path,
    programs: &[&Program],
    ground: &Ground,
    tally: &mut Tally,
) -> anyhow::Result<Result<(), String>> {
    let machine = match VirtualMachine::fetch(root) {
        Ok(machine) => machine,
        Err(why) => {
            for program in programs {
                append(&ground.list, &format!("cannot-run: {}: {why}\n", program.name))?;
            }
            return Ok(Err(why));
        }
    };
    let (mut at, mut ended) = (0, false);
    let run = machine.run(&script_of(programs, ground), PATIENCE, &mut |line| {
        if let (Some(status), Some(program)) = (line.strip_prefix(ENDED), programs.get(at)) {
            tally.close(program, ended && status == "0", ended, &format!("exit status: {status}"));
            (at, ended) = (at + 1, false);
            return;
        }
        if line.starts_with("cannot-run: ") {
            append(&ground.list, &format!("{line}\n")).unwrap_or_else(|error| println!("{error}"));
        }
        ended |= tally.hear(line);
        println!("{line}");
    });
    if let Err(why) = run {
        println!("{why:#}");
    }
    for program in programs.iter().skip(at) {
        tally.close(program, false, false, "the virtual machine ended before it did");
    }
    Ok(Ok(()))
}

/// What a script says when a program has ended, before its status.
const ENDED: &str = "== ended: ";

/// Runs programs one after another, for the virtual machine.
fn script_of(programs: &[&Program], ground: &Ground) -> String {
    // Only what is printed leaves the machine.
    let inside = Ground { list: "/run/cannot-run".into(), provided: ground.provided };
    let mut lines = vec![format!("list={}; : >$list", inside.list.display())];
    for program in programs {
        lines.push(format!("echo; echo '== {} (in the virtual machine)'", program.name));
        lines.push(shell_line(&confined(program, &inside)));
        lines.push(format!("echo \"{ENDED}$?\"; cat $list; : >$list"));
    }
    lines.push("exit 0".to_owned());
    lines.join("\n")
}

fn append(list: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = std::fs::File::options().append(true).open(list)?;
    Ok(file.write_all(text.as_bytes())?)
}

impl Tally {
    /// Takes in a line of a program's, and tells whether it was the result.
    fn hear(&mut self, line: &str) -> bool {
        let Some(result) = line.strip_prefix("test result: ") else { return false };
        self.passed += count(result, "passed");
        self.failed += count(result, "failed");
        let [ran, not] = [["passed", "failed"], ["ignored", "filtered"]]
            .map(|kinds| kinds.iter().map(|kind| count(result, kind)).sum::<usize>());
        self.idle = ran == 0 && not > 0;
        true
    }

    /// Enters how a program ended.
    fn close(&mut self, program: &Program, well: bool, with_result: bool, how: &str) {
        if !well {
            self.broken.push((program.name.clone(), how.to_owned()));
            self.failed += usize::from(!with_result);
        } else if self.idle {
            self.broken.push((program.name.clone(), "it has tests, and ran none".to_owned()));
        }
        self.idle = false;
    }
}

/// The number before a word in `ok. 7 passed; 0 failed; …`.
fn count(result: &str, what: &str) -> usize {
    let words: Vec<&str> = result.split([' ', ';']).collect();
    let found = words.windows(2).find(|pair| pair[1] == what);
    found.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str) -> Program {
        Program { name: name.to_owned(), path: PathBuf::new(), directory: PathBuf::new() }
    }

    #[test]
    fn a_filter_that_matches_nothing_is_refused_with_what_there_is() {
        let programs = || vec![program("ashore/promise_1"), program("core/model")];
        assert_eq!(chosen(programs(), None).unwrap().len(), 2);
        assert_eq!(chosen(programs(), Some("promise")).unwrap().len(), 1);
        let refused = chosen(programs(), Some("typo")).err().unwrap().to_string();
        assert!(refused.contains("`typo`") && refused.contains("ashore/promise_1"), "{refused}");
    }

    #[test]
    fn a_program_that_has_tests_and_runs_none_is_no_success() {
        let mut tally = Tally::default();
        for (counts, broken) in [
            ("2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out", 0),
            ("0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", 0),
            ("0 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out", 1),
        ] {
            assert!(tally.hear(&format!("test result: ok. {counts}; finished in 0.00s")));
            tally.close(&program("ashore/some"), true, true, "exit status: 0");
            assert_eq!(tally.broken.len(), broken, "{counts}");
        }
        assert_eq!((tally.passed, tally.failed), (2, 0));
    }
}
