//! The frames on the wire, as the switch sees them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ashore_kernel::PacketSocket;
use ashore_lab::{Machine, World};
use ashore_wire::dhcp4::{Kind, Message, Op, code};
use ashore_wire::filter::{self, Instruction};
use ashore_wire::{Heard, Mac, heard};

use super::eventually;

/// Frames that the switch receives from a machine.
pub struct Frames(PacketSocket);

/// The VLAN tag of a frame.
#[derive(Clone, Copy)]
pub enum Tag {
    None,
    Vlan(u16),
}

impl Frames {
    /// Starts to capture on the switch's port of a machine.
    pub fn from(world: &World, machine: &Machine, tag: Tag) -> Frames {
        Frames::at(world, &format!("p-{}", machine.name()), tag)
    }

    /// Starts to capture on a port given by name.
    pub fn at(world: &World, port: &str, tag: Tag) -> Frames {
        Frames::open(world, port, &filter(tag))
    }

    fn open(world: &World, port: &str, filter: &[Instruction]) -> Frames {
        let (switch, port) = (world.switch(), port.parse().unwrap());
        let port = switch.kernel().observe(&[]).unwrap().host.link(&port).unwrap().index;
        Frames(PacketSocket::open(switch.namespace(), port, filter).unwrap())
    }

    /// Returns whether a frame from a MAC has arrived.
    pub fn any_from(&self, mac: &str) -> bool {
        let mac: Mac = mac.parse().unwrap();
        self.any(|frame| frame[6..12] == mac.0)
    }

    /// The source MACs of the frames that have arrived.
    pub fn sources(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.any(|frame| found.insert(Mac(frame[6..12].try_into().unwrap()).to_string()));
        found
    }

    /// Waits for a frame to a MAC.
    #[track_caller]
    pub fn wait_for_one_to(&self, mac: &str) {
        let mac: Mac = mac.parse().unwrap();
        eventually("a frame comes", || self.any(|frame| frame[..6] == mac.0));
    }

    /// Captures DHCP only (by its ports), so that other traffic does not fill the buffer.
    pub fn dhcp_from(world: &World, machine: &Machine) -> Frames {
        Frames::open(world, &format!("p-{}", machine.name()), &dhcp())
    }

    /// Captures ARP and neighbour discovery only.
    pub fn addresses_from(world: &World, machine: &Machine) -> Frames {
        Frames::open(world, &format!("p-{}", machine.name()), &filter::arp_and_ndp())
    }

    /// The ARP and neighbour discovery messages since the last call.
    pub fn heard(&self) -> Vec<Heard> {
        let mut all = Vec::new();
        self.any(|frame| {
            all.extend(heard(frame));
            false
        });
        all
    }

    /// The DHCP messages since the last call.
    pub fn dhcp(&self) -> Vec<Said> {
        let mut said = Vec::new();
        self.any(|frame| {
            said.extend(Said::read(frame));
            false
        });
        said
    }

    fn any(&self, mut is: impl FnMut(&[u8]) -> bool) -> bool {
        let mut buffer = [0; 2048];
        let mut found = false;
        while let Ok(Some(frame)) = self.0.receive(&mut buffer) {
            found |= is(frame);
        }
        found
    }
}

/// A captured DHCP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub what: What,
    pub message: Message,
    /// The sender of the frame.
    pub mac: Mac,
    pub from: Ipv4Addr,
    pub to: Ipv4Addr,
}

/// The kind of a message. REQUESTs are distinguished by RFC 2131, 4.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Discover,
    Offer,
    /// A REQUEST that selects an offer.
    Select,
    /// A REQUEST for an earlier lease (INIT-REBOOT).
    Reboot,
    /// A REQUEST to the lease's own server (T1).
    Renew,
    /// A REQUEST to all servers (T2).
    Rebind,
    Ack,
    Nak,
    Decline,
    Release,
    Other,
}

impl What {
    pub fn of(message: &Message, to: Ipv4Addr) -> What {
        match message.options.kind() {
            Some(Kind::Discover) => What::Discover,
            Some(Kind::Offer) => What::Offer,
            Some(Kind::Ack) => What::Ack,
            Some(Kind::Nak) => What::Nak,
            Some(Kind::Decline) => What::Decline,
            Some(Kind::Release) => What::Release,
            Some(Kind::Request) if message.options.get(code::SERVER_ID).is_some() => What::Select,
            Some(Kind::Request) if message.ciaddr.is_unspecified() => What::Reboot,
            Some(Kind::Request) if to.is_broadcast() => What::Rebind,
            Some(Kind::Request) => What::Renew,
            _ => What::Other,
        }
    }
}

