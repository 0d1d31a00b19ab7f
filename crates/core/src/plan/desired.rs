//! What the kernel should hold, computed from the state and from what only the host knows (its LAN address,
//! the parent's MAC).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ashore_wire::Mac;
use ashore_wire::dhcp4::LEAST_MTU;
use ipnet::IpNet;

use crate::model::endpoint::{Endpoint, Mark, Placement, Source, Stage};
use crate::model::identity;
use crate::model::ipv6::Ipv6Mode;
use crate::model::learned::LearnedAddress;
use crate::model::network::Network;
use crate::model::owner::Owners;
use crate::model::state::{Change, State};
use crate::net::family::Family;
use crate::net::kind::{IpvlanMode, LinkKind, PortOption};
use crate::net::link::{LinkSpec, LinkType, Netns, Place, Tag};
use crate::net::name::{EndpointName, IfName, NetworkName};
use crate::net::observed::{Link, Observed, ObservedKind, ObservedRoute, View};
use crate::net::remedy::Remedy;
use crate::net::step::{Address, ROUTE_PROTOCOL, Route, Sysctl, SysctlKey};
use crate::net::vlan::{Membership, VlanId};
use leased::{advertised_routes, leased_routes, reach_next_hops};
use shim::shims;
use vlans::{vlans, with_vlans};

mod leased;
mod shim;
mod vlans;

pub use leased::far_gateways;
pub use shim::singles_of_ranges;

/// The MTU, in bytes, below which the kernel has no IPv6 on a link (RFC 8200, 5).
const LEAST_IPV6_MTU: u32 = 1280;

/// What should be in the namespaces that were observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// What should be on the host.
    pub host: Vec<WantedLink>,
    /// What should be in each container's namespace.
    pub netns: BTreeMap<Netns, Vec<WantedLink>>,
    /// The owners of the existing links. Links that are to be left alone have none.
    pub owners: Owners,
    /// Endpoints that are on the LAN through a link that is no longer in their container.
    pub adrift: Vec<Adrift>,
    /// Networks that cannot be on the LAN at present.
    pub waiting: Vec<Waiting>,
}

/// A link, with everything that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLink {
    /// The link.
    pub spec: LinkSpec,
    /// The owner of the link.
    pub tag: Tag,
    /// The index of the existing link that is this link or can become it. `None` if there is none.
    pub there: Option<u32>,
    /// Who manages the link besides Ashore.
    pub custody: Custody,
    /// The bridge of which it is a port.
    pub master: Option<IfName>,
    /// Its options as a port.
    pub port: BTreeSet<PortOption>,
    /// The one VLAN of the bridge that it is in. `None` if the bridge decides.
    pub vlan: Option<PortVlan>,
    /// Whether the kernel must not generate an IPv6 link-local address for it.
    pub no_link_local: bool,
    /// Sysctls that must be set before the link goes up.
    pub sysctls: Vec<(Sysctl, i32)>,
    /// The largest size of an IPv6 packet on it, in bytes. The link's own MTU is the upper limit. `None`:
    /// left as it is.
    pub ipv6_mtu: Option<u32>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Those of its addresses that are deprecated: no new connection uses them.
    pub deprecated: Vec<IpNet>,
    /// Addresses that must not be on it.
    pub lost: Vec<IpNet>,
    /// Whether other permanent addresses are removed. On a shim such an address would attract the LAN's
    /// packets.
    pub no_other_addresses: bool,
    /// Routes through it.
    pub routes: Vec<Route>,
    /// Permanent neighbour entries on it.
    pub neighbours: Vec<(IpAddr, Mac)>,
}

impl WantedLink {
    /// A link with nothing on it.
    fn bare(spec: LinkSpec, tag: Tag) -> Self {
        WantedLink {
            spec,
            tag,
            there: None,
            custody: Custody::Own,
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
    /// How the port is a member of the VLAN.
    pub membership: Membership,
}

/// Who manages a link besides Ashore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Custody {
    /// Nobody: the link is Ashore's alone.
    Own,
    /// An engine is about to move it, and brings it up afterwards. The kernel takes some 20 ms longer to move
    /// a link that is up (seen on Linux 6.18).
    HandedOver,
    /// An engine has moved it into its container, and will take it away again.
    Moved {
        /// Whether the default route, which the engine made, is replaced when the lease has another router.
        leased: bool,
    },
    /// Somebody else made it and will take it away. It gets routes and neighbour entries, and is otherwise
    /// left alone.
    Borrowed,
}

/// An endpoint that is on the LAN through a link that is no longer in its container: the container has moved
/// the link into another namespace. A second link with the same MAC cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adrift {
    /// The endpoint.
    pub name: EndpointName,
    /// The MAC that the endpoint has on the LAN.
    pub mac: Mac,
    /// The parent.
    pub parent: IfName,
}

