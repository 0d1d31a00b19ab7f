//! The daemon's Unix sockets. Either the init system passes them to the daemon, and keeps them while no
//! daemon runs, or the daemon creates them. Those are accessible only to their owner, except for the read
//! socket, which a group may use, and the one at which `ashore-plug` calls for other users than root.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::net::text::list;
use ashore_kernel::inherited_listeners;
use nix::unistd::Group;

use crate::client::{Failure, GROUP};
use crate::files;

/// The file name of the control socket.
pub(crate) const CONTROL: &str = "ashore.sock";

/// The file name of the socket of `ashore-plug`.
pub(crate) const PLUG: &str = "ashore-plug.sock";

/// Who may use a socket that the daemon creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Owner,
    /// The owner, and the members of [`GROUP`] if there is such a group.
    Group,
    /// Every user. Whoever answers there asks the kernel who called.
    Everyone,
}

/// A listening socket.
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    /// Whether the init system passed the socket. Then the socket outlives this process, and its file does
    /// not belong to this process.
    pub(crate) handed: bool,
}

/// The sockets that the init system passed, each with the path that it is bound to.
pub(crate) struct ListenFds {
    /// Those that nobody has taken yet.
    left: Vec<(Option<PathBuf>, UnixListener)>,
    are_none: bool,
}

impl ListenFds {
    /// Takes the inherited sockets. Fails if one is not bound to a path of this daemon, because its callers
    /// would wait for ever.
    pub(crate) fn take(paths: &[&Path]) -> Result<Self, Failure> {
        let listeners = inherited_listeners().map_err(anyhow::Error::from)?;
        let bound = listeners.into_iter().map(|listener| {
            let address = listener.local_addr().ok();
            (address.and_then(|address| address.as_pathname().map(Path::to_owned)), listener)
        });
        let left: Vec<_> = bound.collect();
        let handed = ListenFds { are_none: left.is_empty(), left };
        let wanted = |path: &Path| paths.iter().any(|ours| same(ours, path));
        match handed.left.iter().find(|(path, _)| !path.as_deref().is_some_and(wanted)) {
            None => Ok(handed),
            Some((path, _)) => Err(not_wanted(path.as_deref(), paths).into()),
        }
    }

    /// Returns the socket at a path: the inherited one, or else a new one.
    pub(crate) fn socket(&mut self, path: &Path, access: Access) -> anyhow::Result<Socket> {
        match self.passed(path) {
            Some(socket) => Ok(socket),
            None => Ok(Socket { listener: bind(path, access)?, handed: false }),
        }
    }

    /// Returns the inherited socket at a path.
    pub(crate) fn passed(&mut self, path: &Path) -> Option<Socket> {
        let at = self.position(path)?;
        Some(Socket { listener: self.left.swap_remove(at).1, handed: true })
    }

    /// Whether the socket at a path was passed.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.position(path).is_some()
    }

    /// Whether the init system has passed no socket at all.
    pub(crate) fn are_none(&self) -> bool {
        self.are_none
    }

    fn position(&self, path: &Path) -> Option<usize> {
        self.left.iter().position(|(bound, _)| bound.as_deref().is_some_and(|bound| same(bound, path)))
    }
}

/// Whether two paths lead to the same place, such as `/var/run/x` and `/run/x`.
fn same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| Some((path.parent()?.canonicalize().ok()?, path.file_name()?.to_owned()));
    one == other || place(one).is_some_and(|there| Some(there) == place(other))
}

fn not_wanted(path: Option<&Path>, ours: &[&Path]) -> Refusal {
    let path = path.map_or("a socket without a path".to_owned(), |path| path.display().to_string());
    let ours = list(ours.iter().map(|path| path.display()));
    Refusal::of(
        Code::PlaceUnfit,
        format!("the init system passed {path}, but this daemon answers at {ours}"),
        "set ListenStream= in the socket unit to one of these, or --run, --users-socket or --docker-plugin to that one",
    )
}

/// Creates the socket and its directory, and replaces a socket on which nothing listens any more. The socket
/// is created under another name, so that no client finds it before its mode is set.
fn bind(path: &Path, access: Access) -> anyhow::Result<UnixListener> {
    let directory = path.parent().with_context(|| format!("{} has no parent directory", path.display()))?;
    let make = files::make_directories(directory, 0o755);
    make.with_context(|| format!("the directory {}", directory.display()))?;
    if UnixStream::connect(path).is_ok() {
        bail!("another program listens on {}; stop it, or choose another path", path.display());
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", Path::new(&unfinished).display()));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(&unfinished).with_context(|| format!("the socket {}", path.display()))?;
    let mode = match access {
        Access::Everyone => 0o666,
        Access::Group if is_given_to_group(&unfinished) => 0o660,
        Access::Group | Access::Owner => 0o600,
    };
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&unfinished, path).with_context(|| format!("the socket {}", path.display()))?;
    Ok(listener)
}

/// Gives a file to the group. Returns whether it belongs to the group now. Without the group, or where the
/// daemon may not give files away, the file stays with its owner alone.
fn is_given_to_group(path: impl AsRef<Path>) -> bool {
    let group = match Group::from_name(GROUP) {
        Ok(Some(group)) => group,
        Ok(None) => return false,
        Err(error) => {
            tracing::warn!("only root can use the read socket: the group {GROUP}: {error}");
            return false;
        }
    };
    let given = std::os::unix::fs::chown(path, None, Some(group.gid.as_raw()));
    if let Err(error) = &given {
        tracing::warn!("only root can use the read socket: it cannot be given to the group {GROUP}: {error}");
    }
    given.is_ok()
}
