//! One boot of the virtual machine. It runs a script and returns the script's output and status.
//!
//! The virtual machine consists of two processes: qemu, and virtiofsd, which provides this machine's tree.
//! Both die with the thread that starts them. The virtual machine has no network card.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ashore_kernel::kill_with_parent;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::initramfs;
use crate::packages;

/// Dockerd and its containers need this much.
const MEMORY: &str = "1536M";
const CORES: &str = "2";

/// The kernel command line. Without address randomisation a program starts four times as fast under
/// emulation. Expedited grace periods halve the time that it takes to delete a link.
const KERNEL_OPTIONS: &str = "console=ttyS0 quiet panic=-1 nokaslr norandmaps mitigations=off random.trust_cpu=on \
     cryptomgr.notests rcupdate.rcu_expedited=1 bonding.max_bonds=0 dummy.numdummies=0 mac80211_hwsim.radios=0";

/// How long virtiofsd may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// The unpacked packages of the virtual machine.
pub(crate) struct VirtualMachine {
    directory: PathBuf,
    /// The directory of the kernel's modules.
    modules: PathBuf,
}

impl VirtualMachine {
    /// Fetches the packages of the virtual machine. Returns the reason if this is not possible.
    pub(crate) fn fetch(root: &Path) -> Result<Self, String> {
        let directory = packages::fetch_vm(root)?;
        Self::of(directory).map_err(|error| format!("{error:#}"))
    }

    fn of(directory: PathBuf) -> anyhow::Result<Self> {
        let modules = only_entry(&directory.join("root/lib/modules"))?;
        Ok(VirtualMachine { directory, modules })
    }

