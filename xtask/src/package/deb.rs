//! The Debian package.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::contents::{self, DOCUMENTS};
use super::files::{gzip, put, said};
use super::{VERSION, crates, programs};
use crate::execute;

/// Who is asked about the package. There is no address yet.
const MAINTAINER: &str = "The Ashore developers <maintainers@ashore.invalid>";

/// The scripts that run when the package is installed, upgraded and removed.
const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

/// What Debian's own check finds, and why it is so.
const OVERRIDES: &str = "\
# The same program runs on hosts with another C library, or an older one.
ashore: statically-linked-binary
# One file has the licences of all crates, some of which are the Apache License with a copyright of their own.
ashore: copyright-file-contains-full-apache-2-license
ashore: copyright-not-using-common-license-for-apache2
# The scripts have the program do it, which also knows what `ashore install` left.
ashore: maintainer-script-calls-systemctl
";

/// How much time is spent on making the package smaller.
#[derive(Debug, Clone, Copy)]
pub(super) enum Compression {
    None,
    Best,
}

/// The version, as Debian orders versions.
fn version(of_cargo: &str) -> String {
    of_cargo.replace('-', "~")
}

/// Makes the package of the files in `stage`, and returns its path.
pub(super) fn make(
    root: &Path,
    stage: &Path,
    of_cargo: &str,
    date: u64,
    compression: Compression,
    to: &Path,
) -> anyhow::Result<PathBuf> {
    make_for(root, stage, "amd64", of_cargo, date, compression, to)
}

fn make_for(
    root: &Path,
    stage: &Path,
    architecture: &str,
    of_cargo: &str,
    date: u64,
    compression: Compression,
    to: &Path,
) -> anyhow::Result<PathBuf> {
    let version = version(of_cargo);
    let of_debian = [stage.join("DEBIAN"), stage.join("usr/share/lintian")];
    put(&of_debian[1].join("overrides/ashore"), OVERRIDES.as_bytes(), 0o644)?;
    put(&stage.join(DOCUMENTS).join("changelog.gz"), &gzip(changes(&version, date)?.as_bytes())?, 0o644)?;
    super::files::open_directories(stage)?;
    let control = fs::read_to_string(root.join("packaging/deb/control"))?;
    let size = size(stage)?.div_ceil(1024).to_string();
    let control = [
        ("@VERSION@", version.as_str()),
        ("@ARCHITECTURE@", architecture),
        ("@MAINTAINER@", MAINTAINER),
        ("@SIZE@", &size),
    ]
    .into_iter()
    .fold(control, |control, (name, value)| control.replace(name, value));
    put(&of_debian[0].join("control"), control.as_bytes(), 0o644)?;
    for script in SCRIPTS {
        put(&of_debian[0].join(script), &fs::read(root.join("packaging/deb").join(script))?, 0o755)?;
    }
    fs::set_permissions(&of_debian[0], fs::Permissions::from_mode(0o755))?;
    put(&of_debian[0].join("md5sums"), sums(stage)?.as_bytes(), 0o644)?;

    let package = to.join(format!("ashore_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--threads-max=1"]).arg(match compression {
        Compression::None => "-Znone",
        Compression::Best => "-Zxz",
    });
    build.arg("--build").arg(stage).arg(&package).env("SOURCE_DATE_EPOCH", date.to_string());
    execute(&mut build)?;
    for directory in of_debian {
        fs::remove_dir_all(directory)?;
    }
    fs::remove_file(stage.join(DOCUMENTS).join("changelog.gz"))?;
    Ok(package)
}

/// The changelog in Debian's form, which names the real one.
fn changes(version: &str, date: u64) -> anyhow::Result<String> {
    let date = said(Command::new("date").args(["-u", "-R", "-d", &format!("@{date}")]).env("LC_ALL", "C"))?;
    let date = String::from_utf8(date)?;
    Ok(format!(
        "ashore ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz in this directory.\n\n \
         -- {MAINTAINER}  {}\n",
        date.trim()
    ))
}

/// The size of all files, in bytes.
fn size(directory: &Path) -> anyhow::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size += if metadata.is_dir() { self::size(&entry.path())? } else { metadata.size() };
    }
    Ok(size)
}

/// The checksums by which `dpkg --verify` sees what was changed.
fn sums(stage: &Path) -> anyhow::Result<String> {
    let mut files = Vec::new();
    let mut open = vec![stage.join("usr")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path.strip_prefix(stage)?.to_owned());
            }
        }
    }
    files.sort();
    Ok(String::from_utf8(said(Command::new("md5sum").args(&files).current_dir(stage))?)?)
}

/// Makes packages of the tests' own programs: one, a later version of it, and one for another machine type. Returns
/// their directory.
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
        make_for(root, &stage, architecture, version, 0, Compression::None, directory)
            .with_context(|| format!("{version} for {architecture}"))?;
    }
    fs::rename(stage.join("usr/bin/ashore-plug"), directory.join("ashore-plug"))?;
    fs::remove_dir_all(stage)?;
    Ok(())
}
