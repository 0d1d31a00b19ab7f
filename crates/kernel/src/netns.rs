//! Network namespaces: opened, created, and entered by short-lived threads.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ashore_core::net::link::{Cookie, Netns};
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;

use crate::{cookie, nsfs};

/// `ioctl(NS_GET_NSTYPE)` (Linux 4.11): `_IO(0xb7, 0x3)`.
const NS_GET_NSTYPE: nix::libc::Ioctl = 0xb703;

/// An open network namespace. The namespace lives at least as long as this handle.
#[derive(Debug, Clone)]
pub struct Namespace {
    file: Arc<File>,
    netns: Netns,
}

/// What became of a namespace, judged by the path by which it was known.
#[derive(Debug)]
pub enum Found {
    /// The path still leads to it.
    There(Namespace),
    /// The path leads nowhere, or to something else.
    Gone,
    /// It could not be determined where the path leads, so the namespace may still exist.
    Unclear(NamespaceError),
}

/// Why a path does not open a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The path does not exist.
    #[error("there is no network namespace at {0}")]
    Missing(PathBuf),
    /// The path leads to something else.
    #[error("{0} is not a network namespace")]
    Other(PathBuf),
    /// The user may not open it.
    #[error("permission denied: this user may not open the network namespace at {0}")]
    Permission(PathBuf),
    /// The system returned an error.
    #[error("the network namespace at {path}: {source}")]
    System {
        /// The path.
        path: PathBuf,
        /// The system error.
        source: io::Error,
    },
}

impl NamespaceError {
    /// Returns whether the error means that the path leads to no namespace. With any other error, the
    /// namespace may exist.
    pub fn leads_nowhere(&self) -> bool {
        matches!(self, NamespaceError::Missing(_) | NamespaceError::Other(_))
    }
}

impl Namespace {
    /// The calling thread's own namespace.
    pub fn current() -> Result<Self, NamespaceError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Opens the namespace at a path. A file that is not a namespace is not opened. No filesystem on the way
    /// is asked if it might never answer; the error then names that filesystem.
    ///
    /// A path through the root of a process (`/proc/PID/root/...`) is resolved as that process sees it,
    /// symbolic links included. The kernel's own links in `/proc` are not followed there, because that
    /// process controls what they lead to.
    pub fn open(path: &Path) -> Result<Self, NamespaceError> {
        let opened = nsfs::open(path).map_err(|source| {
            let path = path.to_owned();
            match (source.kind(), source.raw_os_error()) {
                // The process has ended, although its directory may still exist.
                (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, _) | (_, Some(nix::libc::ESRCH)) => {
                    NamespaceError::Missing(path)
                }
                (io::ErrorKind::PermissionDenied, _) => NamespaceError::Permission(path),
                _ => NamespaceError::System { path, source },
            }
        })?;
        let file = opened.ok_or_else(|| NamespaceError::Other(path.to_owned()))?;
        Self::of_file(file, path.to_owned())
    }

    pub(crate) fn of_file(file: File, path: PathBuf) -> Result<Self, NamespaceError> {
        let system = |source| NamespaceError::System { path: path.clone(), source };
        if !nsfs::is_namespace(&file).map_err(system)? {
            return Err(NamespaceError::Other(path));
        }
        // SAFETY: the ioctl takes no argument and returns a number, as this is a namespace.
        let kind = unsafe { nix::libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
        if kind != CloneFlags::CLONE_NEWNET.bits() {
            return Err(NamespaceError::Other(path));
        }
        let meta = file.metadata().map_err(system)?;
        let netns = Netns::new(path, meta.dev(), meta.ino());
        Ok(Namespace { file: Arc::new(file), netns })
    }

    /// Creates a namespace. Other processes can open it by its path for as long as this handle lives.
    pub fn new() -> io::Result<Self> {
        let made = std::thread::scope(|scope| {
            let maker = scope.spawn(|| {
                nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
                File::open("/proc/thread-self/ns/net")
            });
            maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), made.as_raw_fd()));
        Self::of_file(made, path).map_err(io::Error::other)
    }

    /// Binds the namespace to a path of its own, such as `/run/netns/web`, by a bind mount. The mount keeps
    /// the namespace alive.
    pub fn bind(self, path: &Path) -> io::Result<Self> {
        File::create_new(path)?;
        nix::mount::mount(Some(&self.netns.path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(Namespace { netns: Netns { path: path.to_owned(), ..self.netns }, file: self.file })
    }

    /// Undoes [`Namespace::bind`].
    pub fn unbind(path: &Path) -> io::Result<()> {
        nix::mount::umount2(path, MntFlags::MNT_DETACH)?;
        std::fs::remove_file(path)
    }

    /// The path that opens the namespace, and what identifies it.
    pub fn identity(&self) -> Netns {
        self.netns.clone()
    }

    /// The device and inode numbers of its file. No other namespace has them while this handle lives.
    pub fn file(&self) -> (u64, u64) {
        (self.netns.dev, self.netns.ino)
    }

    /// A path that opens the namespace.
    pub fn path(&self) -> &Path {
        &self.netns.path
    }

    /// Finds the namespace with the given identity. This compares only the file. Another namespace with the
    /// same inode number is detected when it is entered.
    pub fn find(netns: &Netns) -> Found {
        match Self::open(&netns.path) {
            Ok(found) if found.netns.has_file_of(netns) => Found::There(found.known_by(netns.cookie.clone())),
            Ok(_) => Found::Gone,
            Err(error) if error.leads_nowhere() => Found::Gone,
            Err(error) => Found::Unclear(error),
        }
    }

    /// The same namespace, to be identified by the kernel's cookie as well.
    pub(crate) fn known_by(self, cookie: Option<Box<Cookie>>) -> Self {
        Namespace { netns: Netns { cookie, ..self.netns }, file: self.file }
    }

    /// Runs a function inside the namespace, in a thread of its own.
    ///
    /// Fails with `EPERM` if the caller may not enter the namespace because its user namespace is not the
    /// caller's. Fails with `ESTALE` if this is another namespace with the same inode number.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let visitor = std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, || {
                nix::sched::setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
                if self.netns.cookie.is_some() && cookie::here()? != self.netns.cookie {
                    return Err(nix::Error::ESTALE.into());
                }
                Ok(inside())
            })?;
            visitor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Whether a user other than root has made the user namespace that owns this namespace, and so has all power in
    /// it. Root's namespaces and those of other users are not his, nor are those that no user namespace below this
    /// process's own one owns.
    pub fn is_of_user(&self, uid: u32) -> io::Result<bool> {
        let owner = match nsfs::user_namespace_of(&self.file) {
            // The owner is above this process's user namespace, or beside it.
            Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) => return Ok(false),
            owner => owner?,
        };
        let (its, own) = (owner.metadata()?, std::fs::metadata("/proc/self/ns/user")?);
        let is_own = (its.dev(), its.ino()) == (own.dev(), own.ino());
        Ok(uid != 0 && !is_own && nsfs::maker_of(&owner)? == uid)
    }

    /// Duplicates the descriptor.
    pub fn fd(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.netns.has_file_of(&other.netns)
    }
}
