//! A real Docker engine on a machine of the lab. It has its own mount and PID namespaces: nothing else sees
//! its plugins, sockets and containers, and they all end together.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::engines::Engines;
use crate::ran::Ran;
use crate::world::{Machine, WorldError};

/// How long the engine may take until its first answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// The last words of a dockerd that has waited 15 s for its containerd, which takes longer on a very busy machine.
const IMPATIENT: &str = "timeout waiting for containerd to start\n";

/// A running engine. Dropping it kills the engine with all its containers.
pub struct Docker {
    /// Keeps the namespaces open.
    holder: Child,
    /// The first process in the holder's PID namespace, by its PID in this process's namespace.
    inside: u32,
    dockerd: Option<Child>,
    directory: PathBuf,
}

/// The holder's script. It makes the tree the root, with the kernel's filesystems and the test's directory in
/// it, and with the plugins where the engine looks for them. A chroot would not do: whatever enters a
/// container enters its mount namespace, and gets the real root there. Mounts are shared, as init systems set
/// them up, and /etc has the two files that the engine passes to managed plugins. The shell stays and reaps
/// processes. If nobody reaped a dead containerd, a restarted dockerd would take it for a running one.
const HOLD: &str = r#"
    touch "$1/etc/hosts" "$1/etc/resolv.conf"
    mount --bind "$1" "$1"
    for kernels in proc sys dev; do mount --rbind /$kernels "$1/$kernels"; done
    mount -t tmpfs tmpfs "$1/run"
    mount -t tmpfs tmpfs "$1/tmp"
    mkdir -p "$1$2" "$1/run/docker/plugins" "$1/tmp/before"
    mount --bind "$2" "$1$2"
    mount --bind "$2/plugins" "$1/run/docker/plugins"
    cd "$1"
    pivot_root . tmp/before
    exec busybox chroot . busybox sh -ec '
        busybox umount -l /tmp/before
        busybox mount --make-rshared /
        echo ready
        busybox sleep infinity & wait'
"#;

impl Docker {
    /// Starts the engine of a Debian release on a machine. It looks for plugins in `directory/plugins`. It
    /// has the image `box`, which is a busybox.
    pub fn start(
        engines: &Engines,
        suite: &str,
        machine: &Machine,
        directory: &Path,
    ) -> Result<Self, WorldError> {
        Self::start_with(engines, suite, machine, directory, &[])
    }

    /// Starts the engine with options in addition to the lab's own, which come first.
    pub fn start_with(
        engines: &Engines,
        suite: &str,
        machine: &Machine,
        directory: &Path,
        options: &[&str],
    ) -> Result<Self, WorldError> {
        let mut docker = Docker::at_rest(engines, suite, directory)?;
        docker.start_dockerd_with(machine, options)?;
        import_box(docker.client(), engines, &docker.directory)?;
        Ok(docker)
    }

