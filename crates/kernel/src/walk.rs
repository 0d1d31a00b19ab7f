//! Resolves paths one component at a time, without ever blocking on someone else.
//!
//! The owner of a directory on a path decides where the path leads, by a symbolic link or by a mount. A
//! filesystem with a server (on the network, or FUSE of an unprivileged user) may never answer, and a thread
//! that waits for it cannot even be killed. So the kernel is not left to resolve a path by itself. Each
//! directory on the way is held, and a name in it is looked up in the kernel's cache. Only if the name is not
//! cached is the filesystem asked, and only if it is one that is certain to answer.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::libc;
use nix::sys::stat::Mode;

use crate::held::Held;
use crate::mountinfo::Filesystem;

/// How many times a name is looked up in the cache, which may change meanwhile.
const TRIES: usize = 4;
/// How many symbolic links are followed: the kernel's limit.
const MOST_LINKS: usize = 40;
/// How many directories are held. The author of a link must not be able to use up all descriptors.
const MOST_DEEP: usize = 100;
/// How many names are looked up, counting those of all links. A single link may contain two thousand. Some of
/// them are slow: names below `/proc/sys` are never cached.
const MOST_STEPS: usize = 256;
/// For how many mounts on a path the filesystem is looked up. Each lookup reads the mounts that a process
/// sees.
const MOST_MOUNTS: usize = 16;
/// How many bytes of other processes' `mountinfo` are read. An unprivileged user may create a hundred
/// thousand mounts.
pub(crate) const MOST_READ: u64 = 1 << 20;

pub(crate) const HOLD: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// Holds what a path leads to. Returns `None` if it is certain not to be a namespace, because of a link that
/// is not followed.
///
/// If the path goes through the root of a process (`/proc/PID/root`), symbolic links are followed as that
/// process sees them. Magic links (`/proc/PID/ns/net` and the like) are not followed there, because that
/// process decides which ones are there.
pub(crate) fn hold(path: &Path, device: u64) -> io::Result<Option<Held>> {
    let home = Held::at(Path::new("/"))?;
    let first = if path.is_absolute() { Path::new("/") } else { Path::new(".") };
    // Mount points, and the directories above them, are always in the kernel's cache.
    let cached = ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED);
    Walk::from(home, Held::at(first)?, device, cached).along(path)
}

/// A path being resolved.
struct Walk {
    /// This process's root. Whoever could make it block could make everyone block.
    home: Held,
    /// The device that holds all namespace files.
    device: u64,
    /// Makes the kernel use its cache only (Linux 5.12).
    cached: ResolveFlag,
    /// The directories down to the current one, starting from the one where absolute links start.
    way: Vec<Held>,
    elsewhere: Option<Elsewhere>,
    /// The mounts on the path whose filesystem was looked up.
    mounts: RefCell<Vec<Known>>,
    /// How many bytes of other processes' `mountinfo` may still be read.
    readable: Cell<u64>,
}

/// A mount. It is held, so that no other mount gets its ID.
struct Known {
    _held: Held,
    id: u64,
    /// `None` if it is unknown.
    filesystem: Option<Filesystem>,
}

/// The mounts of another process, through which the path goes.
struct Elsewhere {
    mountinfo: File,
    /// Whether the path entered at the process's root.
    from_root: bool,
}

/// What a name leads to.
enum Step {
    To(Held),
    /// A symbolic link.
    Link(OsString),
    /// A magic link: the kernel follows it to a place that its text need not name.
    Magic,
    /// Something that does not lead to a namespace.
    Nowhere,
}

impl Walk {
    fn from(home: Held, first: Held, device: u64, cached: ResolveFlag) -> Self {
        let (mounts, readable) = (RefCell::default(), Cell::new(MOST_READ));
        Walk { home, device, cached, way: vec![first], elsewhere: None, mounts, readable }
    }

