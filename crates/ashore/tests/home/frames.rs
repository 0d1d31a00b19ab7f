//! What goes over the wire, as the switch sees it.

use std::collections::BTreeSet;

use ashore_kernel::PacketSocket;
use ashore_lab::{Machine, World};
use ashore_wire::Mac;
use ashore_wire::dhcp4::Message;
use ashore_wire::filter::Instruction;

use super::eventually;

/// Frames that come to the switch from a machine.
pub struct Frames(PacketSocket);

/// With which tag a frame has come.
#[derive(Clone, Copy)]
pub enum Tag {
    None,
    Vlan(u16),
}

impl Frames {
    /// Begins to listen on the switch's port.
    pub fn from(world: &World, machine: &Machine, tag: Tag) -> Frames {
        Frames::at(world, &format!("p-{}", machine.name()), tag)
    }

    /// The same, at a port by its name.
    pub fn at(world: &World, port: &str, tag: Tag) -> Frames {
        let (switch, port) = (world.switch(), port.parse().unwrap());
        let port = switch.kernel().observe(&[]).unwrap().host.link(&port).unwrap().index;
        Frames(PacketSocket::open(switch.namespace(), port, &filter(tag)).unwrap())
    }

    /// Whether a frame from a MAC has come.
    pub fn any_from(&self, mac: &str) -> bool {
        let mac: Mac = mac.parse().unwrap();
        self.any(|frame| frame[6..12] == mac.0)
    }

    /// The MACs from which frames have come.
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

    /// What DHCP clients have said.
    pub fn dhcp(&self) -> Vec<Message> {
        /// Ethernet, IPv4 and UDP, without options.
        const HEADERS: usize = 14 + 20 + 8;
        let mut said = Vec::new();
        self.any(|frame| {
            if frame.len() > HEADERS && frame[12..14] == [8, 0] && frame[34..38] == [0, 68, 0, 67] {
                said.extend(Message::decode(&frame[HEADERS..]));
            }
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

/// Classic BPF. The kernel takes the tag out of a frame before a packet socket sees it, and knows it beside the frame
/// (`SKF_AD_VLAN_TAG_PRESENT`, `SKF_AD_VLAN_TAG`).
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
