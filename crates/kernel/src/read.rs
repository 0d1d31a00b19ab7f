//! What a namespace's dumps say, as a [`View`]: bytes in, values out, and nothing asked of the kernel.
//!
//! Others decide what is in a dump: whoever may administer a container makes links there of any kind and calls them what he
//! likes, and an engine hands his links back to the host. So only what is needed is read. A message that does not read is
//! somebody else's link, address or route, and left out alone; a link of a kind or name that means nothing here is
//! [`Other`](ashore_core::net::observed::ObservedKind::Other).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::net::observed::{Neighbour, ObservedRoute, Seat, View};
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

/// What dumps of one namespace say, whatever their order.
pub fn view(dumps: &[u8]) -> View {
    let mut reader = Reader::default();
    reader.take(dumps);
    reader.view()
}

/// A view on its way.
#[derive(Default)]
pub(crate) struct Reader {
    view: View,
    /// The kernel's numbers for the namespaces of links below others, by the upper link's index.
    namespaces: BTreeMap<u32, i32>,
    /// The VLANs that bridges and ports let through, by the link's index.
    vlans: BTreeMap<u32, BTreeMap<VlanId, Membership>>,
    routes: Vec<RawRoute>,
    next_hops: BTreeMap<u32, NextHop>,
}

impl Reader {
    /// Takes in the messages of a dump.
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

    /// Whether there are links of which the one below is in another namespace.
    pub(crate) fn names_namespaces(&self) -> bool {
        !self.namespaces.is_empty()
    }

    /// Takes in the number of the host's namespace in this one, if it has one.
    pub(crate) fn host_is(&mut self, number: Option<i32>) {
        for link in &mut self.view.links {
            let is_on_host = number.is_some() && self.namespaces.get(&link.index).copied() == number;
            if let Some(lower) = link.lower.as_mut().filter(|_| is_on_host) {
                lower.seat = Seat::Host;
            }
        }
    }

    /// Whether there is a bridge whose VLANs have to be asked for.
    pub(crate) fn has_filtering_bridge(&self) -> bool {
        self.view.links.iter().any(|link| link.vlans.is_some())
    }

    /// Whether there are routes of which only a number is known.
    pub(crate) fn needs_next_hops(&self) -> bool {
        self.routes.iter().any(RawRoute::is_by_number_alone)
    }

    /// What has been taken in.
    pub(crate) fn view(mut self) -> View {
        let filtering: Vec<u32> =
            self.view.links.iter().filter(|link| link.vlans.is_some()).map(|link| link.index).collect();
        for link in &mut self.view.links {
            // A bridge that does not filter tells of VLANs as well, and lets everything through.
            if filtering.contains(&link.master.unwrap_or(link.index))
                && let Some(vlans) = self.vlans.remove(&link.index)
            {
                link.vlans = Some(vlans);
            }
        }
        let names: BTreeMap<u32, _> = self.view.links.iter().map(|link| (link.index, &link.name)).collect();
        let name_of = |index: u32| names.get(&index).map(|name| (*name).clone());
        let routes = self.routes.iter();
        let routes: Vec<ObservedRoute> =
            routes.flat_map(|route| route.observed(&self.next_hops, &name_of)).collect();
        self.view.routes = routes;
        self.view
    }
}

/// `struct ndmsg`, and what follows it.
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

/// An address of either family, by its length.
pub(crate) fn ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}

fn mac(value: &[u8]) -> Option<Mac> {
    value.try_into().ok().map(Mac)
}
