//! The matches and targets that iptables-legacy and iptables-nft share (`linux/netfilter/x_tables.h`).

use super::Packets;
use super::walk::{Does, Of};
use crate::bytes::{u8_at, u16_at, u32_at};

/// `XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`, and the same of `IP_CT_ESTABLISHED`. nftables has the same bits.
pub(super) const NEW: u32 = 1 << 3;
pub(super) const ESTABLISHED: u32 = 1 << 1;
/// `NF_CT_STATE_UNTRACKED_BIT`: what belongs to no connection.
pub(super) const UNTRACKED: u32 = 1 << 6;

/// Which packets a match is about.
pub(super) fn matched(name: &[u8], revision: u32, info: &[u8], packets: &Packets) -> Of {
    let state = if packets.begin { NEW } else { ESTABLISHED };
    match name {
        b"comment" => Of::All,
        b"physdev" => physdev(info, packets),
        b"state" => {
            u32_at(info, 0).map_or(Of::Unread, |mask| if mask & state == 0 { Of::None } else { Of::All })
        }
        b"conntrack" => conntrack(revision, info, state),
        b"recent" => recent(info),
        b"tcp" | b"udp" | b"icmp" | b"icmp6" | b"multiport" | b"limit" | b"hashlimit" | b"esp" | b"ah" => {
            Of::Some
        }
        _ => INVERTED.iter().find(|(one, _)| *one == name).map_or(Of::Unread, |(_, at)| {
            match u8_at(info, *at) {
                Some(0) => Of::Some,
                // Most packets have another mark or another owner than one that is named.
                _ => Of::Unread,
            }
        }),
    }
}

/// Matches that name some packets, and where in each of them is a byte that is not 0 if it is inverted.
const INVERTED: [(&[u8], usize); 10] = [
    (b"mark", 8),
    (b"connmark", 8),
    (b"owner", 17),
    (b"mac", 8),
    (b"length", 4),
    (b"ttl", 0),
    (b"dscp", 1),
    (b"tos", 2),
    (b"string", 149),
    (b"connlimit", 20),
];

/// `struct xt_recent_mtinfo`: what is done with the list, then whether the match is inverted. To put packets into the list
/// is about all of them.
fn recent(info: &[u8]) -> Of {
    const SET: u8 = 1 << 1;
    match (u8_at(info, 8), u8_at(info, 9)) {
        (Some(asked), Some(0)) if asked & SET == 0 => Of::Some,
        _ => Of::Unread,
    }
}

/// `struct xt_physdev_info`: two names with their masks, then which bits are inverted, and which are asked for.
fn physdev(info: &[u8], packets: &Packets) -> Of {
    const IN: u8 = 1;
    const OUT: u8 = 2;
    let (Some(inverted), Some(asked)) = (u8_at(info, 64), u8_at(info, 65)) else { return Of::Unread };
    if asked & inverted & (IN | OUT) != 0 {
        return Of::Unread;
    }
    if asked & (IN | OUT) != 0 {
        return if packets.bridge.is_some() { Of::Some } else { Of::None };
    }
    // What is left is that a packet is bridged, came by a port, or leaves by one.
    let is_so = if packets.bridge.is_some() { asked & !inverted } else { asked & inverted };
    if is_so == asked { Of::All } else { Of::None }
}

/// `struct xt_conntrack_mtinfo3`: which things are compared, which of them inverted, and the states.
fn conntrack(revision: u32, info: &[u8], state: u32) -> Of {
    const STATE: u16 = 1;
    let parts = (u16_at(info, 146), u16_at(info, 148), u16_at(info, 150));
    match parts {
        (Some(asked), Some(inverted), Some(mask)) if (2..=3).contains(&revision) => {
            let is_so = (u32::from(mask) & state != 0) == (inverted & STATE == 0);
            match asked & !STATE {
                _ if asked & STATE != 0 && !is_so => Of::None,
                0 => Of::All,
                others if others & inverted == 0 => Of::Some,
                _ => Of::Unread,
            }
        }
        _ => Of::Unread,
    }
}

