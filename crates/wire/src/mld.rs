//! Multicast listener discovery (RFC 3810): the one message that tells a switch which groups a port listens
//! to.

use std::net::Ipv6Addr;

use crate::ipv6::{self, group_mac};
use crate::{Mac, ndp};

/// The group of all routers that understand MLD version 2. Snooping switches on the way read it too.
const ALL_MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
const HOP_BY_HOP: u8 = 0;
/// A hop-by-hop header, followed by `ICMPv6`: the router alert that MLD requires (RFC 2711, 2.1), and
/// padding.
const ROUTER_ALERT: [u8; 8] = [ndp::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
const REPORT: u8 = 143;
const CHANGE_TO_EXCLUDE: u8 = 4;

/// The frame by which a port joins a group. Its source is the unspecified address, as RFC 3590 allows while
/// the sender has no address yet.
///
/// There is no frame for leaving a group. A switch that acts on one at once would stop forwarding the group
/// to other listeners on the same port. The switch forgets the group by itself.
pub(crate) fn join(sender: Mac, group: Ipv6Addr) -> Vec<u8> {
    let mut report = vec![REPORT, 0, 0, 0, 0, 0, 0, 1, CHANGE_TO_EXCLUDE, 0, 0, 0];
    report.extend(group.octets());
    let empty = ipv6::Packet {
        source_mac: sender,
        destination_mac: group_mac(ALL_MLDV2_ROUTERS),
        source: Ipv6Addr::UNSPECIFIED,
        destination: ALL_MLDV2_ROUTERS,
        next_header: HOP_BY_HOP,
        hop_limit: 1,
        payload: &[],
    };
    let sum = ndp::checksum(&ipv6::Packet { payload: &report, ..empty }).to_be_bytes();
    report[2..4].copy_from_slice(&sum);
    let payload = [&ROUTER_ALERT[..], &report].concat();
    ipv6::Packet { payload: &payload, ..empty }.frame()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_as_rfc_3810_5_2_has_it() {
        let group = "ff02::1:ff00:c0".parse().unwrap();
        let frame = join(Mac([2, 0, 0, 0, 0, 1]), group);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x16]);
        let packet = ipv6::Packet::parse(&frame).unwrap();
        assert_eq!((packet.next_header, packet.hop_limit), (0, 1));
        let (options, report) = packet.payload.split_at(8);
        assert_eq!(options, [58, 0, 5, 2, 0, 0, 1, 0]);
        assert_eq!((report[0], &report[4..12]), (143, &[0, 0, 0, 1, 4, 0, 0, 0][..]));
        assert_eq!(report[12..], "ff02::1:ff00:c0".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(ndp::checksum(&ipv6::Packet { payload: report, ..packet }), 0);
    }
}
