//! Where the engine is, and what is known of it.

use std::path::{Path, PathBuf};

use super::reconnect::Disconnected;
use super::running::Running;
use super::silence::Silence;

/// Where the engine is.
pub(super) struct Engine {
    /// Its own socket.
    pub(super) socket: PathBuf,
    /// The root of its file system.
    pub(super) root: PathBuf,
    /// The driver's name to it, without the registry and the tag that a managed plugin's has besides.
    pub(super) driver: String,
    pub(super) silence: Silence,
    pub(super) version: Running,
    /// Its containers that are being connected anew.
    pub(super) disconnected: Disconnected,
}

impl Engine {
    /// A path of the engine's as this process reaches it. Its keys begin with `/var/run`, a symbolic link to `/run`
    /// which would lead out of the engine's root.
    pub(super) fn path(&self, key: &Path) -> PathBuf {
        let inside =
            key.strip_prefix("/var/run").map_or_else(|_| key.to_owned(), |rest| Path::new("/run").join(rest));
        self.root.join(inside.strip_prefix("/").unwrap_or(&inside))
    }
}
