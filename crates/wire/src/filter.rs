//! Packet filters in classic BPF. One accepts ARP and neighbour discovery, two accept the answers to DHCPv4 and DHCPv6
//! clients, and one accepts multicast DNS.

use crate::dhcp4::CLIENT_PORT;
use crate::dhcp6;
use crate::ipv4::FRAGMENT;
use crate::ipv6::EXTENSIONS;
use crate::mdns;
use crate::ndp;
use crate::udp::UDP;
use crate::{ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, TAGS, VLAN_ID};

/// One instruction of classic BPF (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// The operation code.
    pub code: u16,
    /// How many instructions to skip if the condition is true.
    pub jt: u8,
    /// How many instructions to skip if the condition is false.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
/// Loads from an offset relative to the index register.
const LOAD_HALF_INDEXED: u16 = 0x48;
/// Loads the index register with the length of an IPv4 header: the low half of a byte, in units of four
/// bytes.
const INDEX_BY_HEADER: u16 = 0xb1;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_SET: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
/// `SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT`. The kernel strips a VLAN tag before a packet socket sees the
/// frame. Without this check, the untagged parent would mistake another VLAN's ARP for its own.
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;
/// `SKF_AD_OFF + SKF_AD_VLAN_TAG`: the tag, whose lower 12 bits are the VLAN ID.
const VLAN_TAG: u32 = 0xffff_f000 + 44;
/// How much of an accepted frame is handed over, in bytes: more than any frame has.
const WHOLE: u32 = 0x4_0000;

/// Limits a filter to frames outside any VLAN. A frame with the VLAN ID 0 is outside any VLAN: its tag only
/// carries a priority (IEEE 802.1Q, 9.6).
fn in_no_vlan(rest: &[Instruction]) -> Vec<Instruction> {
    let untagged = [
        instruction(LOAD_BYTE, 0, 0, VLAN_TAG_PRESENT),
        instruction(JUMP_IF_EQUAL, 4, 0, 0),
        instruction(LOAD_HALF, 0, 0, VLAN_TAG),
        instruction(AND, 0, 0, u32::from(VLAN_ID)),
        instruction(JUMP_IF_EQUAL, 1, 0, 0),
        instruction(RETURN, 0, 0, 0),
    ];
    [&untagged, rest].concat()
}

/// Accepts ARP frames, and solicitations and advertisements of routers and neighbours, outside any VLAN. The
/// filter does not look behind a further tag with the VLAN ID 0 or behind an IPv6 extension header. It
/// accepts such frames, and the parser decides.
pub fn arp_and_ndp() -> Vec<Instruction> {
    let [c_tag, s_tag] = TAGS.map(u32::from);
    let [hops, routing, destination] = EXTENSIONS.map(u32::from);
    let kinds = [ndp::ROUTER_SOLICITATION, ndp::ROUTER_ADVERTISEMENT, ndp::SOLICITATION, ndp::ADVERTISEMENT];
    let kinds = kinds.map(u32::from);
    in_no_vlan(&[
        instruction(LOAD_HALF, 0, 0, 12),
        instruction(JUMP_IF_EQUAL, 16, 0, u32::from(ETHERTYPE_ARP)),
        instruction(JUMP_IF_EQUAL, 5, 0, u32::from(ETHERTYPE_IPV6)),
        instruction(JUMP_IF_EQUAL, 1, 0, c_tag),
        instruction(JUMP_IF_EQUAL, 0, 14, s_tag),
        instruction(LOAD_HALF, 0, 0, 14),
        instruction(AND, 0, 0, u32::from(VLAN_ID)),
        instruction(JUMP_IF_EQUAL, 10, 11, 0),
        instruction(LOAD_BYTE, 0, 0, 14 + 6),
        instruction(JUMP_IF_EQUAL, 8, 0, hops),
        instruction(JUMP_IF_EQUAL, 7, 0, routing),
        instruction(JUMP_IF_EQUAL, 6, 0, destination),
        instruction(JUMP_IF_EQUAL, 0, 6, u32::from(ndp::ICMPV6)),
        instruction(LOAD_BYTE, 0, 0, 14 + 40),
        instruction(JUMP_IF_EQUAL, 3, 0, kinds[0]),
        instruction(JUMP_IF_EQUAL, 2, 0, kinds[1]),
        instruction(JUMP_IF_EQUAL, 1, 0, kinds[2]),
        instruction(JUMP_IF_EQUAL, 0, 1, kinds[3]),
        instruction(RETURN, 0, 0, WHOLE),
        instruction(RETURN, 0, 0, 0),
    ])
}

