//! What can be told without running anything: format, lints, links in the documents of the code, licences and sources of the
//! dependencies.

use std::path::{Path, PathBuf};

use crate::{cargo, execute};

/// cargo-deny's release that `deny.toml` was written with.
const CARGO_DENY: &str = "0.20.2";

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    execute(cargo().args(["fmt", "--all", "--check"]))?;
    execute(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    let doc = ["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"];
    execute(cargo().args(doc).env("RUSTDOCFLAGS", "--deny warnings"))?;
    let deny = tool(root, "cargo-deny", CARGO_DENY, &["--no-default-features"])?;
    // Advisories come from a database on the network, which a test must not depend on; `cargo deny check advisories`
    // is for whoever updates a dependency.
    execute(std::process::Command::new(deny).args(["check", "bans", "licenses", "sources"]))
}

/// A tool of cargo's, installed below `target` in the release that is wanted.
pub(crate) fn tool(root: &Path, name: &str, version: &str, options: &[&str]) -> anyhow::Result<PathBuf> {
    let tools = root.join("target/tools");
    let there = tools.join("bin").join(name);
    if !there.exists() {
        let install = ["install", name, "--locked", "--debug", "--version", version];
        execute(cargo().args(install).args(options).arg("--root").arg(&tools))?;
    }
    Ok(there)
}
