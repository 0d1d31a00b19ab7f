//! The virtual machine's first root: a busybox, a script, and the modules that are needed to reach this
//! machine's tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::execute;

/// The busybox applets that the script uses.
const APPLETS: [&str; 12] = [
    "chroot", "insmod", "ip", "kill", "ln", "mkdir", "modprobe", "mount", "poweroff", "sh", "stty", "umount",
];

/// Modules that must be loaded before any other module can be read.
const FIRST_MODULES: [&str; 3] = ["virtio_pci", "virtiofs", "overlay"];

/// Writes the archive to a file.
pub(super) fn make(tree: &Path, modules: &Path, to: &Path) -> anyhow::Result<()> {
    let mut archive = Archive::default();
    for directory in ["bin", "sbin", "lib", "lib/modules", "modules", "dev", "proc", "sys"] {
        archive.directory(directory);
    }
    for mount_point in ["host", "writes", "tree"] {
        archive.directory(mount_point);
    }
    let busybox = tree.join("usr/bin/busybox");
    archive.file("bin/busybox", &read(&busybox)?, 0o755);
    for applet in APPLETS {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    archive.symlink("sbin/modprobe", "/bin/busybox");
    archive.file("init", include_bytes!("init"), 0o755);
    if !modules.join("modules.dep").exists() {
        // The package's own scripts would do this when it is installed.
        let release = modules.file_name().context("a kernel's release")?;
        execute(Command::new(&busybox).args(["depmod", "-b"]).arg(tree).arg(release))?;
    }
    for (at, module) in in_order(modules)?.iter().enumerate() {
        archive.file(&format!("modules/{at:02}"), &read(module)?, 0o644);
    }
    fs::write(to, archive.finish())?;
    Ok(())
}

/// The files of the first modules, each after the modules that it depends on.
fn in_order(modules: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text = |file: &str| {
        fs::read_to_string(modules.join(file)).with_context(|| modules.join(file).display().to_string())
    };
    let (dependencies, built_in) = (text("modules.dep")?, text("modules.builtin")?);
    let mut files: Vec<PathBuf> = Vec::new();
    for module in FIRST_MODULES {
        let is_its = |file: &str| file.ends_with(&format!("/{module}.ko"));
        let line = dependencies.lines().find(|line| line.split(':').next().is_some_and(is_its));
        match line.and_then(|line| line.split_once(':')) {
            // The module that must be loaded first is listed last.
            Some((file, needed)) => {
                for file in needed.split_whitespace().rev().chain([file]).map(|file| modules.join(file)) {
                    if !files.contains(&file) {
                        files.push(file);
                    }
                }
            }
            None if built_in.lines().any(is_its) => {}
            None => bail!("the kernel has no module {module}"),
        }
    }
    Ok(files)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

/// A cpio archive in the format that the kernel reads (`newc`,
/// Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: usize,
}

impl Archive {
    fn directory(&mut self, path: &str) {
        self.entry(path, 0o040_755, &[]);
    }

    fn file(&mut self, path: &str, content: &[u8], permissions: u32) {
        self.entry(path, 0o100_000 | permissions, content);
    }

    fn symlink(&mut self, path: &str, target: &str) {
        self.entry(path, 0o120_777, target.as_bytes());
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (inode, size, name_size) = (self.entries, content.len(), path.len() + 1);
        // Inode, mode, owner, group, links, time, size, two device pairs, name size, and a checksum that is
        // not checked.
        let header = format!(
            "070701{inode:08x}{mode:08x}{zero}{zero}{one:08x}{zero}{size:08x}{zero}{zero}{zero}{zero}{name_size:08x}{zero}",
            zero = "00000000",
            one = 1,
        );
        self.bytes.extend(header.bytes().chain(path.bytes()).chain([0]));
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}
