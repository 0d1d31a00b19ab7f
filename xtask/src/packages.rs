//! The distribution's packages that the tests use. They are unpacked under `target/engines` and never
//! installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::shown;

/// Tools that run directly on this machine, by their Debian package names.
const TOOLS: [&str; 20] = [
    "containernetworking-plugins",
    "iproute2",
    // For what readers of the documents type.
    "iputils-ping",
    "nftables",
    "strace",
    "systemd",
    "busybox-static",
    // The programs that `ashore router-config` prints configuration for, besides nftables and systemd.
    "dnsmasq-base",
    "ifupdown",
    "kea-dhcp4-server",
    "kea-dhcp6-server",
    "isc-dhcp-server",
    "isc-dhcp-relay",
    "dbus-daemon",
    // Router advertisements.
    "radvd",
    // Wi-Fi.
    "hostapd",
    "iw",
    // A registry, what copies a plugin to it, and what checks a release's signature.
    "docker-registry",
    "skopeo",
    "minisign",
];

/// Engines, each in a tree with everything that it needs down to the C library, and with an init: Docker
/// 20.10 with Compose 1.29 and Podman 4.3, which calls CNI plugins; Podman 5.4; and Docker 28.5 with Compose
/// 2.40 beside Podman 5.8. containerd comes with Docker.
const TREES: [(&str, &[&str]); 3] = [
    (
        "bookworm",
        &[
            "docker.io",
            "docker-compose",
            "systemd",
            "ifupdown",
            // For a router, which boots with what `ashore router-config` prints.
            "nftables",
            "dnsmasq",
            "kea-dhcp4-server",
            "dash",
            "dpkg",
            "tar",
            "debianutils",
            "coreutils",
            "netplan.io",
            "network-manager",
            "dbus",
            "busybox-static",
            "podman",
            "netavark",
            "crun",
            "conmon",
            "catatonit",
            "slirp4netns",
            "uidmap",
            "containernetworking-plugins",
            // For Ashore's own package for it.
            "rpm",
        ],
    ),
    (
        "trixie",
        &[
            "systemd",
            "busybox-static",
            "coreutils",
            "dash",
            "dpkg",
            "tar",
            "podman",
            "netavark",
            "aardvark-dns",
            "crun",
            "conmon",
            "catatonit",
            "passt",
            "slirp4netns",
            "uidmap",
            // Containers without an engine.
            "lxc",
            "systemd-container",
        ],
    ),
    (
        "sid",
        &[
            "docker.io",
            "docker-cli",
            "docker-compose",
            "systemd",
            "busybox-static",
            "coreutils",
            "dash",
            "dpkg",
            "tar",
            "containernetworking-plugins",
            "podman",
            "netavark",
            "aardvark-dns",
            "crun",
            "conmon",
            "catatonit",
            "passt",
            "slirp4netns",
            "uidmap",
        ],
    ),
];

/// A kernel with all the features that the usual one may lack (Debian's cloud kernel has no Wi-Fi), and what
/// boots it. It is in a tree of its own too, so that every machine boots the same kernel with the same
/// programs.
const VM: (&str, &[&str]) = ("bookworm", &["linux-image-amd64", "qemu-system-x86", "busybox-static"]);

/// A toolchain for static programs: Debian's newest Rust with the sources of its standard library, musl, and LLVM's
/// unwinder. The unwinder's package has its version in its name. A release of Debian keeps it, whatever becomes of it in
/// the newest one.
const TOOLCHAIN: (&[&str], &[&str]) = (
    &["sid", "trixie"],
    &[
        "cargo",
        "rustc",
        "rust-src",
        "cargo-auditable",
        "gcc",
        "musl-dev",
        "libunwind-19-dev",
        "coreutils",
        "dash",
    ],
);

/// What makes and checks packages for other systems than Debian, and signatures.
const PACKERS: (&str, &[&str]) = (
    "bookworm",
    &[
        "rpm",
        "squashfs-tools",
        "minisign",
        "skopeo",
        "coreutils",
        "dash",
        // For the scripts of rpmbuild.
        "bash",
        "diffutils",
        "findutils",
        "grep",
        "sed",
    ],
);