/// Accepts IPv4 UDP datagrams to the port of DHCP clients that are not fragments, outside any VLAN.
/// [`Datagram::to_client`](crate::dhcp4::Datagram::to_client) verifies the rest.
pub fn dhcp4_to_client() -> Vec<Instruction> {
    const HEADER: u32 = ETHERNET_HEADER as u32;
    in_no_vlan(&[
        instruction(LOAD_HALF, 0, 0, 12),
        instruction(JUMP_IF_EQUAL, 0, 8, u32::from(ETHERTYPE_IPV4)),
        instruction(LOAD_BYTE, 0, 0, HEADER + 9),
        instruction(JUMP_IF_EQUAL, 0, 6, u32::from(UDP)),
        instruction(LOAD_HALF, 0, 0, HEADER + 6),
        instruction(JUMP_IF_SET, 4, 0, u32::from(FRAGMENT)),
        instruction(INDEX_BY_HEADER, 0, 0, HEADER),
        instruction(LOAD_HALF_INDEXED, 0, 0, HEADER + 2),
        instruction(JUMP_IF_EQUAL, 0, 1, u32::from(CLIENT_PORT)),
        instruction(RETURN, 0, 0, WHOLE),
        instruction(RETURN, 0, 0, 0),
    ])
}

/// Accepts IPv6 UDP datagrams to the port of DHCPv6 clients, outside any VLAN. [`dhcp6::Datagram::to_client`]
/// verifies the rest. UDP must follow the IPv6 header directly: no server puts anything in between.
pub fn dhcp6_to_client() -> Vec<Instruction> {
    const HEADER: u32 = ETHERNET_HEADER as u32;
    const UDP_HEADER: u32 = HEADER + 40;
    in_no_vlan(&[
        instruction(LOAD_HALF, 0, 0, 12),
        instruction(JUMP_IF_EQUAL, 0, 5, u32::from(ETHERTYPE_IPV6)),
        instruction(LOAD_BYTE, 0, 0, HEADER + 6),
        instruction(JUMP_IF_EQUAL, 0, 3, u32::from(UDP)),
        instruction(LOAD_HALF, 0, 0, UDP_HEADER + 2),
        instruction(JUMP_IF_EQUAL, 0, 1, u32::from(dhcp6::CLIENT_PORT)),
        instruction(RETURN, 0, 0, WHOLE),
        instruction(RETURN, 0, 0, 0),
    ])
}

