//! Network namespaces: opened, made, entered by a thread that does not live long.

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

/// An open network namespace. It lives at least as long as the handle.
#[derive(Debug, Clone)]
pub struct Namespace {
    file: Arc<File>,
    netns: Netns,
}

/// What has become of a namespace, as far as the path tells by which it was known.
#[derive(Debug)]
pub enum Found {
    /// The path still leads there.
    There(Namespace),
    /// The path leads nowhere, or elsewhere.
    Gone,
    /// What the path leads to could not be seen, which tells nothing of the namespace: it may be there.
    Unclear(NamespaceError),
}

/// Why a path does not lead to a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// There is nothing.
    #[error("there is no network namespace at {0}")]
    Missing(PathBuf),
    /// There is something else.
    #[error("{0} is no network namespace")]
    Other(PathBuf),
    /// It is not for this user.
    #[error("the network namespace at {0} may not be opened by this user")]
    Permission(PathBuf),
    /// The system failed.
    #[error("the network namespace at {path}: {source}")]
    System {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl NamespaceError {
    /// Whether it tells that the path leads to no namespace. Any other error tells nothing.
    pub fn leads_nowhere(&self) -> bool {
        matches!(self, NamespaceError::Missing(_) | NamespaceError::Other(_))
    }
}

impl Namespace {
    /// The calling thread's own.
    pub fn current() -> Result<Self, NamespaceError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The one that a path opens. What is no namespace is not opened, and no filesystem on the way is asked that may never answer: an
    /// error says which.
    ///
    /// Through the root of a process (`/proc/PID/root/...`) symbolic links lead as that process sees them, and none of the kernel's in
    /// `/proc` is followed: what is there is for that process to say.
    pub fn open(path: &Path) -> Result<Self, NamespaceError> {
        let opened = nsfs::open(path).map_err(|source| {
            let path = path.to_owned();
            match (source.kind(), source.raw_os_error()) {
                // A process that has ended: its directory may still be there.
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

    fn of_file(file: File, path: PathBuf) -> Result<Self, NamespaceError> {
        // SAFETY: the ioctl takes no argument and returns a number; on a file of another kind it fails with ENOTTY.
        let kind = unsafe { nix::libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
        if kind != CloneFlags::CLONE_NEWNET.bits() {
            return Err(NamespaceError::Other(path));
        }
        let meta = file.metadata().map_err(|source| NamespaceError::System { path: path.clone(), source })?;
        let netns = Netns::new(path, meta.dev(), meta.ino());
        Ok(Namespace { file: Arc::new(file), netns })
    }

    /// A fresh one. Its path opens it for other processes too, for as long as this handle lives.
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

    /// The same namespace under a path of its own, such as `/run/netns/web`: a bind mount, which keeps it alive.
    pub fn bind(self, path: &Path) -> io::Result<Self> {
        File::create_new(path)?;
        nix::mount::mount(Some(&self.netns.path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(Namespace { netns: Netns { path: path.to_owned(), ..self.netns }, file: self.file })
    }

    /// Takes back what [`Namespace::bind`] did.
    pub fn unbind(path: &Path) -> io::Result<()> {
        nix::mount::umount2(path, MntFlags::MNT_DETACH)?;
        std::fs::remove_file(path)
    }

    /// How to open it, and how to know it again.
    pub fn identity(&self) -> Netns {
        self.netns.clone()
    }

    /// A path that opens it.
    pub fn path(&self) -> &Path {
        &self.netns.path
    }

    /// The namespace that was known by an identity, as far as its file tells: whether it is another with the same number is seen
    /// by whoever enters it.
    pub fn find(netns: &Netns) -> Found {
        match Self::open(&netns.path) {
            Ok(found) if found.netns.has_file_of(netns) => Found::There(found.known_by(netns.cookie.clone())),
            Ok(_) => Found::Gone,
            Err(error) if error.leads_nowhere() => Found::Gone,
            Err(error) => Found::Unclear(error),
        }
    }

    /// The same, to be known by the kernel's number for it.
    pub(crate) fn known_by(self, cookie: Option<Box<Cookie>>) -> Self {
        Namespace { netns: Netns { cookie, ..self.netns }, file: self.file }
    }

    /// Runs something inside, in a thread of its own.
    ///
    /// Fails if the namespace may not be entered (`EPERM`: its user namespace is not the caller's), and with `ESTALE` if it is not
    /// the one that was meant, but has its number.
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

    /// A duplicate of the open file.
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
