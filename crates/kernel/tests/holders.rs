//! Who holds a namespace is found, whatever it is.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ashore_core::link::Netns;
use ashore_kernel::{Holders, InNamespace, Namespace};

/// A process that holds something until it is dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a shell's script, and returns once it has said something.
fn holder(command: &mut Command) -> Holder {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    Holder(child)
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("{script}; echo ready; exec sleep 600")]);
    command
}

/// Waits until a path is the first by which a namespace is found, and leads there: what another test begins has this
/// process's files for a moment.
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

/// Waits until nobody holds it: what another test begins has this process's files for a moment.
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
    // A thread that is inside for a moment neither.
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
        return eprintln!("cannot-run: a thread: this perl has none");
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
    let namespace = Namespace::new().unwrap().bind(&path).unwrap();
    let netns = namespace.identity();
    drop(namespace);
    is_found_by(&netns, &path);

    let mut command = Command::new("unshare");
    let process = holder(command.args(["--mount", "sh", "-ec", "echo ready; exec sleep 600"]));
    // To remove the file would end that mount as well.
    assert!(Command::new("umount").arg(&path).status().unwrap().success());
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
    // Each process lives for a moment, and leaves the namespace to the next.
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
