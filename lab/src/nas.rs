//! A NAS that boots. systemd is its first process and Docker one of its services, in namespaces of their own
//! around a machine of the lab. Its disk outlives its boots. A directory may be on a disk of its own, which also
//! forgets what was not synced when the power is cut.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::docker::{import_box, only_child};
use crate::engines::Engines;
use crate::ran::Ran;
use crate::rootless::Rootless;
use crate::world::{Machine, WorldError};

/// How long a boot or a shutdown may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The disk of a directory that has one, in the NAS's directory.
const IMAGE: &str = "own.img";

/// How the names of the lab's control groups begin.
const OWN: &str = "ashore-lab-";

/// A NAS. Dropping it cuts its power.
pub struct Nas {
    tree: PathBuf,
    directory: PathBuf,
    cgroup: PathBuf,
    power: Option<Power>,
}

/// What runs from a boot to its end.
struct Power {
    holder: Child,
    /// systemd, by its PID in this process's namespace.
    init: u32,
}

/// What happens before systemd starts. It mounts the disk, which is the tree with this NAS's changes on top,
/// and the kernel's filesystems. `container=` tells systemd not to manage devices and the clock. systemd then
/// also leaves it to others to share mounts with its services, which it does on a host. So the script does
/// that.
const BOOT: &str = r#"
    tree=$1 disk=$2
    mount -t overlay -o "lowerdir=$tree,upperdir=$disk/changed,workdir=$disk/work" overlay "$disk/root"
    cd "$disk/root"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs dev
    for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    mount -t tmpfs tmpfs dev/shm
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs tmpfs tmp
    if [ -e "$disk/own.img" ]; then mount -o loop,commit=600 "$disk/own.img" ".$(cat "$disk/own")"; fi
    mkdir tmp/before
    pivot_root . tmp/before
    exec busybox chroot . busybox sh -ec \
        'busybox umount -l /tmp/before; busybox mount --make-rshared /
         exec busybox env -i container=lab /usr/lib/systemd/systemd --unit=multi-user.target'
"#;

/// Moves the shell into its own control group, which becomes the root of the hierarchy for everything inside.
const IN_CGROUP: &str = r#"
    echo $$ > "$1/cgroup.procs"; shift
    exec unshare --mount --pid --cgroup --uts --ipc --fork --kill-child -- sh -ec "$@"
"#;

/// Units that need what namespaces do not provide, or that only take time.
const MASKED: [&str; 6] = [
    "dev-hugepages.mount",
    "ldconfig.service",
    "network-online.target",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "console-getty.service",
];

/// Docker's units, each with the target that starts it.
const DOCKERS: [(&str, &str); 2] = [("docker.socket", "sockets"), ("docker.service", "multi-user")];

/// There is no D-Bus by which Podman could ask systemd for control groups, and the lab's may lack a controller.
/// Containers may ping by a raw socket,
/// as Docker's may: busybox knows no other way.
const CONTAINERS_CONF: &str = r#"[containers]
pids_limit = 0
default_capabilities = [
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID", "SYS_CHROOT",
]
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
"#;

/// The disk is an overlay, which cannot be the upper layer of another.
const STORAGE_CONF: &str = r#"[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"#;

