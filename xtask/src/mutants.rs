//! `cargo xtask mutants`: programs broken on purpose, one line at a time, and whether a test notices. It takes hours, and belongs to
//! no suite: it shows which promises have no proof.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::{cargo, execute, lint::tool};

/// The profile of `Cargo.toml` with which mutants are built: nobody looks at where a test of theirs has failed.
const PROFILE: &str = "mutants";
/// cargo-mutants' release whose report is read here.
const CARGO_MUTANTS: &str = "27.1.0";

#[derive(Debug, Args)]
pub(crate) struct MutantsArgs {
    /// Only this package
    #[arg(short, long)]
    package: Option<Package>,
    /// Only files whose paths match this glob
    #[arg(short, long)]
    file: Option<String>,
    /// Only the Kth of N parts, as K/N, from 0/N on: a sample that is the same each time
    #[arg(long)]
    shard: Option<String>,
    /// List them, and run nothing
    #[arg(long)]
    list: bool,
}

/// A package whose tests run without privileges, and in seconds.
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

    /// The share of its mutants that tests have to catch.
    fn aim(self) -> f64 {
        match self {
            Package::Core | Package::Routers | Package::Store => 0.85,
            Package::Wire => 0.92,
        }
    }
}

/// What cargo-mutants writes of all mutants (`outcomes.json`).
#[derive(Debug, Deserialize)]
struct Report {
    missed: u32,
    caught: u32,
    timeout: u32,
    unviable: u32,
}

impl Report {
    /// The share of the mutants that compile which a test failed for, or did not come to its end.
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
        // Without a mutant all has to pass, or every one would count as noticed.
        execute(cargo().args(["test", "--quiet", "--profile", PROFILE, "--package", package.name()]))?;
        let mut search = search(&mutants, package, arguments);
        search.args(["--colors", "never", "--no-times", "--jobs", "1", "--profile", PROFILE]);
        search.args(["--baseline", "skip", "--timeout", "60", "--build-timeout", "300", "--output"]);
        // Its exit status only says that there are some that were missed.
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
            "{}: {:.1} % of {} mutants noticed, {} do not compile; those missed are in {}",
            package.name(),
            100.0 * report.share(),
            report.caught + report.timeout + report.missed,
            report.unviable,
            output.join("missed.txt").display()
        );
        if report.share() < package.aim() {
            short.push(format!("{}, which has to come to {:.0} %", package.name(), 100.0 * package.aim()));
        }
    }
    if !short.is_empty() {
        bail!("too few of {}", short.join(", and of "));
    }
    Ok(())
}

/// A search of one package, or of the part of it that is asked for. A part has every Nth mutant, and so some of every file.
fn search(mutants: &Path, package: Package, arguments: &MutantsArgs) -> Command {
    let mut search = Command::new(mutants);
    search.args(["mutants", "--package", package.name()]);
    if arguments.shard.is_some() {
        search.args(["--sharding", "round-robin"]);
    }
    for (option, value) in [("--file", &arguments.file), ("--shard", &arguments.shard)] {
        search.args(value.iter().flat_map(|value| [option, value.as_str()]));
    }
    // Its copy of the tree is changed in one file at a time.
    search.env("CARGO_INCREMENTAL", "1");
    search
}

/// How many mutants of each file were noticed, and of how many that compile.
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
