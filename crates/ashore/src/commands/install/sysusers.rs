//! The commands that make and remove the group.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::client::GROUP;

/// The file from which systemd-sysusers makes the group.
pub(super) const FILE: &str = "/etc/sysusers.d/ashore.conf";
pub(super) const SYSUSERS: &str = "/usr/bin/systemd-sysusers";

pub(super) const MAKE: [&str; 2] = ["systemd-sysusers", FILE];
pub(super) const REMOVE: [&str; 2] = ["groupdel", GROUP];

pub(super) fn groupdel() -> Option<PathBuf> {
    ["/usr/sbin/groupdel", "/sbin/groupdel"].into_iter().map(PathBuf::from).find(|path| path.exists())
}

/// Runs [`MAKE`] or [`REMOVE`].
pub(super) fn run(words: [&str; 2]) -> io::Result<()> {
    let program = if words == REMOVE { groupdel() } else { Some(Path::new(SYSUSERS).to_owned()) };
    let program = program.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not installed"))?;
    let output = Command::new(program).arg(words[1]).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ")))
}
