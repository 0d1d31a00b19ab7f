//! The daemon's Unix sockets: handed over by the init system, which keeps them while no daemon runs, or made here, for
//! their owner alone.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ashore_core::api::refusal::{Refusal, RefusalKind};
use ashore_kernel::inherited_listeners;

use crate::client::Failure;
use crate::files;

/// A socket to accept on.
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    /// Whether it was handed over: then it outlives this process, and its file is not this process's.
    pub(crate) handed: bool,
}

/// The sockets that were handed over, each known by the path that it is bound to.
pub(crate) struct ListenFds(Vec<(Option<PathBuf>, UnixListener)>);

impl ListenFds {
    /// Takes them. One that is bound to none of the paths at which this daemon answers is refused: callers of it would
    /// wait for ever.
    pub(crate) fn take(paths: [&Path; 2]) -> Result<Self, Failure> {
        let listeners = inherited_listeners().map_err(anyhow::Error::from)?;
        let bound = listeners.into_iter().map(|listener| {
            let address = listener.local_addr().ok();
            (address.and_then(|address| address.as_pathname().map(Path::to_owned)), listener)
        });
        let handed = ListenFds(bound.collect());
        let wanted = |path: &Path| paths.iter().any(|ours| same(ours, path));
        match handed.0.iter().find(|(path, _)| !path.as_deref().is_some_and(wanted)) {
            None => Ok(handed),
            Some((path, _)) => Err(not_wanted(path.as_deref(), paths).into()),
        }
    }

    /// The socket at a path: the one that was handed over, or else a new one.
    pub(crate) fn socket(&mut self, path: &Path) -> anyhow::Result<Socket> {
        let found =
            self.0.iter().position(|(bound, _)| bound.as_deref().is_some_and(|bound| same(bound, path)));
        match found {
            Some(at) => Ok(Socket { listener: self.0.swap_remove(at).1, handed: true }),
            None => Ok(Socket { listener: bind(path)?, handed: false }),
        }
    }
}

/// Whether two paths lead to one place, such as `/var/run/x` and `/run/x`.
fn same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| Some((path.parent()?.canonicalize().ok()?, path.file_name()?.to_owned()));
    one == other || place(one).is_some_and(|there| Some(there) == place(other))
}

fn not_wanted(path: Option<&Path>, ours: [&Path; 2]) -> Refusal {
    let path = path.map_or("a socket without a path".to_owned(), |path| path.display().to_string());
    let [control, plugin] = ours.map(Path::display);
    Refusal {
        kind: RefusalKind::Invalid,
        message: format!("{path} was handed over, and this daemon answers at {control} and {plugin}"),
        hint: Some(
            "name these two with ListenStream= in the socket unit, or that one with --run or --docker-plugin"
                .into(),
        ),
    }
}

/// Makes the socket and its directory. One that nobody listens on any more is replaced; it is made under another name,
/// so that nobody finds it before it is closed to others.
fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    let directory = path.parent().with_context(|| format!("{} is in no directory", path.display()))?;
    let make = files::make_directories(directory, 0o755);
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
