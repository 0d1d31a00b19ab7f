//! What the kernel should hold, worked out from the state and from what only the host knows (its LAN address, the
//! parent's MAC).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ashore_wire::Mac;
use ipnet::IpNet;

use crate::endpoint::{Endpoint, Home, Source, Stage};
use crate::identity;
use crate::ipv6::{Ipv6Mode, LearnedAddress};
use crate::link::{IpvlanMode, LinkKind, LinkSpec, LinkType, Netns, Place, PortOption, Tag};
use crate::name::{EndpointName, IfName, NetworkName};
use crate::network::Network;
use crate::observed::{IPV6_METRIC, Link, Observed, ObservedKind, View};
use crate::state::{Change, State};
use crate::step::{Address, Family, ROUTE_PROTOCOL, Route, Sysctl, SysctlKey};
use crate::vlan::{Membership, VlanId};

mod shim;
mod vlans;

use shim::shims;
use vlans::{own_port_name, vlans, with_vlans};

/// What should be in the namespaces that were observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// What should be on the host.
    pub host: Vec<WantedLink>,
    /// What should be in each container's namespace.
    pub netns: BTreeMap<Netns, Vec<WantedLink>>,
    /// Links that are Ashore's although they bear no tag yet: a crash came between making and tagging. A shim is known
    /// by its MAC, which follows from the parent's.
    pub claims: Vec<Claim>,
    /// Links that an engine is about to take away, or has taken: neither missed nor unwanted.
    pub handed_over: Vec<Tag>,
    /// Networks that cannot be on the LAN at present.
    pub waiting: Vec<Waiting>,
}

/// A link, with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLink {
    /// The link.
    pub spec: LinkSpec,
    /// Whose it is.
    pub tag: Tag,
    /// Who else has a hand in it.
    pub share: Share,
    /// The bridge that it is a port of.
    pub master: Option<IfName>,
    /// What it does there, of what not every port does.
    pub port: BTreeSet<PortOption>,
    /// The one VLAN there that it is in, where that is not left to the bridge.
    pub vlan: Option<PortVlan>,
    /// Whether the kernel must give it no IPv6 link-local address of its own.
    pub no_link_local: bool,
    /// Sysctls that must be set before it goes up.
    pub sysctls: Vec<(Sysctl, i32)>,
    /// The most bytes that an IPv6 packet on it may have; with none that is left as it is, and above the link's own MTU it is that.
    pub ipv6_mtu: Option<u32>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Those of its addresses from which nothing new is begun.
    pub deprecated: Vec<IpNet>,
    /// Addresses that must not be on it.
    pub lost: Vec<IpNet>,
    /// Whether lasting addresses beside those are taken off: on the shim they would draw the LAN's packets.
    pub no_other_addresses: bool,
    /// Routes by it.
    pub routes: Vec<Route>,
    /// Permanent neighbour entries on it.
    pub neighbours: Vec<(IpAddr, Mac)>,
}

impl WantedLink {
    /// The link alone.
    fn bare(spec: LinkSpec, tag: Tag) -> Self {
        WantedLink {
            spec,
            tag,
            share: Share::Own,
            master: None,
            port: BTreeSet::new(),
            vlan: None,
            no_link_local: false,
            sysctls: Vec::new(),
            ipv6_mtu: None,
            addresses: Vec::new(),
            deprecated: Vec::new(),
            lost: Vec::new(),
            no_other_addresses: false,
            routes: Vec::new(),
            neighbours: Vec::new(),
        }
    }
}

/// The VLAN of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortVlan {
    /// Its number.
    pub id: VlanId,
    /// As what the port is in it.
    pub membership: Membership,
}

/// Who has a hand in a link beside Ashore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Nobody.
    Own,
    /// An engine is about to move it, and brings it up then. The kernel takes some 20 ms longer to move a link that is up
    /// (seen on Linux 6.18).
    HandedOver,
    /// An engine has moved it and made its default route, which is replaced where the lease has another router by now.
    Moved,
    /// Somebody else made it and will take it away: it gets routes and neighbour entries, and is left alone otherwise.
    Borrowed,
}

