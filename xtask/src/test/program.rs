//! Test programs: built once, chosen by name, and run in namespaces of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::Ground;
use crate::{artifacts, cargo};

/// A test program that takes longer than this hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How long programs take, in seconds, measured on two cores while others run. All other programs take less.
/// This only decides the order: the longest programs start first. Otherwise they would run alone at the end.
const LONG: &[(&str, u32)] = &[
    ("ashore/docker_identity", 476),
    ("ashore/docker_restarts", 331),
    ("ashore/docker_boot", 311),
    ("ashore/leases_servers", 282),
    ("ashore/promise_9_no_container_harms_others", 265),
    ("ashore/leases_misbehaving", 256),
    ("ashore/podman_installed", 201),
    ("ashore/docker_leases_servers", 184),
    ("ashore/systemd", 172),
    ("ashore/docker_own_ipam", 162),
    ("ashore/chaos", 158),
    ("ashore/docker_leases", 125),
    ("ashore/docker_options", 119),
    ("ashore/hints", 117),
    ("ashore/power_failure", 111),
    ("ashore/pool_check", 111),
    ("ashore/docker", 110),
    ("ashore/podman_edges", 103),
    ("ashore/docker_networks", 102),
    ("ashore/doctor", 98),
    ("ashore/bridge_persist", 97),
    ("ashore/docker_everyday", 86),
    ("ashore/control_socket", 86),
    ("ashore/docker_killed", 85),
    ("ashore/leases", 81),
    ("ashore/slaac", 80),
    ("ashore/docker_ipam_alone", 80),
    ("ashore/descriptors", 75),
    ("ashore/podman_calls", 70),
    ("ashore/events", 70),
    ("ashore/podman_rootless", 69),
    ("ashore/two_engines", 68),
    ("ashore/docker_compose", 66),
    ("ashore/leases6", 61),
    ("ashore/router_config", 60),
    ("ashore/podman_killed", 60),
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
        LONG.iter().find(|(name, _)| self.name == *name).map_or(0, |(_, seconds)| *seconds)
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
