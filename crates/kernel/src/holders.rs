//! Which processes and mounts hold network namespaces: threads inside one, open files, and mounts, of all
//! processes that `/proc` shows.
//!
//! A namespace lives as long as one of these holds it, whatever happens to the path by which it was known. A
//! leftover socket of a namespace and a descriptor in transit between processes keep it alive too, and cannot
//! be seen from here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ashore_core::net::link::Netns;
use nix::libc;

use crate::held::Held;
use crate::mountinfo::{Filesystem, mounts, number};
use crate::nsfs;
use crate::walk::MOST_READ;

/// How many times a directory is listed at most. Later listings find processes that were started meanwhile,
/// which may hold what an ended process held.
const ROUNDS: usize = 20;
/// How many paths to one namespace are kept. Some of them may have disappeared by the time they are used.
const MOST_PATHS: usize = 4;
/// A look takes no longer than this. It usually takes milliseconds, but others decide how many threads, files
/// and mounts there are.
const LONGEST: Duration = Duration::from_secs(10);
/// How many bytes of `mountinfo` are read in total from mount namespaces that users created: some hundred
/// thousand mounts.
const MOST_OF_USERS: u64 = 32 * MOST_READ;
/// How many mounts of network namespaces are followed in those.
const MOST_MOUNTS_OF_USERS: usize = 256;
/// How many directories are checked a second time if their mount was not seen.
const MOST_STRANGE: usize = 16;
/// The inode number of the initial PID namespace (`PROC_PID_INIT_INO`, Linux 3.8).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
const CAP_SYS_PTRACE: u32 = 19;

/// The result of a look at all processes.
#[derive(Debug, Default)]
pub struct Holders {
    /// Paths that open a namespace, by its inode number, the most durable first.
    paths: BTreeMap<u64, BTreeSet<(Kind, PathBuf)>>,
    /// The inode numbers of the namespaces that processes are in.
    inhabited: BTreeSet<u64>,
    /// The first thing that could not be inspected.
    unseen: Option<String>,
    /// Whether there may be processes that `/proc` does not show.
    hidden: bool,
}

/// What holds a namespace, the most durable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Mount,
    Process,
    Thread,
    OpenFile,
    /// A mount that can be reached only through a process.
    MountElsewhere,
}

impl Holders {
    /// Looks at all processes except this one, and at the mounts that this one sees. For a few hundred
    /// processes this takes milliseconds.
    pub fn look() -> Self {
        let mut look = Look {
            end: Some(Instant::now() + LONGEST),
            readable: MOST_OF_USERS,
            user: fs::metadata("/proc/self/ns/user").map_or(0, |user| user.ino()),
            ..Look::default()
        };
        match nsfs::device() {
            Ok(device) => look.device = device,
            // Without the device, open files cannot be recognised as namespaces.
            Err(error) => look.could_not(Path::new("/proc/self/ns/net"), &io::Error::other(error)),
        }
        look.mounts(Path::new("/proc/self"), true);
        let own = std::process::id();
        let all = look.all_new(Path::new("/proc"), |look, process| {
            if process.file_name() != Some(OsStr::new(&own.to_string())) {
                look.process(process);
            }
        });
        if let Err(error) = all {
            look.could_not(Path::new("/proc"), &error);
        }
        look.strange_directories();
        Holders { hidden: may_hide(), ..look.holders }
    }

    /// Paths that opened a namespace a moment ago, the most durable first. They may no longer do so.
    pub fn paths_of(&self, netns: &Netns) -> impl Iterator<Item = &Path> {
        self.paths_to(netns.ino)
    }

    /// Whether a process is in a namespace. `None` if not all processes could be looked at.
    pub fn has_process_in(&self, netns: &Netns) -> Option<bool> {
        let is_in = self.inhabited.contains(&netns.ino);
        (is_in || self.unseen.is_none() && !self.hidden).then_some(is_in)
    }

    /// The same as [`Holders::paths_of`], for every namespace that is held, with its inode number.
    pub fn all(&self) -> impl Iterator<Item = (u64, impl Iterator<Item = &Path>)> {
        self.paths.keys().map(|ino| (*ino, self.paths_to(*ino)))
    }

    fn paths_to(&self, ino: u64) -> impl Iterator<Item = &Path> {
        self.paths.get(&ino).into_iter().flatten().map(|(_, path)| path.as_path())
    }

    /// Why a namespace may be held although no holder was found. Returns `None` if everything shown was
    /// inspected.
    pub fn unseen(&self) -> Option<&str> {
        self.unseen.as_deref()
    }

    /// Returns whether there may be processes that are not shown: this process is in a PID namespace of its
    /// own, or `/proc` hides processes from it.
    pub fn may_be_hidden(&self) -> bool {
        self.hidden
    }
}

