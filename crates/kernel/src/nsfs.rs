//! Files of namespaces, told from all others before they are opened.
//!
//! What a path leads to is often for somebody else to say, such as a container. To open it could set off a device, or wait for the
//! other end of a pipe; to ask its filesystem could wait for a server that never answers, or be refused. So it is held without being
//! opened (`O_PATH`), and only what the kernel knows itself is asked of it: its device.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::libc;
use nix::sys::stat::Mode;

use crate::mountinfo::mounts;

/// As often is a path looked up that changes meanwhile.
const TRIES: usize = 4;

/// A file that is held and not opened.
pub(crate) struct Held(OwnedFd);

impl Held {
    /// What a path leads to.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
        Ok(Held(file.into()))
    }

    /// Its inode, if it is a namespace's, whose files are all on one device.
    pub(crate) fn namespace(&self, device: u64) -> Option<u64> {
        // Namespaces answer always. A FUSE filesystem of another user does not tell even root more than its device, and before
        // Linux 5.8 not that; if it is broken, nothing.
        if device_of(&self.ask(0).ok()?) != device {
            return None;
        }
        Some(self.ask(libc::STATX_INO).ok()?.stx_ino)
    }

    /// Device and inode, as far as they are known here.
    pub(crate) fn numbers(&self) -> io::Result<(u64, u64)> {
        let known = self.ask(libc::STATX_INO)?;
        Ok((device_of(&known), known.stx_ino))
    }

    /// What is known of it here: a server, which may not answer, is not asked.
    fn ask(&self, mask: u32) -> io::Result<libc::statx> {
        let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC | libc::AT_NO_AUTOMOUNT;
        let mut found = MaybeUninit::<libc::statx>::uninit();
        // SAFETY: the path ends with a zero, and what is found is written to a place of its size.
        let asked = unsafe { libc::statx(self.0.as_raw_fd(), c"".as_ptr(), flags, mask, found.as_mut_ptr()) };
        Errno::result(asked)?;
        // SAFETY: the call was successful.
        Ok(unsafe { found.assume_init() })
    }

    /// Opens it for reading.
    fn open(&self) -> io::Result<File> {
        File::open(format!("/proc/thread-self/fd/{}", self.0.as_raw_fd()))
    }
}

fn device_of(known: &libc::statx) -> u64 {
    libc::makedev(known.stx_dev_major, known.stx_dev_minor)
}

/// The device that all namespaces' files are on.
pub(crate) fn device() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.dev())
}

/// Opens a namespace of any kind; none if the path leads to something else, which is not opened.
///
/// Through the root of a process the path leads as that process sees it, symbolic links included.
pub(crate) fn open(path: &Path) -> io::Result<Option<File>> {
    let held = match through_root(path) {
        Some((thread, below)) => match held_within(&thread, &below) {
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Ok(None),
            held => held?,
        },
        None => Held::at(path)?,
    };
    match held.namespace(device()?) {
        Some(_) => Ok(Some(held.open()?)),
        None => Ok(None),
    }
}

/// A path of the form `/proc/PID/root/...` or `/proc/PID/task/TID/root/...`, as the process or thread and what is below its root.
fn through_root(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let is_number = |part: &OsStr| part.as_bytes().iter().all(u8::is_ascii_digit);
    let mut below = path.strip_prefix("/proc").ok()?.components();
    let mut thread = PathBuf::from("/proc");
    loop {
        match below.next()?.as_os_str() {
            root if root == "root" => break,
            part if is_number(part) || part == "task" => thread.push(part),
            _ => return None,
        }
    }
    let below = below.as_path();
    (!below.as_os_str().is_empty()).then(|| (thread, below.to_owned()))
}

/// What is below the root of a process. Whatever that mounts there, nobody is waited for.
fn held_within(thread: &Path, below: &Path) -> io::Result<Held> {
    let root = Held::at(&thread.join("root"))?;
    // What leads to a mount is always in the kernel's cache (Linux 5.12).
    let cached = ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED);
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | cached);
    for _ in 0..TRIES {
        match openat2(&root.0, below, how) {
            Ok(held) => return Ok(Held(held)),
            Err(Errno::EAGAIN) => {}
            // An older kernel, or a filter of an older systemd.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    walked_to(root, thread, below)
}

/// The same by one step after the other, where no filesystem on the way can make it wait. That is needed on older kernels, and where
/// nobody has gone that way lately as far as access lists are asked.
fn walked_to(root: Held, thread: &Path, below: &Path) -> io::Result<Held> {
    let text = fs::read(thread.join("mountinfo"))?;
    let point = Path::new("/").join(below);
    // Without links nothing leads to a namespace but a mount of it.
    if !mounts(&text).any(|mount| mount.point == point && !mount.of.as_bytes().starts_with(b"/")) {
        return Err(Errno::ENOENT.into());
    }
    if let Some(mount) = mounts(&text).find(|mount| point.starts_with(&mount.point) && !mount.is_local()) {
        let why = format!("{} there may keep waiting whoever looks", mount.point.display());
        return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
    }
    let mut at = root.0;
    for step in below.components() {
        let Component::Normal(name) = step else { return Err(Errno::ELOOP.into()) };
        // A symbolic link is held itself: it is no directory, and no namespace.
        at = openat(&at, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    }
    Ok(Held(at))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::mount::{MsFlags, mount};
    use nix::sched::CloneFlags;

    use super::*;
    use crate::Namespace;

    #[test]
    fn a_path_through_the_root_of_a_process_is_known() {
        for (path, thread, below) in [
            ("/proc/12/root/run/netns/web", "/proc/12", "run/netns/web"),
            ("/proc/12/task/13/root/run", "/proc/12/task/13", "run"),
            ("/proc//12/./root/root", "/proc/12", "root"),
        ] {
            assert_eq!(through_root(Path::new(path)), Some((thread.into(), below.into())), "{path}");
        }
        for path in ["/proc/12/root", "/proc/12/ns/net", "/proc/12/fd/3", "/run/netns/web", "/proc", "root/x"]
        {
            assert_eq!(through_root(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn it_is_walked_to_a_mount_where_nobody_can_keep_waiting() {
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
            symlink("/tmp/in", "/tmp/link").unwrap();
            let ino = namespace.bind(Path::new("/tmp/in/ns")).unwrap().identity().ino;

            let thread = Path::new("/proc/thread-self");
            let walk = |below| {
                let held = walked_to(Held::at(&thread.join("root"))?, thread, Path::new(below))?;
                io::Result::Ok(held.namespace(device()?))
            };
            let error = |below| walk(below).unwrap_err().kind();
            assert_eq!(walk("tmp/in/ns").unwrap(), Some(ino));
            for below in ["tmp/link/ns", "tmp/in/other", "tmp/in/nothing"] {
                assert_eq!(error(below), io::ErrorKind::NotFound, "{below}");
            }
            mount(none, "/tmp/in", Some("tmpfs"), MsFlags::empty(), none).unwrap();
            assert_eq!(error("tmp/in/ns"), io::ErrorKind::NotFound);
            symlink("/proc/thread-self/ns/net", "/tmp/in/ns").unwrap();
            assert_eq!(walk("tmp/in/ns").unwrap(), None);
            // Of this kind it is not known that it has no server.
            mount(none, "/tmp/in", Some("mqueue"), MsFlags::empty(), none).unwrap();
            assert_eq!(error("tmp/in/ns"), io::ErrorKind::WouldBlock);
        });
        own.join().unwrap();
    }
}
