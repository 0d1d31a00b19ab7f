//! Bytes and meaning for a host on a LAN: MAC addresses, ARP, neighbour discovery, conflict detection, what IPv6
//! routers advertise, and clients of DHCPv4 and DHCPv6.
//!
//! Nothing here does I/O, reads a clock or starts a thread: frames come in as slices, time is an argument, and what
//! should happen on the wire goes out as a value. That is what makes every transition testable.

pub mod arp;
mod checksum;
pub mod conflict;
pub mod dhcp;
pub mod dhcp4;
pub mod dhcp6;
mod domain;
pub mod filter;
mod heard;
mod ipv6;
mod mac;
mod mld;
pub mod ndp;
mod random;
pub mod slaac;
mod udp;

pub use heard::{Heard, heard};
pub use mac::{Mac, MacParseError};

/// `EtherType` of IPv4 (RFC 894).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// `EtherType` of ARP (RFC 826).
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// `EtherType` of IPv6 (RFC 2464).
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Length in bytes of an Ethernet header without a VLAN tag.
pub const ETHERNET_HEADER: usize = 14;

/// Splits an untagged Ethernet frame into destination, source, `EtherType` and payload.
fn ethernet(frame: &[u8]) -> Option<(Mac, Mac, u16, &[u8])> {
    let (header, payload) = frame.split_at_checked(ETHERNET_HEADER)?;
    let mac = |at: usize| -> Option<Mac> { Some(Mac(header[at..at + 6].try_into().ok()?)) };
    Some((mac(0)?, mac(6)?, u16::from_be_bytes([header[12], header[13]]), payload))
}
