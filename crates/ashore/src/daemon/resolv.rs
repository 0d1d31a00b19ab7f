//! The name servers that the LAN tells of, as a file for each endpoint that whoever runs the container may mount as its
//! `/etc/resolv.conf`. A file keeps its inode for as long as its endpoint is there, so that what is mounted follows: when there is no name
//! server any more, it is empty.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ashore_core::NetworkName;
use ashore_core::endpoint::Endpoint;
use ashore_core::state::State;

/// The files.
pub(crate) struct Resolv {
    directory: PathBuf,
    /// What is in them.
    written: Mutex<BTreeMap<PathBuf, String>>,
}

impl Resolv {
    /// Below a daemon's run directory. What another daemon left there is of endpoints that may be gone.
    pub(crate) fn of(run: &Path) -> Self {
        let directory = run.join("resolv");
        let written = Mutex::new(found(&directory));
        Resolv { directory, written }
    }

    /// Brings the files in line with what endpoints know. What cannot be written is said, and tried again with the next change.
    pub(crate) fn follow(&self, state: &State) {
        let told = self.told(state);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: BTreeMap<PathBuf, String> = told
            .into_iter()
            .filter(|(path, text)| text.is_some() || written.contains_key(path))
            .map(|(path, text)| (path, text.unwrap_or_default()))
            .collect();
        if *written == wanted {
            return;
        }
        written.retain(|path, _| wanted.contains_key(path) || !said(path, &remove(path)));
        for (path, text) in wanted {
            if written.get(&path) != Some(&text) && said(&path, &put(&path, &text)) {
                written.insert(path, text);
            }
        }
    }

    /// What there is to say to each endpoint, by its file.
    fn told(&self, state: &State) -> BTreeMap<PathBuf, Option<String>> {
        let of = |endpoint: &Endpoint| {
            let label = state.network_of(endpoint)?.label();
            // What an engine calls its network is a file's name only if Ashore's networks may be called so.
            let network = label.parse().unwrap_or_else(|_| endpoint.network.clone());
            Some((self.file(&network, endpoint.name.as_str()), endpoint.resolv_conf()))
        };
        state.endpoints.values().filter_map(of).collect()
    }

    fn file(&self, network: &NetworkName, name: &str) -> PathBuf {
        self.directory.join(network.as_str()).join(format!("{name}.conf"))
    }
}

/// The files that there are.
fn found(directory: &Path) -> BTreeMap<PathBuf, String> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries(directory).flat_map(|network| entries(&network).collect::<Vec<_>>());
    files.filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?))).collect()
}

/// In place, and shortened last: whoever reads meanwhile finds lines of both.
fn put(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(path)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // With its last file a network's directory goes.
    path.parent().map(fs::remove_dir);
    Ok(())
}

fn said(path: &Path, done: &io::Result<()>) -> bool {
    if let Err(error) = done {
        tracing::warn!(path = %path.display(), "name servers: {error}");
    }
    done.is_ok()
}
