//! Routes of the main table, and the next-hop objects that some of them refer to by ID (`linux/rtnetlink.h`,
//! `linux/nexthop.h`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::net::name::IfName;
use ashore_core::net::observed::{ObservedRoute, Ways};
use ashore_core::net::step::{ROUTE_PROTOCOL, Route, metric_of_kernel};
use ipnet::IpNet;

use super::{AF_INET, AF_INET6, ip};
use crate::bytes::{Attributes, u8_at, u16_at, u32_at};

/// `struct rtmsg`.
const HEADER: usize = 12;
pub(crate) const RT_TABLE_MAIN: u8 = 254;
const RTN_UNICAST: u8 = 1;
/// Learned from a router advertisement. Machines on the LAN decide how many of these routes there are. Only
/// default routes among them are kept, because nothing depends on the others.
const RTPROT_RA: u8 = 9;
const RTNH_F_ONLINK: u32 = 4;

/// `RTA_…`.
pub(crate) mod rta {
    pub(crate) const DST: u16 = 1;
    pub(crate) const OIF: u16 = 4;
    pub(crate) const GATEWAY: u16 = 5;
    pub(crate) const PRIORITY: u16 = 6;
    pub(crate) const PREFSRC: u16 = 7;
    pub(crate) const METRICS: u16 = 8;
    pub(crate) const MULTIPATH: u16 = 9;
    pub(crate) const CACHEINFO: u16 = 12;
    pub(crate) const TABLE: u16 = 15;
    pub(crate) const VIA: u16 = 18;
    pub(crate) const PREF: u16 = 20;
    pub(crate) const NH_ID: u16 = 30;
}

/// A route with the kernel's numbers.
pub(super) struct RawRoute {
    to: IpNet,
    src: Option<IpAddr>,
    protocol: u8,
    metric: u32,
    dropped: Option<&'static str>,
    hops: Vec<Hop>,
    /// The ID of a next-hop object or of a next-hop group.
    next_hop: Option<u32>,
}

/// One next hop of a route.
#[derive(Debug, Clone, Copy)]
struct Hop {
    index: u32,
    via: Option<IpAddr>,
    onlink: bool,
}

/// A next-hop object or a next-hop group.
#[derive(Debug, Clone, Default)]
pub(super) struct NextHop {
    hop: Option<Hop>,
    members: Vec<u32>,
}

/// Parses a route. Returns `None` for a route in another table, and for local, broadcast, anycast and
/// multicast routes, which lead to no other machine.
pub(super) fn route(body: &[u8]) -> Option<RawRoute> {
    let (family, prefix_length) = (u8_at(body, 0)?, u8_at(body, 1)?);
    let (table, protocol, kind) = (u8_at(body, 4)?, u8_at(body, 5)?, u8_at(body, 7)?);
    let flags = u32_at(body, 8)?;
    let dropped = match kind {
        RTN_UNICAST => None,
        6 => Some("blackhole"),
        7 => Some("unreachable"),
        8 => Some("prohibit"),
        9 => Some("throw"),
        _ => return None,
    };
    if table != RT_TABLE_MAIN || (protocol == RTPROT_RA && prefix_length > 0) {
        return None;
    }
    let attributes = Attributes::after(HEADER, body);
    let [to, metric, src, next_hop] = attributes.pick([rta::DST, rta::PRIORITY, rta::PREFSRC, rta::NH_ID]);
    let number = |value: Option<&[u8]>| value.and_then(|value| u32_at(value, 0));
    let to = match (to, family) {
        (Some(value), _) => ip(value)?,
        (None, AF_INET) => IpAddr::from([0; 4]),
        (None, AF_INET6) => IpAddr::from([0; 16]),
        _ => return None,
    };
    Some(RawRoute {
        to: IpNet::new(to, prefix_length).ok()?,
        src: src.and_then(ip),
        protocol,
        metric: number(metric).unwrap_or_default(),
        dropped,
        hops: hops_of(&attributes, flags),
        next_hop: number(next_hop),
    })
}

fn hops_of(attributes: &Attributes<'_>, flags: u32) -> Vec<Hop> {
    let [dev, several] = attributes.pick([rta::OIF, rta::MULTIPATH]);
    let (via, onlink) = (next_hops_address(attributes), flags & RTNH_F_ONLINK != 0);
    let index = dev.and_then(|value| u32_at(value, 0));
    let single = index.map(|index| Hop { index, via, onlink });
    single.into_iter().chain(ways_in(several.unwrap_or_default())).collect()
}

/// The routers that a route uses, each with the index of its link. The route may be in any table.
pub(crate) fn routers_of_route(body: &[u8]) -> Vec<(IpAddr, u32)> {
    hops_of(&Attributes::after(HEADER, body), 0).iter().filter_map(Hop::router).collect()
}

/// The router of a next-hop object, with the index of its link.
pub(crate) fn router_of_next_hop(body: &[u8]) -> Option<(IpAddr, u32)> {
    next_hop(body)?.1.hop?.router()
}

impl Hop {
    fn router(&self) -> Option<(IpAddr, u32)> {
        Some((self.via?, self.index))
    }
}

fn next_hops_address(attributes: &Attributes<'_>) -> Option<IpAddr> {
    // `struct rtvia` starts with the address family.
    let [gateway, via] = attributes.pick([rta::GATEWAY, rta::VIA]);
    let of_other_family = || ip(via?.get(2..)?);
    gateway.and_then(ip).or_else(of_other_family)
}

