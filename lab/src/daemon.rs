//! A real daemon on a machine of the lab, and its real clients.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::docker::Docker;
use crate::engines::Engines;
use crate::podman::Podman;
use crate::ran::Ran;
use crate::world::{Machine, WorldError};

/// How long a daemon may take until its first answer.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where Podman keeps its networks.
const NETWORKS: &str = "/etc/containers/networks";
/// Where the Podman of users other than root finds the daemon.
const USERS: &str = "/var/lib/ashore-plug/sock";

/// A running daemon. Dropping it kills the daemon. Its directory stays.
pub struct Daemon {
    child: Child,
    program: PathBuf,
    directory: PathBuf,
}

/// What else runs on the same machine.
#[derive(Clone, Copy)]
pub enum Beside<'a> {
    /// Nothing of importance.
    Nobody,
    /// A container engine.
    Engine(&'a Docker),
    /// A container engine. The daemon logs how long each of the engine's calls takes.
    TimedEngine(&'a Docker),
    /// A container engine whose API the daemon cannot reach.
    SilentEngine(&'a Docker),
    /// Podman. The daemon reads where Podman keeps its networks, and has a socket for users other than root.
    Podman(&'a Podman),
    /// Podman, as beside an installed daemon, which looks at the host from time to time only. The daemon logs how long
    /// each of the plugin's calls takes. With a file that has an id of the boot, it runs in Podman's world, as an
    /// installed one does; its program is in its directory then.
    TimedPodman(&'a Podman, Option<&'a Path>),
    /// Both engines.
    Both(&'a Docker, &'a Podman),
    /// Users other than root, who call at this socket.
    Users(&'a Path),
}

impl Daemon {
    /// Starts `program daemon` on a machine, with its state, socket and log in a directory. Waits until the
    /// daemon answers.
    pub fn start(program: &Path, machine: &Machine, directory: &Path) -> Result<Self, WorldError> {
        Self::start_beside(program, machine, directory, Beside::Nobody)
    }

    /// Starts a daemon for an engine on the same machine.
    pub fn start_beside(
        program: &Path,
        machine: &Machine,
        directory: &Path,
        beside: Beside<'_>,
    ) -> Result<Self, WorldError> {
        let mut command = match beside {
            Beside::TimedPodman(podman, Some(boot)) => booted(program, podman, boot),
            _ => machine.command(program)?,
        };
        in_directory(&mut command, directory);
        let (engine, api) = match beside {
            Beside::Nobody => (None, None),
            Beside::Engine(engine) => (Some(engine), Some(engine.socket())),
            Beside::TimedEngine(engine) => {
                command.env("ASHORE_LOG", "info,ashore::call=debug");
                (Some(engine), Some(engine.socket()))
            }
            Beside::Podman(podman) => {
                beside_podman(&mut command, podman);
                (None, None)
            }
            Beside::TimedPodman(podman, boot) => {
                command.env("ASHORE_LOG", "info,ashore::call=debug");
                if boot.is_none() {
                    command.arg("--podman-networks").arg(podman.at(NETWORKS));
                }
                (None, None)
            }
            Beside::Users(socket) => {
                command.arg("--users-socket").arg(socket);
                (None, None)
            }
            Beside::Both(engine, podman) => {
                beside_podman(&mut command, podman);
                (Some(engine), Some(engine.socket()))
            }
            Beside::SilentEngine(engine) => (Some(engine), Some(directory.join("nobody.sock"))),
        };
        if let (Some(engine), Some(api)) = (engine, api) {
            command.arg("--docker-host").arg(format!("unix://{}", api.display()));
            command.arg("--docker-root").arg(engine.root());
        }
        Self::spawn(command, program, directory)
    }

    /// Starts a daemon with inherited sockets. `systemd-socket-activate` binds the sockets and becomes the
    /// daemon on the first connection.
    pub fn start_activated(
        engines: &Engines,
        program: &Path,
        machine: &Machine,
        directory: &Path,
        sockets: &[PathBuf],
    ) -> Result<Self, WorldError> {
        Self::start_activated_with(engines, program, machine, directory, sockets, &[])
    }

    /// The same with more arguments.
    pub fn start_activated_with(
        engines: &Engines,
        program: &Path,
        machine: &Machine,
        directory: &Path,
        sockets: &[PathBuf],
        arguments: &[&OsStr],
    ) -> Result<Self, WorldError> {
        let mut command = machine.command(engines.path("usr/bin/systemd-socket-activate"))?;
        for socket in sockets {
            std::fs::create_dir_all(socket.parent().unwrap_or(directory))?;
            command.arg("--listen").arg(socket);
        }
        in_directory(engines.equip(&mut command).arg(program), directory);
        command.args(arguments);
        Self::spawn(command, program, directory)
    }

    /// Starts a daemon through another command that becomes the daemon, such as `setpriv`.
    pub fn start_by(
        launcher: &[&str],
        program: &Path,
        machine: &Machine,
        directory: &Path,
    ) -> Result<Self, WorldError> {
        let [launcher, arguments @ ..] = launcher else { return Self::start(program, machine, directory) };
        let mut command = machine.command(launcher)?;
        in_directory(command.args(arguments).arg(program), directory);
        Self::spawn(command, program, directory)
    }

    /// Starts the command that is the daemon or will become it.
    fn spawn(mut command: Command, program: &Path, directory: &Path) -> Result<Self, WorldError> {
        std::fs::create_dir_all(directory)?;
        let log = File::options().create(true).append(true).open(directory.join("log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut daemon =
            Daemon { child: command.spawn()?, program: program.to_owned(), directory: directory.to_owned() };
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(daemon.socket()).is_err() {
            if let Some(status) = daemon.child.try_wait()? {
                let log = daemon.log();
                return Err(io::Error::other(format!("the daemon ended ({status}): {log}")).into());
            }
            if Instant::now() > end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the daemon does not answer").into());
            }
            sleep(Duration::from_millis(2));
        }
        Ok(daemon)
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("ashore.sock")
    }

    /// The socket at which `ashore-plug` calls.
    pub fn plug_socket(&self) -> PathBuf {
        self.directory.join("ashore-plug.sock")
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the daemon has logged so far, over all its runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// A client of the daemon. The caller adds the arguments.
    pub fn client(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("ASHORE_SOCKET", self.socket()).stdin(Stdio::null());
        command
    }

    /// Runs a client command, as a user would type it.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Ran> {
        Ran::of(self.client().args(arguments))
    }

    /// Kills the daemon (`SIGKILL`), as a crash would.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Asks the daemon to stop (`SIGTERM`), as the init system does.
    pub fn terminate(&self) -> io::Result<()> {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        Ok(nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?)
    }

    /// Waits at most `most` until the daemon has ended by itself. Returns whether it has.
    pub fn ended_within(&mut self, most: Duration) -> io::Result<bool> {
        let end = Instant::now() + most;
        loop {
            if self.child.try_wait()?.is_some() {
                return Ok(true);
            }
            if Instant::now() > end {
                return Ok(false);
            }
            sleep(Duration::from_millis(2));
        }
    }
}

/// A command that becomes the program in Podman's world, where a file is the kernel's id of the boot: the kernel of the
/// lab never boots. Podman, which has seen the true one, does not see the file, and the program sees all mounts of
/// Podman's.
fn booted(program: &Path, podman: &Podman, boot: &Path) -> Command {
    let mut command = podman.command("busybox");
    command.args(["unshare", "--mount", "--propagation", "slave", "busybox", "sh", "-ec"]);
    command.arg("busybox mount --bind \"$0\" /proc/sys/kernel/random/boot_id; exec \"$@\"");
    command.arg(boot).arg(program);
    command
}

/// Adds the arguments of a daemon that keeps its files in one directory.
fn in_directory(command: &mut Command, directory: &Path) {
    command.args(["daemon", "--state"]).arg(directory.join("state")).arg("--run").arg(directory);
    command.arg("--docker-plugin").arg(directory.join("plugins/ashore.sock"));
}

/// Adds the arguments of a daemon that reads where a Podman keeps its networks, and does so often.
fn beside_podman(command: &mut Command, podman: &Podman) {
    command.arg("--podman-networks").arg(podman.at(NETWORKS));
    command.args(["--reconcile", "1", "--users-socket"]).arg(podman.at(USERS));
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            crate::show_end_of("the daemon's log", &self.log());
        }
    }
}
