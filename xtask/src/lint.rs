//! Checks that run nothing: format, lints, links in the code's documentation, licences and sources of the
//! dependencies.

use std::path::{Path, PathBuf};

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
    execute(std::process::Command::new(deny).args(["check", "bans", "licenses", "sources"]))
}

/// Installs a cargo tool below `target`, in the given release, unless it is already there. Returns its path.
pub(crate) fn tool(root: &Path, name: &str, version: &str, options: &[&str]) -> anyhow::Result<PathBuf> {
    let tools = root.join("target/tools");
    let there = tools.join("bin").join(name);
    if !there.exists() {
        let install = ["install", name, "--locked", "--debug", "--version", version];
        execute(cargo().args(install).args(options).arg("--root").arg(&tools))?;
    }
    Ok(there)
}
