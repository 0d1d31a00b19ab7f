//! Writing files with the modes that they have in a package, whatever the umask is.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::Compression;

/// Writes a file, and the directories above it.
pub(super) fn put(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    make_parent(path)?;
    fs::write(path, content).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Makes a link, and the directories above it.
pub(super) fn link(path: &Path, target: &str) -> anyhow::Result<()> {
    make_parent(path)?;
    symlink(target, path).with_context(|| path.display().to_string())
}

fn make_parent(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("a file is in a directory"))
}

/// Gives all directories of a tree their mode.
pub(super) fn open_directories(tree: &Path) -> io::Result<()> {
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_directories(&entry.path())?;
        }
    }
    Ok(())
}

/// The documents that a package has, by their paths in the repository: what README leads to, in the same places.
pub(super) fn documents(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found: Vec<String> =
        ["README.md", "README.zh-CN.md", "CHANGELOG.md", "SECURITY.md"].map(str::to_owned).into();
    let mut open = vec!["docs".to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory)).with_context(|| directory.clone())? {
            let entry = entry?;
            let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else if Path::new(&path)
                .extension()
                .is_some_and(|extension| extension == "md" || extension == "svg")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Compresses bytes as Debian wants its pages, without a name and a date.
pub(super) fn gzip(content: &[u8]) -> anyhow::Result<Vec<u8>> {
    through("gzip", &["-9", "-n"], content)
}

/// What a program prints that reads `content`.
pub(super) fn through(program: &str, arguments: &[&str], content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut child =
        Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().expect("stdin is piped");
    let content = content.to_owned();
    let writer = std::thread::spawn(move || io::Write::write_all(&mut input, &content));
    let output = child.wait_with_output()?;
    writer.join().expect("no panic")?;
    if !output.status.success() {
        bail!("{program} failed: {}", output.status);
    }
    Ok(output.stdout)
}

/// What a program prints.
pub(super) fn said(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.output().with_context(|| crate::shown(command))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", crate::shown(command), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// `tar`, which writes an archive whose bytes depend on the content and the names of the files alone.
pub(super) fn tar(archive: &Path, date: u64) -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"]);
    tar.arg(format!("--mtime=@{date}")).arg("-cf").arg(archive);
    tar
}

/// Packs and compresses `name`, which is in `directory`.
pub(super) fn pack(
    archive: &Path,
    directory: &Path,
    name: &str,
    date: u64,
    compression: Compression,
) -> anyhow::Result<()> {
    let level = match compression {
        Compression::None => 1,
        Compression::Best => 9,
    };
    let mut tar = tar(archive, date);
    crate::execute(
        tar.arg(format!("--use-compress-program=gzip -{level} -n")).arg("-C").arg(directory).arg(name),
    )
}
