//! `cargo xtask plug`: builds `ashore-plug` as it is shipped. Podman and CNI runtimes start it for each container, and
//! a static program starts in less time. It also runs on a host with another C library, or none.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::arch::Arch;
use crate::{artifacts, cargo};

#[derive(Debug, Args)]
pub(crate) struct PlugArgs {
    /// The machine type that it is for [default: this machine's]
    #[arg(long, value_enum)]
    arch: Option<Arch>,
}

/// The program's maximum size, in bytes. Its pages are read for each container, and more would come from a
/// dependency that it must not have.
pub(crate) const LARGEST: u64 = 2 << 20;

pub(crate) fn run(root: &Path, arguments: &PlugArgs) -> anyhow::Result<()> {
    println!("{}", make(root, arguments.arch)?.display());
    Ok(())
}

/// Builds the program for a machine type, and returns its path.
pub(crate) fn make(root: &Path, arch: Option<Arch>) -> anyhow::Result<PathBuf> {
    let mut build = cargo();
    build.args(["rustc", "--release", "--package", "ashore-plug", "--bin", "ashore-plug"]);
    if let Some(arch) = arch {
        arch.aim(&mut build)?;
    }
    build.args(["--message-format", "json-render-diagnostics"]);
    // Only its own crate is compiled for this: its linking is decided there.
    let made = artifacts(build.args(["--", "-C", "target-feature=+crt-static"]))?;
    let program = made.iter().find_map(|artifact| artifact["executable"].as_str());
    let program = program.context("cargo names no program")?;
    check(&fs::read(program).with_context(|| program.to_owned())?, LARGEST)?;
    let directory = root.join("target/plug");
    fs::create_dir_all(&directory)?;
    // A build that links it dynamically takes the place of cargo's own file.
    let (fresh, there) = (directory.join("ashore-plug.new"), directory.join("ashore-plug"));
    fs::copy(program, &fresh).with_context(|| program.to_owned())?;
    fs::rename(&fresh, &there)?;
    Ok(there)
}

/// Checks that a program is small, and static: it names no loader.
pub(crate) fn check(program: &[u8], largest: u64) -> anyhow::Result<()> {
    if program.len() as u64 > largest {
        bail!("it has {} bytes, more than {largest}", program.len());
    }
    if has_loader(program).context("it is no ELF file")? {
        bail!("it is linked dynamically");
    }
    Ok(())
}

/// Whether an ELF file has a segment that names its loader (`PT_INTERP`).
fn has_loader(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    // Little-endian, of 32 or 64 bits: where the offset, the size and the number of the program headers are.
    let (offset, size, count) = match elf.get(..6)? {
        [0x7f, b'E', b'L', b'F', 1, 1] => (number(elf, 28, 4)?, 42, 44),
        [0x7f, b'E', b'L', b'F', 2, 1] => (number(elf, 32, 8)?, 54, 56),
        _ => return None,
    };
    let (size, count) = (number(elf, size, 2)?, number(elf, count, 2)?);
    for header in 0..count {
        if number(elf, offset + header * size, 4)? == u64::from(PT_INTERP) {
            return Some(true);
        }
    }
    Some(false)
}

fn number(bytes: &[u8], at: u64, length: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let mut number = [0; 8];
    number[..length].copy_from_slice(bytes.get(at..at + length)?);
    Some(u64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        // This test is linked as cargo does it.
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(has_loader(&own), Some(cfg!(not(target_feature = "crt-static"))));
        assert_eq!(has_loader(&own[..60]), None);
        assert_eq!(has_loader(b"#!/bin/sh\n"), None);
        assert!(check(&vec![0; (2 << 20) + 1], LARGEST).is_err());
    }
}