    fn tree(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// A program of the tree, run with the tree's own loader and libraries.
    fn program(&self, path: &str) -> Command {
        let tree = self.tree();
        let libraries = ["lib", "usr/lib"].map(|lib| tree.join(lib).join("x86_64-linux-gnu"));
        // The tests in the virtual machine take longest, and an engine there waits 15 s at most for its containerd.
        // So it comes before the tests beside it. Without the right to that, it runs like them.
        let mut command = Command::new("nice");
        command.args(["-n", "-10"]).arg(tree.join("lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(std::env::join_paths(libraries).expect("no colon in its name"));
        command.arg(tree.join(path));
        kill_with_parent(&mut command);
        command
    }

    /// Boots, runs a shell script as root in this machine's tree, and returns its exit status. Everything
    /// that the script writes is discarded. Each line that it prints is passed to `heard` immediately.
    pub(crate) fn run(
        &self,
        script: &str,
        patience: Duration,
        heard: &mut dyn FnMut(&str),
    ) -> anyhow::Result<u8> {
        let boot = Boot::new(&self.directory, script)?;
        initramfs::make(&self.tree(), &self.modules, &boot.file("initramfs")).context("the initramfs")?;
        let _files = self.share_files(&boot)?;
        let mut qemu = Running(self.qemu(&boot)?.spawn().context("qemu")?);
        let output = qemu.0.stdout.take().expect("stdout is piped");
        let (ended, watched) = channel::<()>();
        let pid = Pid::from_raw(qemu.0.id().cast_signed());
        let watchdog = std::thread::spawn(move || {
            let late = watched.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
            late && kill(pid, Signal::SIGKILL).is_ok()
        });
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line)? > 0 {
            heard(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
            line.clear();
        }
        drop(ended);
        let late = watchdog.join().expect("the watchdog does not panic");
        qemu.0.wait()?;
        if late {
            bail!("the virtual machine did not end within {} s\n{}", patience.as_secs(), boot.last_words());
        }
        let status = fs::read_to_string(boot.file("status")).unwrap_or_default();
        match status.trim().parse() {
            Ok(status) => Ok(status),
            Err(_) => bail!("the virtual machine ended before its script did\n{}", boot.last_words()),
        }
    }

    /// Starts virtiofsd.
    fn share_files(&self, boot: &Boot) -> anyhow::Result<Running> {
        let socket = boot.file("files.sock");
        let mut command = self.program("usr/lib/qemu/virtiofsd");
        command.arg(format!("--socket-path={}", socket.display()));
        command.args(["-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"]);
        let log = boot.log("virtiofsd")?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut files = Running(command.spawn().context("virtiofsd")?);
        let end = Instant::now() + PATIENCE;
        while !socket.exists() {
            if files.0.try_wait()?.is_some() || Instant::now() > end {
                bail!("virtiofsd does not listen\n{}", boot.last_words());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(files)
    }

    fn qemu(&self, boot: &Boot) -> anyhow::Result<Command> {
        let tree = self.tree();
        let mut command = self.program("usr/bin/qemu-system-x86_64");
        command.env("QEMU_MODULE_DIR", tree.join("usr/lib/x86_64-linux-gnu/qemu"));
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(tree.join(data));
        }
        command.args(["-accel", "tcg,thread=multi", "-machine", "q35,usb=off,vmport=off"]);
        command.args(["-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand", "-smp", CORES, "-m", MEMORY]);
        command.args(["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-net", "none"]);
        command.arg("-object").arg(format!("memory-backend-memfd,id=memory,size={MEMORY},share=on"));
        command.args(["-numa", "node,memdev=memory"]);
        command.arg("-chardev").arg(format!("socket,id=files,path={}", boot.file("files.sock").display()));
        command.args(["-device", "vhost-user-fs-pci,chardev=files,tag=machine"]);
        let lines = [
            format!("file,id=console,path={}", boot.file("console").display()),
            "stdio,id=output,signal=off".to_owned(),
            format!("file,id=status,path={}", boot.file("status").display()),
        ];
        for (line, name) in lines.iter().zip(["console", "output", "status"]) {
            command.arg("-chardev").arg(line).arg("-device").arg(format!("isa-serial,chardev={name}"));
        }
        let release = self.modules.file_name().unwrap_or_default().to_string_lossy();
        command.arg("-kernel").arg(tree.join(format!("boot/vmlinuz-{release}")));
        command.arg("-initrd").arg(boot.file("initramfs")).arg("-append").arg(format!(
            "{KERNEL_OPTIONS} ashore_job=\"{}\" ashore_modules=\"{}\"",
            boot.file("job").display(),
            self.modules.parent().unwrap_or(&self.modules).display()
        ));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(boot.log("qemu")?);
        Ok(command)
    }
}

/// A process that is killed when this value is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The directory with the files of one boot. It is deleted when this value is dropped.
struct Boot(PathBuf);

impl Boot {
    fn new(beside: &Path, script: &str) -> anyhow::Result<Self> {
        let boot = Boot(beside.join(format!("boot-{}", std::process::id())));
        fs::create_dir_all(&boot.0)?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
        let environment = format!("export PATH={}:/usr/sbin:/sbin HOME={}", quoted(&path), quoted(&home));
        fs::write(boot.file("job"), format!("{environment}\n{script}\n"))?;
        Ok(boot)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn log(&self, program: &str) -> anyhow::Result<File> {
        Ok(File::create(self.file(&format!("{program}.log")))?)
    }

    /// The last lines of the logs that may explain why the virtual machine ended.
    fn last_words(&self) -> String {
        let mut words = Vec::new();
        for file in ["virtiofsd.log", "qemu.log", "console"] {
            let text = fs::read(self.file(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(30)..] {
                words.push(format!("{file}: {}", line.trim_end()));
            }
        }
        words.join("\n")
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A command with its directory and environment, quoted for a shell.
pub(crate) fn shell_line(command: &Command) -> String {
    let mut words = vec!["env".to_owned()];
    if let Some(directory) = command.get_current_dir() {
        words.push(format!("--chdir={}", quoted(directory.as_os_str())));
    }
    for (name, value) in command.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        words.push(format!("{}={}", name.to_string_lossy(), quoted(value)));
    }
    words.extend([command.get_program()].into_iter().chain(command.get_args()).map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))
}

fn only_entry(directory: &Path) -> anyhow::Result<PathBuf> {
    let mut entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let entry = entries.next().with_context(|| format!("{} is empty", directory.display()))?;
    Ok(entry?.path())
}
