//! Router solicitations and advertisements (RFC 4861, 4.1 and 4.2), with the options that concern a host's
//! addresses and routes.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::{Packet, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION, frame};
use crate::Mac;
use crate::dhcp4::DomainName;

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// The length of everything from the type to the retransmission timer.
const HEADER: usize = 16;
/// How many of each option are read, which is more than any home router sends.
const MOST: usize = 16;

/// A router advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The router's link-local address, which is the next hop for routes through it.
    pub router: Ipv6Addr,
    /// The router's MAC: from the option if there is one, otherwise from the frame.
    pub mac: Mac,
    /// Whether addresses are available by DHCPv6 (flag M).
    pub managed: bool,
    /// Whether other configuration is available by DHCPv6 (flag O).
    pub other: bool,
    /// The preference among default routers, as stated in the header (RFC 4191, 2.2).
    pub preference: Preference,
    /// How long it is a default router, in seconds, as stated in the header. 0 if it is none. See
    /// [`Self::as_default`].
    pub lifetime: u16,
    /// The MTU of the link in bytes (option 5).
    pub mtu: Option<u32>,
    /// The prefixes of the link (option 3).
    pub prefixes: Vec<PrefixInformation>,
    /// More specific routes (option 24, RFC 4191).
    pub routes: Vec<RouteInformation>,
    /// DNS servers and their lifetimes in seconds (option 25, RFC 8106).
    pub dns: Vec<(Ipv6Addr, u32)>,
    /// Search domains and their lifetimes in seconds (option 31, RFC 8106).
    pub search: Vec<(DomainName, u32)>,
}

/// The preference among several routers or routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preference {
    /// Used if there is no other.
    Low,
    /// The default.
    #[default]
    Medium,
    /// Used before others.
    High,
}

/// A prefix of the link (RFC 4861, 4.6.2). Lifetimes are in seconds; [`u32::MAX`] means for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixInformation {
    /// The prefix.
    pub net: Ipv6Net,
    /// Whether its addresses are on the link (flag L).
    pub on_link: bool,
    /// Whether hosts form addresses from it (flag A).
    pub autonomous: bool,
    /// How long the prefix is on the link, and how long addresses from it are valid.
    pub valid: u32,
    /// How long addresses from it are preferred, which means used for new connections.
    pub preferred: u32,
    /// The router's own address in the prefix, if it tells it (flag R; RFC 6275, 7.2).
    pub router: Option<Ipv6Addr>,
}

/// A route through the router (RFC 4191, 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInformation {
    /// The destination.
    pub to: Ipv6Net,
    /// The preference among several routes.
    pub preference: Preference,
    /// The lifetime in seconds; [`u32::MAX`] means for ever.
    pub lifetime: u32,
}

/// The frame of a router solicitation. Its source is the unspecified address, so it carries no link-layer
/// address option, and routers answer by multicast.
pub fn router_solicitation(sender: Mac) -> Vec<u8> {
    frame(sender, Ipv6Addr::UNSPECIFIED, ALL_ROUTERS, &[ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0])
}

