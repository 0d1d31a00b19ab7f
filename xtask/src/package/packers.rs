//! Programs of Debian's that make and check the files of a release, in a tree of their own, so that every machine makes
//! the same bytes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages;

/// Where a program finds the directory that it works on.
pub(super) const WORK: &str = "/mnt";

/// Where a program finds the file of this machine that `KEY` names in its environment. No copy of it is made.
pub(super) const KEY: &str = "/tmp/key";

/// Runs a program in the tree, in a mount namespace of its own, with one directory of the machine and nothing else.
const INSIDE: &str = r#"
    tree=$1 work=$2
    shift 2
    mount --bind "$work" "$tree/mnt"
    mount -t proc proc "$tree/proc"
    mount -t tmpfs tmpfs "$tree/dev"
    mount -t tmpfs tmpfs "$tree/tmp"
    mount -t tmpfs tmpfs "$tree/var"
    mkdir "$tree/var/tmp" "$tree/var/lib"
    if [ -n "${KEY-}" ]; then
        : > "$tree/tmp/key"
        mount --bind "$KEY" "$tree/tmp/key"
        mount -o remount,bind,ro "$tree/tmp/key"
    fi
    for device in null zero urandom; do touch "$tree/dev/$device"; mount --bind /dev/$device "$tree/dev/$device"; done
    exec /usr/sbin/chroot "$tree" "$@"
"#;

pub(super) struct Packers(PathBuf);

impl Packers {
    pub(super) fn fetch(root: &Path) -> anyhow::Result<Self> {
        packages::fetch_packers(root).map(Packers).map_err(anyhow::Error::msg)
    }

    /// A program with a directory of this machine at [`WORK`]. All dates that it writes are `date`, in seconds.
    pub(super) fn command(&self, program: &str, work: &Path, date: u64) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", INSIDE, "sh"]).arg(&self.0).arg(work).arg(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin")
            .env("HOME", "/tmp")
            .env("LC_ALL", "C");
        command.env("SOURCE_DATE_EPOCH", date.to_string());
        command
    }
}
