//! Checks that run nothing: format, lints, links in the code's documentation, licences and sources of the
//! dependencies.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, execute};

/// The release of cargo-deny that `deny.toml` was written for.
const CARGO_DENY: &str = "0.20.2";

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    execute(cargo().args(["fmt", "--all", "--check"]))?;
    execute(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    let doc = ["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"];
    execute(cargo().args(doc).env("RUSTDOCFLAGS", "--deny warnings"))?;
    let deny = tool(root, "cargo-deny", CARGO_DENY, &["--no-default-features"])?;
    // Advisories come from a database on the network, and a test must not depend on the network. Run `cargo
    // deny check advisories` when you update a dependency.
    execute(Command::new(deny).args(["check", "bans", "licenses", "sources"]))
}

/// A tool in the given release: the user's own if it is of that release, or else one below `target`, which is installed
/// if it is missing. Returns its path.
pub(crate) fn tool(root: &Path, name: &str, version: &str, options: &[&str]) -> anyhow::Result<PathBuf> {
    if is_installed(name, version) {
        return Ok(name.into());
    }
    let tools = root.join("target/tools");
    let there = tools.join("bin").join(name);
    if !there.exists() {
        // Without debug information it takes a third less time.
        let install = ["install", name, "--locked", "--debug", "--config", "profile.dev.debug=false"];
        let install = install.into_iter().chain(["--version", version]).chain(options.iter().copied());
        execute(cargo().args(install).arg("--root").arg(&tools))?;
    }
    Ok(there)
}

/// Returns whether the user has a cargo tool in exactly this release.
fn is_installed(name: &str, version: &str) -> bool {
    let Ok(told) = Command::new(name).arg("--version").output() else { return false };
    told.status.success()
        && String::from_utf8_lossy(&told.stdout)
            .split_whitespace()
            .any(|word| word.trim_start_matches('v') == version)
}