/// How to know a link that was made and not yet tagged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Where.
    pub place: Place,
    /// The name that it was to have.
    pub ifname: IfName,
    /// The MAC that it was made with, which identifies it also under a temporary name.
    pub mac: Option<Mac>,
    /// Whose it is.
    pub tag: Tag,
}

/// A network that cannot be on the LAN at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The network.
    pub network: String,
    /// The parent that is missing.
    pub parent: IfName,
}

/// What should be, given the state and what was observed. Containers' namespaces that were not observed are left out, and
/// endpoints in those that could not be read keep what they have on the host, also if they are to go.
pub fn desired(state: &State, observed: &Observed) -> Desired {
    let kept;
    let unseen = |endpoint: &&Endpoint| !endpoint.is_wanted() && observed.unreadable(endpoint).is_some();
    let as_they_are = state
        .endpoints
        .values()
        .filter(unseen)
        .map(|endpoint| Change::PutEndpoint(Endpoint { stage: Stage::Attached, ..endpoint.clone() }));
    let as_they_are: Vec<Change> = as_they_are.collect();
    let state = if as_they_are.is_empty() {
        state
    } else {
        kept = state.with(&as_they_are);
        &kept
    };
    let mut desired = Desired::default();
    for netns in observed.netns.keys() {
        desired.netns.insert(netns.clone(), Vec::new());
    }
    desired.host.extend(vlans(state, &observed.host));
    let observed = &with_vlans(observed, &desired.host);
    for network in state.networks.values().filter(|network| observed.host.link(&network.parent).is_none()) {
        let parent = network.lowest(&observed.host).clone();
        if observed.host.link(&parent).is_none() {
            desired.waiting.push(Waiting { network: network.label().to_owned(), parent });
        }
    }
    desired.host.extend(shims(state, observed));
    desired.claims.extend(observed.host.links.iter().filter_map(|parent| {
        let mac = Some(shim_mac(parent)?);
        let (ifname, tag) = (shim_name(&parent.name), Tag::Shim(parent.name.clone()));
        Some(Claim { place: Place::Host, ifname, mac, tag })
    }));
    let own_ports = state.networks.values().filter(|network| network.bridge_vlan().is_some());
    desired.claims.extend(
        own_ports.map(|network| {
            far_end_claim(own_port_name(&network.parent), Tag::VlanPort(network.parent.clone()))
        }),
    );
    for endpoint in state.endpoints.values() {
        let Some(network) = state.network_of(endpoint) else { continue };
        if network.adopted {
            for (netns, inside) in &observed.netns {
                let link = borrowed_link(network, endpoint, inside, &observed.host);
                desired.netns.entry(netns.clone()).or_default().extend(link);
            }
            continue;
        }
        desired.claims.extend(claim(endpoint));
        if network.kind == LinkKind::Bridge {
            desired.claims.push(far_end_claim(port_name(endpoint), endpoint.port_tag()));
        }
        if endpoint.is_wanted() && observed.host.link(&network.parent).is_some() {
            want_endpoint(&mut desired, network, endpoint, observed);
        }
    }
    for (netns, links) in &mut desired.netns {
        one_way_to_each(links, &observed.netns[netns]);
    }
    desired
}

/// Two endpoints in one namespace need one way to the host's IPv6 address, not two that replace each other. The one that
/// is there stays.
fn one_way_to_each(links: &mut [WantedLink], view: &View) {
    let mut ways: BTreeMap<IpNet, Route> = BTreeMap::new();
    let all = || links.iter().flat_map(|link| &link.routes);
    let there = all().filter(|route| view.routes.iter().any(|seen| seen.route == **route));
    for route in there.chain(all()) {
        ways.entry(route.to).or_insert_with(|| route.clone());
    }
    for link in links {
        link.routes.retain(|route| ways.get(&route.to) == Some(route));
    }
}

