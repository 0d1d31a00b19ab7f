//! The package for systems with rpm. It has the files and the scripts of the Debian package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::Compression;
use super::files::{link, put, said};
use super::packers::{Packers, WORK};
use crate::execute;

/// The scripts, by their names for dpkg and their places in the specification.
const SCRIPTS: [(&str, &str); 4] =
    [("preinst", "@PREINST@"), ("postinst", "@POSTINST@"), ("prerm", "@PRERM@"), ("postrm", "@POSTRM@")];

/// Where these systems look for what Debian has elsewhere.
const ELSEWHERE: [(&str, &str); 1] =
    [("usr/share/zsh/vendor-completions/_ashore", "usr/share/zsh/site-functions/_ashore")];

/// Makes the package of the files in `stage`, and returns its path.
pub(super) fn make(
    root: &Path,
    packers: &Packers,
    stage: &Path,
    version: &str,
    date: u64,
    compression: Compression,
    to: &Path,
) -> anyhow::Result<PathBuf> {
    // A hyphen separates version and release.
    let version = version.replace('-', "~");
    let tree = to.join("rpm");
    execute(Command::new("cp").arg("--archive").arg(stage).arg(&tree))?;
    for (from, name) in ELSEWHERE {
        let content = fs::read(tree.join(from))?;
        put(&tree.join(name), &content, 0o644)?;
        fs::remove_dir_all(tree.join(from).parent().context("a file is in a directory")?)?;
    }
    // Red Hat's container tools look for CNI plugins here.
    link(&tree.join("usr/libexec/cni/ashore"), "../../bin/ashore-plug")?;

    let spec = to.join("ashore.spec");
    fs::write(&spec, specification(root, &tree, &version)?)?;
    let payload = match compression {
        Compression::None => "w.ufdio",
        Compression::Best => "w6.xzdio",
    };
    let mut build = packers.command("/usr/bin/rpmbuild", to, date);
    build.args(["-bb", "--quiet", "--target", "x86_64-linux"]);
    for (name, value) in [
        ("_topdir", "/tmp/rpm"),
        ("_rpmdir", WORK),
        ("_rpmfilename", "%{name}-%{version}-%{release}.%{_arch}.rpm"),
        ("_buildhost", "ashore"),
        ("use_source_date_epoch_as_buildtime", "1"),
        ("clamp_mtime_to_source_date_epoch", "1"),
        ("__os_install_post", "%{nil}"),
        ("debug_package", "%{nil}"),
        ("_build_id_links", "none"),
        ("_binary_payload", payload),
    ] {
        build.arg("--define").arg(format!("{name} {value}"));
    }
    said(build.arg(format!("{WORK}/ashore.spec")))?;
    fs::remove_dir_all(tree)?;
    fs::remove_file(spec)?;
    Ok(to.join(format!("ashore-{version}-1.x86_64.rpm")))
}

fn specification(root: &Path, tree: &Path, version: &str) -> anyhow::Result<String> {
    let mut text = fs::read_to_string(root.join("packaging/ashore.spec"))?;
    for (script, place) in SCRIPTS {
        let content = fs::read_to_string(root.join("packaging/scripts").join(script))?;
        // rpm replaces what begins with a percent sign.
        text = text.replace(place, content.trim_start_matches("#!/bin/sh\n").replace('%', "%%").trim_end());
    }
    let mut list = Vec::new();
    list_files(tree, tree, &mut list)?;
    list.sort();
    Ok(text
        .replace("@VERSION@", version)
        .replace("@FILES@", &format!("{WORK}/rpm"))
        .replace("@LIST@", &list.join("\n")))
}

/// The files below a directory, and the directories that are the package's own.
fn list_files(tree: &Path, directory: &Path, list: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = format!("/{}", path.strip_prefix(tree)?.display());
        if path.is_symlink() || !path.is_dir() {
            list.push(name);
        } else {
            if path.starts_with(tree.join("usr/share/doc/ashore")) {
                list.push(format!("%dir {name}"));
            }
            list_files(tree, &path, list)?;
        }
    }
    Ok(())
}
