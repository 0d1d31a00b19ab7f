//! One blocking netlink socket: batches out, acknowledgements in, dumps whole.

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

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_ACK_TLVS: u16 = 0x200;

/// The kernel hands out dumps in pieces of at most this size (`NLMSG_GOODSIZE` grows up to 32 KiB), in bytes, unless a single
/// message is longer.
const PIECE: usize = 64 * 1024;

/// What the acknowledgements of a full batch may take up, in bytes.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// A batch is cut at this size, in bytes: half of what a socket may send at once by default.
const BATCH: usize = 96 * 1024;

/// How often a dump is begun anew when the kernel says that it changed meanwhile.
const DUMP_TRIES: u32 = 20;

/// How closely a namespace is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Look {
    /// All there is: the host's own.
    Whole,
    /// In passing, at one of many containers. Whoever lives there decides how much there is, and the others wait meanwhile.
    Passing,
    /// At a container that is to be changed, and that may be kept from it neither by much nor by changing all the time.
    Close,
}

impl Look {
    /// How much is read, in bytes.
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
    /// The extended acknowledgement's text.
    pub(crate) says: Option<String>,
}

/// A question for all objects of a kind: the type of message, and its header with whatever follows it.
pub(crate) struct Dump {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

/// A route netlink socket in the namespace in which it was opened.
pub(crate) struct Route {
    socket: Socket,
    sequence: Cell<u32>,
    /// The room for what the kernel sends at once, in bytes.
    room: Cell<usize>,
    look: Cell<Look>,
    /// How much the look may still read, in bytes.
    left: Cell<usize>,
}

impl Route {
    /// Opens one in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // The text of a refusal, and the refused message cut off, so that the text begins at a known place.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        let (sequence, room) = (Cell::new(0), Cell::new(PIECE));
        let (look, left) = (Cell::new(Look::Whole), Cell::new(usize::MAX));
        Ok(Route { socket, sequence, room, look, left })
    }

    /// Begins a look.
    pub(crate) fn look(&self, how: Look) {
        self.look.set(how);
        self.left.set(how.most());
    }

    /// Sends messages in as few calls as possible and gathers one answer for each. The kernel goes on after one that it
    /// refuses, and a signal cannot come between two messages of one call.
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

    /// All objects that a dump lists: their messages, one after another. After an error the socket may still be in the middle
    /// of the dump, and answers `EBUSY` to the next one: it is of no more use for dumps.
    pub(crate) fn dump(&self, request: &Dump) -> io::Result<Vec<u8>> {
        for _ in 0..DUMP_TRIES {
            if let Some(objects) = self.try_dump(request, false)? {
                return Ok(objects);
            }
        }
        if let (Look::Close, Some(objects)) = (self.look.get(), self.try_dump(request, true)?) {
            return Ok(objects);
        }
        let changing = "the kernel's tables changed during every try to read them";
        Err(io::Error::new(io::ErrorKind::ResourceBusy, changing))
    }

    /// None if the tables changed meanwhile (`NLM_F_DUMP_INTR`), unless that is put up with, or a message was longer than there
    /// was room.
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
                    // Either tells of an error by its number.
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
                    "a netlink message of impossible length",
                ));
            }
        }
    }

    fn spend(&self, length: usize) -> io::Result<()> {
        let Some(left) = self.left.get().checked_sub(length) else {
            let much = format!("there is more than {} MiB to be read", self.look.get().most() >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, much));
        };
        self.left.set(left);
        Ok(())
    }

    /// Takes what is left of a dump. The kernel makes the next piece when one is taken, so there is nothing to wait for.
    fn drain(&self) -> io::Result<()> {
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(piece) => self.spend(piece.bytes.len())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The index of a link, or none if there is no such link.
    pub(crate) fn index_of(&self, name: &IfName) -> io::Result<Option<u32>> {
        let mut question = LinkMessage::default();
        question.attributes.push(message::ifname(name));
        match self.ask(RouteNetlinkMessage::GetLink(question)) {
            Ok(answer) => Ok(u32_at(&answer, HEADER + 4)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number by which the kernel calls a namespace in this one; none if nothing here has to do with it.
    pub(crate) fn number_of(&self, namespace: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        // `struct rtgenmsg` and what fills it up.
        const GENERAL: usize = 4;
        const NETNSA_NSID: u16 = 1;
        let mut question = NsidMessage::default();
        question.attributes.push(NsidAttribute::Fd(namespace.as_raw_fd().cast_unsigned()));
        let answer = self.ask(RouteNetlinkMessage::GetNsId(question))?;
        let number = Attributes::after(HEADER + GENERAL, &answer).get(NETNSA_NSID);
        // -1 is none.
        Ok(number.and_then(|number| i32_at(number, 0)).filter(|number| *number >= 0))
    }

    /// Gives a namespace a number in this one, unless it has one.
    pub(crate) fn number(&self, namespace: BorrowedFd<'_>, number: i32) -> io::Result<()> {
        let mut message = NsidMessage::default();
        let fd = namespace.as_raw_fd().cast_unsigned();
        message.attributes.extend([NsidAttribute::Fd(fd), NsidAttribute::Id(number)]);
        // It has one (`EEXIST`), or there is none to be had.
        self.batch(vec![(RouteNetlinkMessage::NewNsId(message), 0)]).map(drop)
    }

    /// Whether a number leads to a namespace that is there still (Linux 4.20).
    pub(crate) fn has_number(&self, number: i32) -> io::Result<bool> {
        let mut question = NsidMessage::default();
        question.attributes.push(NsidAttribute::Id(number));
        match self.ask(RouteNetlinkMessage::GetNsId(question)) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The message of the one object that answers a question.
    fn ask(&self, question: RouteNetlinkMessage) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.emit(question, 0, &mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let Piece { bytes, .. } = self.receive(0)?;
            if u32_at(&bytes, 8) != Some(self.sequence.get()) {
                continue;
            }
            // Of a link with many other names not all may fit, and what counts stands at the beginning.
            match (u16_at(&bytes, 4), Messages::of(&bytes).next()) {
                (Some(NLMSG_ERROR), Some(answer)) => answer.code()?,
                (Some(NLMSG_ERROR), None) => {}
                _ => return Ok(bytes),
            }
        }
    }

    /// Takes what the kernel sends at once. What did not fit has room the next time.
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

/// What the kernel has sent at once.
struct Piece {
    bytes: Vec<u8>,
    /// Whether it is longer.
    is_cut_off: bool,
}

fn answer_in(message: &Message<'_>) -> Result<(), Nack> {
    message.code().map_err(|errno| Nack { errno, says: extended_text(message) })
}

/// The text in an acknowledgement (`NLMSGERR_ATTR_MSG`, Linux 4.12): attributes follow the refused message's header.
fn extended_text(message: &Message<'_>) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let said = Attributes::after(4 + HEADER, message.body).get(NLMSGERR_ATTR_MSG)?;
    Some(String::from_utf8_lossy(text(said)).into_owned())
}