impl Said {
    fn read(frame: &[u8]) -> Option<Said> {
        /// Ethernet, IPv4 and UDP headers, without options.
        const HEADERS: usize = 14 + 20 + 8;
        let message = Message::decode(frame.get(HEADERS..)?)?;
        let ip = |at: usize| Ipv4Addr::from(*frame[at..].first_chunk::<4>().expect("the header is there"));
        let (mac, from, to) = (Mac(*frame[6..].first_chunk()?), ip(26), ip(30));
        Some(Said { what: What::of(&message, to), message, mac, from, to })
    }

    /// The address that is requested or assigned.
    pub fn ip(&self) -> Ipv4Addr {
        let asked = self.message.options.address(code::REQUESTED_ADDRESS).ok().flatten();
        match self.message.op {
            Op::Reply => self.message.yiaddr,
            Op::Request => asked.unwrap_or(self.message.ciaddr),
        }
    }
}

/// All DHCP messages from the clients on one machine and from the servers on another, each in order.
pub struct Wire {
    clients: (Frames, RefCell<Vec<Said>>),
    servers: (Frames, RefCell<Vec<Said>>),
}

impl Wire {
    /// Starts to capture.
    pub fn between(world: &World, clients: &Machine, servers: &Machine) -> Wire {
        let begin = |machine| (Frames::dhcp_from(world, machine), RefCell::default());
        Wire { clients: begin(clients), servers: begin(servers) }
    }

    pub fn asked(&self) -> Vec<Said> {
        all_of(&self.clients)
    }

    pub fn answered(&self) -> Vec<Said> {
        all_of(&self.servers)
    }

    /// The number of messages of a kind from clients.
    pub fn count(&self, what: What) -> usize {
        self.asked().iter().filter(|said| said.what == what).count()
    }

    /// The number of messages of a kind from servers.
    pub fn answers(&self, what: What) -> usize {
        self.answered().iter().filter(|said| said.what == what).count()
    }

    /// Waits for one more message of a kind from clients.
    #[track_caller]
    pub fn wait_for(&self, what: What) {
        let before = self.count(what);
        eventually(&format!("{what:?} is seen on the wire"), || self.count(what) > before);
    }
}

fn all_of((frames, said): &(Frames, RefCell<Vec<Said>>)) -> Vec<Said> {
    said.borrow_mut().extend(frames.dhcp());
    said.borrow().clone()
}

/// Classic BPF: UDP to port 67 or 68, after an IPv4 header without options.
fn dhcp() -> Vec<Instruction> {
    let (half, byte, equal, give) = (0x28, 0x30, 0x15, 0x06);
    let step = |code, jt, jf, k| Instruction { code, jt, jf, k };
    vec![
        step(half, 0, 0, 12),
        step(equal, 0, 6, 0x0800),
        step(byte, 0, 0, 14 + 9),
        step(equal, 0, 4, 17),
        step(half, 0, 0, 14 + 20 + 2),
        step(equal, 1, 0, 67),
        step(equal, 0, 1, 68),
        step(give, 0, 0, 0x4_0000),
        step(give, 0, 0, 0),
    ]
}

/// Classic BPF. The kernel removes the tag from a frame before a packet socket sees it, and offers it as
/// ancillary data (`SKF_AD_VLAN_TAG_PRESENT`, `SKF_AD_VLAN_TAG`).
fn filter(tag: Tag) -> Vec<Instruction> {
    const ANCILLARY: u32 = 0xffff_f000;
    let (load, and, equal, give) = (0x30, 0x54, 0x15, 0x06);
    let step = |code, jf, k| Instruction { code, jt: 0, jf, k };
    match tag {
        Tag::None => {
            vec![step(load, 0, ANCILLARY + 48), step(equal, 1, 0), step(give, 0, 0x4_0000), step(give, 0, 0)]
        }
        Tag::Vlan(id) => vec![
            step(load, 0, ANCILLARY + 48),
            step(equal, 4, 1),
            step(load, 0, ANCILLARY + 44),
            step(and, 0, 0xfff),
            step(equal, 1, u32::from(id)),
            step(give, 0, 0x4_0000),
            step(give, 0, 0),
        ],
    }
}
