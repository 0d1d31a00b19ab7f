//! The mounts that a thread sees, according to `/proc/PID/mountinfo`. Reading it asks no filesystem.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Filesystem types that answer without a server (on the network or of a user) and without another filesystem
/// that may have one. An overlay is not among them: it asks its lower filesystems, on behalf of the user who
/// mounted it.
const LOCAL: [&str; 18] = [
    "bcachefs", "btrfs", "devtmpfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "iso9660", "nsfs", "proc",
    "ramfs", "rootfs", "squashfs", "sysfs", "tmpfs", "xfs", "zfs",
];

/// A mount. Other mounts may cover it.
pub(crate) struct Mount<'a> {
    /// The mount's ID. No other mount has it while this one exists.
    pub(crate) id: u64,
    /// The device of the mount's filesystem.
    pub(crate) device: &'a OsStr,
    /// The root of the mount within its filesystem: a path, or for a namespace its name, such as
    /// `net:[4026531840]`.
    pub(crate) of: &'a OsStr,
    /// The mount point, relative to the thread's root.
    pub(crate) point: PathBuf,
    /// The filesystem's type.
    pub(crate) kind: &'a OsStr,
}

impl<'a> Mount<'a> {
    fn of_line(line: &'a [u8]) -> Option<Self> {
        // proc(5): ID, parent, device, root, mount point, options, optional fields, a hyphen, type.
        let mut fields = line.split(|byte| *byte == b' ');
        let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let (device, of, point) = (fields.nth(1)?, fields.next()?, fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        let [device, of, kind] = [device, of, kind].map(OsStr::from_bytes);
        Some(Mount { id, device, of, point: unescaped(point), kind })
    }

    /// The inode number of the network namespace, if the mount is of one.
    pub(crate) fn netns(&self) -> Option<u64> {
        number(self.of)
    }
}

/// All mounts in a `mountinfo`.
pub(crate) fn mounts(text: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(Mount::of_line)
}

/// The filesystem of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filesystem {
    pub(crate) device: OsString,
    pub(crate) kind: OsString,
}

impl Filesystem {
    /// The filesystem of the mount with the given ID. Returns `None` if the `mountinfo` does not list it. The
    /// caller holds the mount, so no other mount can get the ID.
    ///
    /// Reading stops at that line. There may be thousands of mounts, and those of the system come first.
    pub(crate) fn of_mount(id: u64, mountinfo: impl Read) -> io::Result<Option<Self>> {
        let begin = format!("{id} ");
        for line in BufReader::with_capacity(4096, mountinfo).split(b'\n') {
            let line = line?;
            if line.starts_with(begin.as_bytes())
                && let Some(mount) = Mount::of_line(&line)
            {
                return Ok(Some(Filesystem { device: mount.device.into(), kind: mount.kind.into() }));
            }
        }
        Ok(None)
    }

    /// Returns whether a path lookup in this filesystem is certain not to wait for a server.
    pub(crate) fn is_local(&self) -> bool {
        LOCAL.iter().any(|kind| self.kind == *kind)
    }
}

/// The inode number in the name that the kernel gives a network namespace (`net:[INODE]`).
pub(crate) fn number(name: &OsStr) -> Option<u64> {
    name.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Decodes a path as the kernel writes it: spaces and similar characters are escaped as three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let digits = after
            .get(..3)
            .filter(|digits| *byte == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let escaped = digits
            .map(|digits| digits.iter().fold(0_u8, |sum, d| sum.wrapping_mul(8).wrapping_add(d - b'0')));
        bytes.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_path_is_read_as_the_kernel_writes_it() {
        for (written, path) in [
            ("/run/netns/web", "/run/netns/web"),
            (r"/mnt/with\040space\134and\011tab", "/mnt/with space\\and\ttab"),
            (r"/odd\04", r"/odd\04"),
            (r"\", r"\"),
        ] {
            assert_eq!(unescaped(written.as_bytes()), Path::new(path));
        }
    }

    #[test]
    fn a_mount_is_read_with_and_without_what_it_shares() {
        let text = b"36 35 0:4 net:[4026532281] /run/netns/web rw shared:5 master:1 - nsfs nsfs rw\n\
                     37 35 0:46 / /home/me/far\\040away rw,nosuid - fuse.sshfs me@there: rw,user_id=1000\n\n";
        let seen: Vec<_> = mounts(text).map(|mount| (mount.netns(), mount.point)).collect();
        assert_eq!(
            seen,
            [(Some(4_026_532_281), "/run/netns/web".into()), (None, "/home/me/far away".into())]
        );
        let local = |id| Filesystem::of_mount(id, &text[..]).unwrap().map(|found| found.is_local());
        assert_eq!([36, 37, 35].map(local), [Some(true), Some(false), None]);
    }
}
