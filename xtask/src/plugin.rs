//! `cargo xtask plugin`: what `docker plugin create` makes a managed plugin of, the program in a file system of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::{artifacts, cargo};

#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    /// The kind of machine that it is for [default: this one's]
    #[arg(long, value_enum)]
    arch: Option<Arch>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Aarch64,
    Armv7,
}

impl Arch {
    /// Rust's name, and the name of Debian's linker for it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Arch::X86_64 => ("x86_64-unknown-linux-gnu", "x86_64-linux-gnu-gcc"),
            Arch::Aarch64 => ("aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc"),
            Arch::Armv7 => ("armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf-gcc"),
        }
    }
}

pub(crate) fn run(root: &Path, arguments: &PluginArgs) -> anyhow::Result<()> {
    let mut build = cargo();
    build.args(["rustc", "--release"]);
    if let Some((target, linker)) = arguments.arch.map(Arch::names) {
        check_target(target)?;
        build.args(["--target", target]);
        let setting = format!("CARGO_TARGET_{}_LINKER", target.replace('-', "_").to_uppercase());
        if !target.starts_with(std::env::consts::ARCH) && std::env::var_os(&setting).is_none() {
            build.env(setting, linker);
        }
    }
    let tree = root.join("target/plugin");
    make(root, build, &tree)?;
    println!("Made. On the Docker host, as root:");
    println!("  mkdir -p /var/lib/ashore");
    println!("  docker plugin create ashore {}", tree.strip_prefix(root).unwrap_or(&tree).display());
    println!("  docker plugin enable ashore");
    println!("  docker network create -d ashore:latest --ipam-driver ashore:latest lan");
    Ok(())
}

/// The same with the tests' own build of everything but the last step.
pub(crate) fn make_for_tests(root: &Path) -> Result<PathBuf, String> {
    let mut build = cargo();
    build.arg("rustc");
    let tree = root.join("target/plugin-debug");
    make(root, build, &tree).map_err(|error| format!("{error:#}"))?;
    Ok(tree)
}

/// Builds the program with all that it needs inside, and lays the tree out around it.
///
/// Only the program's own crate is compiled for that, since how it is linked is decided there. The C library's parts that
/// a static program would look for at run time, for names of hosts and users, are not in use.
fn make(root: &Path, mut build: Command, tree: &Path) -> anyhow::Result<()> {
    build.args(["--package", "ashore", "--bin", "ashore", "--message-format", "json-render-diagnostics"]);
    let made = artifacts(build.args(["--", "-C", "target-feature=+crt-static", "-C", "strip=debuginfo"]))?;
    let program = made.iter().find_map(|artifact| artifact["executable"].as_str());
    let program = program.context("cargo names no program")?;

    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    let files = tree.join("rootfs");
    fs::create_dir_all(files.join("run"))?;
    fs::create_dir_all(files.join("var/lib"))?;
    // Namespaces made by `ip netns add` have the same path inside as outside.
    symlink("../host/run/netns", files.join("run/netns"))?;
    symlink("../run", files.join("var/run"))?;
    fs::copy(program, files.join("ashore")).with_context(|| program.to_owned())?;
    fs::copy(root.join("packaging/plugin/config.json"), tree.join("config.json"))?;
    Ok(())
}

/// Rust's library for another kind of machine has to be there before anything is built.
fn check_target(target: &str) -> anyhow::Result<()> {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output()?;
    let library = String::from_utf8(output.stdout)?;
    if output.status.success() && Path::new(library.trim()).exists() {
        return Ok(());
    }
    bail!("this toolchain cannot build for {target}; try: rustup target add {target}");
}
