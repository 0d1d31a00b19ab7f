//! A Unix socket in the file system, for its owner alone.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::{Context, bail};

/// Makes the socket and its directory. One that nobody listens on any more is replaced; it is made under another name,
/// so that nobody finds it before it is closed to others.
pub(crate) fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    let directory = path.parent().with_context(|| format!("{} is in no directory", path.display()))?;
    let make = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    make.with_context(|| format!("the directory {}", directory.display()))?;
    if UnixStream::connect(path).is_ok() {
        bail!("another program listens on {}; stop it, or choose another path", path.display());
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} is in the way", Path::new(&unfinished).display()));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(&unfinished).with_context(|| format!("the socket {}", path.display()))?;
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unfinished, path).with_context(|| format!("the socket {}", path.display()))?;
    Ok(listener)
}
