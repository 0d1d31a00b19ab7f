//! The socket of `ashore-plug`, the program that Podman's netavark and CNI runtimes execute: one call for each connection
//! (see [`ashore_plug::wire`]), with the network namespace's descriptor.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use ashore_kernel::{Namespace, peer_uid, receive};
use ashore_plug::wire::{REQUEST_HEAD, Reply, Request};

use super::clients::Client;
use super::controller::Controller;
use super::door::{Door, Until};
use crate::front::caller::Caller;
use crate::front::plug;
use crate::sockets::{Access, ListenFds};

/// The socket of `ashore-plug`.
pub(super) struct Plug(Door);

impl Plug {
    /// Takes the socket at a path, or creates it.
    pub(super) fn at(path: PathBuf, handed: &mut ListenFds) -> anyhow::Result<Self> {
        let socket = handed.socket(&path, Access::Owner)?;
        Door::of(path, socket, "plug").map(Plug)
    }

    /// Begins to answer calls.
    pub(super) fn serve(&self, controller: &Arc<Controller>) -> io::Result<()> {
        let controller = controller.clone();
        self.0.serve(Box::new(move |client| answer(&controller, client)))
    }
}

/// Answers the call of a connection.
fn answer(controller: &Controller, client: &Client<'_>) -> io::Result<()> {
    let uid = peer_uid(client.stream())?;
    let (request, passed) = read(client)?;
    client.is_served();
    // The path is what later observations open. It has to lead to what the caller has opened.
    let netns = passed.map(|passed| Namespace::passed(passed, PathBuf::new()));
    let caller = Caller { uid, netns: netns.transpose().map_err(|error| error.to_string()) };
    let said = plug::answer(&request, &caller, &|request| controller.handle(request));
    client.is_waited_for();
    let bytes = said.encode().or_else(|error| {
        let stderr = format!("ashore: the answer cannot be sent: {error}\n").into_bytes();
        Reply { code: 1, stdout: Vec::new(), stderr }.encode()
    });
    Until::soon(client.stream()).write_all(&bytes.map_err(io::Error::other)?)
}

fn read(client: &Client<'_>) -> io::Result<(Request, Option<OwnedFd>)> {
    let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut reader = Until::soon(client.stream());
    let mut head = [0; REQUEST_HEAD];
    reader.stream.set_read_timeout(reader.left()?)?;
    // The descriptor comes with the first bytes.
    let (read, passed) = receive(reader.stream, &mut head)?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    reader.read_exact(&mut head[read..])?;
    let mut payload = vec![0; Request::payload_length(&head).map_err(malformed)?];
    reader.read_exact(&mut payload)?;
    Ok((Request::decode(&payload).map_err(malformed)?, passed))
}