fn want_endpoint(desired: &mut Desired, network: &Network, endpoint: &Endpoint, observed: &Observed) {
    match &endpoint.home {
        Home::Netns { netns, ifname } => {
            // The kernel has no room for a second one beside it.
            let strayed = observed.strayed.contains(&endpoint.tag());
            if let Some(links) = desired.netns.get_mut(netns).filter(|_| !strayed) {
                let mut link = endpoint_link(network, endpoint, ifname, &observed.host);
                yield_default_route(&mut link, network, &observed.netns[netns]);
                links.push(link);
            }
            if network.kind == LinkKind::Bridge {
                let peer_place = Place::Netns(netns.clone());
                desired.host.push(port(network, endpoint, ifname, peer_place, &observed.host));
            }
        }
        Home::Engine { ifname, .. } => {
            if endpoint.stage == Stage::Attaching {
                let link = bare_link(network, endpoint, ifname, &observed.host);
                desired.host.push(WantedLink { share: Share::HandedOver, ..link });
            } else {
                desired.handed_over.push(endpoint.tag());
                for (netns, inside) in &observed.netns {
                    if let Some(link) = moved_link(network, endpoint, inside, &observed.host) {
                        desired.netns.entry(netns.clone()).or_default().push(link);
                    }
                }
            }
            if network.kind == LinkKind::Bridge {
                desired.host.push(port(network, endpoint, ifname, Place::Host, &observed.host));
            }
        }
    }
}

/// The link after an engine has moved and renamed it. The engine sets its addresses and default routes; the way to the
/// host is left to Ashore, and so is what has changed of a lease since, and what routers advertise.
fn moved_link(network: &Network, endpoint: &Endpoint, inside: &View, host: &View) -> Option<WantedLink> {
    let ifname = &inside.tagged(&endpoint.tag()).filter(|link| link.up)?.name;
    let mut link = endpoint_link(network, endpoint, ifname, host);
    let leased = endpoint.source == Source::Lease;
    if !leased {
        link.addresses.retain(|address| endpoint.learned_address(address.net.addr()).is_some());
    }
    // The engine brings the link up before it sets its default routes, and fails if there is one. A lease's goes with a lost
    // address, and is replaced once there is one. It knows of no router that advertises itself.
    let lost = leased && endpoint.lost.iter().any(|net| net.addr().is_ipv4());
    let made =
        |to: IpNet| inside.routes.iter().any(|there| there.route.to == to && there.route.dev == *ifname);
    let by_advertisement = network.follows_routers();
    link.routes.retain(|route| match route.to.addr() {
        _ if route.to.prefix_len() > 0 => true,
        IpAddr::V4(_) => leased && (lost || made(route.to)),
        IpAddr::V6(_) => by_advertisement,
    });
    yield_default_route(&mut link, network, inside);
    let share = if leased { Share::Moved } else { link.share };
    Some(WantedLink { share, ..link })
}

/// A router that advertises itself is not asked for where somebody else has set an IPv6 default route, such as an engine for its
/// own bridge: the kernel refuses a second of the same metric, and never uses one of a higher. What the kernel itself once
/// heard on the link does not count, since it hears no more there.
fn yield_default_route(link: &mut WantedLink, network: &Network, inside: &View) {
    let default = |route: &Route| route.to.addr().is_ipv6() && route.to.prefix_len() == 0;
    let others = inside.routes.iter().any(|there| {
        let first = there.metric <= IPV6_METRIC && there.protocol != ROUTE_PROTOCOL;
        default(&there.route) && first && !there.is_heard_by(&link.spec.name)
    });
    if others && network.follows_routers() {
        link.routes.retain(|route| !default(route));
    }
}