/// A network that cannot be on the LAN at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The network.
    pub network: NetworkName,
    /// The parent that is missing.
    pub parent: IfName,
    /// What to do if the parent does not come back.
    pub remedy: Remedy,
}

/// Returns what the kernel should hold, given the state and what was observed. Containers' namespaces that
/// were not observed are left out. Endpoints in namespaces that could not be read keep what they have on the
/// host, even if they are to be removed.
pub fn desired(state: &State, observed: &Observed) -> Desired {
    let kept;
    let unseen = |endpoint: &&Endpoint| !endpoint.is_wanted() && observed.unreadable(endpoint).is_some();
    let as_they_are = observed
        .unreadable
        .keys()
        .flat_map(|netns| state.endpoints_in(netns))
        .filter(unseen)
        .map(|endpoint| Change::PutEndpoint(Endpoint { stage: Stage::Attached, ..endpoint.clone() }));
    let as_they_are: Vec<Change> = as_they_are.collect();
    let state = if as_they_are.is_empty() {
        state
    } else {
        kept = state.with(&as_they_are);
        &kept
    };
    let mut desired = Desired { owners: Owners::of(state, observed), ..Desired::default() };
    for netns in observed.netns.keys() {
        desired.netns.insert(netns.clone(), Vec::new());
    }
    desired.host.extend(vlans(state, observed));
    let seen = observed;
    let observed = &with_vlans(observed, &desired.host);
    for network in state.networks.values().filter(|network| observed.host.link(&network.parent).is_none()) {
        let parent = network.lower_device(&observed.host).clone();
        if observed.host.link(&parent).is_none() {
            let remedy = network.remedy_without_parent(&seen.host);
            desired.waiting.push(Waiting { network: network.name.clone(), parent, remedy });
        }
    }
    for network in state
        .networks
        .values()
        .filter(|network| observed.host.link(network.lower_device(&observed.host)).is_none())
    {
        // The VLAN interface goes with the interface below it, unless that only has another name.
        let is_vlan = |link: &&Link| matches!(link.kind, ObservedKind::Vlan { .. });
        if seen.host.link(&network.parent).as_ref().is_some_and(is_vlan) {
            desired.owners.leave_on_host(&network.parent, &seen.host);
        }
    }
    desired.host.extend(shims(state, observed));
    for endpoint in state.concerned(seen).into_values().filter(|endpoint| endpoint.is_wanted()) {
        let Some(network) = state.network_of(endpoint) else { continue };
        if network.adopted || observed.host.link(&network.parent).is_some() {
            want_endpoint(&mut desired, state, network, endpoint, observed);
        } else {
            // Until the parent is back, what is left of the endpoint may stay: a veth outlives its bridge.
            desired.owners.leave_alone(endpoint, &seen.host);
        }
    }
    let next_hops = seen.host.next_hops();
    for link in &mut desired.host {
        link.there = desired.owners.on_host(&link.tag, &link.spec.name, &seen.host);
        // A route to the address of one of the host's routers is left out, even if an endpoint has that
        // address.
        link.routes.retain(|route| !route.is_single() || !next_hops.contains(&route.to.addr()));
    }
    for (netns, links) in &mut desired.netns {
        one_way_to_each(links, &observed.netns[netns]);
    }
    desired
}

/// Keeps one route of each metric to each destination in a namespace. Two endpoints in one namespace need one route to the
/// host's IPv6 address, not two that replace each other. A route that exists already is kept.
fn one_way_to_each(links: &mut [WantedLink], view: &View) {
    let mut ways: BTreeMap<(IpNet, u32), Route> = BTreeMap::new();
    let all = || links.iter().flat_map(|link| &link.routes);
    let there = all().filter(|route| view.routes.iter().any(|seen| seen.route == **route));
    for route in there.chain(all()) {
        ways.entry((route.to, route.has_metric())).or_insert_with(|| route.clone());
    }
    for link in links {
        link.routes.retain(|route| ways.get(&(route.to, route.has_metric())) == Some(route));
    }
}

