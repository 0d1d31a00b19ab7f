//! The parts of IPv6 neighbour discovery (RFC 4861) that this crate needs. For conflict detection: the
//! solicitation for a tentative address (RFC 4862, 5.4.2) and the unsolicited advertisement. For router
//! discovery: solicitations and advertisements of routers.

use std::net::Ipv6Addr;

use crate::Mac;
use crate::ipv6::{self, group_mac};

mod router;

pub use router::{Preference, PrefixInformation, RouteInformation, RouterAdvertisement, router_solicitation};

pub(crate) const ICMPV6: u8 = 58;
pub(crate) const ROUTER_SOLICITATION: u8 = 133;
pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
pub(crate) const SOLICITATION: u8 = 135;
pub(crate) const ADVERTISEMENT: u8 = 136;
/// The length of type, code, checksum, flags and target.
const NEIGHBOUR_HEADER: usize = 24;
/// The length of type, code, checksum and reserved bytes.
const ROUTER_SOLICITATION_HEADER: usize = 8;
/// The option types of the sender's and the target's link-layer address (RFC 4861, 4.6.1).
const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What a neighbour discovery packet says about which host has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// A host probes for an address that it wants to use. The source address is unspecified.
    DadProbe {
        /// The MAC from the Ethernet header, because such a packet carries no link-layer address option.
        sender: Mac,
        /// The address that it probes for.
        target: Ipv6Addr,
    },
    /// A host has an address.
    Advertisement {
        /// The MAC of the host: from the option if there is one, otherwise from the frame.
        sender: Mac,
        /// The address that the host has.
        target: Ipv6Addr,
    },
    /// A host asks for another host's address or for routers, and states its own MAC.
    Asker {
        /// The MAC from its option.
        sender: Mac,
        /// The address of the host that asks.
        source: Ipv6Addr,
    },
}

impl Neighbour {
    /// Parses a frame. Returns `None` unless it is such a packet and cannot have come through a router (hop
    /// limit 255, RFC 4861, 7.1).
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let Packet { sender, source, payload } = Packet::parse(frame)?;
        // Receivers use the option, whatever the frame's header says.
        let asker = |header: usize| {
            let sender = mac_option(payload.get(header..)?, SOURCE_MAC)?;
            (!source.is_unspecified()).then_some(Neighbour::Asker { sender, source })
        };
        if payload[0] == ROUTER_SOLICITATION {
            return asker(ROUTER_SOLICITATION_HEADER);
        }
        let target: [u8; 16] = payload.get(8..NEIGHBOUR_HEADER)?.try_into().ok()?;
        let target = Ipv6Addr::from(target);
        match payload[0] {
            SOLICITATION if source.is_unspecified() => Some(Neighbour::DadProbe { sender, target }),
            SOLICITATION => asker(NEIGHBOUR_HEADER),
            ADVERTISEMENT => {
                let sender = mac_option(&payload[NEIGHBOUR_HEADER..], TARGET_MAC).unwrap_or(sender);
                Some(Neighbour::Advertisement { sender, target })
            }
            _ => None,
        }
    }
}

/// The MAC in the first option of type `kind`. Returns `None` if there is none, or if the options are
/// malformed.
fn mac_option(mut options: &[u8], kind: u8) -> Option<Mac> {
    loop {
        let [of, units, ..] = *options else { return None };
        let (option, rest) = options.split_at_checked(8 * usize::from(units)).filter(|_| units > 0)?;
        if of == kind {
            return Some(Mac(*option[2..].first_chunk()?)).filter(|_| units == 1);
        }
        options = rest;
    }
}

/// A neighbour discovery packet of any type.
struct Packet<'a> {
    sender: Mac,
    source: Ipv6Addr,
    /// The `ICMPv6` message, beginning with its type.
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses a frame. Returns `None` unless it is complete and cannot have come through a router. These are
    /// the checks of RFC 4861, 6.1 and 7.1, that all types have in common.
    fn parse(frame: &'a [u8]) -> Option<Self> {
        let packet = ipv6::Packet::parse(frame)?.without_extensions()?;
        let ipv6::Packet { source_mac: sender, source, payload, .. } = packet;
        if packet.next_header != ICMPV6 || packet.hop_limit != 255 {
            return None;
        }
        // Type, code and checksum come first. All types have code 0.
        if payload.len() < 4 || payload[1] != 0 || checksum(&packet) != 0 {
            return None;
        }
        Some(Packet { sender, source, payload })
    }
}

