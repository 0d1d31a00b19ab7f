//! The machine types that a release is for.

use std::path::Path;
use std::process::Command;

use anyhow::bail;
use clap::ValueEnum;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Aarch64,
    Armv7,
}

impl Arch {
    /// The name of Rust's target, and of Debian's linker for it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Arch::X86_64 => ("x86_64-unknown-linux-gnu", "x86_64-linux-gnu-gcc"),
            Arch::Aarch64 => ("aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc"),
            Arch::Armv7 => ("armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf-gcc"),
        }
    }

    /// Makes a build one for this machine type.
    pub(crate) fn aim(self, build: &mut Command) -> anyhow::Result<()> {
        let (target, linker) = self.names();
        check_target(target)?;
        build.args(["--target", target]);
        let setting = format!("CARGO_TARGET_{}_LINKER", target.replace('-', "_").to_uppercase());
        if !target.starts_with(std::env::consts::ARCH) && std::env::var_os(&setting).is_none() {
            build.env(setting, linker);
        }
        Ok(())
    }
}

/// Checks that Rust's standard library for the target is installed, before anything is built.
fn check_target(target: &str) -> anyhow::Result<()> {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output()?;
    let library = String::from_utf8(output.stdout)?;
    if output.status.success() && Path::new(library.trim()).exists() {
        return Ok(());
    }
    bail!("this toolchain cannot build for {target}; try: rustup target add {target}");
}
