//! Every kind of holder of a namespace is found.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use ashore_core::net::link::Netns;
use ashore_kernel::{Holders, InNamespace, Namespace, NamespaceError};
use nix::libc;
use nix::sys::stat::Mode;

/// A process that holds something until this value is dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command and returns once it has printed `ready`.
fn holder(command: &mut Command) -> Holder {
    started(command).expect("the command ended")
}

/// The same, but returns `None` if the command ends first.
fn started(command: &mut Command) -> Option<Holder> {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let holder = Holder(child);
    (line == "ready\n").then_some(holder)
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("{script}; echo ready; exec sleep 600")]);
    command
}

/// Serialises tests with mounts: the new mount namespace of one test must not inherit another test's mounts.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until a path is the first one found for a namespace, and checks that it leads there. It may take a
/// moment, because processes that other tests start have this process's files for a short time.
#[track_caller]
fn is_found_by(netns: &Netns, path: &Path) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let holders = Holders::look();
        assert_eq!(holders.unseen(), None);
        let found = holders.paths_of(netns).next().map(Path::to_owned);
        if found.as_deref() == Some(path) {
            break;
        }
        assert!(Instant::now() < end, "{found:?} and not {}", path.display());
    }
    assert_eq!(Namespace::open(path).unwrap().identity(), *netns, "{}", path.display());
}

/// Waits until nothing holds a namespace. Processes that other tests start have this process's files for a
/// short time.
#[track_caller]
fn nobody_holds(netns: &Netns) {
    let end = Instant::now() + Duration::from_secs(30);
    while let Some(path) = Holders::look().paths_of(netns).next() {
        assert!(Instant::now() < end, "{}", path.display());
    }
}

#[test]
fn nobody_is_found_where_nobody_holds_it_and_this_process_does_not_count() {
    let namespace = Namespace::new().unwrap();
    nobody_holds(&namespace.identity());
    // A thread that is inside for a moment does not count either.
    namespace.run(|| nobody_holds(&namespace.identity())).unwrap();
}

#[test]
fn a_process() {
    let namespace = Namespace::new().unwrap();
    let (netns, mut command) = (namespace.identity(), shell("true"));
    let process = holder(command.in_namespace(&namespace).unwrap());
    drop(namespace);
    is_found_by(&netns, Path::new(&format!("/proc/{}/ns/net", process.0.id())));
    drop(process);
    nobody_holds(&netns);
}

