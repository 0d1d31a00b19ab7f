//! Test programs: built once, chosen by name, and run in namespaces of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::Ground;
use crate::{artifacts, cargo};

/// A test program that takes longer than this hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(25 * 60);

/// How long programs take, in seconds, measured on two cores while others run, and how many of their tests run at
/// once. All other programs take less. The longest programs start first; otherwise they would run alone at the end.
/// Tests that mostly wait (for leases, for what must not happen) wait side by side.
const LONG: &[(&str, u32, usize)] = &[
    ("ashore/systemd", 338, 3),
    ("ashore/docker_identity", 307, 4),
    ("ashore/docker_restarts", 200, 4),
    ("ashore/promise_9_no_container_harms_others", 200, 4),
    ("ashore/leases_servers", 163, 6),
    ("ashore/chaos", 150, 1),
    ("ashore/doctor_firewall", 134, 4),
    ("ashore/docker_boot", 133, 4),
    ("ashore/doctor_host", 131, 6),
    ("ashore/hints", 122, 4),
    ("ashore/leases_misbehaving", 121, 8),
    ("ashore/pool_check", 115, 6),
    ("ashore/docker_leases_servers", 112, 4),
    ("ashore/doctor_healthy", 99, 4),
    ("ashore/doctor", 99, 6),
    ("ashore/podman_edges", 90, 2),
    ("ashore/power_failure", 87, 2),
    ("ashore/docker_everyday", 80, 2),
    ("ashore/leases", 78, 6),
    ("ashore/docker_options", 78, 4),
    ("ashore/docker_leases", 77, 2),
    ("ashore/docker", 77, 4),
    ("ashore/bridge_persist", 76, 2),
    ("ashore/docker_ipam_alone", 73, 4),
    ("ashore/control_socket", 71, 2),
    ("ashore/slaac", 70, 4),
    ("ashore/two_engines", 67, 4),
    ("ashore/events", 67, 4),
    ("ashore/daemon", 66, 4),
    ("ashore/podman_installed", 64, 2),
    ("ashore/leases6", 61, 4),
    ("ashore/mistakes", 59, 2),
    ("ashore/docker_networks", 51, 2),
    ("ashore/docker_slow_start", 49, 4),
    ("ashore/leases_options", 45, 4),
];

/// A test program.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// `CRATE/NAME`.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The crate's directory, in which cargo would run the program.
    pub(super) directory: PathBuf,
    /// The tests to run. Empty means all.
    pub(super) tests: Vec<String>,
}

impl Program {
    /// The same program, limited to the given tests.
    pub(super) fn only(&self, tests: &[String]) -> Program {
        Program { tests: tests.to_owned(), ..self.clone() }
    }

    /// The approximate run time in seconds.
    pub(super) fn seconds(&self) -> u32 {
        self.long().map_or(0, |(_, seconds, _)| *seconds)
    }

    fn long(&self) -> Option<&'static (&'static str, u32, usize)> {
        LONG.iter().find(|(name, ..)| self.name == *name)
    }

    /// The command that runs the program in namespaces of its own. Everything that it leaves running ends
    /// with it, and it cannot reach the host's network.
    pub(super) fn command(&self, ground: &Ground) -> Command {
        let mut command = Command::new("timeout");
        command.arg("--kill-after=10").arg(PATIENCE.as_secs().to_string()).arg("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        command.arg(&self.path).current_dir(&self.directory);
        // In the virtual machine the programs write to a terminal, hence no colours. The output of a passing
        // test may say that it could not run.
        command.args(["--color", "never", "--show-output"]);
        if let Some((.., at_once)) = self.long() {
            command.arg(format!("--test-threads={at_once}"));
        }
        if !self.tests.is_empty() {
            command.arg("--exact").args(&self.tests);
        }
        command.env("RUST_BACKTRACE", "0");
        // They read what the program says in English.
        command.env("LC_ALL", "C");
        ground.equip(&mut command);
        command
    }
}

/// Builds all test programs once, and returns where they are.
pub(super) fn build() -> anyhow::Result<Vec<Program>> {
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
        programs.push(Program { name, path: path.into(), directory, tests: Vec::new() });
    }
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

fn crate_of(directory: &Path) -> String {
    directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The programs whose names contain `only`. If there is none, this is an error, because the name is probably
/// a typo.
pub(super) fn chosen(mut programs: Vec<Program>, only: Option<&str>) -> anyhow::Result<Vec<Program>> {
    let Some(only) = only else { return Ok(programs) };
    let names: Vec<String> = programs.iter().map(|program| program.name.clone()).collect();
    programs.retain(|program| program.name.contains(only));
    if programs.is_empty() {
        bail!("no test program's name contains `{only}`; there are:\n  {}", names.join("\n  "));
    }
    Ok(programs)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn program(name: &str) -> Program {
        let (path, directory) = (PathBuf::new(), PathBuf::new());
        Program { name: name.to_owned(), path, directory, tests: Vec::new() }
    }

    #[test]
    fn a_filter_that_matches_nothing_is_refused_with_what_there_is() {
        let programs = || vec![program("ashore/promise_1"), program("core/model")];
        assert_eq!(chosen(programs(), None).unwrap().len(), 2);
        assert_eq!(chosen(programs(), Some("promise")).unwrap().len(), 1);
        let refused = chosen(programs(), Some("typo")).err().unwrap().to_string();
        assert!(refused.contains("`typo`") && refused.contains("ashore/promise_1"), "{refused}");
    }
}