/// What a target other than a verdict does.
pub(super) fn target<C>(name: &[u8]) -> Does<C> {
    match name {
        b"REJECT" | b"DROP" | b"TARPIT" => Does::Drop,
        // Another address or port is given to those that are accepted.
        b"ACCEPT" | b"DNAT" | b"SNAT" | b"MASQUERADE" | b"REDIRECT" | b"NETMAP" => Does::Accept,
        b"LOG" | b"NFLOG" | b"ULOG" | b"MARK" | b"CONNMARK" | b"TCPMSS" | b"CLASSIFY" | b"TRACE" | b"SET"
        | b"CT" | b"TOS" | b"DSCP" | b"TTL" | b"HL" | b"CHECKSUM" | b"AUDIT" | b"NOTRACK" | b"SECMARK"
        | b"CONNSECMARK" => Does::Nothing,
        _ => Does::Unread,
    }
}

/// A fixed field with a name in it, up to the first zero.
pub(super) fn name_at(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    Some(crate::bytes::text(bytes.get(at..at + length)?))
}

/// Of all conditions of a rule: it is about those packets that every one of them is about.
pub(super) fn all_of(conditions: impl IntoIterator<Item = Of>) -> Of {
    conditions.into_iter().max().unwrap_or(Of::All)
}

#[cfg(test)]
mod tests {
    use super::super::Hook;
    use super::*;

    fn of(name: &[u8], revision: u32, bytes: &[(usize, u8)], bridged: bool) -> Of {
        let mut info = [0; 256];
        for (at, byte) in bytes {
            info[*at] = *byte;
        }
        let net = "192.168.88.0/24".parse().unwrap();
        let packets = Packets {
            hook: Hook::Forward,
            into: None,
            out: None,
            bridge: bridged.then(|| "br0".parse().unwrap()),
            source: net,
            destination: net,
            begin: true,
        };
        matched(name, revision, &info, &packets)
    }

    #[test]
    fn what_is_inverted_may_be_of_most_packets() {
        for (name, at) in INVERTED {
            assert_eq!(of(name, 1, &[], false), Of::Some, "{}", name.escape_ascii());
            assert_eq!(of(name, 1, &[(at, 1)], false), Of::Unread, "! {}", name.escape_ascii());
        }
        assert_eq!(of(b"recent", 1, &[(8, 1)], false), Of::Some, "--rcheck");
        assert_eq!(of(b"recent", 1, &[(8, 1), (9, 1)], false), Of::Unread, "! --rcheck");
        assert_eq!(of(b"recent", 1, &[(8, 2)], false), Of::Unread, "--set");
    }

    #[test]
    fn a_port_of_a_bridge_is_no_other_ones_and_that_of_no_bridge_is_not_guessed() {
        for bridged in [false, true] {
            let by_port = if bridged { Of::Some } else { Of::None };
            assert_eq!(of(b"physdev", 0, &[(65, 1)], bridged), by_port, "--physdev-in");
            assert_eq!(of(b"physdev", 0, &[(64, 1), (65, 1)], bridged), Of::Unread, "! --physdev-in");
        }
    }

    #[test]
    fn states_are_those_of_the_connection_and_what_else_it_has_is_of_some() {
        let state = |mask: u8, inverted: u8, asked: u8| [(146, asked), (148, inverted), (150, mask)];
        for (bytes, expected) in [
            (state(8, 0, 1), Of::All),
            (state(8, 1, 1), Of::None),
            (state(2, 0, 1), Of::None),
            (state(2, 1, 1), Of::All),
            // With `--ctstatus` or `--ctproto` besides, and with `!` before that.
            (state(2, 0, 1 | 0x40), Of::None),
            (state(8, 0, 1 | 0x40), Of::Some),
            (state(8, 0x40, 1 | 0x40), Of::Unread),
        ] {
            assert_eq!(of(b"conntrack", 3, &bytes, false), expected, "{bytes:?}");
        }
    }
}