/// The link of an adopted network's container, which its engine has made: it is known by what the engine says of it, its
/// MAC and its address.
fn borrowed_link(network: &Network, endpoint: &Endpoint, inside: &View, host: &View) -> Option<WantedLink> {
    let of_engine = |link: &&Link| {
        let mac = endpoint.mac.is_none() || link.mac == endpoint.mac;
        mac && inside.addresses_of(link).any(|there| endpoint.holds(there.net.addr()))
    };
    let ifname = &inside.links.iter().find(of_engine).filter(|link| link.up)?.name;
    let way = way_to_host(network, endpoint, ifname, host);
    let link = bare_link(network, endpoint, ifname, host);
    Some(WantedLink { share: Share::Borrowed, routes: way.routes, neighbours: way.neighbours, ..link })
}

/// The link in the container, with its addresses and routes.
fn endpoint_link(network: &Network, endpoint: &Endpoint, ifname: &IfName, host: &View) -> WantedLink {
    let mut link = bare_link(network, endpoint, ifname, host);
    if network.membership == Membership::TAGGED {
        // What it sends by this link itself has no tag, and belongs nowhere.
        return link;
    }
    link.addresses =
        endpoint.addresses.iter().map(|net| Address { net: *net, nodad: net.addr().is_ipv6() }).collect();
    let learned = || endpoint.learned.iter().flat_map(|learned| &learned.addresses);
    link.deprecated = learned().filter(|there| there.deprecated).map(LearnedAddress::net).collect();
    link.lost.clone_from(&endpoint.lost);
    link.sysctls = by_itself(network, ifname, host);
    // Its kernel would heed the routers in this, and is kept from it.
    let said = endpoint.learned.as_ref().and_then(|learned| learned.mtu);
    let follows = network.follows_routers() && kernel_has_ipv6(network, host);
    link.ipv6_mtu = follows.then(|| said.unwrap_or(u32::MAX));
    link.routes.extend(network.gateways_of(endpoint).map(|gateway| default_route(gateway, ifname)));
    link.routes.extend(leased_routes(endpoint, ifname));
    link.routes.extend(advertised_routes(network, endpoint, ifname));
    let way = way_to_host(network, endpoint, ifname, host);
    link.routes.extend(way.routes);
    link.neighbours = way.neighbours;
    link
}

fn bare_link(network: &Network, endpoint: &Endpoint, ifname: &IfName, host: &View) -> WantedLink {
    let parent = network.parent.clone();
    let kind = match network.kind {
        LinkKind::Macvlan(mode) => LinkType::Macvlan { parent, mode, bc_queue_len: network.bc_queue_len },
        LinkKind::Ipvlan(mode) => LinkType::Ipvlan { parent, mode },
        LinkKind::Bridge => veth_into_bridge(port_name(endpoint)),
    };
    // A child of the parent has its MTU by itself; a veth has 1500.
    let parents = host.link(network.bridge()).filter(|_| network.kind == LinkKind::Bridge);
    let leased = endpoint.lease.as_ref().and_then(|record| record.lease.mtu).map(u32::from);
    let most = host.link(&network.parent).map(|parent| parent.mtu);
    // A link with less has no IPv6 (RFC 8200, 5); old routers say 576.
    let least = if endpoint.addresses.iter().any(|net| net.addr().is_ipv6()) { 1280 } else { 68 };
    let fits = |leased: &u32| most.is_some_and(|most| (least..=most).contains(leased));
    let mtu = network.mtu.or(leased.filter(fits));
    let mtu = mtu.or_else(|| Some(parents?.mtu));
    WantedLink::bare(LinkSpec { name: ifname.clone(), kind, mac: endpoint.mac, mtu }, endpoint.tag())
}

/// The routes of a lease beside the default one.
fn leased_routes(endpoint: &Endpoint, ifname: &IfName) -> impl Iterator<Item = Route> {
    let lease = endpoint.lease.as_ref().filter(|_| endpoint.default_route).map(|record| &record.lease);
    let routes = lease.into_iter().flat_map(|lease| &lease.routes).filter(|route| !route.is_default());
    routes.map(|route| Route {
        to: route.to.into(),
        via: route.via.map(IpAddr::V4),
        dev: ifname.clone(),
        src: None,
    })
}

