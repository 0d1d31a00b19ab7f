//! `cargo xtask package`: makes what a release needs below `target/package`, from Debian's archive and the crates alone:
//! static programs, packages for Debian and rpm, an archive for other systems, a system extension, Docker's managed
//! plugin, the bill of materials, the checksums and their signature. The same sources and the same toolchain give the
//! same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::Args;

mod archive;
mod contents;
mod crates;
mod deb;
mod debug;
mod files;
mod packers;
mod plugin;
mod programs;
mod rpm;
mod signature;
mod sysext;

pub(crate) use debug::make_for_tests;
use packers::Packers;

/// The version of all that is made.
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Args)]
pub(crate) struct PackageArgs {
    /// Build everything a second time from nothing, and check that each file has the same bytes
    #[arg(long)]
    twice: bool,
    /// Sign the checksums with minisign's secret key in this file; its public key is in the file beside it, FILE.pub
    #[arg(long, value_name = "FILE", conflicts_with = "debug")]
    sign: Option<PathBuf>,
    /// Make the packages of the tests' own programs instead, which `cargo build` has left in `target/debug`
    #[arg(long, conflicts_with = "twice")]
    debug: bool,
}

pub(crate) fn run(root: &Path, arguments: &PackageArgs) -> anyhow::Result<()> {
    if arguments.debug {
        println!("{}", make_for_tests(root).map_err(anyhow::Error::msg)?.display());
        return Ok(());
    }
    let directory = root.join("target/package");
    let sign = arguments.sign.as_deref();
    let made = make(root, &directory, sign)?;
    if arguments.twice {
        fs::remove_dir_all(programs::build_directory(root))?;
        let again = root.join("target/package-again");
        compare(&made, &make(root, &again, sign)?)?;
        fs::remove_dir_all(&again)?;
        println!("The second build has the same bytes.");
    }
    for path in made {
        println!("{} bytes  {}", fs::metadata(&path)?.len(), path.strip_prefix(root)?.display());
    }
    Ok(())
}

/// How much time is spent on making a package smaller.
#[derive(Debug, Clone, Copy)]
enum Compression {
    None,
    Best,
}

/// Writes the tests' plugin as an OCI layout too, beside its directory, which is returned.
pub(crate) fn lay_out_plugin(plugin: PathBuf) -> Result<PathBuf, String> {
    let layout = plugin.with_extension("oci");
    let write = || {
        if layout.exists() {
            fs::remove_dir_all(&layout)?;
        }
        plugin::lay_out(&plugin, 0, Compression::None, &layout)
    };
    write().map(|()| plugin).map_err(|error: anyhow::Error| format!("{error:#}"))
}

/// Makes all files of a release in a directory of their own, and returns their paths.
fn make(root: &Path, directory: &Path, sign: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    let packers = Packers::fetch(root)?;
    let programs = programs::build(root)?;
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    let mut parts = crates::of_programs(root, programs::TARGET)?;
    parts.extend(crates::in_toolchain(&programs.toolchain)?);
    let date = date(root)?;

    let stage = directory.join("tree");
    contents::stage(root, &programs.files, &parts, &stage)?;
    let bill = directory.join(format!("ashore-{VERSION}.cdx.json"));
    fs::write(&bill, crates::bill_of_materials(&parts)?)?;
    let package = deb::make(root, &stage, VERSION, date, Compression::Best, directory)?;
    let archive = archive::make(root, &stage, date, directory)?;
    let of_rpm = rpm::make(root, &packers, &stage, VERSION, date, Compression::Best, directory)?;
    let extension = sysext::make(&packers, &stage, date, directory)?;
    fs::remove_dir_all(&stage)?;
    let plugins = plugin::make(root, &packers, &programs.files[0], date, directory)?;
    let mut made = vec![bill, package, archive, of_rpm, extension];
    made.extend(plugins);
    for program in programs.files {
        let to = directory.join(program.file_name().context("a program has a name")?);
        fs::copy(program, &to)?;
        made.push(to);
    }
    let sums = archive::sums(&made, directory)?;
    made.push(sums.clone());
    if let Some(key) = sign {
        made.push(signature::make(&packers, &sums, key, date)?);
    }
    Ok(made)
}

/// The date of all files in packages, in seconds: that of the last commit, or the beginning of time.
fn date(root: &Path) -> anyhow::Result<u64> {
    let git = Command::new("git").arg("-C").arg(root).args(["log", "-1", "--format=%ct"]).output();
    let output = git.context("cannot run git, which knows the date of the last commit")?;
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().context("git does not tell the date of the last commit: is this a clone?")
}

/// Fails unless all files are the same, byte for byte.
fn compare(first: &[PathBuf], second: &[PathBuf]) -> anyhow::Result<()> {
    ensure!(
        first.len() == second.len(),
        "the second build made {} files, and the first {}",
        second.len(),
        first.len()
    );
    for (first, second) in first.iter().zip(second) {
        if fs::read(first)? != fs::read(second)? {
            bail!("{} and {} differ", first.display(), second.display());
        }
    }
    Ok(())
}
