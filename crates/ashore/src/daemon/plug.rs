//! The socket of `ashore-plug`, the program that Podman's netavark and CNI runtimes execute: one call for each connection
//! (see [`ashore_plug::wire`]). Root's calls come with the network namespace's descriptor. At the socket for other users
//! no descriptor is taken: whoever passes one decides what becomes of those who ask it something or close it.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use ashore_core::model::users::User;
use ashore_kernel::{Namespace, NamespaceError, is_in_users_namespace, peer_groups, peer_uid, receive};
use ashore_plug::wire::{REQUEST_HEAD, Reply, Request, WireError};

use super::clients::{Client, Share};
use super::controller::Controller;
use super::door::{Door, Until};
use crate::front::caller::{Caller, Named};
use crate::front::plug;
use crate::sockets::{Access, ListenFds};

/// How many connections a user other than root has at a time, and how many all of those together have to whom nothing
/// is allowed: one user may have as many of these ids as root gave him for his containers.
const MOST_OF_USER: usize = 8;
/// The maximum length of a user's request without its head, in bytes. What netavark says takes a few kilobytes.
const PAYLOAD_MAX_OF_USER: usize = 64 << 10;

/// The socket of `ashore-plug`.
pub(super) struct Plug {
    door: Door,
    whose: Whose,
}

/// Whose calls come at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Root,
    /// Those of all users other than root, who has his own socket.
    Users,
}

impl Plug {
    /// Takes the sockets, or creates them: root's, and the one for users other than root, if there is to be one. What
    /// those need does not keep root's containers waiting.
    pub(super) fn all(
        root: PathBuf,
        users: Option<PathBuf>,
        handed: &mut ListenFds,
        controller: &Arc<Controller>,
    ) -> anyhow::Result<Vec<Self>> {
        let mut all = vec![Plug::at(root, handed)?];
        if let Some(users) = users {
            match Plug::for_users(users, handed, controller) {
                Ok(plug) => all.push(plug),
                Err(why) => tracing::warn!("no socket for users other than root: {why:#}"),
            }
        }
        Ok(all)
    }

    /// Takes the socket at a path, or creates it. It is for root.
    fn at(path: PathBuf, handed: &mut ListenFds) -> anyhow::Result<Self> {
        let socket = handed.socket(&path, Access::Owner)?;
        Ok(Plug { door: Door::of(path, socket, "plug")?, whose: Whose::Root })
    }

    /// The same for every user but root.
    fn for_users(
        path: PathBuf,
        handed: &mut ListenFds,
        controller: &Arc<Controller>,
    ) -> anyhow::Result<Self> {
        if is_in_users_namespace() {
            bail!("in a user namespace, users cannot be told apart");
        }
        check_directory(&path)?;
        let socket = handed.socket(&path, Access::Everyone)?;
        let controller = controller.clone();
        let share_of = move |stream: &UnixStream| {
            Ok(match caller_of(stream)? {
                // Any program in a container that runs as root could reach this one.
                None => return Err(io::ErrorKind::PermissionDenied.into()),
                Some(user) if controller.knows(&user) => Share { whose: Some(user.uid), most: MOST_OF_USER },
                Some(_) => Share { whose: None, most: MOST_OF_USER },
            })
        };
        let door = Door::shared(path, socket, "plug users", Box::new(share_of))?;
        Ok(Plug { door: door.without_descriptors(), whose: Whose::Users })
    }

    /// Begins to answer calls.
    pub(super) fn serve(&self, controller: &Arc<Controller>) -> io::Result<()> {
        let (controller, whose) = (controller.clone(), self.whose);
        self.door.serve(Box::new(move |client| answer(&controller, whose, client)))
    }
}

/// Refuses a directory in which another user could put a socket of his own in the place of this one, or another
/// directory in the place of that one: every user's Podman looks there.
fn check_directory(path: &Path) -> anyhow::Result<()> {
    let directory = path.parent().with_context(|| format!("{} is in no directory", path.display()))?;
    for (at, place) in directory.ancestors().enumerate() {
        // What is missing is made, as root's.
        let Ok(there) = std::fs::metadata(place) else { continue };
        // Nobody can rename what is root's in a directory like `/tmp`.
        let is_sticky = at > 0 && there.mode() & 0o1000 != 0;
        if there.uid() != 0 || there.mode() & 0o022 != 0 && !is_sticky {
            bail!("{} can be written by others than root", place.display());
        }
    }
    Ok(())
}