impl RouterAdvertisement {
    /// Parses a frame. Returns `None` unless it is an advertisement that passes the checks of RFC 4861,
    /// 6.1.2: hop limit 255, a link-local source, complete, a right checksum, and no option of length zero.
    /// An option that is malformed in itself does not affect the others.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let Packet { sender, source, payload } = Packet::parse(frame)?;
        if payload.len() < HEADER || payload[0] != ROUTER_ADVERTISEMENT || !source.is_unicast_link_local() {
            return None;
        }
        let mut said = RouterAdvertisement {
            router: source,
            mac: sender,
            managed: payload[5] & 0x80 != 0,
            other: payload[5] & 0x40 != 0,
            preference: Preference::Medium,
            lifetime: u16::from_be_bytes([payload[6], payload[7]]),
            mtu: None,
            prefixes: Vec::new(),
            routes: Vec::new(),
            dns: Vec::new(),
            search: Vec::new(),
        };
        // A reserved value counts as medium. The preference of a router that is no default router is ignored
        // (RFC 4191, 2.2).
        if said.lifetime > 0 {
            said.preference = Preference::of(payload[5]).unwrap_or_default();
        }
        let mut rest = &payload[HEADER..];
        while !rest.is_empty() {
            let length = 8 * usize::from(*rest.get(1)?);
            if length == 0 {
                return None;
            }
            let (option, after) = rest.split_at_checked(length)?;
            said.take(option);
            rest = after;
        }
        Some(said)
    }

    /// How long it is a default router, in seconds (0 if it is none), and its preference. A route information
    /// option for `::/0` overrides the header (RFC 4191, 3.1).
    pub fn as_default(&self) -> (u32, Preference) {
        let said = self.routes.iter().rev().find(|route| route.is_default());
        said.map_or((self.lifetime.into(), self.preference), |route| (route.lifetime, route.preference))
    }

    fn take(&mut self, option: &[u8]) {
        match option[0] {
            1 if option.len() == 8 => {
                self.mac = Mac([option[2], option[3], option[4], option[5], option[6], option[7]]);
            }
            3 if self.prefixes.len() < MOST => self.prefixes.extend(PrefixInformation::read(option)),
            5 if option.len() == 8 => self.mtu = Some(number(option, 4)),
            24 if self.routes.len() < MOST => self.routes.extend(RouteInformation::read(option)),
            25 if option.len() >= 24 => {
                let lifetime = number(option, 4);
                let servers = option[8..].chunks_exact(16).filter_map(address);
                let room = MOST - self.dns.len();
                self.dns.extend(servers.map(|ip| (ip, lifetime)).take(room));
            }
            31 if option.len() >= 16 => {
                let lifetime = number(option, 4);
                // The last name is padded with zeros, the first of which is its root label.
                let end = option.iter().rposition(|byte| *byte != 0).map_or(8, |last| last + 2);
                let names = DomainName::list(option.get(8..end).unwrap_or_default()).unwrap_or_default();
                let room = MOST - self.search.len();
                self.search.extend(names.into_iter().map(|name| (name, lifetime)).take(room));
            }
            _ => {}
        }
    }
}

impl Preference {
    /// Reads the fourth and fifth bit of a byte. Returns `None` for the reserved value.
    fn of(flags: u8) -> Option<Self> {
        match flags >> 3 & 3 {
            0 => Some(Preference::Medium),
            1 => Some(Preference::High),
            3 => Some(Preference::Low),
            _ => None,
        }
    }
}

impl PrefixInformation {
    fn read(option: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = option.try_into().ok()?;
        let ip = address(&bytes[16..])?;
        Some(PrefixInformation {
            net: Ipv6Net::new(ip, bytes[2]).ok()?.trunc(),
            on_link: bytes[3] & 0x80 != 0,
            autonomous: bytes[3] & 0x40 != 0,
            valid: number(option, 4),
            preferred: number(option, 8),
            router: (bytes[3] & 0x20 != 0).then_some(ip),
        })
    }
}

impl RouteInformation {
    /// Whether it is a route to everywhere.
    pub(crate) fn is_default(&self) -> bool {
        self.to.prefix_len() == 0
    }

    fn read(option: &[u8]) -> Option<Self> {
        // The option only needs to hold the bytes that the prefix length covers.
        let (length, held) = (option[2], option.len() - 8);
        if held > 16 || usize::from(length).div_ceil(8) > held {
            return None;
        }
        let mut prefix = [0; 16];
        prefix[..held].copy_from_slice(&option[8..]);
        let to = Ipv6Net::new(prefix.into(), length).ok()?.trunc();
        // A route with the reserved preference must be ignored (RFC 4191, 2.3).
        Some(RouteInformation { to, preference: Preference::of(option[3])?, lifetime: number(option, 4) })
    }
}

fn number(option: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([option[at], option[at + 1], option[at + 2], option[at + 3]])
}

