//! A blocking netlink socket: sends batches, receives acknowledgements, reads whole dumps.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use ashore_core::net::name::IfName;
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::libc;

use crate::bytes::{Attributes, HEADER, Message, Messages, i32_at, text, u16_at, u32_at};
use crate::message::{self, Request};
use crate::read::RTM_NEWROUTE;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_ACK_TLVS: u16 = 0x200;

/// Initial size of the buffer for one receive call, in bytes. The kernel sends dumps in pieces of at most
/// this size (`NLMSG_GOODSIZE` grows up to 32 KiB), unless a single message is longer.
const PIECE: usize = 64 * 1024;

/// Receive buffer of the socket, in bytes: room for the acknowledgements of a full batch.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// A batch is split at this size, in bytes: half of what a socket may send at once by default.
const BATCH: usize = 96 * 1024;

/// How often a dump is restarted when the kernel reports that the tables changed during it.
const DUMP_TRIES: u32 = 20;

/// How thoroughly a namespace is read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Look {
    /// Reads everything. For the host's own namespace.
    Whole,
    /// A quick look at one of many containers. The container decides how much there is to read, and the
    /// others wait meanwhile.
    Passing,
    /// A look at a container that is about to be changed. The container must not prevent this by having much
    /// state or by changing it all the time.
    Close,
}

impl Look {
    /// How much is read at most, in bytes.
    fn most(self) -> usize {
        match self {
            Look::Whole => usize::MAX,
            Look::Passing => 8 * 1024 * 1024,
            Look::Close => 64 * 1024 * 1024,
        }
    }
}

/// The kernel's refusal of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nack {
    pub(crate) errno: Errno,
    /// The text of the extended acknowledgement.
    pub(crate) says: Option<String>,
}

/// A request for all objects of a kind: the message type, and the protocol header with any attributes.
pub(crate) struct Dump {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

/// A route netlink socket. It belongs to the namespace in which it was opened.
pub(crate) struct Route {
    socket: Socket,
    sequence: Cell<u32>,
    /// The capacity for one receive call, in bytes.
    room: Cell<usize>,
    look: Cell<Look>,
    /// How many bytes the current look may still read.
    left: Cell<usize>,
}

impl Route {
    /// Opens a socket in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // The kernel includes its error text and cuts off the refused message, so that the text starts at a
        // known offset.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        let (sequence, room) = (Cell::new(0), Cell::new(PIECE));
        let (look, left) = (Cell::new(Look::Whole), Cell::new(usize::MAX));
        Ok(Route { socket, sequence, room, look, left })
    }

    /// Starts a look, with its own byte limit.
    pub(crate) fn look(&self, how: Look) {
        self.look.set(how);
        self.left.set(how.most());
    }

