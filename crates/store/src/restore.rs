//! Puts a document in the place of the state while no daemon runs. So a daemon that refuses the state, because a later
//! version wrote it or the file is damaged, starts again.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use ashore_core::api::document::Document;

use crate::backlog::Backlog;
use crate::document;
use crate::store::{FILE, StoreError, write_unfinished};

/// What a restoration has left.
#[derive(Debug)]
pub struct Restored {
    /// The file that was in its place, under another name.
    pub before: Option<PathBuf>,
}

/// Replaces the state in a directory, whatever it is, by a document. What was there is kept under another name, once:
/// the next restoration replaces that. `backlog` is the one that the next daemon would read; its lines are of the state
/// that goes.
///
/// At every moment there is a whole state under its name: the old one, or the document's.
pub fn restore(
    directory: &Path,
    document: Document,
    backlog: Option<Backlog>,
) -> Result<Restored, StoreError> {
    let at = |source| StoreError::Directory { path: directory.to_owned(), source };
    let path = directory.join(FILE);
    let fault = |source| StoreError::Document { path: path.clone(), source };
    let document = document::migrated(document).map_err(fault)?;
    document::to_state(&document).map_err(fault)?;
    // A database of a later version may have a format that cannot be opened; a daemon that has it open holds this lock.
    let there = match File::open(&path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(at(error)),
    };
    match there.as_ref().map_or(Ok(()), File::try_lock) {
        Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path)),
        Err(TryLockError::Error(error)) => return Err(at(error)),
        Ok(()) => {}
    }
    let unfinished = write_unfinished(directory, &document)?;
    let before = directory.join(format!("{FILE}.before-restore"));
    if there.is_some() {
        // A second name, and not another one, so that there is a state at every moment.
        match fs::remove_file(&before) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
            _ => {}
        }
        // Not every file system has links.
        fs::hard_link(&path, &before).or_else(|_| copy(&path, &before)).map_err(at)?;
    }
    // From here on the lines of the state that goes are lost, so nothing comes in between that is likely to fail.
    if let Some(mut backlog) = backlog {
        backlog.begin(&document).map_err(StoreError::Backlog)?;
    }
    fs::rename(&unfinished, &path).map_err(at)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at)?;
    Ok(Restored { before: there.map(|_| before) })
}

/// Copies a file, whole or not at all.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let copied = fs::copy(from, to).and_then(|_| File::open(to)?.sync_all());
    copied.inspect_err(|_| drop(fs::remove_file(to)))
}