fn want_endpoint(
    desired: &mut Desired,
    state: &State,
    network: &Network,
    endpoint: &Endpoint,
    observed: &Observed,
) {
    let host = &observed.host;
    let found = desired.owners.link_of(endpoint, observed);
    match &endpoint.placement {
        Placement::Netns { netns, ifname } => {
            if let Some(mac) = state.adrift(endpoint, &desired.owners, observed) {
                let (name, parent) = (endpoint.name.clone(), network.parent.clone());
                desired.adrift.push(Adrift { name, mac, parent });
            } else if let Some(view) = observed.netns.get(netns) {
                let there = found.map(|(_, _, link)| link);
                // A change that the container made to its link stays. A link that is still being made gets
                // the requested properties.
                let made = there.filter(|_| endpoint.stage == Stage::Attached);
                let mut link = endpoint_link(network, endpoint, made.map_or(ifname, |link| &link.name), host);
                link.there = there.map(|link| link.index);
                if let Some(made) = made {
                    link.follow(made);
                }
                yield_default_route(&mut link, network, view);
                desired.netns.entry(netns.clone()).or_default().push(link);
            }
            if network.kind == LinkKind::Bridge {
                let peer_place = Place::Netns(netns.clone());
                desired.host.push(port(network, endpoint, ifname, peer_place, host));
            }
        }
        Placement::Engine { ifname, .. } => {
            if let Some((netns, inside, link)) = found.filter(|(_, _, link)| link.up) {
                let link = engines_link(network, endpoint, link, inside, host);
                desired.netns.entry(netns.clone()).or_default().push(link);
            }
            if network.adopted {
                return;
            }
            let inside = endpoint.sandbox().and_then(|sandbox| observed.at(sandbox));
            let is_missed = found.is_none() && observed.unlinked.contains(&endpoint.key());
            if let Some((netns, inside)) = inside.filter(|_| is_missed) {
                let link = link_again(state, network, endpoint, inside, host);
                desired.netns.entry(netns.clone()).or_default().push(link);
            }
            if endpoint.stage == Stage::Attaching {
                let link = bare_link(network, endpoint, ifname, host);
                desired.host.push(WantedLink { custody: Custody::HandedOver, ..link });
            } else {
                // The engine is about to take the link away, or has just given it back.
                desired.owners.leave_on_host(ifname, host);
            }
            if network.kind == LinkKind::Bridge {
                desired.host.push(port(network, endpoint, ifname, Place::Host, host));
            }
        }
    }
}

impl WantedLink {
    /// Accepts what a container has changed of its link. To change it back, the link would have to be taken
    /// from the container and made again.
    fn follow(&mut self, link: &Link) {
        self.spec.mac = link.mac;
        if let LinkType::Macvlan { bc_queue_len, .. } = &mut self.spec.kind {
            *bc_queue_len = None;
        }
    }
}

/// The link in an engine's container. If Ashore made the link, the engine has moved and renamed it, and has
/// set its addresses and default routes. Ashore sets the routes to the host, what has changed in the lease
/// since, and what routers advertise. If the engine made the link itself (an adopted network), Ashore sets
/// only the routes to the host.
fn engines_link(
    network: &Network,
    endpoint: &Endpoint,
    there: &Link,
    inside: &View,
    host: &View,
) -> WantedLink {
    let ifname = &there.name;
    if network.adopted {
        let way = way_to_host(network, endpoint, ifname, host);
        let link = bare_link(network, endpoint, ifname, host);
        let (there, custody) = (Some(there.index), Custody::Borrowed);
        return WantedLink { there, custody, routes: way.routes, neighbours: way.neighbours, ..link };
    }
    let mut link = endpoint_link(network, endpoint, ifname, host);
    let leased = endpoint.source == Source::Lease;
    if !leased {
        link.addresses.retain(|address| endpoint.origin(address.net.addr()).learned().is_some());
    }
    // The engine brings the link up before it sets its default routes, and fails if there already is one. A
    // lease's default route goes with a lost address, and is set again once there is a new address. The
    // engine knows of no router that advertises itself.
    let lost = leased && endpoint.lost.iter().any(|net| net.addr().is_ipv4());
    let by_it = |to: IpNet| {
        inside.routes.iter().filter(move |there| there.route.to == to && there.route.dev == *ifname)
    };
    let made = |to: IpNet| by_it(to).next().is_some();
    // On a link that was made again the default route is Ashore's, until the engine takes the link away.
    let made_again = |to: IpNet| by_it(to).any(ObservedRoute::is_ours);
    let by_advertisement = network.follows_routers();
    link.routes.retain(|route| match route.to.addr() {
        _ if route.to.prefix_len() > 0 || made_again(route.to) => true,
        // An engine is not told of a default route that is on the link itself.
        IpAddr::V4(_) if route.via.is_none() => leased,
        IpAddr::V4(_) => leased && (lost || made(route.to)),
        IpAddr::V6(_) => by_advertisement,
    });
    yield_default_route(&mut link, network, inside);
    link.follow(there);
    WantedLink { there: Some(there.index), custody: Custody::Moved { leased }, ..link }
}