/// The frame of a duplicate address detection probe.
pub fn dad_probe(sender: Mac, target: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node_group(target);
    frame(sender, Ipv6Addr::UNSPECIFIED, group, &neighbour(SOLICITATION, 0, target, None))
}

/// The solicited-node multicast group of an address (RFC 4291, 2.7.1).
pub(crate) fn solicited_node_group(target: Ipv6Addr) -> Ipv6Addr {
    let t = target.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, t[13], t[14], t[15]])
}

/// The frame of an unsolicited neighbour advertisement that overrides neighbour caches.
pub fn advertisement(sender: Mac, target: Ipv6Addr) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    frame(sender, target, ALL_NODES, &neighbour(ADVERTISEMENT, OVERRIDE, target, Some(sender)))
}

/// A neighbour solicitation or advertisement, with its checksum still to be filled in.
fn neighbour(kind: u8, flags: u8, target: Ipv6Addr, target_mac: Option<Mac>) -> Vec<u8> {
    let mut payload = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    payload.extend(target.octets());
    if let Some(mac) = target_mac {
        // Target link-layer address option, one unit of eight bytes long (RFC 4861, 4.6.1).
        payload.extend([TARGET_MAC, 1]);
        payload.extend(mac.0);
    }
    payload
}

/// The frame of a packet to a multicast group, with its checksum filled in.
fn frame(sender: Mac, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    let empty = ipv6::Packet {
        source_mac: sender,
        destination_mac: group_mac(destination),
        source,
        destination,
        next_header: ICMPV6,
        hop_limit: 255,
        payload: &[],
    };
    let sum = checksum(&ipv6::Packet { payload: &payload, ..empty }).to_be_bytes();
    payload[2..4].copy_from_slice(&sum);
    ipv6::Packet { payload: &payload, ..empty }.frame()
}

