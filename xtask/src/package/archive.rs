//! The archive for systems without packages: whoever unpacks it runs `./ashore install` there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::VERSION;
use super::contents::{COMPLETIONS, DOCUMENTS};
use super::files::{documents, open_directories, put, said};
use crate::execute;

/// Makes the archive of the package's files, and returns its path.
pub(super) fn make(root: &Path, stage: &Path, date: u64, to: &Path) -> anyhow::Result<PathBuf> {
    let name = format!("ashore-{VERSION}-x86_64");
    let tree = to.join(&name);
    let copy = |from: &Path, name: &str, mode| -> anyhow::Result<()> {
        let content = fs::read(from).with_context(|| from.display().to_string())?;
        put(&tree.join(name), &content, mode)
    };
    for program in ["ashore", "ashore-plug"] {
        copy(&stage.join("usr/bin").join(program), program, 0o755)?;
    }
    for (shell, path) in COMPLETIONS {
        copy(&stage.join(path), &format!("completions/{shell}"), 0o644)?;
    }
    for entry in fs::read_dir(stage.join("usr/share/man/man1"))? {
        let path = entry?.path();
        copy(&path, &format!("man/{}", path.file_name().unwrap_or_default().to_string_lossy()), 0o644)?;
    }
    for document in documents(root)? {
        copy(&root.join(&document), &document, 0o644)?;
    }
    for document in ["copyright", "ashore.cdx.json"] {
        copy(&stage.join(DOCUMENTS).join(document), document, 0o644)?;
    }
    open_directories(&tree)?;
    let archive = to.join(format!("{name}.tar.gz"));
    let mut pack = Command::new("tar");
    pack.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"]);
    pack.arg(format!("--mtime=@{date}")).args(["--use-compress-program=gzip -9 -n", "-cf"]);
    execute(pack.arg(&archive).arg("-C").arg(to).arg(&name))?;
    fs::remove_dir_all(tree)?;
    Ok(archive)
}

/// Writes the checksums of files, as `sha256sum --check` reads them.
pub(super) fn sums(files: &[PathBuf], to: &Path) -> anyhow::Result<PathBuf> {
    let names = files.iter().filter_map(|file| file.file_name());
    let sums = to.join("SHA256SUMS");
    fs::write(&sums, said(Command::new("sha256sum").args(names).current_dir(to))?)?;
    Ok(sums)
}
