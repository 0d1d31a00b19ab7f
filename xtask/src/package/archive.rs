//! The archive for systems without packages: whoever unpacks it runs `./ashore install` there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::contents::{COMPLETIONS, DOCUMENTS, PAGES};
use super::files::{documents, open_directories, pack, put, said};
use super::{Compression, VERSION};

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
    for entry in fs::read_dir(stage.join(PAGES))? {
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
    pack(&archive, to, &name, date, Compression::Best)?;
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
