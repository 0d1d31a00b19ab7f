//! The shim on a parent, and the host's routes through it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ashore_wire::Mac;
use ipnet::IpNet;

use super::WantedLink;
use crate::model::endpoint::{Endpoint, Mark};
use crate::model::network::{HOST_AUX, Network, Subnet};
use crate::model::state::State;
use crate::net::family::Family;
use crate::net::kind::{IpvlanMode, LinkKind, MacvlanMode};
use crate::net::link::{LinkSpec, LinkType, Tag, shim_name};
use crate::net::name::IfName;
use crate::net::observed::{Link, Observed, View};
use crate::net::range::Range;
use crate::net::step::{Address, Route, Sysctl, SysctlKey};

/// One shim for each parent with an endpoint that wants host access. It is made with the first endpoint and
/// stays until the last network on the parent is removed, so that neighbour caches stay valid.
pub(super) fn shims(state: &State, observed: &Observed) -> Vec<WantedLink> {
    let mut parents: BTreeMap<&IfName, Vec<&Network>> = BTreeMap::new();
    for network in state.networks.values().filter(|network| network.uses_shim()) {
        parents.entry(&network.parent).or_default().push(network);
    }
    parents.into_iter().filter_map(|(parent, networks)| shim(state, observed, parent, &networks)).collect()
}

fn shim(state: &State, observed: &Observed, parent: &IfName, networks: &[&Network]) -> Option<WantedLink> {
    let host = &observed.host;
    let parent_link = host.link(parent)?;
    let mac = host.shim_mac(parent_link)?;
    let tag = Tag::Shim(parent.clone());
    let wanted = |network: &&Network| state.endpoints_on(&network.name).any(Endpoint::is_wanted);
    if host.tagged(&tag).is_none() && !networks.iter().any(wanted) {
        return None;
    }
    let name = shim_name(parent);
    let (kind, mac) = if let LinkKind::Ipvlan(mode) = networks.first()?.kind {
        (LinkType::Ipvlan { parent: parent.clone(), mode }, None)
    } else {
        let mode = MacvlanMode::Bridge;
        (LinkType::Macvlan { parent: parent.clone(), mode, bc_queue_len: None, bc_limit: None }, Some(mac))
    };
    let mtu = host.link(&name).map(|_| parent_link.mtu);
    let mut link = WantedLink {
        no_link_local: parent_link.accept_ra.is_some(),
        sysctls: quiet(&name, parent_link),
        no_other_addresses: true,
        ..WantedLink::bare(LinkSpec { name: name.clone(), kind, mac, mtu }, tag)
    };
    if let Some(mac) = mac.filter(|_| networks.iter().any(|network| network.has_ipv6())) {
        let net = IpNet::new(mac.link_local().into(), 64).expect("64 bits fit an IPv6 address");
        link.addresses.push(Address { net, nodad: true });
    }
    let near = nets_on(host, parent_link);
    for network in networks {
        let own = |net: &IpNet| host.host_address(parent_link, net);
        let near = |ip| near.iter().any(|net| net.contains(&ip));
        host_side(&mut link, state, observed.about.as_ref(), own, near, parent_link.mac, network);
    }
    Some(link)
}

/// The prefixes that the host itself knows to be on a link: from an address that the host has there, or from
/// a route. What routers and DHCPv6 servers tell endpoints does not count, because they could then make the
/// host send to an endpoint what is meant for another machine.
fn nets_on(host: &View, link: &Link) -> Vec<IpNet> {
    let by_address = host.addresses_of(link).filter(|there| !there.link_scope).map(|there| there.net);
    let by_route = host
        .routes
        .iter()
        .map(|there| &there.route)
        .filter(|route| route.dev == link.name && route.via.is_none() && route.to.prefix_len() > 0);
    by_address.chain(by_route.map(|route| route.to)).collect()
}

/// The sysctls of a link that must not act for the host. `arp_filter=1`: without it a shim also answers the
/// LAN's ARP requests for the host, which with `rp_filter=1` cuts the host off, and a VLAN interface answers
/// for the host's addresses on other LANs. `accept_ra=0`: a link that follows router advertisements gives the
/// host a second default route.
pub(super) fn quiet(link: &IfName, parent: &Link) -> Vec<(Sysctl, i32)> {
    let mut sysctls = Vec::new();
    let mut set = |family, key, value| sysctls.push((Sysctl { family, link: link.clone(), key }, value));
    set(Family::Ipv4, SysctlKey::ArpFilter, 1);
    // A kernel without IPv6 has nothing to set.
    if parent.accept_ra.is_some() {
        set(Family::Ipv6, SysctlKey::AcceptRa, 0);
    }
    sysctls
}

