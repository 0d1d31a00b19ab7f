//! Parses a namespace's dumps into a [`View`]. It takes bytes, returns values, and asks the kernel nothing.
//!
//! Others control what is in a dump. Whoever administers a container can create links of any kind there and
//! name them freely, and an engine moves a container's links back to the host. So only the needed attributes
//! are read. A message that cannot be parsed is someone else's link, address or route, and only that message
//! is skipped. A link of an unknown kind is [`Other`](ashore_core::net::observed::ObservedKind::Other).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::net::observed::{Link, Neighbour, ObservedRoute, Seat, View};
use ashore_core::net::step::ROUTE_PROTOCOL;
use ashore_core::net::vlan::{Membership, VlanId};
use ashore_wire::Mac;

use crate::bytes::{Attributes, Message, Messages, u8_at, u16_at, u32_at};

mod address;
mod link;
mod route;

use route::{NextHop, RawRoute};
pub(crate) use route::{RT_TABLE_MAIN, links_of, router_of_next_hop, routers_of_route, rta};

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_NEWROUTE: u16 = 24;
pub(crate) const RTM_NEWNEIGH: u16 = 28;
pub(crate) const RTM_NEWNEXTHOP: u16 = 104;

pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_BRIDGE: u8 = 7;
pub(crate) const AF_INET6: u8 = 10;

/// How many members of next-hop groups are followed in one namespace. Each of many routes may use one group of
/// many members, so what they come to is no measure of what was read. Further routes have two, so that they are known
/// to have several.
const MOST_HOPS: usize = 10_000;

/// Parses the dumps of one namespace, in any order.
pub fn view(dumps: &[u8]) -> View {
    let mut reader = Reader::default();
    reader.take(dumps);
    reader.view()
}

/// A view under construction.
#[derive(Default)]
pub(crate) struct Reader {
    view: View,
    /// The nsid of the namespace that holds a link's lower link, by the index of the upper link.
    namespaces: BTreeMap<u32, i32>,
    /// The VLANs that bridges and ports forward, by the link's index.
    vlans: BTreeMap<u32, BTreeMap<VlanId, Membership>>,
    routes: Vec<RawRoute>,
    next_hops: BTreeMap<u32, NextHop>,
}

impl Reader {
    /// A reader of routes by links that are known.
    pub(crate) fn on(links: &[Link]) -> Self {
        let view = View { links: links.to_vec(), ..View::default() };
        Reader { view, ..Reader::default() }
    }

    /// Adds the messages of a dump.
    pub(crate) fn take(&mut self, dump: &[u8]) {
        for message in Messages::of(dump) {
            self.take_message(&message);
        }
    }

    fn take_message(&mut self, message: &Message<'_>) -> Option<()> {
        match message.kind {
            RTM_NEWLINK if u8_at(message.body, 0)? == AF_BRIDGE => {
                let (index, vlans) = link::vlans(message.body)?;
                self.vlans.insert(index, vlans);
            }
            RTM_NEWLINK => {
                let (link, namespace) = link::link(message.body)?;
                self.namespaces.extend(namespace.map(|number| (link.index, number)));
                self.view.altnames.extend(link::altnames(message.body).map(|name| (name, link.index)));
                self.view.rises.extend(link::rises(message.body).map(|rises| (link.index, rises)));
                self.view.bridges.extend(link::bridge(message.body).map(|bridge| (link.index, bridge)));
                self.view.links.push(link);
            }
            RTM_NEWADDR => self.view.addresses.push(address::address(message.body)?),
            RTM_NEWROUTE => self.routes.push(route::route(message.body)?),
            RTM_NEWNEIGH => self.view.neighbours.push(neighbour(message.body)?),
            RTM_NEWNEXTHOP => self.next_hops.extend(route::next_hop(message.body)),
            _ => {}
        }
        Some(())
    }

    /// Returns whether any link's lower link is in another namespace.
    pub(crate) fn names_namespaces(&self) -> bool {
        !self.namespaces.is_empty()
    }

    /// Adds the nsid of the host's namespace in this one, if it has one.
    pub(crate) fn host_is(&mut self, number: Option<i32>) {
        for link in &mut self.view.links {
            let is_on_host = number.is_some() && self.namespaces.get(&link.index).copied() == number;
            if let Some(lower) = link.lower.as_mut().filter(|_| is_on_host) {
                lower.seat = Seat::Host;
            }
        }
    }

    /// Returns whether there is a bridge whose VLANs must be requested.
    pub(crate) fn has_filtering_bridge(&self) -> bool {
        self.view.links.iter().any(|link| link.vlans.is_some())
    }

    /// Returns whether there is an ipvlan link.
    pub(crate) fn has_ipvlan(&self) -> bool {
        self.view.links.iter().any(Link::is_ipvlan)
    }

    /// Returns whether there are routes that name only a next-hop ID.
    pub(crate) fn needs_next_hops(&self) -> bool {
        self.routes.iter().any(RawRoute::is_by_number_alone)
    }

    /// The finished view.
    pub(crate) fn view(mut self) -> View {
        let filtering: Vec<u32> =
            self.view.links.iter().filter(|link| link.vlans.is_some()).map(|link| link.index).collect();
        for link in &mut self.view.links {
            // A bridge without VLAN filtering lists VLANs too, but forwards everything.
            if filtering.contains(&link.master.unwrap_or(link.index))
                && let Some(vlans) = self.vlans.remove(&link.index)
            {
                link.vlans = Some(vlans);
            }
        }
        let names: BTreeMap<u32, _> = self.view.links.iter().map(|link| (link.index, &link.name)).collect();
        let name_of = |index: u32| names.get(&index).map(|name| (*name).clone());
        let routes = self.routes.iter();
        let mut left = MOST_HOPS;
        let routes: Vec<ObservedRoute> =
            routes.flat_map(|route| route.observed(&self.next_hops, &name_of, &mut left)).collect();
        self.view.routes = routes;
        self.view
    }
}

/// Parses `struct ndmsg` and its attributes. Returns `None` unless the entry is permanent.
fn neighbour(body: &[u8]) -> Option<Neighbour> {
    const HEADER: usize = 12;
    const NUD_PERMANENT: u16 = 0x80;
    const NDA_DST: u16 = 1;
    const NDA_LLADDR: u16 = 2;
    const NDA_PROTOCOL: u16 = 12;
    if u16_at(body, 8)? != NUD_PERMANENT {
        return None;
    }
    let [to, address, protocol] = Attributes::after(HEADER, body).pick([NDA_DST, NDA_LLADDR, NDA_PROTOCOL]);
    let ours = protocol.and_then(|value| u8_at(value, 0)) == Some(ROUTE_PROTOCOL);
    Some(Neighbour { index: u32_at(body, 4)?, ip: ip(to?)?, mac: mac(address?)?, ours })
}

/// An IPv4 or IPv6 address, according to the length of the value.
pub(crate) fn ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}

fn mac(value: &[u8]) -> Option<Mac> {
    value.try_into().ok().map(Mac)
}
