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
use super::subids;
use super::turns::Turns;
use crate::front::caller::{Caller, Named};
use crate::front::plug;
use crate::sockets::{Access, ListenFds};

/// How many connections there are at a time of users other than root, and of one of them. Most of these wait for their
/// turn: a stack of containers starts at once.
const MOST_OF_USERS: usize = 256;
const MOST_OF_USER: usize = 24;
/// How many connections all of those together have to whom nothing is allowed: one user may have as many of these ids as
/// root gave him for his containers.
const MOST_OF_STRANGERS: usize = 8;
/// The maximum length of a user's request without its head, in bytes. What netavark says takes a few kilobytes.
const PAYLOAD_MAX_OF_USER: usize = 64 << 10;

/// The socket of `ashore-plug`.
pub(super) struct Plug {
    door: Door,
    whose: Whose,
    turns: Arc<Turns>,
}

/// Whose calls come at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Root,
    /// Those of all users other than root, who has his own socket.
    Users,
}

impl Plug {
    /// Takes the sockets, or creates them: root's, and the one for users other than root, if there is to be one.
    /// `asked` says that the administrator has named its place. What those need does not keep root's containers waiting.
    pub(super) fn all(
        root: PathBuf,
        users: Option<PathBuf>,
        asked: bool,
        handed: &mut ListenFds,
        controller: &Arc<Controller>,
    ) -> anyhow::Result<Vec<Self>> {
        let mut all = vec![Plug::at(root, handed)?];
        // An init system that holds sockets, and not this one, has it from its administrator that there is to be none.
        if let Some(users) = users.filter(|users| asked || handed.has(users) || handed.are_none()) {
            match Plug::for_users(users.clone(), handed, controller) {
                Ok(plug) => {
                    controller.hears_users();
                    all.push(plug);
                }
                Err(why) => {
                    tracing::warn!("no socket for users other than root: {why:#}");
                    all.extend(Plug::closed(users, handed)?);
                }
            }
        }
        Ok(all)
    }

    /// Takes the socket at a path, or creates it. It is for root.
    fn at(path: PathBuf, handed: &mut ListenFds) -> anyhow::Result<Self> {
        let socket = handed.socket(&path, Access::Owner)?;
        Ok(Plug { door: Door::of(path, socket, "plug")?, whose: Whose::Root, turns: Arc::default() })
    }

    /// Hangs up on everybody at a socket that was handed over and is not fit for users: nobody is to wait there.
    fn closed(path: PathBuf, handed: &mut ListenFds) -> anyhow::Result<Option<Self>> {
        let Some(socket) = handed.passed(&path) else { return Ok(None) };
        let nobody = |_: &UnixStream| Err(io::ErrorKind::PermissionDenied.into());
        let door = Door::shared(path, socket, "plug closed", MOST_OF_STRANGERS, Box::new(nobody))?;
        Ok(Some(Plug { door: door.without_descriptors(), whose: Whose::Users, turns: Arc::default() }))
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
                Some(_) => Share { whose: None, most: MOST_OF_STRANGERS },
            })
        };
        let door = Door::shared(path, socket, "plug users", MOST_OF_USERS, Box::new(share_of))?;
        Ok(Plug { door: door.without_descriptors(), whose: Whose::Users, turns: Arc::default() })
    }

    /// Begins to answer calls.
    pub(super) fn serve(&self, controller: &Arc<Controller>) -> io::Result<()> {
        let (controller, whose, turns) = (controller.clone(), self.whose, self.turns.clone());
        self.door.serve(Box::new(move |client| answer(&controller, whose, &turns, client)))
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
        uid if subids::is_subordinate(uid) || subids::elsewhere().is_some() => {
            Ok(Some(User { uid, groups: Vec::new() }))
        }
        uid => Ok(Some(User { uid, groups: peer_groups(stream)? })),
    }
}

/// Answers the call of a connection.
fn answer(controller: &Controller, whose: Whose, turns: &Turns, client: &Client<'_>) -> io::Result<()> {
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
    let turn = user.as_ref().filter(|user| controller.knows(user)).map(|user| turns.take(user.uid));
    let caller = Caller { user, netns };
    let said = plug::answer(&request, &caller, &|request| controller.handle(request));
    drop(turn);
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
