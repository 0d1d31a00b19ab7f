//! Packages of the tests' own programs, made quickly: nothing is compressed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::files::said;
use super::packers::{Packers, WORK};
use super::{Compression, VERSION, archive, contents, crates, deb, programs, rpm, signature, sysext};
use crate::execute;

/// Makes packages for Debian (one, a later version of it, and one for another machine type), two for rpm, a system
/// extension, and a signature by a key that was made for it. Returns their directory.
pub(crate) fn make_for_tests(root: &Path) -> Result<PathBuf, String> {
    let directory = root.join("target/package-debug");
    make_debug(root, &directory).map_err(|error| format!("{error:#}"))?;
    Ok(directory)
}

fn make_debug(root: &Path, directory: &Path) -> anyhow::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    let programs = ["ashore", "ashore-plug"].map(|name| root.join("target/debug").join(name));
    if let Some(missing) = programs.iter().find(|program| !program.exists()) {
        bail!("there is no {}", missing.display());
    }
    let stage = directory.join("tree");
    fs::create_dir_all(&stage)?;
    let crates = crates::of_programs(root, programs::TARGET)?;
    contents::stage(root, &programs, &crates, &stage)?;
    for program in ["ashore", "ashore-plug"] {
        execute(Command::new("strip").arg("--strip-debug").arg(stage.join("usr/bin").join(program)))?;
    }
    let later = format!("{VERSION}+later");
    for (architecture, version) in [("amd64", VERSION), ("amd64", later.as_str()), ("riscv64", VERSION)] {
        deb::make_for(root, &stage, architecture, version, 0, Compression::None, directory)
            .with_context(|| format!("{version} for {architecture}"))?;
    }
    let packers = Packers::fetch(root)?;
    for version in [VERSION, later.as_str()] {
        rpm::make(root, &packers, &stage, version, 0, Compression::None, directory)?;
    }
    sysext::lay_out(&stage, &directory.join("sysext"))?;
    sign(&packers, directory)?;
    fs::rename(stage.join("usr/bin/ashore-plug"), directory.join("ashore-plug"))?;
    fs::remove_dir_all(stage)?;
    Ok(())
}

/// Signs the checksum of a package with a key that is made for it.
fn sign(packers: &Packers, directory: &Path) -> anyhow::Result<()> {
    let mut generate = packers.command("/usr/bin/minisign", directory, 0);
    let [public, secret] = ["test.key.pub", "test.key"].map(|name| format!("{WORK}/{name}"));
    said(generate.args(["-G", "-W", "-q", "-p", &public, "-s", &secret]))?;
    let packages = [format!("ashore_{VERSION}_amd64.deb")].map(|name| directory.join(name));
    let sums = archive::sums(&packages, directory)?;
    signature::make(packers, &sums, &directory.join("test.key"), 0)?;
    Ok(())
}
