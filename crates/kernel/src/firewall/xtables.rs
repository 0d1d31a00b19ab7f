//! The matches and targets that iptables-legacy and iptables-nft share (`linux/netfilter/x_tables.h`).

use super::Packets;
use super::walk::{Does, Of};
use crate::bytes::{u8_at, u16_at, u32_at};

/// `XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`, and the same of `IP_CT_ESTABLISHED`. nftables has the same bits.
pub(super) const NEW: u32 = 1 << 3;
pub(super) const ESTABLISHED: u32 = 1 << 1;

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
        b"tcp" | b"udp" | b"icmp" | b"icmp6" | b"multiport" | b"limit" | b"hashlimit" | b"recent"
        | b"mac" | b"mark" | b"connmark" | b"owner" | b"length" | b"ttl" | b"dscp" | b"tos" | b"esp"
        | b"ah" | b"string" | b"connlimit" => Of::Some,
        _ => Of::Unread,
    }
}

/// `struct xt_physdev_info`: two names with their masks, then which bits are inverted, and which are asked for.
fn physdev(info: &[u8], packets: &Packets) -> Of {
    const IN: u8 = 1;
    const OUT: u8 = 2;
    let (Some(inverted), Some(asked)) = (u8_at(info, 64), u8_at(info, 65)) else { return Of::Unread };
    if asked & (IN | OUT) != 0 {
        return if packets.bridged { Of::Some } else { Of::None };
    }
    // What is left is that a packet is bridged, came by a port, or leaves by one.
    let is_so = if packets.bridged { asked & !inverted } else { asked & inverted };
    if is_so == asked { Of::All } else { Of::None }
}

/// `struct xt_conntrack_mtinfo3`: which things are compared, which of them inverted, and the states.
fn conntrack(revision: u32, info: &[u8], state: u32) -> Of {
    const STATE: u16 = 1;
    let parts = (u16_at(info, 146), u16_at(info, 148), u16_at(info, 150));
    match parts {
        (Some(STATE), Some(inverted), Some(mask)) if (2..=3).contains(&revision) => {
            let is_so = u32::from(mask) & state != 0;
            if is_so == (inverted & STATE == 0) { Of::All } else { Of::None }
        }
        (Some(_), Some(_), Some(_)) => Of::Some,
        _ => Of::Unread,
    }
}

/// What a target other than a verdict does.
pub(super) fn target<C>(name: &[u8]) -> Does<C> {
    match name {
        b"REJECT" | b"DROP" | b"TARPIT" => Does::Drop,
        b"ACCEPT" => Does::Accept,
        b"LOG" | b"NFLOG" | b"ULOG" | b"MARK" | b"CONNMARK" | b"TCPMSS" | b"CLASSIFY" | b"TRACE" | b"SET"
        | b"CT" | b"TOS" | b"DSCP" | b"TTL" | b"HL" | b"CHECKSUM" | b"AUDIT" => Does::Nothing,
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