/// The replacement for the link of an engine's container that is gone with its parent. It gets the name under
/// which the engine looks for it, and what the engine had set, as far as that was seen. Docker 28.5
/// terminates if it has to remove a link twice that does not exist (`osl.Namespace.RemoveInterface`), so it
/// is not asked to reconnect the container.
fn link_again(
    state: &State,
    network: &Network,
    endpoint: &Endpoint,
    inside: &View,
    host: &View,
) -> WantedLink {
    let is_free = |name: &IfName| inside.link(name).is_none();
    let had = endpoint.seen.as_ref().and_then(|seen| seen.name.as_ref()).or(endpoint.inside());
    let numbered = (0..=inside.links.len()).map(|number| format!("eth{number}").parse());
    let next = || numbered.flatten().find(is_free);
    let name = had.filter(|name| is_free(name)).cloned().or_else(next).expect("more names than links");
    let mut link = endpoint_link(network, endpoint, &name, host);
    let set = |one: &Endpoint| one.seen.as_ref().and_then(|seen| seen.set.clone());
    let had = |one: &Endpoint, family| set(one).is_some_and(|set| set.defaults.contains(&family));
    let beside = || {
        let sandbox = endpoint.sandbox().map(|path| Mark::Sandbox(path.to_owned()));
        sandbox.into_iter().flat_map(|mark| state.endpoints.with(mark)).map(|(_, one)| one)
    };
    // The engine sets one default route of each family, through a network of its choice among the container's
    // networks.
    link.routes.retain(|route| {
        let family = Family::of(route.to.addr());
        let is_there = || inside.routes.iter().any(|there| there.route.to == route.to);
        let is_anothers = || !had(endpoint, family) && beside().any(|one| had(one, family));
        route.to.prefix_len() > 0 || !(is_there() || is_anothers())
    });
    // An engine switches IPv6 off on a link without an IPv6 address.
    let has_none = !endpoint.addresses.iter().any(|net| net.addr().is_ipv6());
    let off = (has_none && kernel_has_ipv6(network, &link.spec, host)).then_some((SysctlKey::DisableIpv6, 1));
    let sysctls = set(endpoint).map_or_else(|| off.into_iter().collect(), |set| set.sysctls);
    let asked: BTreeSet<SysctlKey> = link.sysctls.iter().map(|(sysctl, _)| sysctl.key).collect();
    link.sysctls.extend(
        sysctls
            .into_iter()
            .filter(|(key, _)| !asked.contains(key))
            .map(|(key, value)| (Sysctl { family: key.family(), link: name.clone(), key }, value)),
    );
    link
}

/// Leaves out the advertised IPv6 default route if somebody else has set one, such as an engine for its own
/// bridge. The kernel refuses a second route of the same metric, and never uses one of a higher metric. A
/// route that the kernel itself once learnt on the link does not count, because the kernel no longer listens
/// there.
fn yield_default_route(link: &mut WantedLink, network: &Network, inside: &View) {
    let default = |route: &Route| route.to.addr().is_ipv6() && route.to.prefix_len() == 0;
    let by = &link.spec.name;
    let others = inside
        .routes
        .iter()
        .filter(|there| default(&there.route) && there.protocol != ROUTE_PROTOCOL && !there.is_heard_by(by));
    if network.follows_routers()
        && let Some(first) = others.map(|there| there.metric).min()
    {
        link.routes.retain(|route| !default(route) || route.has_metric() < first);
    }
}

