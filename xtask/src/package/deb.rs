//! The Debian package.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Compression;
use super::contents::DOCUMENTS;
use super::files::{gzip, put, said};
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
# The same of the toolchain's libraries, whose documents quote the GPL of parts that are not in the programs.
ashore: copyright-file-contains-full-gpl-license
# The scripts have the program do it, which also knows what `ashore install` left.
ashore: maintainer-script-calls-systemctl
";

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

pub(super) fn make_for(
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
        put(&of_debian[0].join(script), &fs::read(root.join("packaging/scripts").join(script))?, 0o755)?;
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
