//! `cargo xtask mutants`: breaks the program on purpose, one place at a time, and checks whether a test
//! notices. It takes hours and is not part of any test run. It shows which promises have no proof.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::{cargo, execute, lint::tool};

/// The profile of `Cargo.toml` with which mutants are built. It has no debug information, because nobody
/// needs to know where a mutant's test failed.
const PROFILE: &str = "mutants";
/// The release of cargo-mutants whose report is read here.
const CARGO_MUTANTS: &str = "27.1.0";

#[derive(Debug, Args)]
pub(crate) struct MutantsArgs {
    /// Test only this package
    #[arg(short, long)]
    package: Option<Package>,
    /// Test only files whose paths match this glob
    #[arg(short, long)]
    file: Option<String>,
    /// Test only the Kth of N parts, as K/N, starting at 0/N: a sample that is the same each time
    #[arg(long)]
    shard: Option<String>,
    /// List the mutants, and run nothing
    #[arg(long)]
    list: bool,
}

/// A package whose tests run without privileges and within seconds.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Package {
    Core,
    Routers,
    Store,
    Wire,
}

impl Package {
    fn name(self) -> &'static str {
        match self {
            Package::Core => "ashore-core",
            Package::Routers => "ashore-routers",
            Package::Store => "ashore-store",
            Package::Wire => "ashore-wire",
        }
    }

    /// The share of its mutants that the tests must catch.
    fn aim(self) -> f64 {
        match self {
            Package::Core | Package::Routers | Package::Store => 0.85,
            Package::Wire => 0.92,
        }
    }
}

/// What cargo-mutants reports about all mutants (`outcomes.json`).
#[derive(Debug, Deserialize)]
struct Report {
    missed: u32,
    caught: u32,
    timeout: u32,
    unviable: u32,
}

impl Report {
    /// The share of the mutants that were noticed, among those that compile. A mutant is noticed if a test
    /// fails or times out.
    fn share(&self) -> f64 {
        let noticed = self.caught + self.timeout;
        f64::from(noticed) / f64::from((noticed + self.missed).max(1))
    }
}

pub(crate) fn run(root: &Path, arguments: &MutantsArgs) -> anyhow::Result<()> {
    let mutants = tool(root, "cargo-mutants", CARGO_MUTANTS, &[])?;
    let mut short = Vec::new();
    for package in arguments.package.map_or_else(|| Package::value_variants().to_vec(), |one| vec![one]) {
        if arguments.list {
            let listed =
                search(&mutants, package, arguments).arg("--list").output().context("cargo-mutants")?;
            if !listed.status.success() {
                bail!("cargo-mutants: {}", String::from_utf8_lossy(&listed.stderr));
            }
            let listed = String::from_utf8_lossy(&listed.stdout);
            print!("{listed}");
            println!("{}: {} mutants", package.name(), listed.lines().count());
            continue;
        }
        let output = root.join("target/mutants").join(package.name());
        std::fs::create_dir_all(&output).with_context(|| output.display().to_string())?;
        // Without a mutant all tests must pass. Otherwise every mutant would count as noticed.
        execute(cargo().args(["test", "--quiet", "--profile", PROFILE, "--package", package.name()]))?;
        let mut search = search(&mutants, package, arguments);
        search.args(["--colors", "never", "--no-times", "--jobs", "1", "--profile", PROFILE]);
        search.args(["--baseline", "skip", "--timeout", "60", "--build-timeout", "300", "--output"]);
        // The exit status only says whether any mutant was missed.
        let ended = search.arg(&output).status().context("cargo-mutants")?;
        let output = output.join("mutants.out");
        let report = output.join("outcomes.json");
        let report =
            std::fs::read_to_string(&report).with_context(|| format!("{ended}, without a report"))?;
        let report: Report = serde_json::from_str(&report)?;
        for (file, (noticed, all)) in by_file(&output)? {
            println!("{file}: {noticed} of {all}");
        }
        println!(
            "{}: {:.1} % of {} mutants noticed, {} do not compile; the missed ones are in {}",
            package.name(),
            100.0 * report.share(),
            report.caught + report.timeout + report.missed,
            report.unviable,
            output.join("missed.txt").display()
        );
        if report.share() < package.aim() {
            short.push(format!("{}, which must reach {:.0} %", package.name(), 100.0 * package.aim()));
        }
    }
    if !short.is_empty() {
        bail!("too few mutants noticed of {}", short.join(", and of "));
    }
    Ok(())
}

/// The command for one package, or for the requested part of it. A part contains every Nth mutant, and so
/// some of every file.
fn search(mutants: &Path, package: Package, arguments: &MutantsArgs) -> Command {
    let mut search = Command::new(mutants);
    search.args(["mutants", "--package", package.name()]);
    if arguments.shard.is_some() {
        search.args(["--sharding", "round-robin"]);
    }
    for (option, value) in [("--file", &arguments.file), ("--shard", &arguments.shard)] {
        search.args(value.iter().flat_map(|value| [option, value.as_str()]));
    }
    // cargo-mutants changes one file at a time in its copy of the tree, so incremental builds pay off.
    search.env("CARGO_INCREMENTAL", "1");
    search
}

/// For each file, how many mutants were noticed, and how many compile.
fn by_file(output: &Path) -> anyhow::Result<BTreeMap<String, (usize, usize)>> {
    let mut files = BTreeMap::new();
    for (list, noticed) in [("caught.txt", 1), ("timeout.txt", 1), ("missed.txt", 0)] {
        let list = output.join(list);
        let text = std::fs::read_to_string(&list).with_context(|| list.display().to_string())?;
        for file in text.lines().filter_map(|line| line.split(':').next()) {
            let (caught, all) = files.entry(file.to_owned()).or_default();
            *caught += noticed;
            *all += 1;
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_compile_says_nothing_of_the_tests() {
        let report = r#"{"total_mutants":12,"missed":1,"caught":8,"timeout":1,"unviable":2,"success":0,"outcomes":[]}"#;
        let report: Report = serde_json::from_str(report).unwrap();
        assert!((report.share() - 0.9).abs() < 1e-9);
        assert!((Report { missed: 0, caught: 0, timeout: 0, unviable: 3 }.share() - 0.0).abs() < 1e-9);
    }
}
