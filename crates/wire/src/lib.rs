//! Packet formats and protocol state machines for a host on a LAN: MAC addresses, ARP, neighbour discovery,
//! address conflict detection, what IPv6 routers advertise, clients for DHCPv4 and DHCPv6, and a responder of multicast
//! DNS.
//!
//! This crate does no I/O, reads no clock and starts no thread. Frames come in as slices, time is an
//! argument, and whatever should go out on the wire is returned as a value. This makes every state transition
//! testable.

pub mod arp;
mod boottime;
mod checksum;
pub mod conflict;
pub mod dhcp;
pub mod dhcp4;
pub mod dhcp6;
mod domain;
pub mod filter;
mod heard;
mod ipv4;
mod ipv6;
mod mac;
pub mod mdns;
mod mld;
pub mod ndp;
mod random;
pub mod slaac;
mod udp;

pub use boottime::Boottime;
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

/// The tag protocol identifiers of IEEE 802.1Q and 802.1ad. They stand where a frame without a tag has its
/// `EtherType`.
const TAGS: [u16; 2] = [0x8100, 0x88a8];
/// The bits of a tag that hold the VLAN ID. An ID of 0 means that the tag only carries a priority.
const VLAN_ID: u16 = 0xfff;

/// Splits an untagged Ethernet frame into destination, source, `EtherType` and payload. Tags with the VLAN
/// ID 0 do not put a frame in a VLAN: any number of them is removed, as Linux does (seen on 6.18,
/// `__netif_receive_skb_core`). Returns `None` if the frame is in a VLAN or too short.
fn ethernet(frame: &[u8]) -> Option<(Mac, Mac, u16, &[u8])> {
    let (header, mut payload) = frame.split_at_checked(ETHERNET_HEADER)?;
    let mac = |at: usize| -> Option<Mac> { Some(Mac(header[at..at + 6].try_into().ok()?)) };
    let mut ethertype = u16::from_be_bytes([header[12], header[13]]);
    while TAGS.contains(&ethertype) {
        let (tag, rest) = payload.split_first_chunk::<4>()?;
        if u16::from_be_bytes([tag[0], tag[1]]) & VLAN_ID != 0 {
            return None;
        }
        (ethertype, payload) = (u16::from_be_bytes([tag[2], tag[3]]), rest);
    }
    Some((mac(0)?, mac(6)?, ethertype, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_without_a_vlan_are_taken_off_and_no_others() {
        let (mac, ip) = (Mac([2, 0, 0, 0, 0, 1]), [192, 168, 88, 7].into());
        let plain = arp::Arp::announcement(mac, ip).broadcast_frame();
        let tagged = |tags: &[[u8; 4]]| [&plain[..12], tags.as_flattened(), &plain[12..]].concat();
        let (priority, service, vlan) = ([0x81, 0, 0xe0, 0], [0x88, 0xa8, 0, 0], [0x81, 0, 0xe0, 0x14]);
        for tags in [&[][..], &[priority], &[service], &[priority, service, priority]] {
            assert!(heard(&tagged(tags)).is_some_and(|heard| heard.claims), "{tags:x?}");
        }
        for tags in [&[vlan][..], &[priority, vlan], &[vlan, priority]] {
            assert_eq!(heard(&tagged(tags)), None, "{tags:x?}");
        }
        assert_eq!(heard(&tagged(&[priority])[..16]), None);
    }
}
