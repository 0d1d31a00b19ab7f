//! The static programs. They are built in a tree of Debian's newest toolchain, so that they depend neither on this
//! machine's toolchain nor on where the sources are. The tree has no standard library for musl, so it is built too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::{cargo, execute, packages, plug};

/// The machine type and C library of the programs, by their Rust name.
pub(super) const TARGET: &str = "x86_64-unknown-linux-musl";

/// The maximum size of each program, in bytes.
const LARGEST: [(&str, u64); 2] = [("ashore", 24 << 20), ("ashore-plug", plug::LARGEST)];

/// The programs, and the tree of the toolchain that built them.
pub(super) struct Programs {
    pub(super) files: [PathBuf; 2],
    pub(super) toolchain: PathBuf,
}

/// Where cargo builds.
pub(super) fn build_directory(root: &Path) -> PathBuf {
    root.join("target/package-build")
}

/// Mounts what the build needs into the tree, in a mount namespace of its own, and builds there. All paths inside are
/// the same on every machine.
///
/// Rust's standard library wants an unwinder. LLVM's, as Debian has it, is made for the GNU C library, and calls two
/// functions that only check more than the ordinary ones. Rust knows no other way than an unstable option to build
/// its standard library.
const BUILD: &str = r#"
    tree=$1 source=$2 registry=$3 build=$4 target=$5
    cd "$tree"
    mkdir -p source build cargo/registry
    mount --bind "$source" source
    mount -o remount,bind,ro source
    mount --bind "$registry" cargo/registry
    mount --bind "$build" build
    mount -t proc proc proc
    mount -t tmpfs tmpfs dev
    mount -t tmpfs tmpfs tmp
    for device in null zero random urandom; do touch dev/$device; mount --bind /dev/$device dev/$device; done
    exec env -i PATH=/usr/bin HOME=/tmp CARGO_HOME=/cargo CARGO_TARGET_DIR=/build RUSTC_BOOTSTRAP=1 \
        CARGO_PROFILE_RELEASE_STRIP=symbols \
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=gcc \
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=x86_64-linux-musl-gcc \
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-C link-self-contained=no -L native=/build/unwinder" \
        /usr/sbin/chroot . /bin/sh -ec '
            mkdir -p /build/unwinder
            cp /usr/lib/x86_64-linux-gnu/libunwind.a /build/unwinder/
            x86_64-linux-musl-gcc -O2 -c /source/xtask/src/package/fortified.c -o /build/unwinder/fortified.o
            ar rD /build/unwinder/libunwind.a /build/unwinder/fortified.o
            cd /source
            cargo auditable build --release --locked --offline -Z build-std=std,panic_unwind --target "$1" \
                --package ashore --package ashore-plug
        ' sh "$target"
"#;

/// Builds the programs.
pub(super) fn build(root: &Path) -> anyhow::Result<Programs> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the toolchain is x86-64's, and this is {}", std::env::consts::ARCH);
    }
    let toolchain = packages::fetch_toolchain(root).map_err(anyhow::Error::msg)?;
    let library = library(&toolchain)?;
    // From another directory than the library's own, whose configuration names crates as Debian has them.
    execute(cargo().args(["fetch", "--quiet", "--locked"]))?;
    let of_library = library.join("Cargo.toml");
    let mut fetch = cargo();
    fetch.args(["fetch", "--quiet", "--locked", "--manifest-path"]).arg(of_library);
    execute(fetch.env("RUSTC_BOOTSTRAP", "1"))?;
    let build = build_directory(root);
    fs::create_dir_all(&build)?;
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "sh", "-ec", BUILD, "sh"]).arg(&toolchain).arg(root).arg(registry()?);
    println!("Building {TARGET} …");
    if !inside.arg(&build).arg(TARGET).status()?.success() {
        bail!("the build failed");
    }
    let files = LARGEST.map(|(name, _)| build.join(TARGET).join("release").join(name));
    for (file, (_, largest)) in files.iter().zip(LARGEST) {
        let program = fs::read(file).with_context(|| file.display().to_string())?;
        plug::check(&program, largest).with_context(|| file.display().to_string())?;
    }
    Ok(Programs { files, toolchain })
}

/// The sources of the standard library in a tree.
fn library(toolchain: &Path) -> anyhow::Result<PathBuf> {
    let link = toolchain.join("usr/lib/rustlib/src/rust");
    let target = fs::read_link(&link).with_context(|| link.display().to_string())?;
    Ok(link.with_file_name(target).join("library"))
}

/// Where this user's cargo keeps the crates that it has downloaded.
fn registry() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("there is no home")?;
    Ok(home.join("registry"))
}
