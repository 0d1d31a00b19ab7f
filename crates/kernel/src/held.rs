//! A file that is held and not opened, and what the kernel alone knows of it.
//!
//! What a path leads to is often for somebody else to say, such as a container. To open it could set off a device, or wait for the
//! other end of a pipe; to ask its filesystem could wait for a server that never answers, or be refused. So it is held without being
//! opened (`O_PATH`), and only what the kernel knows itself is asked of it: its device.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

/// A file that is held and not opened.
pub(crate) struct Held(OwnedFd);

impl Held {
    /// What a path leads to that nobody else has a say in: it is followed by the kernel, which waits.
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

    /// The number of its mount. The filesystem is not asked for that.
    pub(crate) fn mount(&self) -> io::Result<u64> {
        // Linux 5.8, if the filesystem tells anything.
        if let Ok(known) = self.ask(0)
            && known.stx_mask & libc::STATX_MNT_ID != 0
        {
            return Ok(known.stx_mnt_id);
        }
        let text = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", self.0.as_raw_fd()))?;
        let number = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        number.ok_or_else(|| io::Error::other("the kernel does not tell what a file is mounted by"))
    }

    /// The same if it may be a directory: by one everything is reached that is mounted below, whether or not anybody sees that.
    pub(crate) fn mount_of_directory(&self) -> io::Result<Option<u64>> {
        let kind = self.ask(0).map_or(0, |known| u32::from(known.stx_mode) & libc::S_IFMT);
        // A filesystem that does not tell even that may be any.
        if kind == libc::S_IFDIR || kind == 0 { self.mount().map(Some) } else { Ok(None) }
    }

    /// The same file once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Held(self.0.try_clone()?))
    }

    /// The path that leads to it in this process alone.
    pub(crate) fn link(&self) -> PathBuf {
        format!("/proc/thread-self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// Opens it for reading.
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