/// The link in the container, with its addresses and routes.
fn endpoint_link(network: &Network, endpoint: &Endpoint, ifname: &IfName, host: &View) -> WantedLink {
    let mut link = bare_link(network, endpoint, ifname, host);
    if network.membership == Membership::TAGGED {
        // Frames that the container sends through the link itself have no tag, and belong to no VLAN.
        return link;
    }
    link.addresses =
        endpoint.addresses.iter().map(|net| Address { net: *net, nodad: net.addr().is_ipv6() }).collect();
    let learned = || endpoint.learned.iter().flat_map(|learned| &learned.addresses);
    link.deprecated = learned().filter(|there| there.deprecated).map(LearnedAddress::net).collect();
    link.lost.clone_from(&endpoint.lost);
    link.sysctls = by_itself(network, &link.spec, host);
    // The kernel of the container would follow the routers' MTU, but is kept from following router
    // advertisements.
    let said = endpoint.learned.as_ref().and_then(|learned| learned.mtu);
    let follows = network.follows_routers() && kernel_has_ipv6(network, &link.spec, host);
    link.ipv6_mtu = follows.then(|| said.unwrap_or(u32::MAX));
    let by_gateway =
        |gateway| Route { metric: endpoint.metric_by(gateway), ..default_route(gateway, ifname) };
    link.routes.extend(network.gateways_of(endpoint).map(by_gateway));
    link.routes.extend(endpoint.own_routes.by(ifname));
    link.routes.extend(leased_routes(endpoint, ifname, host));
    link.routes.extend(advertised_routes(network, endpoint, ifname, host));
    let way = way_to_host(network, endpoint, ifname, host);
    link.routes.extend(way.routes);
    link.neighbours = way.neighbours;
    reach_next_hops(&mut link);
    link
}

fn bare_link(network: &Network, endpoint: &Endpoint, ifname: &IfName, host: &View) -> WantedLink {
    let parent = network.parent.clone();
    let kind = match network.kind {
        LinkKind::Macvlan(mode) => {
            let Network { bc_queue_len, bc_limit, .. } = *network;
            LinkType::Macvlan { parent, mode, bc_queue_len, bc_limit }
        }
        LinkKind::Ipvlan(mode) => LinkType::Ipvlan { parent, mode },
        LinkKind::Bridge => veth_into_bridge(endpoint.port_tag().host_name()),
    };
    // A child of the parent gets the parent's MTU by itself. A veth has 1500 bytes.
    let parents = host.link(network.bridge()).filter(|_| network.kind == LinkKind::Bridge);
    let leased = endpoint.lease.as_ref().and_then(|record| record.lease.mtu).map(u32::from);
    let most = host.link(&network.parent).map(|parent| parent.mtu);
    // Old routers advertise 576, and a link that is to have IPv6 must not lose it.
    let has_ipv6 = network.follows_routers() || endpoint.addresses.iter().any(|net| net.addr().is_ipv6());
    let least = if has_ipv6 { LEAST_IPV6_MTU } else { u32::from(LEAST_MTU) };
    let fits = |leased: &u32| most.is_some_and(|most| (least..=most).contains(leased));
    let mtu = network.mtu.or(leased.filter(fits));
    let mtu = mtu.or_else(|| Some(parents?.mtu));
    WantedLink::bare(LinkSpec { name: ifname.clone(), kind, mac: endpoint.mac, mtu }, endpoint.tag())
}

/// The IPv6 sysctls of the container. Where Ashore follows the routers, the kernel must not follow them too,
/// and an engine that gave the link no IPv6 address has switched IPv6 off.
fn by_itself(network: &Network, link: &LinkSpec, host: &View) -> Vec<(Sysctl, i32)> {
    let set_on = |link, key, value| (Sysctl { family: Family::Ipv6, link, key }, value);
    let set = |key, value| set_on(link.name.clone(), key, value);
    match network.ipv6 {
        _ if !kernel_has_ipv6(network, link, host) => Vec::new(),
        Ipv6Mode::Range => Vec::new(),
        Ipv6Mode::Off => vec![set(SysctlKey::DisableIpv6, 1)],
        // `AcceptRa` comes first. Otherwise the kernel would solicit routers as soon as it has its link-local
        // address.
        Ipv6Mode::Auto | Ipv6Mode::Slaac | Ipv6Mode::Dhcp => {
            // A container reaches its own address through its loopback link.
            let loopback = "lo".parse().expect("it is an interface name");
            vec![
                set(SysctlKey::AcceptRa, 0),
                set(SysctlKey::DisableIpv6, 0),
                set_on(loopback, SysctlKey::DisableIpv6, 0),
            ]
        }
    }
}