    /// Sends messages in as few calls as possible and collects one answer for each. The kernel continues
    /// after a message that it refuses. A signal cannot interrupt between two messages of one call.
    pub(crate) fn batch(&self, requests: Vec<Request>) -> io::Result<Vec<Result<(), Nack>>> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut bytes = Vec::new();
        let mut first = self.sequence.get().wrapping_add(1);
        let mut count = 0;
        for (message, flags) in requests {
            self.emit(message, flags | NLM_F_ACK, &mut bytes);
            count += 1;
            if bytes.len() > BATCH {
                answers.extend(self.exchange(&std::mem::take(&mut bytes), first, count)?);
                (first, count) = (self.sequence.get().wrapping_add(1), 0);
            }
        }
        if count > 0 {
            answers.extend(self.exchange(&bytes, first, count)?);
        }
        Ok(answers)
    }

    fn emit(&self, message: RouteNetlinkMessage, flags: u16, bytes: &mut Vec<u8>) {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.next();
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        // NLMSG_ALIGNTO is 4.
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
    }

    fn next(&self) -> u32 {
        self.sequence.set(self.sequence.get().wrapping_add(1));
        self.sequence.get()
    }

    fn exchange(&self, bytes: &[u8], first: u32, count: usize) -> io::Result<Vec<Result<(), Nack>>> {
        self.socket.send(bytes, 0)?;
        let mut answers: Vec<Option<Result<(), Nack>>> = vec![None; count];
        while answers.iter().any(Option::is_none) {
            let piece = self.receive(0)?;
            for message in Messages::of(&piece.bytes).filter(|message| message.kind == NLMSG_ERROR) {
                let at = message.sequence.wrapping_sub(first) as usize;
                if let Some(answer) = answers.get_mut(at) {
                    *answer = Some(answer_in(&message));
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Returns the messages of all objects in a dump, one after another. After an error the socket may still
    /// be in the middle of the dump and answers `EBUSY` to the next one, so it must not be used for dumps
    /// again.
    pub(crate) fn dump(&self, request: &Dump) -> io::Result<Vec<u8>> {
        for _ in 0..DUMP_TRIES {
            if let Some(objects) = self.try_dump(request, false)? {
                return Ok(objects);
            }
        }
        if let (Look::Close, Some(objects)) = (self.look.get(), self.try_dump(request, true)?) {
            return Ok(objects);
        }
        let changing = "the kernel's tables changed during every attempt to read them";
        Err(io::Error::new(io::ErrorKind::ResourceBusy, changing))
    }

    /// Returns `None` if a message was longer than the buffer, or if the tables changed during the dump
    /// (`NLM_F_DUMP_INTR`) and `changing` does not allow that.
    fn try_dump(&self, request: &Dump, changing: bool) -> io::Result<Option<Vec<u8>>> {
        let sequence = self.next();
        self.socket.send(&request.message(sequence), 0)?;
        let (mut objects, mut whole) = (Vec::new(), true);
        loop {
            let piece = self.receive(0)?;
            self.spend(piece.bytes.len())?;
            if piece.is_cut_off {
                self.drain()?;
                return Ok(None);
            }
            let mut messages = Messages::of(&piece.bytes);
            for message in messages.by_ref().filter(|message| message.sequence == sequence) {
                whole &= changing || message.flags & NLM_F_DUMP_INTR == 0;
                let ends = message.kind == NLMSG_DONE;
                if ends || message.kind == NLMSG_ERROR {
                    // Both message types carry an error number.
                    message.code()?;
                } else {
                    objects.extend_from_slice(message.whole);
                    objects.resize(objects.len().next_multiple_of(4), 0);
                }
                if ends {
                    return Ok(whole.then_some(objects));
                }
            }
            if messages.is_cut_off() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a netlink message has an impossible length",
                ));
            }
        }
    }

    fn spend(&self, length: usize) -> io::Result<()> {
        let Some(left) = self.left.get().checked_sub(length) else {
            let much = format!("there is more than {} MiB to read", self.look.get().most() >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, much));
        };
        self.left.set(left);
        Ok(())
    }

    /// Reads the rest of a dump and discards it. The kernel builds the next piece when one is received, so
    /// this never waits.
    fn drain(&self) -> io::Result<()> {
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(piece) => self.spend(piece.bytes.len())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The index of a link. Returns `None` if there is no such link.
    pub(crate) fn index_of(&self, name: &IfName) -> io::Result<Option<u32>> {
        let mut question = LinkMessage::default();
        question.attributes.push(message::ifname(name));
        match self.ask(RouteNetlinkMessage::GetLink(question)) {
            Ok(answer) => Ok(u32_at(&answer, HEADER + 4)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The nsid that this namespace has for another one. Returns `None` if it has none.
    pub(crate) fn number_of(&self, namespace: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        // `struct rtgenmsg` with padding.
        const GENERAL: usize = 4;
        const NETNSA_NSID: u16 = 1;
        let mut question = NsidMessage::default();
        question.attributes.push(NsidAttribute::Fd(namespace.as_raw_fd().cast_unsigned()));
        let answer = self.ask(RouteNetlinkMessage::GetNsId(question))?;
        let number = Attributes::after(HEADER + GENERAL, &answer).get(NETNSA_NSID);
        // -1 means that there is none.
        Ok(number.and_then(|number| i32_at(number, 0)).filter(|number| *number >= 0))
    }

    /// Assigns an nsid in this namespace to another one, unless that one already has an nsid here.
    pub(crate) fn number(&self, namespace: BorrowedFd<'_>, number: i32) -> io::Result<()> {
        let mut message = NsidMessage::default();
        let fd = namespace.as_raw_fd().cast_unsigned();
        message.attributes.extend([NsidAttribute::Fd(fd), NsidAttribute::Id(number)]);
        // The kernel's answer is ignored: the namespace already has an nsid (`EEXIST`), or it cannot get one.
        self.batch(vec![(RouteNetlinkMessage::NewNsId(message), 0)]).map(drop)
    }

    /// Returns whether an nsid belongs to a namespace that still exists (Linux 4.20).
    pub(crate) fn has_number(&self, number: i32) -> io::Result<bool> {
        let mut question = NsidMessage::default();
        question.attributes.push(NsidAttribute::Id(number));
        match self.ask(RouteNetlinkMessage::GetNsId(question)) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The message of the single object that answers a request.
    fn ask(&self, question: RouteNetlinkMessage) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.emit(question, 0, &mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let Piece { bytes, .. } = self.receive(0)?;
            if u32_at(&bytes, 8) != Some(self.sequence.get()) {
                continue;
            }
            // A link with many alternative names may not fit. The fields that matter are at the beginning.
            match (u16_at(&bytes, 4), Messages::of(&bytes).next()) {
                (Some(NLMSG_ERROR), Some(answer)) => answer.code()?,
                (Some(NLMSG_ERROR), None) => {}
                _ => return Ok(bytes),
            }
        }
    }

    /// Receives one datagram. If it did not fit, the buffer is enlarged for the next call.
    fn receive(&self, flags: i32) -> io::Result<Piece> {
        let mut bytes = Vec::with_capacity(self.room.get());
        loop {
            match self.socket.recv(&mut bytes, flags | libc::MSG_TRUNC) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(length) => {
                    let is_cut_off = length > bytes.len();
                    if is_cut_off {
                        self.room.set(length.next_multiple_of(PIECE));
                    }
                    return Ok(Piece { bytes, is_cut_off });
                }
            }
        }
    }
}

impl Dump {
    fn message(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = ((HEADER + self.body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.body);
        bytes
    }
}

/// One received datagram.
struct Piece {
    bytes: Vec<u8>,
    /// Whether the datagram was longer than the buffer.
    is_cut_off: bool,
}

fn answer_in(message: &Message<'_>) -> Result<(), Nack> {
    message.code().map_err(|errno| Nack { errno, says: extended_text(message) })
}

/// The text of an extended acknowledgement (`NLMSGERR_ATTR_MSG`, Linux 4.12). The attributes follow the
/// header of the refused message.
fn extended_text(message: &Message<'_>) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let said = Attributes::after(4 + HEADER, message.body).get(NLMSGERR_ATTR_MSG)?;
    Some(String::from_utf8_lossy(text(said)).into_owned())
}

/// The number of the request for an object is the number of the object's message plus 2
/// (`linux/rtnetlink.h`).
pub(crate) const GET: u16 = 2;

/// Requests the routes of a table. Table 0 means all tables.
pub(crate) fn routes(family: u8, table: u8) -> Dump {
    // `struct rtmsg`.
    let mut body = vec![0; 12];
    (body[0], body[4]) = (family, table);
    Dump { kind: RTM_NEWROUTE + GET, body }
}

/// Returns whether a dump's error means that there are no objects: a table that never held a route
/// (`fib_table_lookup`), or a family or kind of rule that the kernel does not support.
pub(crate) fn is_nothing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT))
}
