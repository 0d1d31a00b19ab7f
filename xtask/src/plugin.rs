//! `cargo xtask plugin`: builds the directory from which `docker plugin create` makes a managed plugin. It
//! contains the program in a filesystem of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;

use crate::arch::Arch;
use crate::{artifacts, cargo};

#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    /// The machine type that the plugin is for [default: this machine's]
    #[arg(long, value_enum)]
    arch: Option<Arch>,
}

pub(crate) fn run(root: &Path, arguments: &PluginArgs) -> anyhow::Result<()> {
    let mut build = cargo();
    build.args(["rustc", "--release"]);
    if let Some(arch) = arguments.arch {
        arch.aim(&mut build)?;
    }
    let tree = root.join("target/plugin");
    make(root, build, &tree)?;
    println!("Done. Run on the Docker host, as root:");
    println!("  mkdir -p /var/lib/ashore");
    println!("  docker plugin create ashore {}", tree.strip_prefix(root).unwrap_or(&tree).display());
    println!("  docker plugin enable ashore");
    println!("  docker network create -d ashore:latest --ipam-driver ashore:latest lan");
    Ok(())
}

/// The same, but reuses the tests' build of everything except the last step.
pub(crate) fn make_for_tests(root: &Path) -> Result<PathBuf, String> {
    let mut build = cargo();
    build.arg("rustc");
    let tree = root.join("target/plugin-debug");
    make(root, build, &tree).map(|()| tree).map_err(|error| format!("{error:#}"))
}

/// Builds the program as a static executable, and creates the plugin's directory around it.
///
/// Only the program's own crate is compiled for this, because its linking is decided there. A static program
/// would load parts of the C library at run time to resolve host and user names, but Ashore does not use
/// those parts.
fn make(root: &Path, mut build: Command, tree: &Path) -> anyhow::Result<()> {
    build.args(["--package", "ashore", "--bin", "ashore", "--message-format", "json-render-diagnostics"]);
    let made = artifacts(build.args(["--", "-C", "target-feature=+crt-static", "-C", "strip=debuginfo"]))?;
    let program = made.iter().find_map(|artifact| artifact["executable"].as_str());
    let program = program.context("cargo names no program")?;

    lay_out(root, Path::new(program), tree)
}

/// Creates the plugin's directory around a static program.
pub(crate) fn lay_out(root: &Path, program: &Path, tree: &Path) -> anyhow::Result<()> {
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    let files = tree.join("rootfs");
    fs::create_dir_all(files.join("run"))?;
    fs::create_dir_all(files.join("var/lib"))?;
    // Namespaces created by `ip netns add` have the same path inside and outside the plugin.
    symlink("../host/run/netns", files.join("run/netns"))?;
    symlink("../run", files.join("var/run"))?;
    fs::copy(program, files.join("ashore")).with_context(|| program.display().to_string())?;
    fs::copy(root.join("packaging/plugin/config.json"), tree.join("config.json"))?;
    Ok(())
}