/// Whether the kernel has IPv6 on a child of the parent.
fn kernel_has_ipv6(network: &Network, link: &LinkSpec, host: &View) -> bool {
    let parent = host.link(&network.parent);
    parent.is_some_and(|parent| parent.accept_ra.is_some())
        && link.mtu.is_none_or(|mtu| mtu >= LEAST_IPV6_MTU)
}

fn default_route(gateway: IpAddr, ifname: &IfName) -> Route {
    let to = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    let to = to.parse().expect("the two default routes are prefixes");
    Route { to, via: Some(gateway), dev: ifname.clone(), src: None, metric: None }
}

/// The container's own routes and neighbour entries to the host, where the LAN does not lead there.
#[derive(Default)]
struct WayToHost {
    routes: Vec<Route>,
    neighbours: Vec<(IpAddr, Mac)>,
}

/// What the container needs to reach the host. IPv4 over macvlan needs nothing: the shim answers the
/// container's ARP request for the host. IPv6 has no `arp_filter`, so the container gets a route to the
/// host's address through the shim's link-local address. An ipvlan child hands frames for the parent's MAC to
/// the parent itself, so a permanent neighbour entry is enough (both seen on Linux 6.1 and 6.18).
fn way_to_host(network: &Network, endpoint: &Endpoint, ifname: &IfName, host: &View) -> WayToHost {
    let mut way = WayToHost::default();
    let Some(parent) = host.link(&network.parent).filter(|_| network.uses_shim()) else { return way };
    let Some(parent_mac) = parent.mac else { return way };
    let nets = endpoint.assigned().filter_map(|(net, origin)| {
        let prefix = || origin.learned().map(|there| there.prefix.into());
        let leased = || network.other_lan_of(endpoint).filter(|leased| leased.contains(&net.addr()));
        network.subnet_of(net.addr()).map(|subnet| subnet.net).or_else(prefix).or_else(leased)
    });
    for host_ip in nets.flat_map(|net| host.host_addresses(parent, &net)) {
        match network.kind {
            LinkKind::Macvlan(_) if host_ip.is_ipv6() => way.routes.push(Route {
                to: IpNet::new(host_ip, 128).expect("128 bits fit an IPv6 address"),
                via: host.shim_mac(parent).map(|mac| mac.link_local().into()),
                dev: ifname.clone(),
                src: None,
                metric: None,
            }),
            LinkKind::Ipvlan(IpvlanMode::L2) => way.neighbours.push((host_ip, parent_mac)),
            _ => {}
        }
    }
    way
}

/// The host's end of an endpoint's veth: a port of the bridge.
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
        ..WantedLink::bare(
            LinkSpec { name: endpoint.port_tag().host_name(), kind, mac: None, mtu },
            endpoint.port_tag(),
        )
    }
}

/// A veth whose other end is a port on the host. A bridge has the lowest MAC of its ports unless a MAC was
/// set (Linux 6.18, `br_stp_recalculate_bridge_id`). That MAC is the host's own on the LAN, so no port's MAC
/// may be lower than a NIC's.
fn veth_into_bridge(port: IfName) -> LinkType {
    let peer_mac = Some(identity::port_mac(&port));
    LinkType::Veth { peer: port, peer_place: Place::Host, peer_mac }
}

/// The lowest MTU of a bridge's ports. A bridge has the lowest MTU of its ports unless an MTU was set (Linux
/// 6.18, `br_mtu_auto_adjust`), so a port with a lower MTU than the others would change the host's own.
fn least_mtu_of_ports(host: &View, bridge: &Link) -> u32 {
    let others = host.links.iter().filter(|link| link.master == Some(bridge.index) && link.tag().is_none());
    others.map(|link| link.mtu).min().unwrap_or(bridge.mtu)
}
