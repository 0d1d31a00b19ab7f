//! ARP for IPv4 over Ethernet (RFC 826), with the two packets that RFC 5227 defines: the probe and the
//! announcement.

use std::net::Ipv4Addr;

use crate::{ETHERTYPE_ARP, Mac, ethernet};

/// Whether a packet is a request or a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Asks which host has the target address.
    Request,
    /// Says that the sender has its address.
    Reply,
}

/// One ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// The sender's MAC.
    pub sender_mac: Mac,
    /// The sender's address; `0.0.0.0` in a probe.
    pub sender_ip: Ipv4Addr,
    /// The target's MAC; ignored in a request.
    pub target_mac: Mac,
    /// The target's address.
    pub target_ip: Ipv4Addr,
}

/// The length in bytes of an Ethernet frame with an ARP packet, without padding.
pub const FRAME: usize = 42;

impl Arp {
    /// A probe (RFC 5227, 1.1). It asks whether any host has this address, and does not change any ARP cache.
    pub fn probe(sender_mac: Mac, target_ip: Ipv4Addr) -> Self {
        let (sender_ip, target_mac) = (Ipv4Addr::UNSPECIFIED, Mac::ZERO);
        Arp { operation: Operation::Request, sender_mac, sender_ip, target_mac, target_ip }
    }

    /// An announcement (RFC 5227, 1.1). It says that the sender now has this address, and updates stale ARP
    /// caches.
    pub fn announcement(sender_mac: Mac, ip: Ipv4Addr) -> Self {
        Arp { operation: Operation::Request, sender_mac, sender_ip: ip, target_mac: Mac::ZERO, target_ip: ip }
    }

    /// Parses a frame. Returns `None` unless it is an ARP packet for IPv4 over Ethernet. The hardware type of
    /// IEEE 802 is accepted too, as Linux does (seen on 6.18, `arp_process`).
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (_, _, ethertype, payload) = ethernet(frame)?;
        let packet: &[u8; 28] = payload.first_chunk()?;
        // The hardware type of Ethernet or IEEE 802, the protocol type of IPv4, and the lengths of their
        // addresses.
        let is_for_ethernet = matches!(packet[..2], [0, 1 | 6]) && packet[2..6] == [0x08, 0, 6, 4];
        if ethertype != ETHERTYPE_ARP || !is_for_ethernet {
            return None;
        }
        let operation = match u16::from_be_bytes([packet[6], packet[7]]) {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return None,
        };
        let mac = |at: usize| -> Option<Mac> { Some(Mac(packet[at..at + 6].try_into().ok()?)) };
        let ip = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        Some(Arp {
            operation,
            sender_mac: mac(8)?,
            sender_ip: ip(14),
            target_mac: mac(18)?,
            target_ip: ip(24),
        })
    }

    /// The whole frame, sent to the broadcast MAC, as RFC 5227, 2.6, demands for every probe and
    /// announcement.
    pub fn broadcast_frame(&self) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        frame[..6].copy_from_slice(&Mac::BROADCAST.0);
        frame[6..12].copy_from_slice(&self.sender_mac.0);
        frame[12..14].copy_from_slice(&ETHERTYPE_ARP.to_be_bytes());
        frame[14..20].copy_from_slice(&[0, 1, 0x08, 0, 6, 4]);
        frame[21] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        frame[22..28].copy_from_slice(&self.sender_mac.0);
        frame[28..32].copy_from_slice(&self.sender_ip.octets());
        frame[32..38].copy_from_slice(&self.target_mac.0);
        frame[38..42].copy_from_slice(&self.target_ip.octets());
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_packet_reads_back_what_it_was_written_from(
            reply in any::<bool>(), macs in any::<[[u8; 6]; 2]>(), ips in any::<[[u8; 4]; 2]>(),
        ) {
            let operation = if reply { Operation::Reply } else { Operation::Request };
            let arp = Arp {
                operation,
                sender_mac: Mac(macs[0]),
                sender_ip: ips[0].into(),
                target_mac: Mac(macs[1]),
                target_ip: ips[1].into(),
            };
            prop_assert_eq!(Arp::parse(&arp.broadcast_frame()), Some(arp));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Arp::parse(&bytes);
        }
    }

    #[test]
    fn it_is_for_ethernet_or_ieee_802_and_ipv4() {
        let whole = Arp::announcement(Mac([2, 0, 0, 0, 0, 1]), [192, 168, 88, 7].into()).broadcast_frame();
        for (at, value, reads) in
            [(15, 1, true), (15, 6, true), (15, 7, false), (14, 1, false), (16, 9, false)]
        {
            let mut frame = whole;
            frame[at] = value;
            assert_eq!(Arp::parse(&frame).is_some(), reads, "{at} {value}");
        }
    }

    #[test]
    fn a_probe_claims_nothing_and_an_announcement_claims_its_address() {
        let (mac, ip) = (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(192, 168, 88, 7));
        assert_eq!(Arp::probe(mac, ip).sender_ip, Ipv4Addr::UNSPECIFIED);
        assert_eq!(Arp::announcement(mac, ip).sender_ip, ip);
    }
}