    fn along(mut self, path: &Path) -> io::Result<Option<Held>> {
        let mut left: VecDeque<OsString> = components(path).collect();
        let (mut links, mut steps) = (0, 0);
        while let Some(name) = left.pop_front() {
            if steps + left.len() >= MOST_STEPS {
                return Err(Errno::ELOOP.into());
            }
            steps += 1;
            if name == "/" || name == ".." {
                self.back(name == "/")?;
                continue;
            }
            let at = self.at();
            match self.step(at, &name)? {
                Step::To(_) if self.way.len() == MOST_DEEP => return Err(Errno::ENAMETOOLONG.into()),
                Step::To(next) => self.way.push(next),
                Step::Nowhere => return Ok(None),
                Step::Link(_) | Step::Magic if links == MOST_LINKS => return Err(Errno::ELOOP.into()),
                Step::Link(text) => {
                    links += 1;
                    for name in components(Path::new(&text)).rev() {
                        left.push_front(name);
                    }
                }
                Step::Magic => {
                    links += 1;
                    let target = Held::from(openat(at, &*name, HOLD, Mode::empty())?);
                    // A namespace is not a directory, so nothing more needs to be known about it.
                    if target.namespace(self.device).is_none() {
                        let above =
                            if name == "root" || name == "cwd" { "mountinfo" } else { "../mountinfo" };
                        let mountinfo = openat(at, above, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
                        self.elsewhere =
                            Some(Elsewhere { mountinfo: mountinfo.into(), from_root: name == "root" });
                        self.mounts.get_mut().retain(|known| known.filesystem.is_some());
                    }
                    self.way = vec![target];
                }
            }
        }
        Ok(self.way.pop())
    }

    /// The current directory.
    fn at(&self) -> &Held {
        self.way.last().expect("there is always a first")
    }

    /// Goes back to the parent directory, or with `whole` to the first directory.
    fn back(&mut self, whole: bool) -> io::Result<()> {
        let is_known = self.elsewhere.as_ref().is_none_or(|there| there.from_root);
        if !is_known && (whole || self.way.len() == 1) {
            return Err(io::Error::other("the path leads out of a directory that a process has open"));
        }
        self.way.truncate(if whole { 1 } else { (self.way.len() - 1).max(1) });
        Ok(())
    }

    /// Looks up a name in a directory.
    fn step(&self, at: &Held, name: &OsStr) -> io::Result<Step> {
        let how = OpenHow::new().flags(HOLD).resolve(self.cached | ResolveFlag::RESOLVE_NO_SYMLINKS);
        for _ in 0..TRIES {
            match openat2(at, name, how) {
                Ok(next) => return Ok(Step::To(next.into())),
                Err(Errno::EAGAIN) => {}
                // A symbolic link, or an older kernel, or a filter: that of an older systemd, or of `RestrictSUIDSGID=`.
                Err(Errno::ELOOP | Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let filesystem = self.filesystem(at)?;
        if !self.answers(at, filesystem.as_ref())? {
            return Err(may_wait(at, filesystem));
        }
        // A process's memory mappings (`map_files`) are locked by whatever the process makes them wait for.
        let is_proc = |filesystem: &Filesystem| filesystem.kind == "proc";
        if filesystem.as_ref().is_some_and(is_proc)
            && name != "thread-self"
            && name.as_bytes().contains(&b'-')
        {
            return Ok(Step::Nowhere);
        }
        let next = Held::from(openat(at, name, HOLD | OFlag::O_NOFOLLOW, Mode::empty())?);
        if next.namespace(self.device).is_some() {
            return Ok(Step::To(next));
        }
        let filesystem = if next.mount()? == at.mount()? { filesystem } else { self.filesystem(&next)? };
        if !self.answers(&next, filesystem.as_ref())? {
            // The next step checks what is mounted here, if there is a next step.
            return Ok(Step::To(next));
        }
        let text = match readlinkat(&next, "") {
            Ok(text) => text,
            // It is not a link.
            Err(Errno::ENOENT | Errno::EINVAL) => return Ok(Step::To(next)),
            Err(error) => return Err(error.into()),
        };
        // The kernel's own links that are plain text are relative.
        let is_text = |text: &OsStr| !text.as_bytes().starts_with(b"/") && !text.as_bytes().contains(&b':');
        Ok(match filesystem {
            Some(filesystem) if is_proc(&filesystem) && !is_text(&text) => {
                if self.elsewhere.is_none() {
                    Step::Magic
                } else {
                    Step::Nowhere
                }
            }
            _ => Step::Link(text),
        })
    }

    /// The filesystem of a held file, if it is known. The filesystem itself is not asked, because even that
    /// could block.
    ///
    /// The ID and the filesystem of a held mount do not change, but the ID of a mount that was not held may
    /// belong to another one by now. So each mount that is looked up is held until the end.
    fn filesystem(&self, held: &Held) -> io::Result<Option<Filesystem>> {
        let id = held.mount()?;
        let mut mounts = self.mounts.borrow_mut();
        if let Some(known) = mounts.iter().find(|known| known.id == id) {
            return Ok(known.filesystem.clone());
        }
        if mounts.len() == MOST_MOUNTS {
            return Err(Errno::ELOOP.into());
        }
        let filesystem = self.look_up(id)?;
        mounts.push(Known { _held: held.try_clone()?, id, filesystem: filesystem.clone() });
        Ok(filesystem)
    }

    fn look_up(&self, id: u64) -> io::Result<Option<Filesystem>> {
        let own = Filesystem::of_mount(id, File::open("/proc/thread-self/mountinfo")?)?;
        let Some(there) = self.elsewhere.as_ref().filter(|_| own.is_none()) else { return Ok(own) };
        let mut mountinfo = &there.mountinfo;
        mountinfo.rewind()?;
        let mut some = mountinfo.take(self.readable.get());
        let found = Filesystem::of_mount(id, &mut some)?;
        self.readable.set(some.limit());
        Ok(found)
    }

    /// Returns whether a filesystem is certain to answer. The filesystem of this process's root is assumed
    /// to, although it may be an overlay or on the network.
    fn answers(&self, held: &Held, filesystem: Option<&Filesystem>) -> io::Result<bool> {
        if filesystem.is_some_and(Filesystem::is_local) || held.mount()? == self.home.mount()? {
            return Ok(true);
        }
        let Some(filesystem) = filesystem else { return Ok(false) };
        Ok(self.filesystem(&self.home)?.is_some_and(|home| home == *filesystem))
    }
}

/// The names in a path: `/` first if it is absolute, and `..` where it goes up.
fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    let named = path.components().filter(|component| *component != Component::CurDir);
    named.map(|component| component.as_os_str().to_owned())
}

fn may_wait(at: &Held, filesystem: Option<Filesystem>) -> io::Error {
    let place = fs::read_link(at.link()).unwrap_or_else(|_| PathBuf::from("a directory on the path"));
    let kind = filesystem.map_or_else(|| "unknown".into(), |filesystem| filesystem.kind);
    let (place, kind) = (place.display(), Path::new(&kind).display());
    let why = format!("the filesystem at {place} ({kind}) may never answer, so it is not asked");
    io::Error::new(io::ErrorKind::WouldBlock, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::mount::{MsFlags, mount};
    use nix::sched::CloneFlags;

    use super::*;
    use crate::{Namespace, nsfs};

    #[test]
    fn it_is_gone_where_nobody_can_keep_waiting() {
        let Ok(namespace) = Namespace::new() else {
            return eprintln!("cannot-run: a mount of a namespace: this needs root");
        };
        // The thread has its own mounts, which disappear with it.
        let own = std::thread::spawn(move || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(none, "/tmp", Some("tmpfs"), MsFlags::empty(), none).unwrap();
            fs::create_dir("/tmp/in").unwrap();
            fs::write("/tmp/in/other", "").unwrap();
            for (to, at) in [
                ("in", "link"),
                ("/tmp/link/../in/.", "far"),
                ("/proc/thread-self/root", "root"),
                ("/proc/self/ns/net", "own"),
                ("round", "round"),
                ("/proc/thread-self/fd", "files"),
            ] {
                symlink(to, format!("/tmp/{at}")).unwrap();
            }
            let ino = namespace.bind(Path::new("/tmp/in/ns")).unwrap().identity().ino;
            let own = Namespace::current().unwrap().identity().ino;

            let device = nsfs::device().unwrap();
            // Once as the kernel does it, and once as an older kernel that cannot use its cache only.
            let both = [libc::RESOLVE_CACHED, 1 << 40].map(ResolveFlag::from_bits_retain);
            let ways = |path: &str| {
                both.map(|cached| {
                    let at = |path| Held::at(Path::new(path)).unwrap();
                    let walk = Walk::from(at("/"), at("/"), device, cached);
                    let held = walk.along(Path::new(path)).map_err(|error| error.kind())?;
                    Ok(held.and_then(|held| held.namespace(device)))
                })
            };
            let root = "/proc/thread-self/root/tmp";
            for path in ["/tmp/in/ns", "/tmp/link/ns", "/tmp/far/ns", "/tmp/root/tmp/in/../far/ns"] {
                assert_eq!(ways(path), [Ok(Some(ino)); 2], "{path}");
            }
            assert_eq!(ways(&format!("{root}/link/ns")), [Ok(Some(ino)); 2]);
            for path in ["/tmp/own", "/proc/self/ns/net", "/proc/self/../self/ns/net"] {
                assert_eq!(ways(path), [Ok(Some(own)); 2], "{path}");
            }
            // A link that leads out of what a process sees is under that process's control.
            for path in [&format!("{root}/own"), &format!("{root}/root/tmp/in/ns"), "/tmp/in/other", "/tmp"] {
                assert_eq!(ways(path), [Ok(None); 2], "{path}");
            }
            for path in ["/tmp/in/nothing", "/tmp/nothing/ns"] {
                assert_eq!(ways(path), [Err(io::ErrorKind::NotFound); 2], "{path}");
            }
            assert_eq!(ways("/tmp/in/ns/net"), [Err(io::ErrorKind::NotADirectory); 2]);
            let round = hold(Path::new("/tmp/round"), device).map(|_| ()).unwrap_err();
            assert_eq!(round.raw_os_error(), Some(libc::ELOOP));
            let held = Held::at(Path::new("/tmp/in")).unwrap();
            let number = held.link().file_name().unwrap().display().to_string();
            assert_eq!(ways(&format!("/tmp/files/{number}/ns")), [Ok(Some(ino)); 2]);
            assert_eq!(ways(&format!("/tmp/files/{number}/../in/ns")), [Err(io::ErrorKind::Other); 2]);
            assert_eq!(ways("/proc/self/map_files/1-2"), [Ok(None); 2]);

            mount(none, "/tmp/in", Some("tmpfs"), MsFlags::empty(), none).unwrap();
            assert_eq!(ways("/tmp/in/ns"), [Err(io::ErrorKind::NotFound); 2]);
            // This filesystem type is not known to have no server.
            mount(none, "/tmp/in", Some("mqueue"), MsFlags::empty(), none).unwrap();
            assert_eq!(ways("/tmp/link/ns"), [Err(io::ErrorKind::WouldBlock); 2]);
        });
        own.join().unwrap();
    }

    #[test]
    fn what_holds_too_many_directories_is_not_followed() {
        let path = format!("/proc/{}", "sys/../".repeat(MOST_DEEP));
        let device = nsfs::device().unwrap();
        assert!(hold(Path::new(&path), device).unwrap().is_some());
        let deep = std::env::temp_dir().join(format!("ashore deep {}", std::process::id()));
        let below: PathBuf = ["in"; MOST_DEEP].iter().collect();
        fs::create_dir_all(deep.join(&below)).unwrap();
        let error = hold(&deep.join(&below), device).map(|_| ()).unwrap_err();
        fs::remove_dir_all(&deep).unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
    }

    #[test]
    fn what_leads_by_too_many_names_is_not_followed_however_few_links_there_are() {
        let there = std::env::temp_dir().join(format!("ashore names {}", std::process::id()));
        fs::create_dir_all(&there).unwrap();
        let device = nsfs::device().unwrap();
        let again = |times: usize| "sys/../".repeat(times);
        let mut led = Vec::new();
        for (name, text) in [
            ("few", format!("/proc/{}self/ns/net", again(100))),
            ("many", format!("/proc/{}self/ns/net", again(200))),
            // Neither one alone exceeds the limit.
            ("both", format!("/proc/{}../{}/few", again(50), there.strip_prefix("/").unwrap().display())),
        ] {
            symlink(text, there.join(name)).unwrap();
            let held = hold(&there.join(name), device).map_err(|error| error.raw_os_error());
            led.push((name, held.map(|held| held.is_some())));
        }
        fs::remove_dir_all(&there).unwrap();
        let too_many = Err(Some(libc::ELOOP));
        assert_eq!(led, [("few", Ok(true)), ("many", too_many), ("both", too_many)]);
    }
}
