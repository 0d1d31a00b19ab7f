//! The program as it was at an earlier commit, for the test of an upgrade.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::{cargo, execute};

/// The commit that an upgrade begins with.
const COMMIT: &str = "72c60b8";

/// Builds it, unless that was done before, and returns the program's path.
///
/// Its sources come from the checkout's history, and are built in a target directory of their own.
pub(crate) fn build(root: &Path) -> Result<PathBuf, String> {
    build_at(&root.join("target/predecessor").join(COMMIT), root).map_err(|error| format!("{error:#}"))
}

fn build_at(directory: &Path, root: &Path) -> anyhow::Result<PathBuf> {
    let program = directory.join("target/debug/ashore");
    if program.exists() {
        return Ok(program);
    }
    let source = directory.join("source");
    fs::create_dir_all(&source)?;
    let mut archive = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["archive", COMMIT])
        .stdout(Stdio::piped())
        .spawn()
        .context("git")?;
    let sources = archive.stdout.take().context("git's output")?;
    let unpacked = Command::new("tar").arg("-xC").arg(&source).stdin(sources).status().context("tar")?;
    if !archive.wait()?.success() || !unpacked.success() {
        bail!("this checkout does not hold commit {COMMIT}; try: git fetch --unshallow");
    }
    let mut build = cargo();
    // Without debug information it takes a third less time.
    build.args(["build", "--locked", "--package", "ashore", "--config", "profile.dev.debug=false"]);
    execute(build.arg("--target-dir").arg(directory.join("target")).current_dir(&source))?;
    Ok(program)
}
