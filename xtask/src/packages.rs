//! The distribution's packages that the tests use, unpacked under `target/engines` and never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::execute;

/// Engines and tools, by their names in Debian.
const PACKAGES: [&str; 6] =
    ["docker.io", "containernetworking-plugins", "iproute2", "nftables", "strace", "busybox-static"];

/// Where the packages are unpacked, or why they are not.
pub(crate) fn fetch(root: &Path) -> Result<PathBuf, String> {
    let codename = debian_codename().ok_or("the packages are Debian's, and this is another distribution")?;
    if !nix::unistd::geteuid().is_root() {
        return Err("apt-get downloads as root only".into());
    }
    let directory = root.join("target/engines").join(codename);
    unpack(&directory).map_err(|error| format!("{error:#}"))?;
    Ok(directory.join("root"))
}

fn unpack(directory: &Path) -> anyhow::Result<()> {
    let complete = directory.join("complete");
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&complete).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    let archives = directory.join("archives");
    fs::create_dir_all(archives.join("partial"))?;
    execute(Command::new("apt-get").args(["--quiet", "--quiet", "update"]))?;
    // `--reinstall`: also what this machine happens to have, so that every machine tests with the same.
    execute(
        Command::new("apt-get")
            .args([
                "--quiet",
                "--quiet",
                "--yes",
                "--no-install-recommends",
                "--download-only",
                "--reinstall",
            ])
            .args(["-o", &format!("Dir::Cache::archives={}", archives.display())])
            .args(["-o", "APT::Sandbox::User=root", "install"])
            .args(PACKAGES),
    )?;
    let unpacked = directory.join("root");
    let mut count = 0;
    for entry in fs::read_dir(&archives)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let status = Command::new("dpkg-deb").arg("--extract").args([&path, &unpacked]).status();
            if !status.context("dpkg-deb")?.success() {
                bail!("{} does not unpack", path.display());
            }
            count += 1;
        }
    }
    println!("{count} packages unpacked in {}", unpacked.display());
    fs::remove_dir_all(&archives)?;
    fs::write(&complete, wanted)?;
    Ok(())
}

fn debian_codename() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_matches('"').to_owned())
    };
    (value("ID=")? == "debian").then(|| value("VERSION_CODENAME=")).flatten()
}
