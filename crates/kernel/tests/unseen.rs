//! A look at who holds namespaces must not take what it cannot see for nothing. These tests are separate from
//! those whose looks must be complete.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ashore_kernel::{Holders, Kernel, Lives, Namespace};

/// A process that is killed at the end of the test at the latest.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Runs a program as an ordinary user who has created namespaces. Returns once the program says that it
    /// is ready. Returns `None` if it does not.
    fn of_user(program: &[&str]) -> Option<Process> {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "--net"]).args(program);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = Process(child);
        let is_ready = line == "ready\n";
        if !is_ready {
            eprintln!("cannot-run: namespaces of a user: {line:?}");
        }
        is_ready.then_some(process)
    }
}

/// Runs the tests one after another, because each sees the processes of all others.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `open_tree(2)` with `OPEN_TREE_CLONE`, `AT_RECURSIVE` and `OPEN_TREE_CLOEXEC`. Then either the
/// process's working directory is in the tree, or the process keeps the tree open.
const TREE: &str = r#"
    $| = 1;
    system("mount -t tmpfs in /tmp && mkdir /tmp/m && mount --bind /tmp/m /tmp/m && touch /tmp/m/ns") == 0 or die;
    system("mount --bind /proc/self/ns/net /tmp/m/ns") == 0 or die;
    my $path = "/tmp/m";
    my $tree = syscall(428, -100, $path, 1 | 0x8000 | 02000000);
    $tree >= 0 or die "open_tree: $!";
    system("umount -l /tmp") == 0 or die;
    if ($ARGV[0] eq "inside") { syscall(81, $tree) == 0 or die; syscall(3, $tree) }
    print "ready\n";
    sleep 600;
"#;

#[test]
fn a_tree_of_mounts_that_is_nowhere() {
    let _alone = alone();
    assert_eq!(Holders::look().unseen(), None);
    // The script uses the numbers of fchdir(2) and close(2) on x86-64.
    let ways = if cfg!(target_arch = "x86_64") { &["open", "inside"][..] } else { &["open"] };
    for how in ways {
        let Some(process) = Process::of_user(&["perl", "-e", TREE, how]) else { return };
        let holders = Holders::look();
        let unseen = holders.unseen().unwrap_or_default();
        assert!(unseen.contains("a mount that no process shows"), "{how}: {unseen}");
        drop(process);
        assert_eq!(Holders::look().unseen(), None, "{how}");
    }
}

#[test]
fn more_mounts_of_namespaces_than_are_followed() {
    let _alone = alone();
    let script = "mount -t tmpfs in /tmp; touch /tmp/ns; mount --bind /proc/self/ns/net /tmp/ns; \
                  for n in $(seq $0); do touch /tmp/$n; mount --bind /tmp/ns /tmp/$n; done; echo ready; exec sleep 600";
    for (count, is_whole) in [("100", true), ("300", false)] {
        let Some(_process) = Process::of_user(&["sh", "-ec", script, count]) else { return };
        let holders = Holders::look();
        let unseen = holders.unseen();
        assert_eq!(unseen.is_none(), is_whole, "{unseen:?}");
        assert!(is_whole || unseen.is_some_and(|why| why.contains("too many mounts")), "{unseen:?}");
    }
}

#[test]
fn the_kernel_knows_whether_anybody_holds_a_namespace() {
    let _alone = alone();
    let host = Namespace::new().unwrap();
    let kernel = Kernel::of(&host).unwrap();
    let namespace = Namespace::new().unwrap();
    let netns = kernel.identify(&namespace).unwrap();
    assert_eq!(kernel.lives(&netns), Lives::Yes);
    // Only a socket is left, which no look finds.
    let socket = namespace.run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    drop(namespace);
    assert!(Holders::look().paths_of(&netns).next().is_none());
    assert_eq!(kernel.lives(&netns), Lives::Yes);
    // A later instance knows it too, as long as the namespace exists.
    let later = Kernel::of(&host).unwrap();
    assert_eq!(later.lives(&netns), Lives::Yes);
    drop(socket);
    let end = Instant::now() + Duration::from_secs(30);
    while kernel.lives(&netns) != Lives::No {
        assert!(Instant::now() < end, "{:?}", kernel.lives(&netns));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(later.lives(&netns), Lives::Untold, "it may never have had an nsid");
}
