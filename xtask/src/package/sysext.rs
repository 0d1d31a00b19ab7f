//! The system extension: an image that systemd lays over a `/usr` that is read-only.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::VERSION;
use super::contents::UNITS;
use super::files::{open_directories, put, said};
use super::packers::{Packers, WORK};
use crate::execute;

/// The name of the extension. systemd wants the image to have it.
pub(super) const NAME: &str = "ashore";

/// What systemd reads before it lays the image over `/usr`: it suits any system of this machine type. Static programs
/// and what belongs to them are in it. The units are not: `ashore install` writes them, because systemd reads its units
/// before the image is there.
const RELEASE: &str = "ID=_any\nARCHITECTURE=x86-64\n";

/// Lays out the extension of a package's files.
pub(super) fn lay_out(files: &Path, tree: &Path) -> anyhow::Result<()> {
    execute(std::process::Command::new("cp").arg("--archive").arg(files).arg(tree))?;
    let release = tree.join("usr/lib/extension-release.d").join(format!("extension-release.{NAME}"));
    put(&release, RELEASE.as_bytes(), 0o644)?;
    fs::remove_dir_all(tree.join(UNITS).parent().context("units are in a directory")?)?;
    open_directories(tree)?;
    Ok(())
}

/// Makes the image of the package's files, and returns its path.
pub(super) fn make(packers: &Packers, files: &Path, date: u64, to: &Path) -> anyhow::Result<PathBuf> {
    let tree = to.join("sysext");
    lay_out(files, &tree)?;
    let name = format!("{NAME}-{VERSION}-x86_64.raw");
    let mut squash = packers.command("/usr/bin/mksquashfs", to, date);
    squash.args([format!("{WORK}/sysext"), format!("{WORK}/{name}")]);
    squash.args([
        "-all-root",
        "-no-xattrs",
        "-noappend",
        "-quiet",
        "-no-progress",
        "-comp",
        "xz",
        "-processors",
        "1",
    ]);
    said(&mut squash)?;
    fs::remove_dir_all(tree)?;
    Ok(to.join(name))
}
