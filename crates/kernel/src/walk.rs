//! Paths, followed one step after the other by nothing that could wait for somebody.
//!
//! Whoever owns a directory on a path says where it leads: by a symbolic link, or by what is mounted there. A filesystem that has a
//! server, of the network or of an unprivileged user (FUSE), may never answer, and who waits for that waits even when it is killed.
//! So the kernel is not left to follow a path by itself. Each directory on the way is held, and what is in it is looked up in the
//! kernel's own memory. Only if it is not there is the filesystem asked, if it is one that answers for certain.

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

/// As often is it looked up in the kernel's memory, which may change meanwhile.
const TRIES: usize = 4;
/// As many symbolic links are followed, as by the kernel.
const MOST_LINKS: usize = 40;
/// As many directories are held. Whoever writes a link is not to have all descriptors used up.
const MOST_DEEP: usize = 100;
/// As many names are looked up, those of all links together. One link alone may have two thousand, each of which takes longer than
/// most: those below `/proc/sys` are never in the kernel's memory.
const MOST_STEPS: usize = 256;
/// Of as many mounts on a way it is looked up what they are, for which all that a process sees are read.
const MOST_MOUNTS: usize = 16;
/// So much is read of the mounts that other processes see. An unprivileged user may have a hundred thousand.
pub(crate) const MOST_READ: u64 = 1 << 20;

const HOLD: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// What a path leads to; none if that is certainly no namespace, by way of what is not followed.
///
/// Where it leads by the root of a process (`/proc/PID/root`), links are followed as that process sees them, but none of a process
/// (`/proc/PID/ns/net` and the like): which these are is for that process to say there.
pub(crate) fn hold(path: &Path, device: u64) -> io::Result<Option<Held>> {
    let home = Held::at(Path::new("/"))?;
    let first = if path.is_absolute() { Path::new("/") } else { Path::new(".") };
    // What is mounted, and what leads there, is always in the kernel's memory.
    let cached = ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED);
    Walk::from(home, Held::at(first)?, device, cached).along(path)
}

/// A way that is gone.
struct Walk {
    /// This process's root: whoever could make that wait could make everybody wait.
    home: Held,
    /// The device that all namespaces' files are on.
    device: u64,
    /// Has the kernel look into its memory alone (Linux 5.12).
    cached: ResolveFlag,
    /// The directories that lead to where it is, from that where absolute links begin.
    way: Vec<Held>,
    elsewhere: Option<Elsewhere>,
    /// The mounts on the way of which it was looked up what they are.
    mounts: RefCell<Vec<Known>>,
    /// How much may be read still of the mounts that others see.
    readable: Cell<u64>,
}

/// A mount. It is held, so that no other gets its number.
struct Known {
    _held: Held,
    id: u64,
    /// None if it is not known.
    filesystem: Option<Filesystem>,
}

/// What a process sees, by which the way leads.
struct Elsewhere {
    mountinfo: File,
    /// Whether the way began at its root.
    from_root: bool,
}

/// What a name leads to.
enum Step {
    To(Held),
    /// A symbolic link.
    Link(OsString),
    /// One that the kernel follows to where its text need not lead.
    Magic,
    /// What leads to no namespace.
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
                    // A namespace is no directory: there is nothing to be known of it.
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

    /// Where it is.
    fn at(&self) -> &Held {
        self.way.last().expect("there is always a first")
    }

    /// Goes back, to the directory above or to the first.
    fn back(&mut self, whole: bool) -> io::Result<()> {
        let is_known = self.elsewhere.as_ref().is_none_or(|there| there.from_root);
        if !is_known && (whole || self.way.len() == 1) {
            return Err(io::Error::other("it leads out of a directory that a process has open"));
        }
        self.way.truncate(if whole { 1 } else { (self.way.len() - 1).max(1) });
        Ok(())
    }

    /// What a name in a directory leads to.
    fn step(&self, at: &Held, name: &OsStr) -> io::Result<Step> {
        let how = OpenHow::new().flags(HOLD).resolve(self.cached | ResolveFlag::RESOLVE_NO_SYMLINKS);
        for _ in 0..TRIES {
            match openat2(at, name, how) {
                Ok(next) => return Ok(Step::To(next.into())),
                Err(Errno::EAGAIN) => {}
                // A symbolic link. Or an older kernel, or a filter of an older systemd.
                Err(Errno::ELOOP | Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let filesystem = self.filesystem(at)?;
        if !self.answers(at, filesystem.as_ref())? {
            return Err(may_wait(at, filesystem));
        }
        // The mappings of a process into its memory (`map_files`) are locked by whatever it has them wait for.
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
            // What is mounted here is asked by the next step, if there is one.
            return Ok(Step::To(next));
        }
        let text = match readlinkat(&next, "") {
            Ok(text) => text,
            // It is none.
            Err(Errno::ENOENT | Errno::EINVAL) => return Ok(Step::To(next)),
            Err(error) => return Err(error.into()),
        };
        // Links of the kernel's own making that are no more than text are relative.
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

    /// The filesystem of what is held, as far as it is known. It is not asked itself: that could wait already.
    ///
    /// Of a mount that is held neither number nor filesystem change, but the number of one that was not may be another's by now. So
    /// each that is looked up is held until the end.
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

    /// Whether a filesystem answers for certain. That of this process's root, which may be an overlay or of the network, is taken to.
    fn answers(&self, held: &Held, filesystem: Option<&Filesystem>) -> io::Result<bool> {
        if filesystem.is_some_and(Filesystem::is_local) || held.mount()? == self.home.mount()? {
            return Ok(true);
        }
        let Some(filesystem) = filesystem else { return Ok(false) };
        Ok(self.filesystem(&self.home)?.is_some_and(|home| home == *filesystem))
    }
}

/// The names on a path: `/` if it is absolute, and `..` where it goes up.
fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    let named = path.components().filter(|component| *component != Component::CurDir);
    named.map(|component| component.as_os_str().to_owned())
}

fn may_wait(at: &Held, filesystem: Option<Filesystem>) -> io::Error {
    let place = fs::read_link(at.link()).unwrap_or_else(|_| PathBuf::from("a directory on the way"));
    let kind = filesystem.map_or_else(|| "unknown".into(), |filesystem| filesystem.kind);
    let (place, kind) = (place.display(), Path::new(&kind).display());
    let why = format!("the filesystem at {place} ({kind}) may never answer, and is not asked");
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
            return eprintln!("cannot-run: a mount of a namespace: it takes root");
        };
        // With mounts of its own, which go with it.
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
            // As a kernel does it, and as one that is older and does not know how to look into its memory alone.
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
            // What leads out of what a process sees is for that to say.
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
            // Of this kind it is not known that it has no server.
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
            // Neither of them alone.
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