/// A look in progress.
#[derive(Default)]
struct Look {
    holders: Holders,
    /// When the look ends, whatever is left.
    end: Option<Instant>,
    /// This process's user namespace.
    user: u64,
    /// How many bytes of `mountinfo` may still be read from mount namespaces that users created.
    readable: u64,
    /// How many mounts of network namespaces were found in those.
    users_mounts: usize,
    /// The IDs of all mounts that were seen.
    seen: BTreeSet<u64>,
    /// Directories that a process has open, by the ID of their mount.
    directories: BTreeMap<u64, PathBuf>,
    /// The device that holds all namespace files.
    device: u64,
    /// The mount namespaces that were inspected, each with the root of the process through which this was
    /// done.
    mounts: BTreeSet<(u64, u64, u64)>,
}

impl Look {
    /// Calls `each` for every process or thread in a directory, including those that appear meanwhile.
    fn all_new(&mut self, directory: &Path, mut each: impl FnMut(&mut Self, &Path)) -> io::Result<()> {
        let mut seen = BTreeSet::new();
        for _ in 0..ROUNDS {
            let before = seen.len();
            for entry in fs::read_dir(directory)? {
                let name = entry?.file_name();
                let is_number = name.as_bytes().iter().all(u8::is_ascii_digit);
                if is_number && seen.insert(name.clone()) {
                    self.in_time()?;
                    each(self, &directory.join(name));
                }
            }
            if seen.len() == before {
                return Ok(());
            }
        }
        Err(io::Error::other("processes start faster than they can be inspected"))
    }

    fn process(&mut self, process: &Path) {
        let threads = self.all_new(&process.join("task"), |look, thread| {
            let first = thread.file_name() == process.file_name();
            if let Err((path, error)) = look.thread(if first { process } else { thread }, first) {
                look.could_not(&path, &error);
            }
        });
        if let Err(error) = threads {
            self.could_not(&process.join("task"), &error);
        }
    }

    fn thread(&mut self, thread: &Path, first: bool) -> Result<(), (PathBuf, io::Error)> {
        let at = |name: &str| thread.join(name);
        let fault = |name: &str| {
            let path = at(name);
            |error| (path, error)
        };
        // A zombie thread is in no namespace and has no files.
        let inside = fs::read_link(at("ns/net")).map_err(fault("ns/net"))?;
        // A process with its own user namespace can mount there, and can detach mounts.
        if fs::metadata(at("ns/user")).map_err(fault("ns/user"))?.ino() != self.user {
            for place in ["cwd", "root"] {
                let there = Held::at(&at(place)).and_then(|there| self.opened(&there, &at(place)));
                there.map_err(fault(place))?;
            }
        }
        let kind = if first { Kind::Process } else { Kind::Thread };
        self.found(number(inside.as_os_str()), kind, at("ns/net"));
        for entry in fs::read_dir(at("fd")).map_err(fault("fd"))? {
            let file = entry.map_err(fault("fd"))?.path();
            self.in_time().map_err(fault("fd"))?;
            match fs::read_link(&file).and_then(|opened| self.number_of(&opened, &file)) {
                Ok(number) => self.found(number, Kind::OpenFile, file),
                Err(error) if has_gone(&error) => {}
                Err(error) => return Err((file, error)),
            }
        }
        self.mounts(thread, false);
        Ok(())
    }

    /// Inspects the mounts that a thread sees, unless another thread that sees the same ones was inspected
    /// before.
    fn mounts(&mut self, thread: &Path, own: bool) {
        let namespace = match fs::metadata(thread.join("ns/mnt")) {
            Ok(namespace) => namespace.ino(),
            Err(error) => return self.could_not(&thread.join("ns/mnt"), &error),
        };
        // A root that does not report its identity may be any directory, such as one on another user's FUSE
        // filesystem. Its mounts are still listed.
        let root = Held::at(&thread.join("root")).and_then(|root| root.numbers());
        if root.is_ok_and(|(device, ino)| !self.mounts.insert((namespace, device, ino))) {
            return;
        }
        let is_users = !own && nsfs::owner_of(&thread.join("ns/mnt")).ok() != Some(self.user);
        let text = match self.read_mounts(&thread.join("mountinfo"), is_users) {
            Ok(text) => text,
            Err(error) => return self.could_not(&thread.join("mountinfo"), &error),
        };
        for mount in mounts(&text) {
            self.seen.insert(mount.id);
            let number = mount.netns();
            let (kind, path) = if own {
                (Kind::Mount, mount.point)
            } else {
                let below = mount.point.strip_prefix("/").unwrap_or(&mount.point);
                (Kind::MountElsewhere, thread.join("root").join(below))
            };
            self.users_mounts += usize::from(is_users && number.is_some());
            if self.users_mounts > MOST_MOUNTS_OF_USERS {
                let error = "too many mounts of network namespaces";
                return self.could_not(&thread.join("mountinfo"), &io::Error::other(error));
            }
            self.found(number, kind, path);
        }
    }