/// The routes that routers advertise beside the default one.
fn advertised_routes(network: &Network, endpoint: &Endpoint, ifname: &IfName) -> impl Iterator<Item = Route> {
    let wanted = endpoint.default_route && !network.internal;
    let learned = endpoint.learned.as_ref().filter(|_| wanted);
    learned.into_iter().flat_map(|learned| &learned.routes).map(|(to, via)| Route {
        to: (*to).into(),
        via: Some(IpAddr::V6(*via)),
        dev: ifname.clone(),
        src: None,
    })
}

/// What the container's kernel does by itself about IPv6: where Ashore follows the routers it must not as well, and an engine that
/// gave the link no IPv6 address has switched IPv6 off.
fn by_itself(network: &Network, ifname: &IfName, host: &View) -> Vec<(Sysctl, i32)> {
    let set_on = |link, key, value| (Sysctl { family: Family::Ipv6, link, key }, value);
    let set = |key, value| set_on(ifname.clone(), key, value);
    match network.ipv6 {
        _ if !kernel_has_ipv6(network, host) => Vec::new(),
        Ipv6Mode::Range => Vec::new(),
        Ipv6Mode::Off => vec![set(SysctlKey::DisableIpv6, 1)],
        // First, or the kernel would ask for routers when it has its link-local address.
        Ipv6Mode::Auto | Ipv6Mode::Slaac | Ipv6Mode::Dhcp => {
            // By its loopback link a container reaches its own address.
            let loopback = "lo".parse().expect("it is an interface name");
            vec![
                set(SysctlKey::AcceptRa, 0),
                set(SysctlKey::DisableIpv6, 0),
                set_on(loopback, SysctlKey::DisableIpv6, 0),
            ]
        }
    }
}

fn kernel_has_ipv6(network: &Network, host: &View) -> bool {
    host.link(&network.parent).is_some_and(|parent| parent.accept_ra.is_some())
}

fn default_route(gateway: IpAddr, ifname: &IfName) -> Route {
    let to = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    let to = to.parse().expect("the two default routes are prefixes");
    Route { to, via: Some(gateway), dev: ifname.clone(), src: None }
}

/// The container's own way to the host, where the LAN's ways do not lead there.
#[derive(Default)]
struct WayToHost {
    routes: Vec<Route>,
    neighbours: Vec<(IpAddr, Mac)>,
}

/// IPv4 by macvlan needs nothing: the shim answers the container's ARP request for the host. IPv6 has no `arp_filter`,
/// so the container gets a route to the host's address via the shim's link-local one. An ipvlan child hands what it
/// sends to the parent's MAC to the parent itself, which a permanent entry makes it do (both seen on Linux 6.1 and 6.18).
fn way_to_host(network: &Network, endpoint: &Endpoint, ifname: &IfName, host: &View) -> WayToHost {
    let mut way = WayToHost::default();
    let Some(parent) = host.link(&network.parent).filter(|_| network.wants_shim()) else { return way };
    let Some(parent_mac) = parent.mac else { return way };
    let nets = endpoint.addresses.iter().filter_map(|net| {
        let prefix = || endpoint.learned_address(net.addr()).map(|there| there.prefix.into());
        network.subnet_of(net.addr()).map(|subnet| subnet.net).or_else(prefix)
    });
    for host_ip in nets.flat_map(|net| host.host_addresses(parent, &net)) {
        match network.kind {
            LinkKind::Macvlan(_) if host_ip.is_ipv6() => way.routes.push(Route {
                to: IpNet::new(host_ip, 128).expect("128 bits fit an IPv6 address"),
                via: shim_mac(parent).map(|mac| mac.link_local().into()),
                dev: ifname.clone(),
                src: None,
            }),
            LinkKind::Ipvlan(IpvlanMode::L2) => way.neighbours.push((host_ip, parent_mac)),
            _ => {}
        }
    }
    way
}