/// Accepts UDP datagrams to the port of multicast DNS, over IPv4 and IPv6, that are not fragments, outside any VLAN.
/// [`mdns::Frame::parse`] verifies the rest. UDP must follow the IPv6 header directly.
pub fn mdns() -> Vec<Instruction> {
    const HEADER: u32 = ETHERNET_HEADER as u32;
    const UDP_HEADER: u32 = HEADER + 40;
    in_no_vlan(&[
        instruction(LOAD_HALF, 0, 0, 12),
        instruction(JUMP_IF_EQUAL, 0, 7, u32::from(ETHERTYPE_IPV4)),
        instruction(LOAD_BYTE, 0, 0, HEADER + 9),
        instruction(JUMP_IF_EQUAL, 0, 11, u32::from(UDP)),
        instruction(LOAD_HALF, 0, 0, HEADER + 6),
        instruction(JUMP_IF_SET, 9, 0, u32::from(FRAGMENT)),
        instruction(INDEX_BY_HEADER, 0, 0, HEADER),
        instruction(LOAD_HALF_INDEXED, 0, 0, HEADER + 2),
        instruction(JUMP_IF_EQUAL, 5, 6, u32::from(mdns::PORT)),
        instruction(JUMP_IF_EQUAL, 0, 5, u32::from(ETHERTYPE_IPV6)),
        instruction(LOAD_BYTE, 0, 0, HEADER + 6),
        instruction(JUMP_IF_EQUAL, 0, 3, u32::from(UDP)),
        instruction(LOAD_HALF, 0, 0, UDP_HEADER + 2),
        instruction(JUMP_IF_EQUAL, 0, 1, u32::from(mdns::PORT)),
        instruction(RETURN, 0, 0, WHOLE),
        instruction(RETURN, 0, 0, 0),
    ])
}

