//! Where the engine is, and what is known about it.

use std::path::{Path, PathBuf};

use super::labels::Images;
use super::reconnect::Disconnected;
use super::silence::Silence;
use crate::engines::running::Running;

/// An engine.
pub(crate) struct Engine {
    /// The socket of its API.
    pub(crate) socket: PathBuf,
    /// The root of its file system.
    pub(crate) root: PathBuf,
    /// The name by which the engine knows the driver, without the registry and the tag of a managed plugin.
    pub(crate) driver: String,
    pub(crate) silence: Silence,
    /// What images of containers say.
    pub(crate) images: Images,
    pub(crate) version: Running,
    /// Containers that are being reconnected.
    pub(crate) disconnected: Disconnected,
}

impl Engine {
    /// Translates a path of the engine to a path of this process. A sandbox key begins with `/var/run`, a
    /// symbolic link to `/run` that would lead out of the engine's root.
    pub(crate) fn path(&self, key: &Path) -> PathBuf {
        let inside =
            key.strip_prefix("/var/run").map_or_else(|_| key.to_owned(), |rest| Path::new("/run").join(rest));
        self.root.join(inside.strip_prefix("/").unwrap_or(&inside))
    }
}
