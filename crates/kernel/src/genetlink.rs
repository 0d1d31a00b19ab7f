//! Generic netlink: asks nl80211 which links are Wi-Fi. Sysfs would tell too, but it shows the namespace in
//! which it was mounted, not the caller's.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ashore_core::net::observed::{Link, ObservedKind};
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};

use crate::bytes::{Attributes, HEADER, Messages, i32_at, u16_at, u32_at};
use crate::netns::Namespace;

const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NL80211_CMD_GET_INTERFACE: u8 = 5;
const NL80211_ATTR_IFINDEX: u16 = 3;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The size of the protocol header that follows the message header in most protocols: `genlmsghdr`,
/// `nfgenmsg`.
const OWN_HEADER: usize = 4;

/// Tells Wi-Fi links from other links.
pub(crate) struct Wireless {
    socket: RefCell<Socket>,
    /// Whether a link is Wi-Fi, by the index of each link that was asked about. This never changes for a
    /// link.
    known: RefCell<BTreeMap<u32, bool>>,
}

impl Wireless {
    /// Opens a socket in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Wireless { socket: RefCell::new(open()?), known: RefCell::default() })
    }

    /// Marks the Wi-Fi links among all links of the namespace. The kernel is asked again only if the set of
    /// links changed. After an error the socket may be in the middle of an answer, so it is replaced.
    pub(crate) fn mark(&self, links: &mut [Link], namespace: &Namespace) {
        let mut known = self.known.borrow_mut();
        // rtnetlink reports no kind for a Wi-Fi link.
        let may_be = |link: &&Link| link.kind == ObservedKind::Physical;
        let indices: BTreeSet<u32> = links.iter().filter(may_be).map(|link| link.index).collect();
        if !indices.iter().copied().eq(known.keys().copied()) {
            let answer = ask(&self.socket.borrow());
            match answer {
                Ok(wireless) => {
                    *known = indices.into_iter().map(|index| (index, wireless.contains(&index))).collect();
                }
                Err(error) => {
                    tracing::warn!("cannot find out which links are Wi-Fi: {error}");
                    if let Ok(Ok(fresh)) = namespace.run(open) {
                        self.socket.replace(fresh);
                    }
                }
            }
        }
        for link in links {
            link.wireless = known.get(&link.index).copied().unwrap_or(false);
        }
    }
}

/// Opens a generic netlink socket in the calling thread's namespace.
fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Sends a command without attributes to a family, from the caller's namespace, and waits until the kernel
/// has performed it.
pub fn generic_command(family: &str, command: u8) -> io::Result<()> {
    let socket = open()?;
    let family = family_id(&socket, family)?.ok_or(io::ErrorKind::NotFound)?;
    send(&socket, family, NLM_F_ACK, [command, 1, 0, 0])?;
    let mut answer = Vec::with_capacity(4096);
    socket.recv(&mut answer, 0)?;
    // Some commands answer with the number of the object that they created. A positive number is not an
    // error.
    match i32_at(&answer, HEADER).ok_or(io::ErrorKind::InvalidData)? {
        code if code < 0 => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Ok(()),
    }
}

/// The number of a family, or `None` if the kernel does not have it. This lists all families instead of
/// asking by name, because asking for a missing family makes the kernel start modprobe.
fn family_id(socket: &Socket, wanted: &str) -> io::Result<Option<u16>> {
    let mut family = None;
    dump(socket, GENL_ID_CTRL, [CTRL_CMD_GETFAMILY, 1, 0, 0], |_, attributes| {
        let name = attributes.get(CTRL_ATTR_FAMILY_NAME);
        if name.is_some_and(|name| name.strip_suffix(&[0]) == Some(wanted.as_bytes())) {
            family = attributes.get(CTRL_ATTR_FAMILY_ID).and_then(|id| u16_at(id, 0));
        }
    })?;
    Ok(family)
}

/// The indices of all Wi-Fi links. Empty if the kernel has no Wi-Fi support.
fn ask(socket: &Socket) -> io::Result<BTreeSet<u32>> {
    let mut links = BTreeSet::new();
    if let Some(family) = family_id(socket, "nl80211")? {
        dump(socket, family, [NL80211_CMD_GET_INTERFACE, 1, 0, 0], |_, attributes| {
            links.extend(attributes.get(NL80211_ATTR_IFINDEX).and_then(|index| u32_at(index, 0)));
        })?;
    }
    Ok(links)
}

/// Dumps all objects of a kind, given the message type and the protocol header. Each object arrives as the
/// same header with attributes.
pub(crate) fn dump(
    socket: &Socket,
    kind: u16,
    header: [u8; 4],
    mut each: impl FnMut(&[u8], &Attributes<'_>),
) -> io::Result<()> {
    send(socket, kind, NLM_F_DUMP, header)?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut messages = Messages::of(&buffer);
        for message in messages.by_ref() {
            match message.kind {
                NLMSG_DONE => return Ok(message.code()?),
                NLMSG_ERROR => return Err(io::ErrorKind::Unsupported.into()),
                _ => each(message.body, &Attributes::after(OWN_HEADER, message.body)),
            }
        }
        if messages.is_cut_off() {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn send(socket: &Socket, kind: u16, flags: u16, header: [u8; 4]) -> io::Result<()> {
    let mut request = Vec::with_capacity(HEADER + OWN_HEADER);
    request.extend(((HEADER + OWN_HEADER) as u32).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    request.extend([0; 8]);
    request.extend(header);
    socket.send(&request, 0).map(|_| ())
}