#[cfg(test)]
pub(crate) use tests::runs;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp4::{Checksum, Datagram, reply_frame};
    use crate::{Mac, arp::Arp, ndp};
    use proptest::prelude::*;

    /// VLAN tags: none, a priority without a VLAN, and a VLAN with a priority.
    const NONE: Option<u16> = None;
    const PRIORITY: Option<u16> = Some(0xe000);
    const VLAN: Option<u16> = Some(0xe014);

    fn passes(frame: &[u8], tag: Option<u16>) -> bool {
        runs(&arp_and_ndp(), frame, tag)
    }

    /// Runs a filter as the kernel does. Supports only the instructions that the filters use.
    pub(crate) fn runs(filter: &[Instruction], frame: &[u8], tag: Option<u16>) -> bool {
        let (mut a, mut x, mut at) = (0u32, 0, 0);
        let byte = |offset: u32| frame.get(offset as usize).copied().map(u32::from);
        loop {
            let i = filter[at];
            at += 1;
            match i.code {
                LOAD_BYTE if i.k == VLAN_TAG_PRESENT => a = u32::from(tag.is_some()),
                LOAD_HALF if i.k == VLAN_TAG => a = u32::from(tag.unwrap_or_default()),
                AND => a &= i.k,
                // A load beyond the end of the frame ends the program with 0.
                LOAD_BYTE => match byte(i.k) {
                    Some(value) => a = value,
                    None => return false,
                },
                LOAD_HALF | LOAD_HALF_INDEXED => {
                    let offset = i.k + if i.code == LOAD_HALF { 0 } else { x };
                    match byte(offset).zip(byte(offset + 1)) {
                        Some((high, low)) => a = high << 8 | low,
                        None => return false,
                    }
                }
                INDEX_BY_HEADER => match byte(i.k) {
                    Some(first) => x = (first & 0x0f) * 4,
                    None => return false,
                },
                JUMP_IF_SET => at += usize::from(if a & i.k != 0 { i.jt } else { i.jf }),
                JUMP_IF_EQUAL => at += usize::from(if a == i.k { i.jt } else { i.jf }),
                RETURN => return i.k > 0,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_passes_arp_and_neighbour_discovery_and_nothing_else() {
        let (mac, ip) = (Mac([2, 0, 0, 0, 0, 1]), "fd88::7".parse().unwrap());
        let arp = Arp::probe(mac, [192, 168, 88, 7].into()).broadcast_frame();
        assert!(passes(&arp, NONE) && passes(&arp, PRIORITY));
        assert!(!passes(&arp, VLAN), "a frame of another VLAN");
        assert!(passes(&ndp::dad_probe(mac, ip), NONE) && passes(&ndp::advertisement(mac, ip), NONE));
        let mut echo = ndp::dad_probe(mac, ip);
        echo[14 + 40] = 128;
        let mut router = echo.clone();
        router[14 + 40] = 134;
        assert!(passes(&router, NONE) && passes(&ndp::router_solicitation(mac), NONE));
        // Frames with more tags pass if these name no VLAN, and so do frames with extension headers.
        for tag in [[0x81, 0, 0xe0, 0], [0x88, 0xa8, 0, 0]] {
            let mut tagged = [&arp[..12], &tag, &arp[12..]].concat();
            assert!(passes(&tagged, NONE) && passes(&tagged, PRIORITY) && !passes(&tagged, VLAN));
            tagged[15] = 20;
            assert!(!passes(&tagged, NONE), "a frame of another VLAN");
        }
        for (header, has_passed) in [(0, true), (43, true), (60, true), (44, false), (17, false)] {
            let mut behind = ndp::dad_probe(mac, ip);
            behind[14 + 6] = header;
            assert_eq!(passes(&behind, NONE), has_passed, "{header}");
        }
        let mut v4 = arp;
        v4[12..14].copy_from_slice(&[8, 0]);
        assert!(!passes(&echo, NONE) && !passes(&v4, NONE) && !passes(&arp[..12], NONE));
    }

    #[test]
    fn a_dhcp_clients_answers_pass_and_what_it_asks_does_not() {
        let filter = dhcp4_to_client();
        let answer = reply_frame(b"message");
        assert!(runs(&filter, &answer, NONE) && runs(&filter, &answer, PRIORITY));
        assert!(!runs(&filter, &answer, VLAN), "a frame of another VLAN");
        let asked = Datagram::to_client(&answer, Checksum::Whole).unwrap().to_server();
        assert!(!runs(&filter, &asked, NONE));
        // TCP, IPv6, fragments, and a frame that ends before the port.
        for (at, value) in [(14 + 9, 6), (12, 0x86), (14 + 6, 0x20), (14 + 7, 1)] {
            let mut frame = answer.clone();
            frame[at] = value;
            assert!(!runs(&filter, &frame, NONE), "{at}");
        }
        assert!(!runs(&filter, &answer[..14 + 20 + 3], NONE));
    }

    #[test]
    fn a_dhcpv6_clients_answers_pass_and_what_it_asks_does_not() {
        let filter = dhcp6_to_client();
        let answer = dhcp6::reply_frame(b"message");
        assert!(runs(&filter, &answer, NONE) && runs(&filter, &answer, PRIORITY));
        assert!(!runs(&filter, &answer, VLAN), "a frame of another VLAN");
        assert!(!runs(&filter, &dhcp6::question_frame(b"message"), NONE));
        assert!(!runs(&filter, &reply_frame(b"message"), NONE) && !runs(&dhcp4_to_client(), &answer, NONE));
        // TCP, IPv4, and a frame that ends before the port.
        for (at, value) in [(14 + 6, 6), (12, 8)] {
            let mut frame = answer.clone();
            frame[at] = value;
            assert!(!runs(&filter, &frame, NONE), "{at}");
        }
        assert!(!runs(&filter, &answer[..14 + 40 + 3], NONE));
    }

    proptest! {
        #[test]
        fn whatever_the_parser_of_dhcpv6_takes_has_passed_the_filter(flips in prop::collection::vec((12..70usize, any::<u8>()), 0..4)) {
            let mut frame = dhcp6::reply_frame(b"message");
            for (at, value) in flips {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            let taken = dhcp6::Datagram::to_client(&frame, Checksum::Partial).is_some();
            prop_assert!(!taken || runs(&dhcp6_to_client(), &frame, NONE));
        }

        #[test]
        fn whatever_the_parser_takes_has_passed_the_filter(flips in prop::collection::vec((12..50usize, any::<u8>()), 0..4)) {
            let mut frame = reply_frame(b"message");
            for (at, value) in flips {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            let taken = Datagram::to_client(&frame, Checksum::Partial).is_some();
            prop_assert!(!taken || runs(&dhcp4_to_client(), &frame, NONE));
        }
    }
}
