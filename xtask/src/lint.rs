//! What can be told without running anything: format, lints, links in the documents of the code, licences and sources of the
//! dependencies.

use std::path::Path;

use crate::{cargo, execute};

/// cargo-deny's release that `deny.toml` was written with.
const CARGO_DENY: &str = "0.20.2";

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    execute(cargo().args(["fmt", "--all", "--check"]))?;
    execute(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    let doc = ["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"];
    execute(cargo().args(doc).env("RUSTDOCFLAGS", "--deny warnings"))?;
    let tools = root.join("target/tools");
    let deny = tools.join("bin/cargo-deny");
    if !deny.exists() {
        execute(
            cargo()
                .args(["install", "cargo-deny", "--locked", "--debug", "--no-default-features"])
                .args(["--version", CARGO_DENY, "--root"])
                .arg(&tools),
        )?;
    }
    // Advisories come from a database on the network, which a test must not depend on; `cargo deny check advisories`
    // is for whoever updates a dependency.
    execute(std::process::Command::new(deny).args(["check", "bans", "licenses", "sources"]))
}
