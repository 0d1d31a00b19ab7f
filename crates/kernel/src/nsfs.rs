//! Namespace files. They are told from all other files before they are opened, see [`held`](crate::held).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Once;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OpenHow, ResolveFlag, openat2};
use nix::libc;

use crate::held::Held;
use crate::walk::{self, HOLD};

/// The device that holds all namespace files.
pub(crate) fn device() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.dev())
}

/// Whether an open file is a namespace. On any other file, whose filesystem may be a user's, no ioctl is to be believed:
/// a number that it answers would be taken for a descriptor, and close another one.
pub(crate) fn is_namespace(file: &impl AsFd) -> io::Result<bool> {
    Ok(Held::from(file.as_fd().try_clone_to_owned()?).namespace(device()?).is_some())
}

/// The inode number of the user namespace that owns the given namespace.
///
/// Fails with `EPERM` if the owner is neither this process's user namespace nor below it.
pub(crate) fn owner_of(namespace: &Path) -> io::Result<u64> {
    Ok(user_namespace_of(&File::open(namespace)?)?.metadata()?.ino())
}

/// The user namespace that owns the given namespace.
///
/// Fails with `EPERM` if that is neither this process's user namespace nor below it.
pub(crate) fn user_namespace_of(namespace: &File) -> io::Result<File> {
    /// `ioctl(NS_GET_USERNS)` (Linux 4.9): `_IO(0xb7, 0x1)`.
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    if !is_namespace(namespace)? {
        return Err(Errno::ENOTTY.into());
    }
    // SAFETY: the ioctl takes no argument and returns a new descriptor.
    let owner = Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) })?;
    // SAFETY: the descriptor was just opened, and nothing else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(owner) }))
}

/// The id of the user who made a user namespace, as this process's user namespace has it. One without an id here is
/// the user `nobody`.
pub(crate) fn maker_of(user_namespace: &File) -> io::Result<u32> {
    /// `ioctl(NS_GET_OWNER_UID)` (Linux 4.11): `_IO(0xb7, 0x4)`.
    const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;
    let mut uid: libc::uid_t = 0;
    // SAFETY: the ioctl writes one number, to a place that lives during the call.
    Errno::result(unsafe { libc::ioctl(user_namespace.as_raw_fd(), NS_GET_OWNER_UID, &raw mut uid) })?;
    Ok(uid)
}

/// Holds what a path leads to, if the kernel knows it without asking a filesystem, and without going through what
/// belongs to a process (Linux 5.12). `None` says nothing.
///
/// `RestrictSUIDSGID=` of a unit takes `openat2` away. It is slower then, and paths through an overlay lead nowhere.
fn hold_known(path: &Path) -> Option<Held> {
    let cached = ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED);
    let how = OpenHow::new().flags(HOLD).resolve(cached | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let held = openat2(AT_FDCWD, path, how);
    if matches!(held, Err(Errno::ENOSYS | Errno::EPERM)) {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::info!(
                "all containers are entered each time: openat2 is missing; the kernel is old, or the unit forbids it"
            );
        });
    }
    held.ok().map(Held::from)
}

/// Whether a path leads to the namespace with these numbers (device and inode). False says nothing.
pub(crate) fn leads_to(path: &Path, numbers: (u64, u64)) -> bool {
    hold_known(path).is_some_and(|held| held.numbers().is_ok_and(|there| there == numbers))
}

/// Opens a namespace of any type. Returns `None` if the path leads to something else, which is not opened.
///
/// This never blocks on anyone. A path through the root of a process is resolved as that process sees it,
/// symbolic links included.
pub(crate) fn open(path: &Path) -> io::Result<Option<File>> {
    let device = device()?;
    if let Some(held) = hold_known(path).filter(|held| held.namespace(device).is_some()) {
        return held.open().map(Some);
    }
    let held = walk::hold(path, device)?;
    held.filter(|held| held.namespace(device).is_some()).map(|held| held.open()).transpose()
}