/// The host's end of an endpoint's veth, a port of the bridge.
fn port(
    network: &Network,
    endpoint: &Endpoint,
    ifname: &IfName,
    peer_place: Place,
    host: &View,
) -> WantedLink {
    let bridge = host.link(network.bridge());
    let host_has_ipv6 = bridge.is_some_and(|bridge| bridge.accept_ra.is_some());
    let kind = LinkType::Veth { peer: ifname.clone(), peer_place, peer_mac: None };
    let mtu = bridge.map(|bridge| least_mtu_of_ports(host, bridge));
    WantedLink {
        master: Some(network.bridge().clone()),
        port: network.port.clone(),
        vlan: network.bridge_vlan().map(|vlan| PortVlan { id: vlan.id, membership: network.membership }),
        no_link_local: host_has_ipv6,
        ..WantedLink::bare(LinkSpec { name: port_name(endpoint), kind, mac: None, mtu }, endpoint.port_tag())
    }
}

/// A veth whose other end is a port on the host. A bridge has the lowest MAC of its ports, unless it was given one (Linux
/// 6.18, `br_stp_recalculate_bridge_id`), and that is the host's own on the LAN: so no port's is lower than a NIC's.
fn veth_into_bridge(port: IfName) -> LinkType {
    let peer_mac = Some(identity::port_mac(&port));
    LinkType::Veth { peer: port, peer_place: Place::Host, peer_mac }
}

/// A bridge has the least MTU of its ports, unless it was given one (Linux 6.18, `br_mtu_auto_adjust`): a port with less
/// than the others would change the host's own.
fn least_mtu_of_ports(host: &View, bridge: &Link) -> u32 {
    let others = host.links.iter().filter(|link| link.master == Some(bridge.index) && link.tag().is_none());
    others.map(|link| link.mtu).min().unwrap_or(bridge.mtu)
}

/// A name on the host that follows from the endpoint's, fifteen bytes in all.
pub fn port_name(endpoint: &Endpoint) -> IfName {
    link_name("asp", &format!("{}:{}", endpoint.network, endpoint.tag_name()))
}

/// The name on the host of a link that an engine will move and rename: fifteen bytes that follow from the endpoint's name.
pub fn engine_link_name(network: &NetworkName, endpoint: &EndpointName) -> IfName {
    link_name("ash", &format!("{network}:{endpoint}"))
}

/// The shim's name: `shim-eth0`, or a hash for a parent whose name leaves no room.
pub fn shim_name(parent: &IfName) -> IfName {
    format!("shim-{parent}").parse().unwrap_or_else(|_| link_name("shim-", parent.as_str()))
}

fn shim_mac(parent: &Link) -> Option<Mac> {
    let vlan = if let ObservedKind::Vlan { id, .. } = parent.kind { Some(id) } else { None };
    Some(identity::shim_mac(parent.mac?, vlan))
}

pub(crate) fn link_name(prefix: &str, text: &str) -> IfName {
    let digits = 15 - prefix.len();
    let hash =
        siphasher::sip128::SipHasher24::new_with_key(b"ashore link name").hash(text.as_bytes()).as_u128();
    let mut name = format!("{prefix}{hash:032x}");
    name.truncate(prefix.len() + digits);
    name.parse().expect("a short prefix and hexadecimal digits are an interface name")
}

/// The far end of a veth is tagged after the other one may be up already, and an endpoint whose link is up is whole. Its name
/// is a hash, which nobody else chooses.
fn far_end_claim(ifname: IfName, tag: Tag) -> Claim {
    Claim { place: Place::Host, ifname, mac: None, tag }
}

/// A MAC of Ashore's own is proof enough. Where there is none the name has to do, and then only while an attach or
/// detach is known to be unfinished.
fn claim(endpoint: &Endpoint) -> Option<Claim> {
    let unfinished = matches!(endpoint.stage, Stage::Attaching | Stage::Detaching);
    let (place, ifname) = endpoint.link();
    (unfinished || endpoint.mac.is_some()).then(|| Claim {
        place,
        ifname: ifname.clone(),
        mac: endpoint.mac,
        tag: endpoint.tag(),
    })
}