    /// Reads the mounts that a thread sees. Of a mount namespace that a user created, it reads only a limited
    /// amount.
    fn read_mounts(&mut self, mountinfo: &Path, is_users: bool) -> io::Result<Vec<u8>> {
        let (mut text, mut file) = (Vec::new(), File::open(mountinfo)?);
        if !is_users {
            file.read_to_end(&mut text)?;
            return Ok(text);
        }
        let most = MOST_READ.min(self.readable);
        self.readable -= file.take(most).read_to_end(&mut text)? as u64;
        if text.len() as u64 == most {
            self.could_not(mountinfo, &io::Error::other("too many mounts to read"));
        }
        Ok(text)
    }

    /// Notes an open file, if it may be a directory.
    fn opened(&mut self, held: &Held, file: &Path) -> io::Result<()> {
        if let Some(mount) = held.mount_of_directory()?.filter(|mount| !self.seen.contains(mount)) {
            self.directories.entry(mount).or_insert_with(|| file.to_owned());
        }
        Ok(())
    }

    /// Checks the open directories whose mount was not seen. Such a mount belongs to a tree that was
    /// detached, or was never attached anywhere (`open_tree`). Everything mounted below it still exists,
    /// namespaces included, but cannot be seen.
    fn strange_directories(&mut self) {
        let directories = std::mem::take(&mut self.directories);
        let mut strange = directories.into_iter().filter(|(mount, _)| !self.seen.contains(mount));
        let mut unseen = None;
        for (mount, file) in strange.by_ref().take(MOST_STRANGE) {
            // The mount may be new, or the file may be closed by now.
            let now = Held::at(&file).and_then(|held| held.mount_of_directory());
            let above = file.parent().filter(|above| above.ends_with("fd")).unwrap_or(&file);
            let mountinfo = File::open(above.with_file_name("mountinfo")).ok();
            let is_seen = mountinfo.is_some_and(|mountinfo| {
                Filesystem::of_mount(mount, mountinfo).is_ok_and(|there| there.is_some())
            });
            if !is_seen && now.is_ok_and(|now| now == Some(mount)) {
                unseen = Some(file);
                break;
            }
        }
        if let Some(file) = unseen.or_else(|| strange.next().map(|(_, file)| file)) {
            self.could_not(&file, &io::Error::other("an open directory of a mount that no process shows"));
        }
    }

    /// Fails if the look has taken too long.
    fn in_time(&self) -> io::Result<()> {
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return Err(io::Error::other(format!("more than can be inspected in {} s", LONGEST.as_secs())));
        }
        Ok(())
    }

    /// The inode number of the namespace that an open file refers to, if it does. A file that was opened
    /// through a mount shows the mount's path instead.
    fn number_of(&mut self, opened: &Path, file: &Path) -> io::Result<Option<u64>> {
        if !opened.is_absolute() || opened == Path::new("/dev/null") {
            return Ok(number(opened.as_os_str()));
        }
        let held = Held::at(file)?;
        self.opened(&held, file)?;
        Ok(held.namespace(self.device))
    }

    /// Records a path, if it opens a namespace.
    fn found(&mut self, number: Option<u64>, kind: Kind, path: PathBuf) {
        if let Some(ino) = number {
            if matches!(kind, Kind::Process | Kind::Thread) {
                self.holders.inhabited.insert(ino);
            }
            let paths = self.holders.paths.entry(ino).or_default();
            // The threads of a process have the same files: they close them together.
            if kind == Kind::OpenFile && paths.iter().any(|(_, there)| is_same_file(there, &path)) {
                return;
            }
            paths.insert((kind, path));
            if paths.len() > MOST_PATHS {
                paths.pop_last();
            }
        }
    }

    /// Records that something could not be inspected, unless it is gone. What it left behind is found in the
    /// next round.
    fn could_not(&mut self, path: &Path, error: &io::Error) {
        if !has_gone(error) {
            self.holders.unseen.get_or_insert_with(|| format!("{}: {error}", path.display()));
        }
    }
}

/// Whether these are the same descriptor, as two threads of a process show it.
fn is_same_file(one: &Path, other: &Path) -> bool {
    // The root, `proc` and the process.
    const PROCESS: usize = 3;
    one.file_name() == other.file_name() && one.iter().take(PROCESS).eq(other.iter().take(PROCESS))
}

/// The thread has ended (`ESRCH`) or is a zombie (`EINVAL` for its mounts).
fn has_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL))
}

/// Returns whether `/proc` may leave processes out.
fn may_hide() -> bool {
    let whole = fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own == Path::new(FIRST_PID_NAMESPACE));
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let hides = String::from_utf8_lossy(&mounts)
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/proc"))
        .any(|line| {
            let mut options = line.split([' ', ',']).filter_map(|option| option.strip_prefix("hidepid="));
            options.any(|value| !["0", "off", "1", "noaccess"].contains(&value))
        });
    !whole || (hides && !has_capability(CAP_SYS_PTRACE))
}

fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|all| all >> number & 1 == 1)
}
