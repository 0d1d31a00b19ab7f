//! `cargo xtask bench`: Ashore beside its peers, in one run, as ratios. Never a test: a number depends on the machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::{cargo, execute, packages};

mod attach;
mod dhcp;
mod docker;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Attach and detach of a namespace: the daemon, the whole process, `ip -batch`, and CNI's macvlan with host-local
    Attach {
        /// How many of each, interleaved
        #[arg(long, default_value_t = 100)]
        rounds: usize,
    },
    /// Leases of the LAN's DHCP server: time to an address, memory and processor; beside CNI's dhcp and netavark's dhcp-proxy
    Dhcp {
        /// How many of each, interleaved; none leaves the times out
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// How many leases Ashore keeps while memory and processor are measured; the others keep a tenth
        #[arg(long, default_value_t = 1000)]
        leases: u32,
    },
    /// Containers of Docker's on a network of Ashore's, and on one of the engine's own macvlan driver
    Docker {
        /// How many of each, interleaved
        #[arg(long, default_value_t = 50)]
        rounds: usize,
    },
}

pub(crate) fn run(root: &Path, arguments: &BenchArgs) -> anyhow::Result<()> {
    packages::fetch(root).map_err(anyhow::Error::msg)?;
    execute(cargo().args(["build", "--release", "--package", "ashore"]))?;
    let bench = Bench { program: root.join("target/release/ashore"), directory: root.join("target/bench") };
    match arguments.what {
        What::Attach { rounds } => attach::run(&bench, rounds),
        What::Dhcp { rounds, leases } => dhcp::run(&bench, root, rounds, leases),
        What::Docker { rounds } => docker::run(&bench, rounds),
    }
}

/// What is measured, and where it may write.
struct Bench {
    program: PathBuf,
    directory: PathBuf,
}

impl Bench {
    /// An empty directory.
    fn fresh(&self, name: &str) -> PathBuf {
        let directory = self.directory.join(name);
        let _ = std::fs::remove_dir_all(&directory);
        directory
    }
}

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    format!("{} ({cores} cores), Linux {}", model.unwrap_or("?"), read("/proc/sys/kernel/osrelease").trim())
}
