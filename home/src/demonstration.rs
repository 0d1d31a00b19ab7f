//! The output of `ashore lab`, and helpers to run it as an ordinary user.

use std::path::{Path, PathBuf};
use std::process::Command;

use ashore_lab::Ran;
use serde_json::Value;

use super::PROGRAM;

/// Copies the program to a place where any user may run it.
pub fn for_anybody(directory: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.join("ashore");
    std::fs::copy(PROGRAM, &program).unwrap();
    program
}

/// The command that runs the program as `nobody`, through util-linux's `setpriv`.
pub fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(program);
    command
}

/// The rows of `ashore lab --json`. Asserts that each is as expected.
pub fn all_as_expected(ran: Ran) -> Vec<Value> {
    let report: Value = serde_json::from_str(&ran.expect_success()).unwrap();
    assert_eq!(report["ok"], true, "{report:#}");
    let rows = report["rows"].as_array().unwrap();
    assert!(rows.len() >= 10, "{report:#}");
    for row in rows {
        assert_eq!(row["reached"], row["expected"], "{row}");
        assert_eq!(row["rtt_us"].is_u64(), row["reached"].as_bool().unwrap(), "{row}");
    }
    assert!(rows.iter().any(|row| row["expected"] == false), "the unreachable rows are part of the report");
    rows.clone()
}

/// Asserts how `ashore lab --vlan`, with `--json` or without, is refused on a kernel without VLANs.
pub fn refused_without_8021q(ran: &Ran, json: bool) {
    assert_eq!(ran.code, Some(6), "{}", ran.stderr);
    if json {
        let refused: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(refused["refused"]["code"], "step-failed", "{}", ran.stdout);
    } else {
        assert_eq!(ran.stdout, "");
    }
    let words = ["module 8021q", "  try: sudo modprobe 8021q", "without --vlan"];
    assert!(words.iter().all(|word| ran.stderr.contains(word)), "{}", ran.stderr);
}