impl Nas {
    /// Creates a NAS with the packages of a Debian release. It is not booted.
    pub fn new(engines: &Engines, suite: &str, directory: &Path) -> Result<Self, WorldError> {
        for part in ["changed/etc/systemd/system", "changed/etc/default", "work", "root"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let etc = directory.join("changed/etc");
        for (file, text) in [
            ("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("group", "root:x:0:\ndocker:x:101:\n"),
            ("hostname", "nas\n"),
            // An empty file would make this a first boot, in which systemd enables all its units.
            ("machine-id", "a5403e000000000000000000000000a5\n"),
            (
                "default/docker",
                "DOCKER_OPTS=\"--iptables=false --ip6tables=false --bridge=none --storage-driver=vfs\"\n",
            ),
        ] {
            fs::write(etc.join(file), text)?;
        }
        for unit in MASKED {
            symlink("/dev/null", etc.join("systemd/system").join(unit))?;
        }
        for (unit, target) in DOCKERS {
            let wants = etc.join(format!("systemd/system/{target}.target.wants"));
            fs::create_dir_all(&wants)?;
            symlink(Path::new("/usr/lib/systemd/system").join(unit), wants.join(unit))?;
        }
        let cgroup = own_cgroup()?;
        Ok(Nas { tree: engines.tree(suite), directory: directory.to_owned(), cgroup, power: None })
    }

    /// Copies a program to root's home directory on the disk. The NAS must be off.
    pub fn give(&self, program: &Path) -> io::Result<()> {
        let home = self.directory.join("changed/root");
        fs::create_dir_all(&home)?;
        let name = program.file_name().expect("a program has a name");
        fs::copy(program, home.join(name)).map(|_| ())
    }

    /// Writes a file on the disk. The NAS must be off.
    pub fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.directory.join("changed").join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a file is in a directory"))?;
        fs::write(path, text)
    }

    /// Has it boot with Podman alone, as its package leaves it but for what the lab lacks. The NAS must be off.
    pub fn has_podman_alone(&self) -> io::Result<()> {
        for (unit, target) in DOCKERS {
            let wants = self.directory.join(format!("changed/etc/systemd/system/{target}.target.wants"));
            fs::remove_file(wants.join(unit))?;
        }
        self.write("/etc/resolv.conf", "nameserver 192.168.88.1\n")?;
        self.write("/etc/hosts", "127.0.0.1 localhost\n")?;
        self.write("/etc/containers/containers.conf", CONTAINERS_CONF)?;
        self.write("/etc/containers/storage.conf", STORAGE_CONF)?;
        // It also unpacks images there.
        fs::create_dir_all(self.directory.join("changed/var/tmp"))
    }

    /// Puts a directory on a disk of its own, an image with ext4. The NAS must be off. What is written there
    /// without being synced stays in the kernel's memory for ten minutes, unless there is much of it.
    pub fn give_disk(&self, directory: &str) -> Result<(), WorldError> {
        const SIZE: u64 = 32 << 20;
        fs::create_dir_all(self.directory.join("changed").join(directory.trim_start_matches('/')))?;
        fs::write(self.directory.join("own"), directory)?;
        let image = self.directory.join(IMAGE);
        fs::File::create(&image)?.set_len(SIZE)?;
        let made = Command::new("/sbin/mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&image).output()?;
        if !made.status.success() {
            let error = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(io::Error::other(format!("mke2fs: {error}")).into());
        }
        Ok(())
    }

    /// Boots on a machine and waits until systemd answers. Its services may still be starting.
    pub fn boot(&mut self, machine: &Machine) -> Result<(), WorldError> {
        let log = fs::File::create(self.directory.join("console"))?;
        let mut command = machine.command("sh")?;
        command.args(["-ec", IN_CGROUP, "sh"]).arg(&self.cgroup).args([BOOT, "sh"]);
        command.args([&self.tree, &self.directory]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut holder = command.spawn()?;
        let end = Instant::now() + PATIENCE;
        loop {
            if holder.try_wait()?.is_some() || Instant::now() > end {
                let _ = holder.kill();
                let console = fs::read_to_string(self.directory.join("console"))?;
                return Err(io::Error::other(format!("systemd does not boot: {console}")).into());
            }
            if let Ok(init) = only_child(holder.id())
                && fs::read_to_string(format!("/proc/{init}/comm")).is_ok_and(|name| {
                    name == "systemd
"
                })
                && in_namespaces_of(init).args(["systemctl", "show-environment"]).output()?.status.success()
            {
                self.power = Some(Power { holder, init });
                return Ok(());
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Runs a command on the NAS, as its administrator would.
    pub fn run(&self, words: &[&str]) -> io::Result<Ran> {
        Ran::of(self.command().args(words).stdin(Stdio::null()))
    }

    /// A command that will run on the NAS.
    pub fn command(&self) -> Command {
        in_namespaces_of(self.power.as_ref().expect("the NAS has booted").init)
    }

    /// Imports the image `box`, a busybox, into an engine: `docker` or `podman`.
    pub fn import_box(&self, engines: &Engines, engine: &str) -> io::Result<()> {
        let mut command = self.command();
        command.arg(engine);
        import_box(command, engines, &self.directory)
    }

    /// Makes a user other than root, who has a Podman of his own on the running NAS.
    pub fn user(&self, engines: &Engines, name: &str, uid: u32) -> io::Result<Rootless> {
        Rootless::new(engines, self.power.as_ref().expect("the NAS has booted").init, name, uid)
    }

    /// The root directory of the running NAS, as this process sees it.
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.power.as_ref().expect("the NAS has booted").init).into()
    }

    /// What a unit has logged since the boot.
    pub fn journal(&self, unit: &str) -> String {
        let shown =
            self.run(&["journalctl", "--no-pager", "--boot", "--output=short-monotonic", "--unit", unit]);
        shown.map_or_else(|error| error.to_string(), |ran| ran.stdout)
    }

    /// Shuts the NAS down cleanly.
    pub fn shut_down(&mut self) -> io::Result<()> {
        self.run(&["systemctl", "poweroff"])?;
        let mut power = self.power.take().expect("the NAS has booted");
        let end = Instant::now() + PATIENCE;
        while power.holder.try_wait()?.is_none() {
            if Instant::now() > end {
                power.holder.kill()?;
                power.holder.wait()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the NAS does not shut down"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Cuts the power. The disk of [`Nas::give_disk`] keeps what was synced.
    pub fn cut_power(&mut self) -> io::Result<()> {
        let Some(mut power) = self.power.take() else { return Ok(()) };
        let (image, kept) = (self.directory.join(IMAGE), self.directory.join("kept.img"));
        let has_disk = image.exists();
        if has_disk {
            self.freeze()?;
            // What the file system has not written to its device is not in the image either. Its end, below,
            // writes the rest, to a file that nothing leads to any more.
            fs::copy(&image, &kept)?;
            fs::rename(&kept, &image)?;
        }
        power.holder.kill()?;
        if has_disk {
            fs::write(self.cgroup.join("cgroup.freeze"), "0")?;
        }
        power.holder.wait()?;
        Ok(())
    }

    /// Stops all processes at once.
    fn freeze(&self) -> io::Result<()> {
        fs::write(self.cgroup.join("cgroup.freeze"), "1")?;
        let end = Instant::now() + PATIENCE;
        while !fs::read_to_string(self.cgroup.join("cgroup.events"))?.contains("frozen 1") {
            if Instant::now() > end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the NAS does not freeze"));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Nas {
    fn drop(&mut self) {
        let _ = self.cut_power();
        let end = Instant::now() + Duration::from_secs(5);
        while remove_groups(&self.cgroup).is_err() && Instant::now() < end {
            sleep(Duration::from_millis(10));
        }
    }
}

/// A command in all namespaces of the NAS's first process.
fn in_namespaces_of(init: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.args([
        "--mount",
        "--pid",
        "--net",
        "--cgroup",
        "--uts",
        "--ipc",
        "--target",
        &init.to_string(),
        "--",
    ]);
    command
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin")
        .env("HOME", "/root");
    command
}

/// Creates a control group below which a systemd can manage everything. First removes groups that a killed
/// test left long ago.
fn own_cgroup() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let unified =
        mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|words| words[2] == "cgroup2");
    let unified = unified.ok_or_else(|| io::Error::other("no cgroup2 file system is mounted"))?;
    let mount = Path::new(unified[1]);
    for entry in fs::read_dir(mount)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(OWN) && is_forgotten(&entry.path()) {
            let _ = remove_groups(&entry.path());
        }
    }
    let mut names = (0..).map(|number| mount.join(format!("{OWN}{number}")));
    loop {
        let group = names.next().expect("numbers do not end");
        match fs::create_dir(&group) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| group),
        }
    }
}

/// Returns whether a group has had no process for an hour.
fn is_forgotten(group: &Path) -> bool {
    let events = fs::read_to_string(group.join("cgroup.events")).unwrap_or_default();
    let changed = fs::metadata(group.join("cgroup.events")).and_then(|events| events.modified());
    let age = changed.ok().and_then(|changed| changed.elapsed().ok()).unwrap_or_default();
    events.contains("populated 0") && age > Duration::from_secs(3600)
}

/// Removes a control group and those below it. None of them may contain a process.
fn remove_groups(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
