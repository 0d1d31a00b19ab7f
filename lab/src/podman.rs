//! A real Podman on a machine of the lab. It has no daemon, so its world is what it finds: a disk of its own,
//! which is the engine's tree with its changes on top, and lasting mount and PID namespaces. Nothing else sees
//! its plugins and containers, and they all end together.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::docker::{import_box, only_child};
use crate::engines::Engines;
use crate::ran::Ran;
use crate::rootless::Rootless;
use crate::world::{Machine, WorldError};

/// Podman's world. Dropping it kills all its containers.
pub struct Podman {
    /// Keeps the namespaces open.
    holder: Child,
    /// The first process in the holder's PID namespace, by its PID in this process's namespace.
    inside: u32,
}

/// The holder's script. It makes the disk the root, with the kernel's filesystems, and with the test's
/// directory, which is also where an installed daemon has its sockets. What a boot empties is empty: /run, by
/// which Podman knows that it was one, /dev/shm with its locks, and CNI's addresses, which systemd-tmpfiles
/// removes. The control groups are the bare second version, whatever the machine has. The shell stays and
/// reaps what Podman's monitors leave.
const HOLD: &str = r#"
    tree=$1 test=$2 disk=$2/podman
    mount -t overlay -o "lowerdir=$tree,upperdir=$disk/changed,workdir=$disk/work" overlay "$disk/root"
    cd "$disk/root"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount --rbind /dev dev
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs -o mode=1777 tmpfs tmp
    rm -rf var/lib/cni/networks
    mkdir -p ".$test" run/ashore tmp/before
    mount --bind "$test" ".$test"
    mount --bind "$test" run/ashore
    pivot_root . tmp/before
    exec busybox chroot . busybox sh -ec '
        busybox umount -l /tmp/before
        busybox mount --make-rshared /
        echo ready
        busybox sleep infinity & wait'
"#;

/// Where netavark, and then CNI runtimes, look for plugins that the administrator installed.
const PLUGINS: [&str; 2] = ["usr/local/lib/netavark", "opt/cni/bin"];

impl Podman {
    /// Starts the Podman of a Debian release on a machine, on a new disk in `directory/podman`. It has the
    /// image `box`, which is a busybox.
    pub fn start(
        engines: &Engines,
        suite: &str,
        machine: &Machine,
        directory: &Path,
    ) -> Result<Self, WorldError> {
        let disk = directory.join("podman");
        format(&disk, suite)?;
        let podman = Podman::at_rest(engines, suite, machine, directory)?;
        import_box(podman.command("podman"), engines, &disk)?;
        Ok(podman)
    }

    /// Starts it on the disk that an earlier one has left, as after a boot of the machine. None of its
    /// containers runs.
    pub fn at_rest(
        engines: &Engines,
        suite: &str,
        machine: &Machine,
        directory: &Path,
    ) -> Result<Self, WorldError> {
        let mut command = machine.command("unshare")?;
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-ec", HOLD, "sh"]);
        command.arg(engines.tree(suite)).arg(directory).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = command.spawn()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("stdout is piped")).read_line(&mut line)?;
        if line.trim() != "ready" {
            let _ = holder.wait();
            return Err(io::Error::other("cannot create namespaces for Podman; is this root?").into());
        }
        let inside = only_child(holder.id())?;
        Ok(Podman { holder, inside })
    }

    /// Installs a plugin under a name, as the administrator would: a copy of a file.
    pub fn install_plugin(&self, name: &str, program: &Path) -> io::Result<()> {
        for directory in PLUGINS {
            let directory = self.at(directory);
            fs::create_dir_all(&directory)?;
            // A running plugin's file cannot be written to, but it can be replaced.
            let fresh = directory.with_extension("new");
            fs::copy(program, &fresh)?;
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
            fs::rename(fresh, directory.join(name))?;
        }
        Ok(())
    }

    /// The root directory of Podman's world as this process sees it. A daemon outside needs it to find what
    /// Podman calls by a path.
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.inside).into()
    }

    /// Makes a user other than root, who has a Podman of his own there.
    pub fn user(&self, engines: &Engines, name: &str, uid: u32) -> io::Result<Rootless> {
        Rootless::new(engines, self.inside, name, uid)
    }

    /// A path of Podman's world as this process reaches it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// A command from the tree that runs in Podman's world, as its administrator would run it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--pid", "--net", "--target", &self.inside.to_string(), "--", program]);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        ashore_kernel::kill_with_parent(&mut command);
        command
    }

    /// Runs `podman …`.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Ran> {
        Ran::of(self.command("podman").args(arguments).stdin(Stdio::null()))
    }

    /// Starts `podman …`. The caller waits for it.
    pub fn begin(&self, arguments: &[&str]) -> io::Result<Child> {
        let mut command = self.command("podman");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    /// Runs a command in a running container.
    pub fn exec(&self, container: &str, command: &[&str]) -> io::Result<Ran> {
        self.run(&[&["exec", container], command].concat())
    }

    /// Removes all pods, containers and networks, running or not. Returns the first command that failed, or
    /// the last.
    pub fn remove_all(&self) -> io::Result<Ran> {
        for what in [&["pod", "rm"][..], &["rm"]] {
            let removed = self.run(&[what, &["--all", "--force", "--time=0"]].concat())?;
            if removed.code != Some(0) {
                return Ok(removed);
            }
        }
        self.run(&["network", "prune", "--force"])
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Makes a new disk. Podman's own files are on it, not in the tree, which all tests share.
fn format(disk: &Path, suite: &str) -> io::Result<()> {
    for part in
        ["work", "root", "changed/root", "changed/var/tmp", "changed/var/lib", "changed/etc/containers"]
    {
        fs::create_dir_all(disk.join(part))?;
    }
    // A tree that no package manager made may have it for root alone.
    fs::set_permissions(disk.join("changed/var/lib"), fs::Permissions::from_mode(0o755))?;
    // Every user's Podman unpacks there.
    fs::set_permissions(disk.join("changed/var/tmp"), fs::Permissions::from_mode(0o1777))?;
    let etc = disk.join("changed/etc");
    // Only netavark from 1.6 on calls plugins. Bookworm's is older, but its Podman can use CNI instead.
    let backend = if suite == "bookworm" { "cni" } else { "netavark" };
    for (file, text) in [
        ("passwd", "root:x:0:0:root:/root:/bin/sh\n".to_owned()),
        ("group", "root:x:0:\n".to_owned()),
        ("hostname", "nas\n".to_owned()),
        ("hosts", "127.0.0.1 localhost\n".to_owned()),
        ("resolv.conf", "nameserver 192.168.88.1\n".to_owned()),
        ("containers/containers.conf", containers_conf(backend)),
        ("containers/storage.conf", storage_conf(&disk.join("storage"))),
    ] {
        fs::write(etc.join(file), text)?;
    }
    Ok(())
}

/// What the lab's machines lack is left out: control groups of their own, limits, a journal, a firewall. And
/// containers may ping by a raw socket, as Docker's may: busybox knows no other way.
fn containers_conf(backend: &str) -> String {
    format!(
        r#"[containers]
cgroups = "disabled"
pids_limit = 0
default_ulimits = []
default_capabilities = [
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID", "SYS_CHROOT",
]
log_driver = "k8s-file"
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "{backend}"
firewall_driver = "none"
"#
    )
}

/// The images are beside the disk: an overlay cannot be the upper layer of another.
fn storage_conf(images: &Path) -> String {
    format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = \"/run/containers/storage\"\n",
        images.display().to_string()
    )
}