    /// Sets up the filesystem and the PID namespace of an engine without starting it. The engine's earlier
    /// data in `directory` is kept.
    pub fn at_rest(engines: &Engines, suite: &str, directory: &Path) -> Result<Self, WorldError> {
        std::fs::create_dir_all(directory.join("plugins"))?;
        let tree = engines.tree(suite);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-ec", HOLD]);
        command.arg("sh").args([&tree, directory]).stdin(Stdio::null()).stdout(Stdio::piped());
        ashore_kernel::kill_with_parent(&mut command);
        let mut holder = command.spawn()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("stdout is piped")).read_line(&mut line)?;
        if line.trim() != "ready" {
            let _ = holder.wait();
            return Err(io::Error::other("cannot create namespaces for the engine; is this root?").into());
        }
        let inside = only_child(holder.id())?;
        let directory = directory.to_owned();
        Ok(Docker { holder, inside, dockerd: None, directory })
    }

    /// Starts dockerd. It must not be running.
    pub fn start_dockerd(&mut self, machine: &Machine) -> Result<(), WorldError> {
        self.start_dockerd_with(machine, &[])
    }

    /// Starts dockerd with options in addition to the lab's own.
    pub fn start_dockerd_with(&mut self, machine: &Machine, options: &[&str]) -> Result<(), WorldError> {
        let end = Instant::now() + PATIENCE;
        let mut dockerd = self.spawn_dockerd(machine, options)?;
        // Run the docker command only once the socket accepts connections, because each run starts a large
        // program.
        while UnixStream::connect(self.socket()).is_err() || self.run(&["version"])?.code != Some(0) {
            let has_ended = dockerd.try_wait()?.is_some();
            let log = self.log();
            if has_ended && log.ends_with(IMPATIENT) && Instant::now() < end {
                dockerd = self.spawn_dockerd(machine, options)?;
            } else if has_ended || Instant::now() > end {
                return Err(io::Error::other(format!("dockerd does not answer: {log}")).into());
            }
            sleep(Duration::from_millis(50));
        }
        self.dockerd = Some(dockerd);
        Ok(())
    }

    fn spawn_dockerd(&self, machine: &Machine, options: &[&str]) -> Result<Child, WorldError> {
        let log =
            std::fs::File::options().create(true).append(true).open(self.directory.join("dockerd.log"))?;
        let mut command = machine.command("nsenter")?;
        self.enter(&mut command).arg("dockerd");
        command.arg("--data-root").arg(self.directory.join("data"));
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        // Where a managed plugin looks for it.
        command.args(["--host", "unix:///run/docker.sock"]);
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]);
        command.args(options).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command.spawn()?)
    }

    /// Adds the arguments that make `nsenter` enter the engine's namespaces.
    fn enter<'a>(&self, nsenter: &'a mut Command) -> &'a mut Command {
        nsenter.args(["--mount", "--pid", "--target", &self.inside.to_string(), "--"]).current_dir("/");
        nsenter.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", &self.directory)
    }

    /// The engine's API socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// The engine's root directory as this process sees it. A daemon outside needs it to find a sandbox.
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.inside).into()
    }

    /// What the engine has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("dockerd.log")).unwrap_or_default()
    }

    /// A command from the engine's tree that runs in the engine's namespaces.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        self.enter(&mut command).arg(program);
        command
    }

    /// The same in a machine's network.
    pub fn command_on(&self, machine: &Machine, program: &str) -> Result<Command, WorldError> {
        let mut command = machine.command("nsenter")?;
        self.enter(&mut command).arg(program);
        Ok(command)
    }

    /// Runs `docker …`.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Ran> {
        let mut command = self.client();
        Ran::of(command.args(arguments).stdin(Stdio::null()))
    }

    /// Runs `docker-compose …` of the engine's release. The files must be in the directory that the engine
    /// was started with.
    pub fn compose(&self, files: &[&Path], arguments: &[&str]) -> io::Result<Ran> {
        let mut command = Command::new("nsenter");
        self.enter(&mut command).arg("docker-compose");
        for file in files {
            command.arg("--file").arg(file);
        }
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        Ran::of(command.args(arguments).stdin(Stdio::null()))
    }

    /// Starts `docker …`. The caller waits for it.
    pub fn begin(&self, arguments: &[&str]) -> io::Result<Child> {
        let mut command = self.client();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    fn client(&self) -> Command {
        let mut command = self.command("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command
    }

    /// Kills dockerd (`SIGKILL`). Its containers keep running.
    pub fn kill_dockerd(&mut self) -> io::Result<()> {
        self.end_dockerd(Signal::SIGKILL)
    }

    /// Stops dockerd (`SIGTERM`) as the init system does. Its containers stop too.
    pub fn stop_dockerd(&mut self) -> io::Result<()> {
        self.end_dockerd(Signal::SIGTERM)
    }

    fn end_dockerd(&mut self, signal: Signal) -> io::Result<()> {
        self.signal(signal)?;
        if let Some(mut nsenter) = self.dockerd.take() {
            nsenter.wait()?;
        }
        Ok(())
    }

    /// Kills what is left of a container that the engine believes stopped, and waits until it is gone. An
    /// engine that was killed while it started the container does not know about it. Returns whether anything
    /// was left.
    pub fn kill_leftover(&self, id: &str) -> io::Result<bool> {
        let Some(shim) = shim_of(id)? else { return Ok(false) };
        let left = || children(shim).unwrap_or_default();
        let (found, end) = (!left().is_empty(), Instant::now() + PATIENCE);
        while !left().is_empty() && Instant::now() < end {
            for process in left() {
                let _ = kill(Pid::from_raw(process.cast_signed()), Signal::SIGKILL);
            }
            sleep(Duration::from_millis(50));
        }
        Ok(found)
    }

    /// Suspends dockerd, or resumes it.
    pub fn stand_still(&self, still: bool) -> io::Result<()> {
        let Some(nsenter) = &self.dockerd else { return Ok(()) };
        if !still {
            return Ok(kill(Pid::from_raw(nsenter.id().cast_signed()), Signal::SIGCONT)?);
        }
        self.signal(Signal::SIGSTOP)?;
        // nsenter stops itself once it has seen its child stop, and it continues its child when it continues.
        // If it were continued before that, it would later stop for good.
        let end = Instant::now() + PATIENCE;
        while !stands_still(nsenter.id())? && Instant::now() < end {
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Sends a signal to dockerd. nsenter waits for dockerd, which is its child in the other PID namespace.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(nsenter) = &self.dockerd else { return Ok(()) };
        Ok(kill(Pid::from_raw(only_child(nsenter.id())?.cast_signed()), signal)?)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        if let Some(mut nsenter) = self.dockerd.take() {
            // A stopped nsenter would not notice that dockerd has ended.
            let _ = nsenter.kill();
            let _ = nsenter.wait();
        }
        if std::thread::panicking() {
            crate::show_end_of("dockerd's log", &self.log());
        }
    }
}

/// Imports the image `box` into an engine: a static busybox and nothing else. `docker` is the command that
/// reaches the engine.
pub(crate) fn import_box(mut docker: Command, engines: &Engines, directory: &Path) -> io::Result<()> {
    let tree = make_box(engines, directory)?;
    let archive = Command::new("tar").arg("-C").arg(&tree).args(["-c", "."]).output()?;
    docker.args(["import", "-", "box"]);
    let mut import = docker.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let sent = import.stdin.take().expect("stdin is piped").write_all(&archive.stdout);
    let import = Ran::of_output(import.wait_with_output()?);
    if import.code == Some(0) {
        sent
    } else {
        Err(io::Error::other(format!("the engine cannot import the image: {}", import.stderr)))
    }
}

/// Makes the tree of the image `box` as `directory/box`, and returns its path.
pub(crate) fn make_box(engines: &Engines, directory: &Path) -> io::Result<PathBuf> {
    let tree = directory.join("box");
    let bin = tree.join("bin");
    std::fs::create_dir_all(&bin)?;
    std::fs::copy(engines.path("usr/bin/busybox"), bin.join("busybox"))?;
    for name in ["sh", "sleep", "ip", "ping", "nc", "cat", "ls"] {
        std::os::unix::fs::symlink("busybox", bin.join(name))?;
    }
    Ok(tree)
}

/// The first child of a process.
pub(crate) fn only_child(parent: u32) -> io::Result<u32> {
    children(parent)?.first().copied().ok_or_else(|| io::Error::other("the process has not started"))
}

fn children(parent: u32) -> io::Result<Vec<u32>> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    Ok(children.split_whitespace().filter_map(|child| child.parse().ok()).collect())
}

/// The containerd shim of a container.
fn shim_of(id: &str) -> io::Result<Option<u32>> {
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let is_shim = words[0].windows(15).any(|part| part == b"containerd-shim");
        if is_shim && words.contains(&id.as_bytes()) {
            return Ok(Some(process));
        }
    }
    Ok(None)
}

fn stands_still(process: u32) -> io::Result<bool> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    Ok(status.lines().any(|line| line.starts_with("State:\tT")))
}
