//! The name servers that the LAN announces, as one file for each endpoint. The user may mount that file as
//! the container's `/etc/resolv.conf`. A file keeps its inode as long as its endpoint exists, so that the
//! mount follows changes: when there is no name server any more, the file is empty.
//!
//! Every user may read the files, whatever the umask, and only the daemon writes them. A link or a directory
//! that another user has put in their place is neither followed nor written.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::state::State;

use super::follower::{Follower, Published};
use crate::files::Directory;

const DIRECTORY: &str = "resolv";
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
/// The maximum length of a file that is read, in bytes. Files of Ashore are shorter.
const LONGEST: u64 = 64 * 1024;

/// The files with the name servers.
pub(crate) struct Resolv {
    run: PathBuf,
    /// The last state that was published, until a thread brings the files in line with it. It is taken only
    /// while `written` is locked, so that no older state is written after a newer one.
    published: Mutex<Option<Arc<State>>>,
    written: Mutex<Written>,
}

/// What the files say.
struct Written {
    /// The text of each file, by `NETWORK/NAME.conf`.
    texts: BTreeMap<PathBuf, String>,
    /// The state with which all files are in line. `None` if a write has failed.
    of: Option<Arc<State>>,
}

impl Resolv {
    /// The files below a daemon's run directory. Files that another daemon left there may be of endpoints
    /// that are gone.
    pub(crate) fn of(run: &Path) -> Self {
        let mut written = BTreeMap::new();
        if let Ok(directory) =
            Directory::at(run).and_then(|run| run.existing(DIRECTORY.as_ref(), DIRECTORY_MODE))
        {
            for network in directory.names().unwrap_or_default() {
                // Directories that are not Ashore's are left alone.
                let Ok(files) = directory.existing(&network, DIRECTORY_MODE) else { continue };
                for name in files.names().unwrap_or_default() {
                    let Ok(text) = files.read(&name, FILE_MODE, LONGEST) else { continue };
                    let text = String::from_utf8_lossy(&text).into_owned();
                    written.insert(Path::new(&network).join(name), text);
                }
            }
        }
        Resolv {
            run: run.to_owned(),
            published: Mutex::default(),
            written: Mutex::new(Written { texts: written, of: None }),
        }
    }

    fn published(&self) -> MutexGuard<'_, Option<Arc<State>>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the files in line with the name servers of the endpoints. A failed write is logged and tried
    /// again with the next change, and every minute.
    fn write(&self, state: Arc<State>, written: &mut Written) {
        if written.of.as_ref().is_some_and(|before| says_nothing_else(before, &state, &written.texts)) {
            written.of = Some(state);
            return;
        }
        let texts = &mut written.texts;
        let wanted: BTreeMap<PathBuf, String> = told(&state)
            .filter(|(path, text)| text.is_some() || texts.contains_key(path))
            .map(|(path, text)| (path, text.unwrap_or_default()))
            .collect();
        texts.retain(|path, _| wanted.contains_key(path) || !self.said(path, &self.remove(path)));
        for (path, text) in &wanted {
            if texts.get(path) != Some(text) && self.said(path, &self.put(path, text)) {
                texts.insert(path.clone(), text.clone());
            }
        }
        written.of = (*texts == wanted).then_some(state);
    }

    /// Writes a file in place and shortens it last: a program that reads it meanwhile finds lines of both
    /// versions.
    fn put(&self, path: &Path, text: &str) -> io::Result<()> {
        let (network, name) = parts(path)?;
        let directory = Directory::at(&self.run)?.inside(DIRECTORY.as_ref(), DIRECTORY_MODE)?;
        let file = directory.inside(network, DIRECTORY_MODE)?.file(name, FILE_MODE)?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (network, name) = parts(path)?;
        let remove = || {
            let directory = Directory::at(&self.run)?.existing(DIRECTORY.as_ref(), DIRECTORY_MODE)?;
            directory.existing(network, DIRECTORY_MODE)?.remove(name)?;
            // A network's directory is removed with its last file.
            let _ = directory.remove_directory(network);
            io::Result::Ok(())
        };
        match remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn said(&self, path: &Path, done: &io::Result<()>) -> bool {
        if let Err(error) = done {
            let path = self.run.join(DIRECTORY).join(path);
            tracing::warn!(path = %path.display(), "name servers: {error}");
        }
        done.is_ok()
    }
}

impl Follower for Resolv {
    fn follow(&self, now: &Published) {
        *self.published() = Some(now.state.clone());
    }

    fn catch_up(&self) {
        // Another thread may be writing what this one has published.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let published = self.published().take();
        if let Some(state) = published {
            self.write(state, &mut written);
        }
    }
}

/// Whether a state asks for the same files as the one before, as far as can be told from what has changed: the
/// networks are the same, and the endpoints that have changed have no name servers and no file.
fn says_nothing_else(before: &State, state: &State, texts: &BTreeMap<PathBuf, String>) -> bool {
    let is_silent = |state: &State, endpoint: &Endpoint| {
        let told = told_of(state, endpoint);
        told.is_none_or(|(path, text)| text.is_none() && !texts.contains_key(&path))
    };
    before.networks == state.networks
        && state.endpoints.differs_from(&before.endpoints).into_iter().all(|(_, had, has)| {
            had.is_none_or(|had| is_silent(before, had)) && has.is_none_or(|has| is_silent(state, has))
        })
}

/// The text of each endpoint's file, by path.
fn told(state: &State) -> impl Iterator<Item = (PathBuf, Option<String>)> {
    state.endpoints.values().filter_map(|endpoint| told_of(state, endpoint))
}

/// The path and text of an endpoint's file. The text is `None` for an endpoint without name servers.
fn told_of(state: &State, endpoint: &Endpoint) -> Option<(PathBuf, Option<String>)> {
    let label = state.network_of(endpoint)?.label();
    // The engine's name for a network is used as a directory name only if Ashore allows it as a network name.
    let network = label.parse().unwrap_or_else(|_| endpoint.network.clone());
    let path = Path::new(network.as_str()).join(format!("{}.conf", endpoint.name.in_path()));
    Some((path, endpoint.resolv_conf()))
}

fn parts(path: &Path) -> io::Result<(&OsStr, &OsStr)> {
    let network = path.parent().map(Path::as_os_str);
    network.zip(path.file_name()).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