/// The indices of the links that a route uses.
pub(crate) fn links_of(attributes: &Attributes<'_>) -> impl Iterator<Item = u32> {
    let single = attributes.get(rta::OIF).and_then(|value| u32_at(value, 0));
    let several = ways_in(attributes.get(rta::MULTIPATH).unwrap_or_default());
    single.into_iter().chain(several.into_iter().map(|hop| hop.index))
}

/// Parses the `struct rtnexthop` entries, each followed by its attributes.
fn ways_in(mut rest: &[u8]) -> Vec<Hop> {
    const HEADER: usize = 8;
    let mut hops = Vec::new();
    while let (Some(length), Some(flags), Some(index)) = (u16_at(rest, 0), u8_at(rest, 2), u32_at(rest, 4)) {
        let length = usize::from(length);
        let Some(whole) = rest.get(..length).filter(|whole| whole.len() >= HEADER) else { break };
        let via = next_hops_address(&Attributes::after(HEADER, whole));
        hops.push(Hop { index, via, onlink: u32::from(flags) & RTNH_F_ONLINK != 0 });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

/// Parses a next-hop object: its ID and its contents.
pub(super) fn next_hop(body: &[u8]) -> Option<(u32, NextHop)> {
    /// `struct nhmsg`.
    const HEADER: usize = 8;
    /// `struct nexthop_grp`.
    const MEMBER: usize = 8;
    const NHA_ID: u16 = 1;
    const NHA_GROUP: u16 = 2;
    const NHA_OIF: u16 = 5;
    const NHA_GATEWAY: u16 = 6;
    let [id, group, dev, gateway] =
        Attributes::after(HEADER, body).pick([NHA_ID, NHA_GROUP, NHA_OIF, NHA_GATEWAY]);
    let number = |value: Option<&[u8]>| value.and_then(|value| u32_at(value, 0));
    let (via, onlink) = (gateway.and_then(ip), u32_at(body, 4)? & RTNH_F_ONLINK != 0);
    let members = group.unwrap_or_default().chunks_exact(MEMBER).filter_map(|member| u32_at(member, 0));
    let hop = number(dev).map(|index| Hop { index, via, onlink });
    Some((number(id)?, NextHop { hop, members: members.collect() }))
}

impl RawRoute {
    /// Returns whether the route refers to its next hop by ID only (`net.ipv4.nexthop_compat_mode=0`).
    pub(super) fn is_by_number_alone(&self) -> bool {
        self.next_hop.is_some() && self.hops.is_empty() && self.dropped.is_none()
    }

    /// Converts the route into one observed route per next hop. A route that drops its packets has no next
    /// hop. It is reported on `lo`, as the kernel does for IPv6. `left` is how many more members of groups are
    /// followed.
    pub(super) fn observed(
        &self,
        next_hops: &BTreeMap<u32, NextHop>,
        name_of: &impl Fn(u32) -> Option<IfName>,
        left: &mut usize,
    ) -> Vec<ObservedRoute> {
        let named = |hop: &Hop| Some((name_of(hop.index)?, hop.via, hop.onlink));
        let mut hops = self.hops.clone();
        if self.is_by_number_alone() {
            let of = |id: &u32| next_hops.get(id);
            let asked = self.next_hop.iter().filter_map(of);
            let members = asked.clone().flat_map(|group| &group.members).filter_map(of);
            hops.extend(asked.chain(members).filter_map(|next_hop| next_hop.hop).take((*left).max(2)));
            *left = left.saturating_sub(hops.len());
        }
        let ways = match self.dropped {
            Some(how) => Ways::None(how),
            None if hops.len() > 1 || self.next_hop.is_some() => Ways::Several,
            None => Ways::One,
        };
        let observed = |(dev, via, onlink)| {
            // Of the metrics of others it is known that they have some.
            let is_ours = self.protocol == ROUTE_PROTOCOL;
            let chosen = is_ours && self.metric != metric_of_kernel(self.to.addr());
            let metric = chosen.then_some(self.metric);
            let route = Route { to: self.to, via, dev, src: self.src, metric };
            ObservedRoute { route, protocol: self.protocol, metric: self.metric, onlink, ways }
        };
        let nowhere = self.dropped.map(|_| ("lo".parse().expect("it is an interface's name"), None, false));
        let hops = hops.iter().filter(|_| nowhere.is_none()).filter_map(named);
        hops.chain(nowhere.clone()).map(observed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 50,000 routes by a group of 4,000 members are three megabytes to read.
    #[test]
    fn routes_by_a_large_group_come_to_no_more_than_what_was_read() {
        const MEMBERS: u32 = 4000;
        const ROUTES: u32 = 5000;
        let member =
            |index| NextHop { hop: Some(Hop { index, via: None, onlink: false }), ..NextHop::default() };
        let mut next_hops: BTreeMap<u32, NextHop> = (1..=MEMBERS).map(|id| (id, member(id))).collect();
        next_hops.insert(0, NextHop { hop: None, members: (1..=MEMBERS).collect() });
        let route = |n: u32| RawRoute {
            to: IpNet::new(IpAddr::from(n.to_be_bytes()), 32).unwrap(),
            src: None,
            protocol: 4,
            metric: 0,
            dropped: None,
            hops: Vec::new(),
            next_hop: Some(0),
        };
        let name_of = |index: u32| format!("eth{index}").parse().ok();
        let mut left = 10_000;
        let seen: Vec<usize> = (0..ROUTES)
            .map(|n| {
                let observed = route(n).observed(&next_hops, &name_of, &mut left);
                assert!(observed.iter().all(|there| there.ways == Ways::Several));
                observed.len()
            })
            .collect();
        assert_eq!(seen[..2], [4000, 4000]);
        assert_eq!(seen[3..], vec![2; ROUTES as usize - 3]);
    }
}