/// The directory where the engines are unpacked, or the reason if this machine cannot have them. An error is a download
/// that failed where it should not.
pub(crate) fn fetch(root: &Path) -> anyhow::Result<Result<PathBuf, String>> {
    let directory = match may_fetch(root) {
        Ok(directory) => directory,
        Err(why) => return Ok(Err(why)),
    };
    unpack_all(&directory).context("the packages that the tests need cannot be downloaded")?;
    Ok(Ok(directory))
}

/// The directory where the virtual machine's tree is unpacked. Returns the reason if this is not possible.
pub(crate) fn fetch_vm(root: &Path) -> Result<PathBuf, String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(format!("the virtual machine needs x86-64, and this is {}", std::env::consts::ARCH));
    }
    let directory = may_fetch(root)?.join("vm");
    let (suite, packages) = VM;
    unpack_tree(&directory, &[suite], packages).map_err(|error| format!("{error:#}"))?;
    Ok(directory)
}

/// The tree of the toolchain for static programs. Returns the reason if this is not possible.
pub(crate) fn fetch_toolchain(root: &Path) -> Result<PathBuf, String> {
    let directory = may_fetch(root)?.join("toolchain");
    let (suites, packages) = TOOLCHAIN;
    unpack_tree(&directory, suites, packages).map_err(|error| format!("{error:#}"))?;
    Ok(directory.join("root"))
}

/// The tree of the programs that make packages. Returns the reason if this is not possible.
pub(crate) fn fetch_packers(root: &Path) -> Result<PathBuf, String> {
    let directory = may_fetch(root)?.join("packers");
    let (suite, packages) = PACKERS;
    unpack_tree(&directory, &[suite], packages).map_err(|error| format!("{error:#}"))?;
    Ok(directory.join("root"))
}

/// The directory for packages. Returns the reason if this machine cannot fetch packages.
fn may_fetch(root: &Path) -> Result<PathBuf, String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.lines().any(|line| line == "ID=debian") {
        return Err("the packages are Debian's, and this is another distribution".into());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("apt-get downloads as root only".into());
    }
    Ok(root.join("target/engines"))
}

fn unpack_all(directory: &Path) -> anyhow::Result<()> {
    // `--reinstall` also downloads packages that this machine already has, so that every machine tests with
    // the same versions.
    once(&directory.join("tools"), &TOOLS, |archives| {
        download(Command::new("apt-get").args(["-qq", "update"]).args(STRICT))?;
        download(apt(archives).args(["--reinstall", "install"]).args(TOOLS))
    })?;
    for (suite, packages) in TREES {
        unpack_tree(&directory.join(suite), &[suite], packages)?;
    }
    Ok(())
}

/// Unpacks packages of Debian releases, the newest of each, with all their dependencies into a tree of their own.
fn unpack_tree(directory: &Path, suites: &[&str], packages: &[&str]) -> anyhow::Result<()> {
    once(directory, packages, |archives| {
        let lists = Lists::of_suites(archives, suites)?;
        download(lists.command(archives).arg("update").args(STRICT))?;
        download(lists.command(archives).arg("install").args(packages))
    })
}

/// How long each attempt to download waits for the one before, which may have failed because a mirror was being
/// updated, or the network was away.
const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(10), Duration::from_secs(30), Duration::from_secs(90)];

