//! The control socket: one line of JSON in, one line of JSON out (see [`crate::protocol`]).
//!
//! The read socket works in the same way and passes reading requests only. Its clients count by themselves, and
//! their requests are answered one at a time, so that they keep nobody from the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;

use super::clients::Client;
use super::controller::Controller;
use super::door::{Door, Until};
use crate::client::GROUP;
use crate::protocol;
use crate::sockets::{Access, ListenFds};
use crate::supervise::contained;

/// The maximum length of a request, in bytes. The largest request is the import of a state.
const LONGEST: u64 = 16 * 1024 * 1024;

/// The maximum length of a reading request, in bytes.
const LONGEST_READING: u64 = 64 * 1024;

/// The control socket, or the read socket.
pub(super) struct Control {
    door: Door,
    passes: Arc<Passes>,
}

impl Control {
    /// Takes the socket at a path, or creates it.
    pub(super) fn at(path: PathBuf, handed: &mut ListenFds) -> anyhow::Result<Self> {
        let socket = handed.socket(&path, Access::Owner)?;
        Ok(Control { door: Door::of(path, socket, "control")?, passes: Arc::new(Passes::All) })
    }

    /// Takes the read socket at a path, or creates it. `control` is the path of the control socket.
    pub(super) fn for_reading(path: PathBuf, control: &Path, handed: &mut ListenFds) -> anyhow::Result<Self> {
        let socket = handed.socket(&path, Access::Group)?;
        let passes = Passes::Reading { control: control.to_owned(), turn: Mutex::new(()) };
        Ok(Control { door: Door::of(path, socket, "read")?.without_descriptors(), passes: Arc::new(passes) })
    }

    /// Begins to answer clients.
    pub(super) fn serve(&self, controller: &Arc<Controller>) -> io::Result<()> {
        let (controller, passes) = (controller.clone(), self.passes.clone());
        self.door.serve(Box::new(move |client| answer(&controller, &passes, client)))
    }
}

/// The requests that pass a socket.
enum Passes {
    All,
    /// Those that only read. All others are refused before the controller sees them.
    Reading {
        /// The path of the control socket.
        control: PathBuf,
        /// Held while the controller answers, so that it has one reader at a time.
        turn: Mutex<()>,
    },
}

impl Passes {
    fn longest(&self) -> u64 {
        match self {
            Passes::All => LONGEST,
            Passes::Reading { .. } => LONGEST_READING,
        }
    }

    fn handle(&self, controller: &Controller, request: Request) -> Result<Reply, Refusal> {
        match self {
            Passes::All => Ok(controller.handle(request)),
            Passes::Reading { turn, .. } if request.is_reading() => {
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(controller.handle(request))
            }
            Passes::Reading { control, .. } => Err(Refusal::of(
                Code::ReadOnly,
                format!(
                    "the read socket passes only status, events, maps, lists, the doctor's last findings and plans without a \
                     change; everything else goes to \
                     {}",
                    control.display()
                ),
                format!("run it as root, with sudo; members of the group {GROUP} may only read"),
            )),
        }
    }
}

/// Answers all requests of a connection.
fn answer(controller: &Controller, passes: &Passes, client: &Client<'_>) -> io::Result<()> {
    let mut reader = BufReader::new(Until::soon(client.stream()));
    loop {
        let mut line = Vec::new();
        reader.by_ref().take(passes.longest()).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let is_too_long = line.len() as u64 == passes.longest() && !line.ends_with(b"\n");
        if is_too_long {
            // Otherwise its end would be taken for the next request.
            reader.skip_until(b'\n')?;
        }
        client.is_served();
        let (form, request) = if is_too_long {
            protocol::too_long(&line, passes.longest())
        } else {
            protocol::read_request(&line)
        };
        let reply = request
            .and_then(|request| contained(|| passes.handle(controller, request)).and_then(|reply| reply));
        let bytes = protocol::reply_line(form, &reply.unwrap_or_else(Reply::Refused))?;
        client.is_waited_for();
        Until::soon(client.stream()).write_all(&bytes)?;
        *reader.get_mut() = Until::soon(client.stream());
    }
}
