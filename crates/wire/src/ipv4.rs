//! IPv4 packets in Ethernet frames.

use std::net::Ipv4Addr;

use crate::checksum::checksum;
use crate::{ETHERNET_HEADER, ETHERTYPE_IPV4, Mac, ethernet};

/// The length in bytes of the IPv4 header without options.
const HEADER: usize = 20;
/// The bits of the header's flags and fragment offset that mark a fragment: more fragments follow, or this is not the
/// first.
pub(crate) const FRAGMENT: u16 = 0x3fff;

/// An IPv4 packet on a LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// The MAC of the frame's sender.
    pub(crate) source_mac: Mac,
    /// The MAC of the frame's receiver.
    pub(crate) destination_mac: Mac,
    /// The sender's IPv4 address.
    pub(crate) source: Ipv4Addr,
    /// The receiver's IPv4 address.
    pub(crate) destination: Ipv4Addr,
    /// The protocol of the payload.
    pub(crate) protocol: u8,
    /// How many more routers the packet may pass.
    pub(crate) ttl: u8,
    /// Everything after the header.
    pub(crate) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses a frame. Returns `None` unless it holds a complete IPv4 packet that is no fragment.
    pub(crate) fn parse(frame: &'a [u8]) -> Option<Self> {
        let (destination_mac, source_mac, ethertype, packet) = ethernet(frame)?;
        let first = *packet.first()?;
        let (header, _) = packet.split_at_checked(usize::from(first & 0x0f) * 4)?;
        if ethertype != ETHERTYPE_IPV4 || first >> 4 != 4 || header.len() < HEADER || checksum(&[header]) != 0
        {
            return None;
        }
        let short = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        // Bytes after it pad the frame to Ethernet's minimum length.
        let payload = packet.get(header.len()..usize::from(short(2)))?;
        if short(6) & FRAGMENT != 0 {
            return None;
        }
        let ip = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        let (ttl, protocol) = (header[8], header[9]);
        Some(Packet {
            source_mac,
            destination_mac,
            source: ip(12),
            destination: ip(16),
            protocol,
            ttl,
            payload,
        })
    }

    /// The packet without a frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADER + self.payload.len());
        packet.extend([0x45, 0]);
        packet.extend(((HEADER + self.payload.len()) as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, self.ttl, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        let sum = checksum(&[&packet]).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
        packet.extend(self.payload);
        packet
    }

    /// The Ethernet frame that carries the packet.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(ETHERNET_HEADER + HEADER + self.payload.len());
        frame.extend(self.destination_mac.0);
        frame.extend(self.source_mac.0);
        frame.extend(ETHERTYPE_IPV4.to_be_bytes());
        frame.extend(self.bytes());
        frame
    }
}
