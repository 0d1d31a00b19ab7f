//! IPv6 packets in Ethernet frames.

use std::net::Ipv6Addr;

use crate::{ETHERNET_HEADER, ETHERTYPE_IPV6, Mac, ethernet};

/// The length in bytes of the IPv6 header.
pub(crate) const HEADER: usize = 40;

/// An IPv6 packet on a LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// The MAC of the frame's sender.
    pub(crate) source_mac: Mac,
    /// The MAC of the frame's receiver.
    pub(crate) destination_mac: Mac,
    /// The sender's IPv6 address.
    pub(crate) source: Ipv6Addr,
    /// The receiver's IPv6 address.
    pub(crate) destination: Ipv6Addr,
    /// The protocol of the payload.
    pub(crate) next_header: u8,
    /// How many more routers the packet may pass. 255 shows that it has passed none.
    pub(crate) hop_limit: u8,
    /// Everything after the header.
    pub(crate) payload: &'a [u8],
}

/// The extension headers for hop-by-hop options, routing and destination options (RFC 8200, 4.3, 4.4 and
/// 4.6).
pub(crate) const EXTENSIONS: [u8; 3] = [0, 43, 60];

impl<'a> Packet<'a> {
    /// Parses a frame. Returns `None` unless it holds a complete IPv6 packet.
    pub(crate) fn parse(frame: &'a [u8]) -> Option<Self> {
        let (destination_mac, source_mac, ethertype, packet) = ethernet(frame)?;
        let (header, rest) = packet.split_at_checked(HEADER)?;
        if ethertype != ETHERTYPE_IPV6 || header[0] >> 4 != 6 {
            return None;
        }
        let payload = rest.get(..usize::from(u16::from_be_bytes([header[4], header[5]])))?;
        let address = |at: usize| Some(Ipv6Addr::from(*header[at..].first_chunk::<16>()?));
        Some(Packet {
            source_mac,
            destination_mac,
            source: address(8)?,
            destination: address(24)?,
            next_header: header[6],
            hop_limit: header[7],
            payload,
        })
    }

    /// The packet without its extension headers. Returns `None` if one of them is cut off. A fragment header
    /// stays, because neighbour discovery must not be fragmented (RFC 6980).
    pub(crate) fn without_extensions(mut self) -> Option<Self> {
        while EXTENSIONS.contains(&self.next_header) {
            let [next, length, ..] = *self.payload else { return None };
            self.payload = self.payload.get(8 * (usize::from(length) + 1)..)?;
            self.next_header = next;
        }
        Some(self)
    }

    /// The packet without a frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADER + self.payload.len());
        packet.extend([0x60, 0, 0, 0]);
        packet.extend((self.payload.len() as u16).to_be_bytes());
        packet.extend([self.next_header, self.hop_limit]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(self.payload);
        packet
    }

    /// The Ethernet frame that carries the packet.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(ETHERNET_HEADER + HEADER + self.payload.len());
        frame.extend(self.destination_mac.0);
        frame.extend(self.source_mac.0);
        frame.extend(ETHERTYPE_IPV6.to_be_bytes());
        frame.extend(self.bytes());
        frame
    }
}

/// The MAC of a multicast group: 33:33 and the last four bytes of the group's address (RFC 2464, 7).
pub(crate) fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// Whether an address can be that of a single host. Link-local addresses count, because a name server may
/// have one.
pub(crate) fn is_host(ip: Ipv6Addr) -> bool {
    !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none()
}