/// The `ICMPv6` checksum over the pseudo-header and the payload (RFC 8200, 8.1).
pub(crate) fn checksum(packet: &ipv6::Packet<'_>) -> u16 {
    let length = (packet.payload.len() as u32).to_be_bytes();
    let (source, destination) = (packet.source.octets(), packet.destination.octets());
    crate::checksum::checksum(&[&source, &destination, &length, &[0, 0, 0, ICMPV6], packet.payload])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ETHERNET_HEADER;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    proptest! {
        #[test]
        fn both_packets_read_back(target in any::<[u8; 16]>()) {
            let target = Ipv6Addr::from(target);
            prop_assert_eq!(Neighbour::parse(&dad_probe(MAC, target)), Some(Neighbour::DadProbe { sender: MAC, target }));
            let advertised = Neighbour::parse(&advertisement(MAC, target));
            prop_assert_eq!(advertised, Some(Neighbour::Advertisement { sender: MAC, target }));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Neighbour::parse(&bytes);
        }

        #[test]
        fn a_flipped_bit_is_noticed(at in 14 + 8..14 + 40 + 32usize, bit in 0..8u8) {
            let mut frame = advertisement(MAC, "fd88::7".parse().unwrap());
            frame[at] ^= 1 << bit;
            prop_assert_eq!(Neighbour::parse(&frame), None);
        }
    }

    /// Packets that RFC 4861, 7.1, forbids although their checksum is right: with a code other than 0, or too
    /// short.
    #[test]
    fn what_rfc_4861_forbids_says_nothing_of_an_address() {
        let target: Ipv6Addr = "fd88::7".parse().unwrap();
        for (kind, source) in [(SOLICITATION, Ipv6Addr::UNSPECIFIED), (ADVERTISEMENT, target)] {
            let said = |payload: &[u8]| Neighbour::parse(&frame(MAC, source, ALL_NODES, payload));
            let good = neighbour(kind, 0, target, None);
            assert!(said(&good).is_some());
            let mut coded = good.clone();
            coded[1] = 1;
            assert_eq!(said(&coded), None);
            for length in 4..NEIGHBOUR_HEADER {
                assert_eq!(said(&good[..length]), None, "{length} bytes");
            }
        }
        // Packets of another type, and solicitations for another host's address that do not state the
        // sender's MAC.
        let said = |kind, source| {
            Neighbour::parse(&frame(MAC, source, ALL_NODES, &neighbour(kind, 0, target, None)))
        };
        assert_eq!(said(137, target), None);
        assert_eq!(said(SOLICITATION, "fd88::8".parse().unwrap()), None);
    }

    #[test]
    fn where_an_address_is_to_be_found_is_what_the_option_says() {
        let (target, own): (Ipv6Addr, Ipv6Addr) = ("fd88::7".parse().unwrap(), "fd88::8".parse().unwrap());
        let there = Mac([2, 0, 0, 0, 0, 9]);
        let option = |kind: u8, units: u8| [&[kind, units][..], &there.0].concat();
        let said = |kind: u8, source, options: &[Vec<u8>]| {
            let mut payload = neighbour(kind, 0, target, None);
            payload.truncate(if kind == ROUTER_SOLICITATION { 8 } else { NEIGHBOUR_HEADER });
            payload.extend(options.concat());
            crate::heard(&frame(MAC, source, ALL_NODES, &payload))
        };
        let claim = |sender, ip: Ipv6Addr| Some(crate::Heard { sender, ip: ip.into(), claims: true });
        for (kind, options, heard) in [
            (ADVERTISEMENT, vec![], claim(MAC, target)),
            (ADVERTISEMENT, vec![option(TARGET_MAC, 1)], claim(there, target)),
            (ADVERTISEMENT, vec![option(SOURCE_MAC, 1), option(TARGET_MAC, 1)], claim(there, target)),
            // An unreadable option counts as absent.
            (ADVERTISEMENT, vec![option(TARGET_MAC, 0)], claim(MAC, target)),
            (ADVERTISEMENT, vec![option(TARGET_MAC, 2)], claim(MAC, target)),
            (SOLICITATION, vec![], None),
            (SOLICITATION, vec![option(SOURCE_MAC, 1)], claim(there, own)),
            (ROUTER_SOLICITATION, vec![], None),
            (ROUTER_SOLICITATION, vec![option(SOURCE_MAC, 1)], claim(there, own)),
        ] {
            assert_eq!(said(kind, own, &options), heard, "{kind} {options:?}");
        }
        assert_eq!(said(ROUTER_SOLICITATION, Ipv6Addr::UNSPECIFIED, &[option(SOURCE_MAC, 1)]), None);
    }

    #[test]
    fn headers_in_between_change_nothing_but_that_of_a_fragment() {
        let target: Ipv6Addr = "fd88::7".parse().unwrap();
        let plain = advertisement(MAC, target);
        let with = |headers: &[u8], first| {
            let whole = ipv6::Packet::parse(&plain).unwrap();
            let payload = [headers, whole.payload].concat();
            Neighbour::parse(&ipv6::Packet { next_header: first, payload: &payload, ..whole }.frame())
        };
        let said = Some(Neighbour::Advertisement { sender: MAC, target });
        // Padding (RFC 8200, 4.2), in a header of eight bytes and in one of sixteen.
        let (short, long) =
            ([ICMPV6, 0, 1, 4, 0, 0, 0, 0], [60, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(with(&short, 60), said);
        assert_eq!(with(&[&long[..], &short].concat(), 0), said);
        assert_eq!(with(&[ICMPV6, 0, 0, 0, 0, 0, 0, 0], 43), said);
        assert_eq!(with(&[ICMPV6, 0, 0, 0, 0, 0, 0, 1], 44), None);
        assert_eq!(with(&[ICMPV6, 255, 1, 4, 0, 0, 0, 0], 60), None, "the header is cut off");
    }

    #[test]
    fn less_than_a_checksum_is_no_packet() {
        for length in 0..4 {
            let packet = ipv6::Packet {
                source_mac: MAC,
                destination_mac: group_mac(ALL_NODES),
                source: "fe80::1".parse().unwrap(),
                destination: ALL_NODES,
                next_header: ICMPV6,
                hop_limit: 255,
                payload: &[ADVERTISEMENT, 0, 0, 0][..length],
            };
            assert_eq!(Neighbour::parse(&packet.frame()), None);
            assert_eq!(RouterAdvertisement::parse(&packet.frame()), None);
        }
    }

    #[test]
    fn a_packet_that_came_through_a_router_is_ignored() {
        let mut frame = dad_probe(MAC, "fd88::7".parse().unwrap());
        frame[ETHERNET_HEADER + 7] = 254;
        assert_eq!(Neighbour::parse(&frame), None);
    }
}