#[test]
fn a_thread_that_is_where_its_process_is_not() {
    let script = "use threads; threads->create(sub { syscall(272, 0x40000000) == 0 or die $!; $| = 1; \
                  print readlink('/proc/thread-self/ns/net'), qq(\\n); sleep 600 })->join";
    let mut perl = Command::new("perl");
    let mut child = perl.args(["-e", script]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let process = Holder(child);
    let Some(ino) = line.trim().strip_prefix("net:[").and_then(|rest| rest.strip_suffix(']')) else {
        return eprintln!("cannot-run: a thread: this perl has no threads");
    };
    let netns = Netns { ino: ino.parse().unwrap(), ..Namespace::current().unwrap().identity() };
    let holders = Holders::look();
    let path = holders.paths_of(&netns).next().unwrap();
    assert!(path.starts_with(format!("/proc/{}/task", process.0.id())), "{}", path.display());
}

#[test]
fn an_open_file() {
    let namespace = Namespace::new().unwrap();
    let netns = namespace.identity();
    let mut command = shell("true");
    command.stdin(File::open(namespace.path()).unwrap());
    let process = holder(&mut command);
    drop((namespace, command));
    is_found_by(&netns, Path::new(&format!("/proc/{}/fd/0", process.0.id())));
}

/// A runtime of many threads closes what it has opened for a moment, and so for all of them.
#[test]
fn the_threads_of_a_process_leave_room_for_other_processes() {
    let namespace = Namespace::new().unwrap();
    let netns = namespace.identity();
    let file = || File::open(namespace.path()).unwrap();
    let script =
        "use threads; threads->create(sub { sleep 600 }) for 1..8; $| = 1; print qq(ready\n); sleep 600";
    let mut perl = Command::new("perl");
    let Some(threads) = started(perl.args(["-e", script]).stdin(file()).stderr(Stdio::null())) else {
        return eprintln!("cannot-run: threads that leave room: this perl has none");
    };
    let mut other = shell("true");
    let other = holder(other.stdin(file()));
    let holders = Holders::look();
    for process in [&threads, &other] {
        let path = format!("/proc/{}/fd/0", process.0.id());
        assert!(holders.paths_of(&netns).any(|there| there == Path::new(&path)), "{path}: {holders:?}");
    }
}

#[test]
fn a_file_that_was_opened_by_a_mount_which_is_no_more() {
    let path = std::env::temp_dir().join(format!("ashore opened {}", std::process::id()));
    let namespace = Namespace::new().unwrap().bind(&path).unwrap();
    let netns = namespace.identity();
    let mut command = shell("true");
    command.stdin(File::open(&path).unwrap());
    let process = holder(&mut command);
    drop((namespace, command));
    Namespace::unbind(&path).unwrap();
    is_found_by(&netns, Path::new(&format!("/proc/{}/fd/0", process.0.id())));
}

#[test]
fn a_mount_here_and_one_that_another_process_alone_sees() {
    let path = std::env::temp_dir().join(format!("ashore holders {}", std::process::id()));
    let alone = alone();
    let namespace = Namespace::new().unwrap().bind(&path).unwrap();
    let netns = namespace.identity();
    drop(namespace);
    is_found_by(&netns, &path);

    let mut command = Command::new("unshare");
    let process = holder(command.args(["--mount", "sh", "-ec", "echo ready; exec sleep 600"]));
    // Removing the file would end that mount as well.
    assert!(Command::new("umount").arg(&path).status().unwrap().success());
    drop(alone);
    is_found_by(
        &netns,
        &Path::new(&format!("/proc/{}/root", process.0.id())).join(path.strip_prefix("/").unwrap()),
    );
    drop(process);
    nobody_holds(&netns);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_comes_while_it_is_looked_is_looked_at_too() {
    let namespace = Namespace::new().unwrap();
    let netns = namespace.identity();
    // Each process lives for a moment and passes the namespace on to the next.
    let mut relay = Command::new("sh");
    relay.args(["-c", "relay() { sleep 0.01; (relay) & exit; }; (relay) & echo ready"]).process_group(0);
    let process = holder(relay.in_namespace(&namespace).unwrap());
    let group = process.0.id();
    drop((namespace, process));
    for _ in 0..20 {
        let holders = Holders::look();
        assert!(holders.paths_of(&netns).next().is_some() || holders.unseen().is_some());
    }
    Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status().unwrap();
}

#[test]
fn how_long_it_takes() {
    let children: Vec<Holder> = (0..200).map(|_| holder(&mut shell("true"))).collect();
    let begun = Instant::now();
    Holders::look();
    eprintln!("{} processes: {:?}", children.len(), begun.elapsed());
}

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ashore {name} {}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    /// Creates a namespace that only one mount holds, in a directory that only the holder's mounts show. The
    /// holder's script gets the directory as its argument.
    fn bound_for(&self, script: &str) -> (Netns, Holder, PathBuf) {
        std::fs::create_dir(self.0.join("in")).unwrap();
        let path = self.0.join("in/ns");
        let _alone = alone();
        let netns = Namespace::new().unwrap().bind(&path).unwrap().identity();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", script, "sh"]).arg(&self.0).stdin(Stdio::piped());
        let process = holder(&mut command);
        // Removing the file would end that mount as well.
        assert!(Command::new("umount").arg(&path).status().unwrap().success());
        let path = root_of(&process).join(path.strip_prefix("/").unwrap());
        (netns, process, path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn root_of(process: &Holder) -> PathBuf {
    format!("/proc/{}/root", process.0.id()).into()
}

/// A named pipe, and a process that waits for it to be opened.
struct Pipe {
    path: PathBuf,
    waits: Holder,
}

impl Pipe {
    fn new(directory: &Directory) -> Self {
        let path = directory.0.join("pipe");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut command = Command::new("sh");
        let waits = holder(command.args(["-c", "echo ready; : > \"$0\""]).arg(&path));
        Pipe { path, waits }
    }

    #[track_caller]
    fn was_not_opened(mut self) {
        std::thread::sleep(Duration::from_millis(300));
        assert!(self.waits.0.try_wait().unwrap().is_none(), "the pipe was opened");
        // This shows that opening the pipe would have been noticed.
        drop(File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path));
        assert!(self.waits.0.wait().is_ok());
    }
}

/// Runs something that must not block. Whatever makes it block ends with its holder.
#[track_caller]
fn at_once<T: Send + 'static>(does: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || done.send(does()));
    is_done.recv_timeout(Duration::from_secs(20)).expect("the call blocks")
}

/// Mounts a filesystem of another user, whose server never answers, on a directory. Only what the kernel
/// itself knows about it can be found out.
const SILENT: &str = "silent() { exec 3<>/dev/fuse; \
    mount -i -t fuse -o \"fd=3,rootmode=40000,user_id=65534,group_id=65534$2\" silent \"$1\"; }";

fn has_fuse() -> bool {
    let has = File::options().read(true).write(true).open("/dev/fuse").is_ok();
    if !has {
        eprintln!("cannot-run: a filesystem of another user: there is no /dev/fuse here");
    }
    has
}

#[test]
fn another_users_filesystem_hides_nothing_and_nobody_waits_for_it() {
    if !has_fuse() {
        return;
    }
    for options in ["", ",allow_other"] {
        let directory = Directory::new("users");
        // The filesystem is the root of a process, and a process has it open.
        let script =
            format!("{SILENT}; silent \"$1\" '{options}'; pivot_root \"$1\" \"$1\"; echo ready; read _");
        let (netns, process, path) = directory.bound_for(&script);
        let open = File::options().read(true).custom_flags(libc::O_PATH).open(root_of(&process)).unwrap();
        let reader = holder(shell("true").stdin(open));
        let holders = at_once(Holders::look);
        assert_eq!(holders.unseen(), None, "{options}");
        assert_eq!(holders.paths_of(&netns).collect::<Vec<_>>(), [&path], "{options}");
        let file = PathBuf::from(format!("/proc/{}/fd/0", reader.0.id()));
        let opened = at_once(move || (Namespace::open(&path).err(), Namespace::open(&file).err()));
        assert!(matches!(opened, (Some(_), Some(NamespaceError::Other(_)))), "{options}: {opened:?}");
    }
}

#[test]
fn nobody_waits_for_a_filesystem_that_covers_a_mount() {
    if !has_fuse() {
        return;
    }
    let directory = Directory::new("silence");
    let script = format!("{SILENT}; silent \"$1/in\" ,allow_other; echo ready; read _");
    let (netns, _process, path) = directory.bound_for(&script);
    let holders = at_once(Holders::look);
    assert_eq!(holders.unseen(), None);
    assert_eq!(holders.paths_of(&netns).collect::<Vec<_>>(), [&path]);
    // The namespace may exist: the user who covered the mount can remove the cover.
    let opened = at_once(move || Namespace::open(&path).unwrap_err());
    assert!(matches!(opened, NamespaceError::System { .. }), "{opened}");
}

#[test]
fn nobody_waits_for_an_overlay_whose_filesystem_below_does_not_answer() {
    if !has_fuse() {
        return;
    }
    let directory = Directory::new("overlay");
    let mut command = Command::new("unshare");
    command.args(["--mount", "perl", "-e", include_str!("silent.pl")]).arg(&directory.0);
    let Some(process) = started(&mut command) else {
        return eprintln!("cannot-run: an overlay on FUSE: this kernel does not mount it");
    };
    let over = root_of(&process).join(directory.0.join("over").strip_prefix("/").unwrap());
    let link = directory.0.join("link");
    symlink(over.join("x"), &link).unwrap();
    let relative = directory.0.join("relative");
    symlink(Path::new("link/../x"), &relative).unwrap();
    for path in [over.join("x"), over.join("x/ns"), over.join("../fuse/x"), link, relative] {
        let shown = path.display().to_string();
        let opened = at_once(move || Namespace::open(&path).unwrap_err());
        assert!(matches!(opened, NamespaceError::System { .. }), "{shown}: {opened}");
        assert!(opened.to_string().contains("may never answer"), "{shown}: {opened}");
    }
    // The kernel alone can tell that this is not a namespace.
    let opened = at_once(move || Namespace::open(&over).unwrap_err());
    assert!(matches!(opened, NamespaceError::Other(_)), "{opened}");
}

#[test]
fn what_covers_a_mount_leads_nowhere_else() {
    let directory = Directory::new("cover");
    let pipe = Pipe::new(&directory);
    let script =
        "mount -t tmpfs cover \"$1/in\"; ln -s \"$1/$(cat \"$1/to\")\" \"$1/in/ns\"; echo ready; read _";
    std::fs::write(directory.0.join("to"), "pipe").unwrap();
    let (netns, _process, path) = directory.bound_for(script);
    assert_eq!(Holders::look().paths_of(&netns).collect::<Vec<_>>(), [&path]);
    let opened = Namespace::open(&path).unwrap_err();
    assert!(matches!(opened, NamespaceError::Other(_)), "{opened}");
    pipe.was_not_opened();

    // It must not lead to another namespace either, which only the daemon would see there.
    let directory = Directory::new("lure");
    std::fs::write(directory.0.join("to"), "other").unwrap();
    let (_netns, _process, path) = directory.bound_for(script);
    let other = directory.0.join("other");
    drop(Namespace::new().unwrap().bind(&other).unwrap());
    let opened = Namespace::open(&path).unwrap_err();
    Namespace::unbind(&other).unwrap();
    assert!(matches!(opened, NamespaceError::Other(_)), "{opened}");
}

#[test]
fn what_is_no_namespace_is_not_opened() {
    let directory = Directory::new("others");
    let pipe = Pipe::new(&directory);
    let link = directory.0.join("link");
    symlink(&pipe.path, &link).unwrap();
    let unopened = File::options().read(true).custom_flags(libc::O_PATH).open(&pipe.path).unwrap();
    let reader = holder(shell("true").stdin(unopened));
    let descriptor = PathBuf::from(format!("/proc/{}/fd/0", reader.0.id()));
    for path in [&pipe.path, &link, &descriptor] {
        let opened = Namespace::open(path).unwrap_err();
        assert!(matches!(opened, NamespaceError::Other(_)), "{opened}");
    }
    pipe.was_not_opened();
}
