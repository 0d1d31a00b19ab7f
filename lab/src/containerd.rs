//! A real containerd on a machine of the lab, as its command line `ctr` drives it. It calls CNI plugins.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::docker::{Docker, make_box};
use crate::engines::Engines;
use crate::ran::Ran;
use crate::world::{Machine, WorldError};

/// How long it may take until its first answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where `ctr` looks for plugins and for network configurations. They are in memory: the tree is everybody's.
const PLACES: &str = "mkdir -p /opt /etc/cni && mount -t tmpfs tmpfs /opt && mount -t tmpfs tmpfs /etc/cni \
                      && mkdir -p /opt/cni/bin /etc/cni/net.d /run/ashore";

/// What `ctr` does without: Kubernetes' interface, which would use CNI too.
const CONFIG: &str = r#"
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
"#;

/// A running containerd. Dropping it kills it with all its containers.
pub struct Containerd<'a> {
    /// Its filesystem and PID namespace.
    world: Docker,
    machine: &'a Machine,
    daemon: Child,
    directory: PathBuf,
}

impl<'a> Containerd<'a> {
    /// Starts the containerd of a Debian release on a machine. The socket of `ashore-plug` in `directory` is where the
    /// plugin looks for it.
    pub fn start(
        engines: &Engines,
        suite: &str,
        machine: &'a Machine,
        directory: &Path,
    ) -> Result<Self, WorldError> {
        let world = Docker::at_rest(engines, suite, directory)?;
        let places = format!("{PLACES} && mount --bind {} /run/ashore", directory.display());
        let made = Ran::of(world.command("busybox").args(["sh", "-ec", &places]))?;
        if made.code != Some(0) {
            return Err(io::Error::other(format!("containerd's places: {}", made.stderr)).into());
        }
        let own = directory.join("containerd");
        fs::create_dir_all(&own)?;
        make_box(engines, &own)?;
        fs::write(own.join("config.toml"), CONFIG)?;
        let log = fs::File::create(own.join("log"))?;
        let mut command = world.command_on(machine, "containerd")?;
        command.arg("--config").arg(own.join("config.toml"));
        command.arg("--root").arg(own.join("root")).arg("--state").arg(own.join("state"));
        command.arg("--address").arg(own.join("sock"));
        let daemon = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut containerd = Containerd { world, machine, daemon, directory: directory.to_owned() };
        let end = Instant::now() + PATIENCE;
        while containerd.run(&["version"])?.code != Some(0) {
            if containerd.daemon.try_wait()?.is_some() || Instant::now() > end {
                return Err(
                    io::Error::other(format!("containerd does not answer: {}", containerd.log())).into()
                );
            }
            sleep(Duration::from_millis(50));
        }
        Ok(containerd)
    }

    /// Installs a plugin under a name, as the administrator would: a copy of a file.
    pub fn install_plugin(&self, name: &str, program: &Path) -> io::Result<()> {
        let file = self.world.root().join("opt/cni/bin").join(name);
        fs::copy(program, &file)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))
    }

    /// Writes a network configuration.
    pub fn configure(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.world.root().join("etc/cni/net.d").join(file), text)
    }

    /// Runs `ctr …`.
    pub fn run(&self, arguments: &[&str]) -> Result<Ran, WorldError> {
        let mut command = self.world.command_on(self.machine, "ctr")?;
        command.arg("--address").arg(self.directory.join("containerd/sock"));
        Ok(Ran::of(command.args(arguments).stdin(Stdio::null()))?)
    }

    /// Runs a container of a busybox: `ctr run` with options, the container's name, and its command.
    pub fn run_box(&self, options: &[&str], name: &str, command: &[&str]) -> Result<Ran, WorldError> {
        let root = self.directory.join("containerd/box").display().to_string();
        let begin = ["run", "--cni", "--runc-binary", "runc", "--rootfs"];
        self.run(&[&begin, options, &[&root, name], command].concat())
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("containerd/log")).unwrap_or_default()
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        // The world ends all that runs in it.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        if std::thread::panicking() {
            crate::show_end_of("containerd's log", &self.log());
        }
    }
}