/// Who is at the other end of a stream, by what the kernel says. `None` if it is root.
fn caller_of(stream: &UnixStream) -> io::Result<Option<User>> {
    match peer_uid(stream)? {
        0 => Ok(None),
        // In a user namespace, other users may all look like one.
        _ if is_in_users_namespace() => Err(io::ErrorKind::PermissionDenied.into()),
        // In a user namespace a user may become any of these ids, and keeps the groups. Each would be a user more.
        uid if is_subordinate(uid) => Ok(Some(User { uid, groups: Vec::new() })),
        uid => Ok(Some(User { uid, groups: peer_groups(stream)? })),
    }
}

/// Whether root gave a user's id to another user, for the containers of that one (`subuid(5)`).
fn is_subordinate(uid: u32) -> bool {
    let ranges = std::fs::read("/etc/subuid").unwrap_or_default();
    is_in(&String::from_utf8_lossy(&ranges), uid)
}

fn is_in(ranges: &str, uid: u32) -> bool {
    ranges.lines().any(|line| {
        let mut numbers = line.split(':').skip(1).map(|number| number.trim().parse::<u64>());
        match (numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(Ok(count))) => {
                u64::from(uid).checked_sub(first).is_some_and(|at| at < count)
            }
            _ => false,
        }
    })
}

/// Answers the call of a connection.
fn answer(controller: &Controller, whose: Whose, client: &Client<'_>) -> io::Result<()> {
    let user = caller_of(client.stream())?;
    let is_welcome = user.is_some() == (whose == Whose::Users);
    if !is_welcome {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (request, passed) = read(whose, client)?;
    let begun = Instant::now();
    client.is_served();
    let netns = match (&user, passed) {
        (None, passed) => passed.map(opened).transpose().map_err(|error| error.to_string()),
        (Some(_), _) => Ok(request.opened.map(|(dev, ino)| Named::Numbers(dev, ino))),
    };
    // The descriptor stays open until the answer, so that no other namespace gets its numbers meanwhile.
    let caller = Caller { user, netns };
    let said = plug::answer(&request, &caller, &|request| controller.handle(request));
    client.is_waited_for();
    let micros = begun.elapsed().as_micros();
    tracing::debug!(target: "ashore::call", micros, "plug/{} is answered", plug::command(&request));
    let bytes = said.encode().or_else(|error| {
        let stderr = format!("ashore: the answer cannot be sent: {error}\n").into_bytes();
        Reply { code: 1, stdout: Vec::new(), stderr }.encode()
    });
    Until::soon(client.stream()).write_all(&bytes.map_err(io::Error::other)?)
}

/// The namespace that came with a call of root's. The path is what later observations open, and is found later. It has to
/// lead to what the caller has opened.
fn opened(passed: OwnedFd) -> Result<Named, NamespaceError> {
    Namespace::passed(passed, PathBuf::new()).map(Named::Passed)
}

fn read(whose: Whose, client: &Client<'_>) -> io::Result<(Request, Option<OwnedFd>)> {
    let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut reader = Until::soon(client.stream());
    let mut head = [0; REQUEST_HEAD];
    let mut passed = None;
    let mut read = 0;
    if whose == Whose::Root {
        reader.stream.set_read_timeout(reader.left()?)?;
        // The descriptor comes with the first bytes.
        (read, passed) = receive(reader.stream, &mut head)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    reader.read_exact(&mut head[read..])?;
    let length = Request::payload_length(&head).map_err(malformed)?;
    if whose == Whose::Users && length > PAYLOAD_MAX_OF_USER {
        return Err(malformed(WireError::TooLong { what: "the request", most: PAYLOAD_MAX_OF_USER }));
    }
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload)?;
    Ok((Request::decode(&payload).map_err(malformed)?, passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_given_for_containers_is_known_by_its_range() {
        let ranges = "alice:100000:65536\n# a comment\nbob:165536:10\n1000:4294967290:100\nodd:x:1\n:\n";
        for uid in [100_000, 165_535, 165_536, 165_545, u32::MAX] {
            assert!(is_in(ranges, uid), "{uid}");
        }
        for uid in [1, 1000, 99_999, 165_546] {
            assert!(!is_in(ranges, uid), "{uid}");
        }
    }
}
