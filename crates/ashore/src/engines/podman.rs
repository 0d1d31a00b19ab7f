//! Podman keeps each of its networks in a file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::Deserialize;

use crate::unlocked::Unlocked;

/// The maximum number of files that are read.
const MOST_FILES: usize = 4096;
/// How many bytes are read of each.
const LONGEST: u64 = 1 << 20;

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// The ids of all networks that a directory has files of, and the directory's device and inode.
pub(crate) fn networks_in(_: &Unlocked, directory: &Path) -> io::Result<((u64, u64), BTreeSet<String>)> {
    let mut ids = BTreeSet::new();
    let there = std::fs::metadata(directory)?;
    for (count, entry) in std::fs::read_dir(directory)?.enumerate() {
        if count >= MOST_FILES {
            return Err(io::Error::other("too many files"));
        }
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        // A pipe would never answer.
        let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(format!("{} is no file", path.display())));
        }
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text)?;
        // Podman itself passes over a file that it cannot read.
        let named: Named = serde_json::from_slice(&text)?;
        ids.insert(named.id);
    }
    Ok(((there.dev(), there.ino()), ids))
}