/// Adds the host's routes to the endpoints of one network. With a `host` address this is one route for the
/// range. Otherwise it is one route for each endpoint's address, with the host's own LAN address as the
/// source. A host with neither is on another LAN and goes through the router like any machine there. A route
/// through the shim would lead its packets around the router, but not the answers. `about` has the addresses
/// that the plan is about, if it is not about all.
pub(super) fn host_side(
    link: &mut WantedLink,
    state: &State,
    about: Option<&BTreeSet<IpAddr>>,
    own: impl Fn(&IpNet) -> Option<IpAddr>,
    near: impl Fn(IpAddr) -> bool,
    parent_mac: Option<Mac>,
    network: &Network,
) {
    let shim = link.spec.name.clone();
    let mut nets: Vec<(IpNet, Option<&Subnet>)> =
        network.subnets.iter().map(|subnet| (subnet.net, Some(subnet))).collect();
    let learned = state.endpoints_on(&network.name).filter_map(|endpoint| endpoint.learned.as_ref());
    let mut prefixes: BTreeSet<IpNet> =
        learned.flat_map(|learned| &learned.addresses).map(|there| there.prefix.into()).collect();
    // The LAN may have other addresses than when the network was made.
    prefixes.extend(state.endpoints_on(&network.name).filter_map(|endpoint| network.other_lan_of(endpoint)));
    nets.extend(prefixes.into_iter().map(|net| (net, None)));
    let endpoints = wanted_on(state, network, about);
    let mut there: BTreeSet<(IpNet, Option<IpAddr>)> =
        link.routes.iter().map(|route| (route.to, route.src)).collect();
    for (net, subnet) in nets {
        let numbered = subnet.and_then(|subnet| subnet.aux.get(HOST_AUX)).copied();
        let Some(src) = numbered.or_else(|| own(&net)) else { continue };
        let route = |to: IpNet| Route { to, via: None, dev: shim.clone(), src: Some(src), metric: None };
        let mut ranges = Vec::new();
        if let Some(ip) = numbered {
            let address = Address { net: single(ip), nodad: ip.is_ipv6() };
            if !link.addresses.contains(&address) {
                link.addresses.push(address);
            }
            ranges.extend(subnet.into_iter().flat_map(numbered_range));
        }
        let mut routes: Vec<IpNet> = ranges.clone();
        for endpoint in &endpoints {
            let is_meant = |ip: &IpAddr| net.contains(ip) && about.is_none_or(|about| about.contains(ip));
            for ip in endpoint.addresses.iter().map(IpNet::addr).filter(is_meant) {
                if subnet.is_none() && !near(ip) {
                    continue;
                }
                if !ranges.iter().any(|range| range.contains(&ip)) {
                    routes.push(single(ip));
                }
                if let (LinkKind::Ipvlan(IpvlanMode::L2), Some(mac)) = (network.kind, parent_mac) {
                    link.neighbours.push((ip, mac));
                }
            }
        }
        let new = routes.into_iter().filter(|to| there.insert((*to, Some(src)))).map(route);
        link.routes.extend(new);
    }
}

/// The endpoints on a network that the kernel should have and that a plan is about, in the order of their
/// names.
fn wanted_on<'a>(
    state: &'a State,
    network: &'a Network,
    about: Option<&BTreeSet<IpAddr>>,
) -> Vec<&'a Endpoint> {
    let Some(about) = about else {
        return state.endpoints_on(&network.name).filter(|endpoint| endpoint.is_wanted()).collect();
    };
    let holders = about.iter().flat_map(|ip| state.endpoints.with(Mark::Ip(*ip)));
    let on_it = holders.filter(|((of, _), endpoint)| *of == network.name && endpoint.is_wanted());
    on_it.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// The prefixes of a range that is a part of its subnet. A whole subnet gets no such route: it would compete
/// with the parent's own route and take the LAN's machines away from it.
fn numbered_range(subnet: &Subnet) -> impl Iterator<Item = IpNet> {
    let whole = Range::of_net(&subnet.net);
    let range = subnet.range.filter(|range| *range != whole);
    range.into_iter().flat_map(|range| range.prefixes())
}

/// The addresses to which the host has a route of their own as a part of a range, whatever has them. A plan that is
/// about some addresses is also about these.
pub fn singles_of_ranges(state: &State) -> impl Iterator<Item = IpAddr> {
    let networks = state.networks.values().filter(|network| network.uses_shim());
    let numbered =
        networks.flat_map(|network| &network.subnets).filter(|subnet| subnet.aux.contains_key(HOST_AUX));
    let single = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
    numbered.flat_map(numbered_range).filter(single).map(|net| net.addr())
}

fn single(ip: IpAddr) -> IpNet {
    IpNet::new(ip, Family::of(ip).full_prefix()).expect("a full prefix fits its family")
}
