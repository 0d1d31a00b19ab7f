//! `cargo xtask plugin`: builds the directory from which `docker plugin create` makes a managed plugin. It
//! contains the program in a filesystem of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use crate::arch::Arch;
use crate::{artifacts, cargo, execute};

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

/// The same, for the tests: around the tests' own program and its libraries, which takes no time, or around a static
/// program as in a release, for which most dependencies are compiled once more.
pub(crate) fn make_for_tests(root: &Path, is_static: bool) -> Result<PathBuf, String> {
    let tree = root.join("target/plugin-debug");
    let make = || {
        if is_static {
            let mut build = cargo();
            build.arg("rustc");
            return make(root, build, &tree);
        }
        let program = root.join("target/debug/ashore");
        lay_out(root, &program, &tree)?;
        let files = tree.join("rootfs");
        execute(Command::new("strip").arg("--strip-debug").arg(files.join("ashore")))?;
        for library in libraries(&program)? {
            let within = files.join(library.strip_prefix("/")?);
            fs::create_dir_all(within.parent().context("a library's directory")?)?;
            fs::copy(&library, within).with_context(|| library.display().to_string())?;
        }
        Ok(())
    };
    make().map(|()| tree).map_err(|error: anyhow::Error| format!("{error:#}"))
}

/// The libraries that a program loads when it starts, and its loader.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let ran = Command::new("ldd").arg(program).output().context("ldd")?;
    if !ran.status.success() {
        bail!("ldd cannot tell the libraries of {}", program.display());
    }
    let text = String::from_utf8_lossy(&ran.stdout);
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
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

/// Creates the plugin's directory around a program.
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
