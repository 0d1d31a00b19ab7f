//! `cargo xtask bench`: measures Ashore and its peers in one run and prints ratios. It is never a test,
//! because the numbers depend on the machine.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};

use crate::{cargo, execute, packages, plug};

mod attach;
mod cni;
mod contender;
mod data;
mod dhcp;
mod docker;
mod podman;
mod scale;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Measure this `ashore` program, and the `ashore-plug` beside it, instead of building them
    #[arg(long, global = true)]
    program: Option<PathBuf>,
    /// Measure this `ashore` program in the same run: first, second, second, first. What the machine does meanwhile then
    /// disturbs both alike, and their ratios to the peers can be compared
    #[arg(long, global = true, value_name = "PROGRAM")]
    beside: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Attach and detach of a namespace: the daemon, the whole process, `ip -batch`, and CNI's macvlan with
    /// host-local
    Attach {
        /// How many of each, interleaved
        #[arg(long, default_value_t = 100)]
        rounds: usize,
    },
    /// ADD and DEL of Ashore's CNI plugin, beside the reference plugins macvlan and host-local, and `ip link del`
    Cni {
        /// How many of each, interleaved
        #[arg(long, default_value_t = 30)]
        rounds: usize,
    },
    /// Traffic to a container, from the LAN and from its host: Ashore, Docker's macvlan and its bridge with
    /// `-p`, beside the host itself; and what broadcasts cost a host with many containers
    Data(data::DataArgs),
    /// Leases of the LAN's DHCP server: time to an address, memory and processor; beside CNI's dhcp and
    /// netavark's dhcp-proxy
    Dhcp {
        /// How many of each, interleaved; 0 skips the time measurement
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// How many leases Ashore keeps while memory and processor are measured; the peers keep a tenth
        #[arg(long, default_value_t = 1000)]
        leases: u32,
    },
    /// Docker containers on an Ashore network, and on a network of Docker's own macvlan driver
    Docker {
        /// How many of each, interleaved
        #[arg(long, default_value_t = 50)]
        rounds: usize,
    },
    /// Podman 5.8 on an Ashore network, on one of netavark's own macvlan driver, and on one of a plugin that does
    /// nothing: netavark alone, whole containers, and leases after a boot
    Podman {
        /// How many of each, interleaved; 0 skips netavark and whole containers
        #[arg(long, default_value_t = 30)]
        rounds: usize,
        /// How many boots for each; 0 skips them
        #[arg(long, default_value_t = 5)]
        boots: usize,
    },
    /// Attach, detach, status, start, memory and processor with 1 to 4,000 endpoints on one network
    Scale {
        /// How many endpoints; the first number is what the others are compared with
        #[arg(long, value_delimiter = ',', default_value = "1,100,1000,4000")]
        endpoints: Vec<usize>,
        /// How many attaches at each
        #[arg(long, default_value_t = 30)]
        rounds: usize,
    },
}

pub(crate) fn run(root: &Path, arguments: &BenchArgs) -> anyhow::Result<()> {
    packages::fetch(root)?.map_err(anyhow::Error::msg)?;
    let program = if let Some(program) = &arguments.program {
        program.canonicalize().with_context(|| program.display().to_string())?
    } else {
        execute(cargo().args(["build", "--release", "--package", "ashore", "--package", "ashore-plug"]))?;
        root.join("target/release/ashore")
    };
    let Some(beside) = &arguments.beside else { return measure(root, arguments, &program) };
    let beside = beside.canonicalize().with_context(|| beside.display().to_string())?;
    for measured in [&program, &beside, &beside, &program] {
        println!("\n## {}", measured.display());
        measure(root, arguments, measured)?;
    }
    Ok(())
}

fn measure(root: &Path, arguments: &BenchArgs, program: &Path) -> anyhow::Result<()> {
    let bench = Bench { program: program.to_owned(), directory: root.join("target/bench") };
    let plugin = || match arguments {
        BenchArgs { program: None, beside: None, .. } => plug::make(root, None),
        _ => beside_of(program),
    };
    match &arguments.what {
        What::Attach { rounds } => attach::run(&bench, *rounds),
        What::Cni { rounds } => cni::run(&bench, &plugin()?, *rounds),
        What::Data(arguments) => data::run(&bench, arguments),
        What::Dhcp { rounds, leases } => dhcp::run(&bench, *rounds, *leases),
        What::Docker { rounds } => docker::run(&bench, *rounds),
        What::Podman { rounds, boots } => podman::run(&bench, &plugin()?, *rounds, *boots),
        What::Scale { endpoints, rounds } => scale::run(&bench, endpoints, *rounds),
    }
}

/// The `ashore-plug` beside a program that was named.
fn beside_of(program: &Path) -> anyhow::Result<PathBuf> {
    let plugin = program.with_file_name("ashore-plug");
    ensure!(plugin.exists(), "{} is missing", plugin.display());
    Ok(plugin)
}

/// The program that is measured, and the directory that it may write to.
struct Bench {
    program: PathBuf,
    directory: PathBuf,
}

impl Bench {
    /// Deletes the directory with this name, and returns its path.
    fn fresh(&self, name: &str) -> PathBuf {
        let directory = self.directory.join(name);
        let _ = std::fs::remove_dir_all(&directory);
        directory
    }
}

/// The median in milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Runs a command with this input. Its error is what it has printed.
fn feed(command: &mut Command, input: &str) -> anyhow::Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().expect("stdin is piped").write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

/// How long the daemon took for its answers, according to its log.
fn calls(log: &str) -> BTreeMap<String, Vec<Duration>> {
    let mut calls: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for line in log.lines() {
        let Some((before, micros)) = line.rsplit_once(" is answered micros=") else { continue };
        let call = before.rsplit('/').next().unwrap_or_default();
        if let Ok(micros) = micros.parse() {
            calls.entry(call.to_owned()).or_default().push(Duration::from_micros(micros));
        }
    }
    calls
}

/// Prints how much of the time was the daemon's own, according to its log.
fn print_calls(log: &str) {
    let calls = calls(log);
    if calls.is_empty() {
        return;
    }
    println!("\nOf that, spent in Ashore's daemon for each call:\n");
    println!("| call | median |");
    println!("|---|---|");
    for (call, took) in calls {
        println!("| {call} | {:.2} ms |", median(took));
    }
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    format!("{} ({cores} cores), Linux {}", model.unwrap_or("?"), read("/proc/sys/kernel/osrelease").trim())
}