fn address(bytes: &[u8]) -> Option<Ipv6Addr> {
    Some(<[u8; 16]>::try_from(bytes).ok()?.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ETHERNET_HEADER;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    /// The frame of an advertisement from `fe80::1` with these flags, lifetime (in seconds) and options.
    pub(crate) fn advertisement(flags: u8, lifetime: u16, options: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, flags];
        payload.extend(lifetime.to_be_bytes());
        payload.extend([0; 8]);
        payload.extend(options.concat());
        frame(MAC, "fe80::1".parse().unwrap(), super::super::ALL_NODES, &payload)
    }

    pub(crate) fn prefix(net: &str, flags: u8, valid: u32, preferred: u32) -> Vec<u8> {
        let net: Ipv6Net = net.parse().unwrap();
        let mut option = vec![3, 4, net.prefix_len(), flags];
        option.extend(valid.to_be_bytes());
        option.extend(preferred.to_be_bytes());
        option.extend([0; 4]);
        option.extend(net.addr().octets());
        option
    }

    fn with(kind: u8, after_length: &[u8]) -> Vec<u8> {
        let units = (after_length.len() + 2).div_ceil(8);
        let mut option = vec![kind, units as u8];
        option.extend(after_length);
        option.resize(8 * units, 0);
        option
    }

    fn read(options: &[Vec<u8>]) -> RouterAdvertisement {
        RouterAdvertisement::parse(&advertisement(0, 1800, options)).unwrap()
    }

    #[test]
    fn flags_lifetime_and_preference() {
        let said = |flags| RouterAdvertisement::parse(&advertisement(flags, 1800, &[])).unwrap();
        assert_eq!((said(0x80).managed, said(0x80).other), (true, false));
        assert_eq!((said(0x40).managed, said(0x40).other), (false, true));
        let preferences = [
            (0, Preference::Medium),
            (0x08, Preference::High),
            (0x18, Preference::Low),
            (0x10, Preference::Medium),
        ];
        for (flags, preference) in preferences {
            assert_eq!(said(flags).preference, preference);
        }
        let none = RouterAdvertisement::parse(&advertisement(0x08, 0, &[])).unwrap();
        assert_eq!((none.lifetime, none.preference), (0, Preference::Medium));
        assert_eq!(none.router, "fe80::1".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn every_option_is_read_and_unknown_ones_are_passed_over() {
        let mut dns = vec![0, 0, 0, 0, 2, 88];
        dns.extend("fd88::1".parse::<Ipv6Addr>().unwrap().octets());
        let said = read(&[
            with(1, &[2, 9, 9, 9, 9, 9]),
            prefix("fd88::5/64", 0xc0, 7200, 3600),
            prefix("fd89::5/64", 0xa0, 7200, 3600),
            with(5, &[0, 0, 0, 0, 5, 0xd4]),
            with(24, &[48, 0x08, 0, 0, 1, 0, 0xfd, 0, 0, 1, 0, 2]),
            with(25, &dns),
            with(31, &[0, 0, 0, 0, 1, 0, 4, b'h', b'o', b'm', b'e', 0, 3, b'l', b'a', b'n', 0]),
            with(200, &[1, 2, 3]),
        ]);
        assert_eq!(said.mac, Mac([2, 9, 9, 9, 9, 9]));
        assert_eq!(said.mtu, Some(1492));
        let net = "fd88::/64".parse().unwrap();
        let first = PrefixInformation {
            net,
            on_link: true,
            autonomous: true,
            valid: 7200,
            preferred: 3600,
            router: None,
        };
        let (net, router) = ("fd89::/64".parse().unwrap(), "fd89::5".parse().ok());
        assert_eq!(said.prefixes, [first, PrefixInformation { net, autonomous: false, router, ..first }]);
        let to = "fd00:1:2::/48".parse().unwrap();
        assert_eq!(said.routes, [RouteInformation { to, preference: Preference::High, lifetime: 256 }]);
        assert_eq!(said.dns, [("fd88::1".parse().unwrap(), 600)]);
        assert_eq!(said.search, [("home".parse().unwrap(), 256), ("lan".parse().unwrap(), 256)]);
    }

    #[test]
    fn what_rfc_4861_forbids_is_no_advertisement() {
        let good = advertisement(0, 1800, &[prefix("fd88::/64", 0xc0, 7200, 3600)]);
        assert!(RouterAdvertisement::parse(&good).is_some());
        let mut through_a_router = good.clone();
        through_a_router[ETHERNET_HEADER + 7] = 254;
        let global =
            frame(MAC, "fd88::1".parse().unwrap(), super::super::ALL_NODES, &good[ETHERNET_HEADER + 40..]);
        let said = |payload: &[u8]| frame(MAC, "fe80::1".parse().unwrap(), super::super::ALL_NODES, payload);
        let mut payload = good[ETHERNET_HEADER + 40..].to_vec();
        payload[2..4].fill(0);
        let mut coded = payload.clone();
        coded[1] = 1;
        let mut another_type = payload.clone();
        another_type[0] = ROUTER_SOLICITATION;
        let (coded, another_type) = (said(&coded), said(&another_type));
        let headless = said(&payload[..HEADER - 1]);
        assert!(RouterAdvertisement::parse(&said(&payload)).is_some());
        assert!(RouterAdvertisement::parse(&said(&payload[..HEADER])).is_some());
        let short = advertisement(0, 1800, &[]);
        let option_without_length = advertisement(0, 1800, &[vec![3, 0, 0, 0, 0, 0, 0, 0]]);
        let option_cut = advertisement(0, 1800, &[vec![3, 4, 0, 0, 0, 0, 0, 0]]);
        let cases = [
            &through_a_router[..],
            &global,
            &coded,
            &another_type,
            &headless,
            &short[..short.len() - 1],
            &option_without_length,
            &option_cut,
        ];
        for (at, case) in cases.iter().enumerate() {
            assert_eq!(RouterAdvertisement::parse(case), None, "case {at}");
        }
    }

    #[test]
    fn routers_are_asked_in_their_group_from_no_address() {
        let asked = crate::ipv6::Packet::parse(&router_solicitation(MAC)).map(|packet| {
            assert_eq!(super::super::checksum(&packet), 0);
            (
                packet.destination_mac,
                packet.source_mac,
                packet.source,
                packet.destination,
                packet.hop_limit,
                packet.payload.to_vec(),
            )
        });
        let (_, source_mac, source, destination, hops, payload) = asked.unwrap();
        assert_eq!((source_mac, source, destination, hops), (MAC, Ipv6Addr::UNSPECIFIED, ALL_ROUTERS, 255));
        assert_eq!((payload[0], payload[1], &payload[4..]), (133, 0, &[0, 0, 0, 0][..]));
    }

    fn servers(from: u8, count: u8) -> Vec<u8> {
        let mut option = vec![0, 0, 0, 0, 0, 60];
        for last in from..from + count {
            option.extend([0xfd, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        with(25, &option)
    }

    fn domains(count: u8) -> Vec<u8> {
        let mut option = vec![0, 0, 0, 0, 0, 60];
        (0..count).for_each(|number| option.extend([2, b'a', b'a' + number, 0]));
        with(31, &option)
    }

    #[test]
    fn of_each_option_no_more_is_read_than_a_home_has_to_say() {
        let prefixes: Vec<_> =
            (0..20).map(|number| prefix(&format!("fd88:{number:x}::/64"), 0xc0, 60, 60)).collect();
        let routes: Vec<_> =
            (0..20).map(|number| with(24, &[32, 0, 0, 0, 0, 60, 0xfd, 0, 0, number])).collect();
        let said = read(&[prefixes.clone(), routes].concat());
        assert_eq!((said.prefixes.len(), said.routes.len()), (MOST, MOST));
        assert_eq!(said.prefixes[15].net, "fd88:f::/64".parse().unwrap());
        let names = |options: &[Vec<u8>]| {
            let said = read(options);
            (said.dns.len(), said.search.len())
        };
        assert_eq!(names(&[servers(1, 10), servers(11, 5)]), (15, 0));
        assert_eq!(names(&[servers(1, 10), servers(11, 10), servers(21, 3)]), (MOST, 0));
        assert_eq!(names(&[domains(10), domains(5)]), (0, 15));
        assert_eq!(names(&[domains(12), domains(12), domains(3)]), (0, MOST));
        // The last name ends with the option.
        assert_eq!(
            names(&[with(31, &[0, 0, 0, 0, 0, 60, 6, b'a', b'b', b'c', b'd', b'e', b'f', 0])]),
            (0, 1)
        );
    }

    #[test]
    fn an_option_of_another_length_than_its_own_says_nothing() {
        let quiet = RouterAdvertisement::parse(&advertisement(0, 1800, &[])).unwrap();
        let server = "fd88::1".parse::<Ipv6Addr>().unwrap().octets();
        for option in [
            with(1, &[2, 9, 9, 9, 9, 9, 0]),
            with(3, &[64, 0xc0]),
            with(5, &[0, 0, 0, 0, 5, 0xd4, 0]),
            with(25, &[0, 0, 0, 0, 2, 88]),
            with(25, &[&[0, 0, 0, 0, 2, 88][..], &server[..8]].concat()),
            with(31, &[0, 0, 0, 0, 1, 0]),
        ] {
            assert_eq!(read(std::slice::from_ref(&option)), quiet, "{option:?}");
        }
        let route = |held: &[u8]| read(&[with(24, held)]).routes.first().map(|route| route.to.to_string());
        let to = |text: &str| Some(text.to_owned());
        let ones = [0xfd; 24];
        // Routes with no byte of the prefix, with half of it, and with all of it.
        assert_eq!(route(&[0, 0, 0, 0, 0, 60]), to("::/0"));
        assert_eq!(route(&[1, 0, 0, 0, 0, 60]), None);
        assert_eq!(route(&[&[64, 0, 0, 0, 0, 60], &ones[..8]].concat()), to("fdfd:fdfd:fdfd:fdfd::/64"));
        assert_eq!(route(&[&[65, 0, 0, 0, 0, 60], &ones[..8]].concat()), None);
        assert!(route(&[&[128, 0, 0, 0, 0, 60], &ones[..16]].concat()).is_some());
        assert_eq!(route(&[&[64, 0, 0, 0, 0, 60], &ones[..24]].concat()), None);
        assert_eq!(
            read(&[prefix("fd88::/64", 0x80, 0x0102_0304, 0x0506_0708)]).prefixes[0].valid,
            0x0102_0304
        );
        let flags = |flags| {
            let said = read(&[prefix("fd88::/64", flags, 1, 1)]).prefixes[0];
            (said.on_link, said.autonomous)
        };
        assert_eq!([flags(0x80), flags(0x40), flags(0x3f)], [(true, false), (false, true), (false, false)]);
    }

    #[test]
    fn an_option_that_makes_no_sense_spoils_no_other() {
        let good = prefix("fd88::/64", 0xc0, 7200, 3600);
        let mut long = good.clone();
        long[2] = 129;
        let said = read(&[
            long,
            with(24, &[64, 0, 0, 0, 0, 1]),
            with(24, &[0, 0x10, 0, 0, 0, 1]),
            with(31, &[9; 20]),
            good,
        ]);
        assert_eq!((said.prefixes.len(), said.routes.len(), said.search.len()), (1, 0, 0));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(options in prop::collection::vec(any::<u8>(), 0..120), lifetime in any::<u16>()) {
            let _ = RouterAdvertisement::parse(&options);
            let _ = RouterAdvertisement::parse(&advertisement(0, lifetime, &[options]));
        }

        #[test]
        fn a_flipped_bit_is_noticed(at in 14 + 8..14 + 40 + 48usize, bit in 0..8u8) {
            let mut frame = advertisement(0, 1800, &[prefix("fd88::/64", 0xc0, 7200, 3600)]);
            frame[at] ^= 1 << bit;
            prop_assert_eq!(RouterAdvertisement::parse(&frame), None);
        }
    }
}
