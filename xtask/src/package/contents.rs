//! The files of a package, as they are on a host: programs, units, manual pages, completions, documents.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::crates::{self, Part};
use super::files::{self, gzip, link, open_directories, put, said};

/// Where a package's units are.
pub(super) const UNITS: &str = "usr/lib/systemd/system";
/// Where the manual pages are.
pub(super) const PAGES: &str = "usr/share/man/man1";
/// The package's documents.
pub(super) const DOCUMENTS: &str = "usr/share/doc/ashore";

/// The completions, each with its shell and where that looks for what packages bring.
pub(super) const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/ashore"),
    ("zsh", "usr/share/zsh/vendor-completions/_ashore"),
    ("fish", "usr/share/fish/vendor_completions.d/ashore.fish"),
];
/// Where `ashore install` puts zsh's, which on Debian looks elsewhere for those of packages.
const OF_ZSH: &str = "usr/share/zsh/site-functions/_ashore";

/// Where Podman and CNI runtimes look for plugins that packages bring.
const LINKS: [&str; 2] = ["usr/lib/netavark/ashore", "usr/lib/cni/ashore"];

/// Puts all files into a directory. The programs must run on this machine, since they know the units, the manual pages
/// and the completions.
pub(super) fn stage(root: &Path, programs: &[PathBuf], parts: &[Part], stage: &Path) -> anyhow::Result<()> {
    for program in programs {
        let content = fs::read(program).with_context(|| program.display().to_string())?;
        put(
            &stage.join("usr/bin").join(program.file_name().context("a program has a name")?),
            &content,
            0o755,
        )?;
    }
    for path in LINKS {
        link(&stage.join(path), "../../bin/ashore-plug")?;
    }
    let program = stage.join("usr/bin/ashore");
    installed(&program, stage)?;
    documents(root, parts, stage)?;
    open_directories(stage)?;
    Ok(())
}

/// Units, manual pages and completions are those that `ashore install` writes.
fn installed(program: &Path, stage: &Path) -> anyhow::Result<()> {
    let other = stage.with_extension("installed");
    // By this file it sees that the system starts with systemd.
    put(&other.join("usr/lib/systemd/systemd"), b"", 0o644)?;
    said(Command::new(program).args(["install", "--bin-dir", "/usr/bin", "--root"]).arg(&other))?;
    for entry in fs::read_dir(other.join("etc/systemd/system"))? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().context("a unit has a name")?;
            put(&stage.join(UNITS).join(name), &fs::read(&path)?, 0o644)?;
        }
    }
    for entry in fs::read_dir(other.join(PAGES))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".gz";
        put(&stage.join(PAGES).join(name), &gzip(&fs::read(&path)?)?, 0o644)?;
    }
    for (shell, path) in COMPLETIONS {
        let written = other.join(if shell == "zsh" { OF_ZSH } else { path });
        put(&stage.join(path), &fs::read(&written).with_context(|| written.display().to_string())?, 0o644)?;
    }
    fs::remove_dir_all(other)?;
    Ok(())
}

fn documents(root: &Path, parts: &[Part], stage: &Path) -> anyhow::Result<()> {
    let documents = stage.join(DOCUMENTS);
    for name in files::documents(root)? {
        let from = root.join(&name);
        let text = fs::read(&from).with_context(|| from.display().to_string())?;
        if from.extension().is_some_and(|extension| extension == "md") {
            put(&documents.join(name + ".gz"), &gzip(&text)?, 0o644)?;
        } else {
            put(&documents.join(name), &text, 0o644)?;
        }
    }
    put(&documents.join("copyright"), crates::copyright(root, parts)?.as_bytes(), 0o644)?;
    put(&documents.join("ashore.cdx.json"), crates::bill_of_materials(parts)?.as_bytes(), 0o644)
}
