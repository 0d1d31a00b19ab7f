//! A file that is held without being opened, and what the kernel itself knows about it.
//!
//! Someone else, such as a container, often controls where a path leads. Opening the file could trigger a
//! device or block on the other end of a pipe. Asking its filesystem could block on a server that never
//! answers, or be refused. So the file is held without being opened (`O_PATH`), and it is asked only for what
//! the kernel itself knows: its device.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

/// A file that is held but not opened.
pub(crate) struct Held(OwnedFd);

impl Held {
    /// Holds what a path leads to. The kernel follows the path and may block, so use this only for paths that
    /// nobody else controls.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
        Ok(Held(file.into()))
    }

    /// The inode number, if the file is a namespace. All namespace files are on one device. Returns `None`
    /// otherwise.
    pub(crate) fn namespace(&self, device: u64) -> Option<u64> {
        // Namespace files always answer. A FUSE filesystem of another user tells even root no more than its
        // device, before Linux 5.8 not even that, and nothing at all if it is broken.
        if device_of(&self.ask(0).ok()?) != device {
            return None;
        }
        Some(self.ask(libc::STATX_INO).ok()?.stx_ino)
    }

    /// Device and inode, as far as the kernel knows them.
    pub(crate) fn numbers(&self) -> io::Result<(u64, u64)> {
        let known = self.ask(libc::STATX_INO)?;
        Ok((device_of(&known), known.stx_ino))
    }

    /// Asks for what the kernel knows about the file. It does not ask a server, which might not answer.
    fn ask(&self, mask: u32) -> io::Result<libc::statx> {
        let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC | libc::AT_NO_AUTOMOUNT;
        let mut found = MaybeUninit::<libc::statx>::uninit();
        // SAFETY: the path ends with a zero byte, and the result is written to a buffer of its size.
        let asked = unsafe { libc::statx(self.0.as_raw_fd(), c"".as_ptr(), flags, mask, found.as_mut_ptr()) };
        Errno::result(asked)?;
        // SAFETY: the call succeeded.
        Ok(unsafe { found.assume_init() })
    }

    /// The ID of the file's mount. The filesystem is not asked for it.
    pub(crate) fn mount(&self) -> io::Result<u64> {
        // Linux 5.8, if the filesystem answers at all.
        if let Ok(known) = self.ask(0)
            && known.stx_mask & libc::STATX_MNT_ID != 0
        {
            return Ok(known.stx_mnt_id);
        }
        let text = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", self.0.as_raw_fd()))?;
        let number = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        number.ok_or_else(|| io::Error::other("the kernel does not report a file's mount"))
    }

    /// The ID of the file's mount, if the file may be a directory. Through a directory, everything mounted
    /// below it can be reached, even mounts that no process sees.
    pub(crate) fn mount_of_directory(&self) -> io::Result<Option<u64>> {
        let kind = self.ask(0).map_or(0, |known| u32::from(known.stx_mode) & libc::S_IFMT);
        // If the filesystem does not even report the type, the file may be a directory.
        if kind == libc::S_IFDIR || kind == 0 { self.mount().map(Some) } else { Ok(None) }
    }

    /// Duplicates the handle.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Held(self.0.try_clone()?))
    }

    /// A path that leads to the file. It is valid only in this process.
    pub(crate) fn link(&self) -> PathBuf {
        format!("/proc/thread-self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// Opens the file for reading.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::open(self.link())
    }
}

impl From<OwnedFd> for Held {
    fn from(file: OwnedFd) -> Self {
        Held(file)
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn device_of(known: &libc::statx) -> u64 {
    libc::makedev(known.stx_dev_major, known.stx_dev_minor)
}