/// Downloads and unpacks packages to `directory/root`, unless this was already done. An old tree stays until
/// the new one is complete, because another run may be using it, and the download may fail.
fn once(
    directory: &Path,
    packages: &[&str],
    download: impl Fn(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let complete = directory.join("complete");
    let wanted = packages.join("\n");
    if fs::read_to_string(&complete).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    let (fresh, old) = (directory.with_extension("new"), directory.with_extension("old"));
    let archives = fresh.join("archives");
    let mut outcome = Ok(());
    for pause in PAUSES {
        sleep(pause);
        for left in [&fresh, &old] {
            if left.exists() {
                fs::remove_dir_all(left)?;
            }
        }
        fs::create_dir_all(archives.join("partial"))?;
        outcome = download(&archives);
        match &outcome {
            Ok(()) => break,
            Err(why) => println!("the packages are not downloaded yet: {why:#}"),
        }
    }
    outcome?;
    unpack(&archives, &fresh.join("root"))?;
    fs::remove_dir_all(&archives)?;
    fs::write(fresh.join("complete"), wanted)?;
    if directory.exists() {
        fs::rename(directory, &old)?;
    }
    fs::rename(&fresh, directory)?;
    if old.exists() {
        fs::remove_dir_all(old)?;
    }
    Ok(())
}

fn unpack(archives: &Path, root: &Path) -> anyhow::Result<()> {
    for part in ["bin", "sbin", "lib", "lib64"] {
        // Debian's merged /usr, which a package of the base system would create.
        fs::create_dir_all(root.join("usr").join(part))?;
        std::os::unix::fs::symlink(Path::new("usr").join(part), root.join(part))?;
    }
    for mount_point in ["proc", "sys", "dev", "run", "tmp", "var", "mnt"] {
        fs::create_dir_all(root.join(mount_point))?;
    }
    std::os::unix::fs::symlink("../run", root.join("var/run"))?;
    let mut count = 0;
    for entry in fs::read_dir(archives)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let mut read = Command::new("dpkg-deb");
            let mut read = read.arg("--fsys-tarfile").arg(&path).stdout(Stdio::piped()).spawn()?;
            let mut write = Command::new("tar");
            write.arg("-C").arg(root).args(["--keep-directory-symlink", "-x"]);
            write.stdin(read.stdout.take().context("stdout is piped")?);
            if !write.status()?.success() || !read.wait()?.success() {
                bail!("{} cannot be unpacked", path.display());
            }
            count += 1;
        }
    }
    // The alternatives system would do this. The engine needs it for its rules inside containers (its own
    // DNS).
    for program in ["iptables", "ip6tables"] {
        let sbin = root.join("usr/sbin");
        if sbin.join(format!("{program}-nft")).exists() {
            std::os::unix::fs::symlink(format!("{program}-nft"), sbin.join(program))?;
        }
    }
    println!("{count} packages unpacked in {}", root.display());
    Ok(())
}

/// Lists that could not be downloaded are an error of `apt-get update`, which otherwise goes on with old ones.
const STRICT: [&str; 2] = ["-o", "APT::Update::Error-Mode=any"];

/// Runs apt-get. An error is in its own words.
fn download(apt_get: &mut Command) -> anyhow::Result<()> {
    println!("$ {}", shown(apt_get));
    let output = apt_get.stdin(Stdio::null()).output().context("apt-get")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("E: ")).take(5).collect();
    bail!("apt-get failed ({}): {}", output.status, errors.join(" "))
}

/// apt-get, which downloads to our own directory.
fn apt(archives: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-qq", "--yes", "--no-install-recommends", "--download-only"]);
    command.arg("-o").arg(format!("Dir::Cache::archives={}", archives.display()));
    command.args(["-o", "APT::Sandbox::User=root"]);
    command
}

/// apt's configuration for other Debian releases, as on a machine where nothing is installed.
struct Lists(PathBuf);

impl Lists {
    fn of_suites(archives: &Path, suites: &[&str]) -> anyhow::Result<Self> {
        let directory = archives.join("suite");
        fs::create_dir_all(directory.join("lists/partial"))?;
        fs::write(directory.join("status"), "")?;
        let mirror = mirror()?;
        let sources = suites.iter().map(|suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"));
        fs::write(directory.join("sources.list"), sources.collect::<String>())?;
        Ok(Lists(directory))
    }

    fn command(&self, archives: &Path) -> Command {
        let mut command = apt(archives);
        let at = |file: &str| self.0.join(file).display().to_string();
        for (option, value) in [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "-".into()),
            ("Dir::State::lists", at("lists")),
            ("Dir::State::status", at("status")),
            ("Dir::Cache::pkgcache", String::new()),
            ("Dir::Cache::srcpkgcache", String::new()),
            // An outdated mirror is good enough for tests.
            ("Acquire::Check-Valid-Until", "false".into()),
        ] {
            command.arg("-o").arg(format!("{option}={value}"));
        }
        command
    }
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The mirror from which this machine gets Debian packages.
fn mirror() -> anyhow::Result<String> {
    let targets = Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]).output()?;
    let sites = String::from_utf8(targets.stdout)?;
    let site = sites.lines().find(|site| site.ends_with("/debian") || site.ends_with("/debian/"));
    site.map(str::to_owned).context("apt has no source for Debian's main archive")
}
