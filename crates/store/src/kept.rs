//! States of before an upgrade. A schema grows when an older program would get the state wrong, so the older program
//! refuses the newer state. What it had is kept beside the state, as a document that `ashore state restore` takes.
//!
//! There is one file for each schema. Who has gone back and upgrades once more has the later state in it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ashore_core::api::document::Document;

use crate::document::SCHEMA;

fn name(schema: u32) -> String {
    format!("state-of-schema-{schema}.json")
}

/// Keeps a document. When this returns `Ok`, it is on the disk, whole and under its name.
pub(crate) fn keep(directory: &Path, document: &Document) -> io::Result<PathBuf> {
    let path = directory.join(name(document.schema));
    let unfinished = directory.join(format!("{}.new", name(document.schema)));
    // Of a daemon that was killed.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec_pretty(document)?)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(directory)?.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    Ok(path)
}

/// The latest document in a directory that this version reads, if one is kept there.
pub(crate) fn latest(directory: &Path) -> Option<PathBuf> {
    (1..=SCHEMA).rev().map(|schema| directory.join(name(schema))).find(|path| path.is_file())
}
