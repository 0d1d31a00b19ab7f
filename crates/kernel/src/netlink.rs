//! One blocking netlink socket: batches out, acknowledgements in, dumps whole.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use ashore_core::name::IfName;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

/// The kernel hands out dumps in pieces of at most this size (`NLMSG_GOODSIZE` grows up to 32 KiB), in bytes.
const PIECE: usize = 64 * 1024;

/// What the acknowledgements of a full batch may take up, in bytes.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// A batch is cut at this size, in bytes: half of what a socket may send at once by default.
const BATCH: usize = 96 * 1024;

/// How often a dump is begun anew when the kernel says that it changed meanwhile.
const DUMP_TRIES: u32 = 20;

/// The kernel's refusal of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nack {
    pub(crate) errno: Errno,
    /// The extended acknowledgement's text.
    pub(crate) says: Option<String>,
}

/// A message with its flags beside `NLM_F_REQUEST` and `NLM_F_ACK`.
pub(crate) type Request = (RouteNetlinkMessage, u16);

/// A route netlink socket in the namespace in which it was opened.
pub(crate) struct Route {
    socket: Socket,
    sequence: Cell<u32>,
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
        Ok(Route { socket, sequence: Cell::new(0) })
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
        self.sequence.set(self.sequence.get().wrapping_add(1));
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence.get();
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        // NLMSG_ALIGNTO is 4.
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
    }

    fn exchange(&self, bytes: &[u8], first: u32, count: usize) -> io::Result<Vec<Result<(), Nack>>> {
        self.socket.send(bytes, 0)?;
        let mut answers: Vec<Option<Result<(), Nack>>> = vec![None; count];
        while answers.iter().any(Option::is_none) {
            for message in self.receive()? {
                let NetlinkPayload::Error(error) = message.payload else { continue };
                let at = message.header.sequence_number.wrapping_sub(first) as usize;
                if let Some(answer) = answers.get_mut(at) {
                    *answer = Some(match error.code {
                        None => Ok(()),
                        Some(code) => Err(Nack {
                            errno: Errno::from_raw(code.get().abs()),
                            says: extended_text(&error.header, message.header.flags),
                        }),
                    });
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// All objects that a dump lists.
    pub(crate) fn dump(&self, request: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_TRIES {
            if let Some(objects) = self.try_dump(request.clone())? {
                return Ok(objects);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "the kernel's tables changed during every try to read them",
        ))
    }

    /// None if the tables changed meanwhile (`NLM_F_DUMP_INTR`).
    fn try_dump(&self, request: RouteNetlinkMessage) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
        let mut bytes = Vec::new();
        self.emit(request, NLM_F_DUMP, &mut bytes);
        self.socket.send(&bytes, 0)?;
        let (mut objects, mut whole) = (Vec::new(), true);
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != self.sequence.get() {
                    continue;
                }
                whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(object) => objects.push(object),
                    NetlinkPayload::Done(_) => return Ok(whole.then_some(objects)),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// The index of a link, or none if there is no such link.
    pub(crate) fn index_of(&self, name: &IfName) -> io::Result<Option<u32>> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_string()));
        match self.ask(RouteNetlinkMessage::GetLink(link)) {
            Ok(RouteNetlinkMessage::NewLink(link)) => Ok(Some(link.header.index)),
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number by which the kernel calls a namespace in this one; none if nothing here has to do with it.
    pub(crate) fn number_of(&self, namespace: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        let mut question = NsidMessage::default();
        question.attributes.push(NsidAttribute::Fd(namespace.as_raw_fd().cast_unsigned()));
        let RouteNetlinkMessage::NewNsId(answer) = self.ask(RouteNetlinkMessage::GetNsId(question))? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        // -1 is none.
        let number = answer.attributes.iter().find_map(|attribute| match attribute {
            NsidAttribute::Id(number) => Some(*number),
            _ => None,
        });
        Ok(number.filter(|number| *number >= 0))
    }

    /// The one object that answers a question.
    fn ask(&self, question: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        let mut bytes = Vec::new();
        self.emit(question, 0, &mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != self.sequence.get() {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => return Ok(answer),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    fn receive(&self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        let mut buffer = Vec::with_capacity(PIECE);
        loop {
            match self.socket.recv(&mut buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        let mut messages = Vec::new();
        let mut rest = buffer.as_slice();
        while rest.len() >= 16 {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if length < 16 || length > rest.len() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a netlink message of impossible length",
                ));
            }
            let message = NetlinkMessage::deserialize(&rest[..length])
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            messages.push(message);
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Ok(messages)
    }
}

/// The text in an acknowledgement (`NLMSGERR_ATTR_MSG`, Linux 4.12): attributes follow the refused message's header.
fn extended_text(after_code: &[u8], flags: u16) -> Option<String> {
    const NLM_F_ACK_TLVS: u16 = 0x200;
    const NLMSGERR_ATTR_MSG: u16 = 1;
    const HEADER: usize = 16;
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let mut rest = after_code.get(HEADER..)?;
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]);
        let value = rest.get(4..length)?;
        if kind == NLMSGERR_ATTR_MSG {
            let text = value.split(|byte| *byte == 0).next()?;
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}
