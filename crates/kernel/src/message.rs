//! Netlink messages for steps.

use std::net::IpAddr;
use std::os::fd::RawFd;

use ashore_core::net::kind::{IpvlanMode, LinkKind, MacvlanMode, PortOption};
use ashore_core::net::link::{LinkSpec, LinkType};
use ashore_core::net::name::IfName;
use ashore_core::net::step::{Address, HostAddress, HostRoute, ROUTE_PROTOCOL, Route};
use ashore_core::net::vlan::{Membership, VlanId};
use ashore_wire::Mac;
use ipnet::IpNet;
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    AfSpecBridge, AfSpecInet6, AfSpecUnspec, BridgeVlanInfo, BridgeVlanInfoFlags, In6AddrGenMode,
    InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, InfoVeth,
    InfoVlan, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode, VlanFlags,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// A message and its flags, without `NLM_F_REQUEST` and `NLM_F_ACK`.
pub(crate) type Request = (RouteNetlinkMessage, u16);

/// Where the parts of a new link go. Each is a descriptor of a namespace other than the sender's.
pub(crate) struct Places {
    pub(crate) own: Option<RawFd>,
    pub(crate) peer: Option<RawFd>,
}

/// `RTM_NEWLINK` that creates a link. `parent` is the index of the lower link.
pub(crate) fn add_link(spec: &LinkSpec, name: &IfName, parent: Option<u32>, places: &Places) -> Request {
    let mut message = named(name);
    let attributes = &mut message.attributes;
    attributes.extend(parent.map(LinkAttribute::Link));
    attributes.extend(places.own.map(LinkAttribute::NetNsFd));
    attributes.extend(spec.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes.extend(spec.mtu.map(LinkAttribute::Mtu));
    let (kind, data) = match &spec.kind {
        LinkType::Macvlan { mode, bc_queue_len, bc_limit, .. } => {
            let mut data = vec![InfoMacVlan::Mode(macvlan_mode(*mode))];
            data.extend(bc_queue_len.map(InfoMacVlan::BcQueueLen));
            data.extend(bc_limit.map(InfoMacVlan::BcCutoff));
            (InfoKind::MacVlan, Some(InfoData::MacVlan(data)))
        }
        LinkType::Ipvlan { mode, .. } => {
            (InfoKind::IpVlan, Some(InfoData::IpVlan(vec![InfoIpVlan::Mode(ipvlan_mode(*mode))])))
        }
        LinkType::Veth { peer, peer_mac, .. } => {
            let mut far = named(peer);
            far.attributes.extend(places.peer.map(LinkAttribute::NetNsFd));
            far.attributes.extend(peer_mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
            (InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(far))))
        }
        LinkType::Bridge => (InfoKind::Bridge, None),
        LinkType::Vlan { id, gvrp: on, .. } => {
            let mut data = vec![InfoVlan::Id(id.get())];
            data.extend(on.then(|| gvrp(true)));
            (InfoKind::Vlan, Some(InfoData::Vlan(data)))
        }
    };
    let info = std::iter::once(LinkInfo::Kind(kind)).chain(data.map(LinkInfo::Data)).collect();
    message.attributes.push(LinkAttribute::LinkInfo(info));
    (RouteNetlinkMessage::NewLink(message), NEW)
}

/// Sets this flag only and leaves the others as they are.
fn gvrp(on: bool) -> InfoVlan {
    InfoVlan::Flags((if on { VlanFlags::Gvrp } else { VlanFlags::empty() }, VlanFlags::Gvrp))
}

/// `type vlan gvrp on` or `off`.
pub(crate) fn set_gvrp(on: bool) -> LinkAttribute {
    let data = InfoData::Vlan(vec![gvrp(on)]);
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)])
}

/// `type macvlan mode bridge`, or another kind and mode.
pub(crate) fn set_mode(kind: LinkKind) -> LinkAttribute {
    let (kind, data) = match kind {
        LinkKind::Macvlan(mode) => {
            (InfoKind::MacVlan, InfoData::MacVlan(vec![InfoMacVlan::Mode(macvlan_mode(mode))]))
        }
        LinkKind::Ipvlan(mode) => {
            (InfoKind::IpVlan, InfoData::IpVlan(vec![InfoIpVlan::Mode(ipvlan_mode(mode))]))
        }
        LinkKind::Bridge => unreachable!("a bridge has no mode"),
    };
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)])
}

/// `addrgenmode none`.
pub(crate) fn no_link_local() -> LinkAttribute {
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])
}

/// An option of a bridge port. Same as `bridge link set`, in the form of `ip link set … type bridge_slave`,
/// which takes the port by name.
pub(crate) fn port_option(option: PortOption, on: bool) -> LinkAttribute {
    let option = match option {
        PortOption::Isolated => InfoBridgePort::Isolated(on),
        PortOption::Hairpin => InfoBridgePort::HairpinMode(on),
        PortOption::Unlearning => InfoBridgePort::Learning(!on),
    };
    let data = InfoPortData::BridgePort(vec![option]);
    LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(data)])
}

/// `RTM_SETLINK` of `AF_BRIDGE`, which takes a port only by its index (Linux 6.18, `rtnl_bridge_setlink`).
pub(crate) fn set_port_vlan(index: u32, vlan: VlanId, membership: Membership) -> Request {
    (RouteNetlinkMessage::SetLink(port_vlan(index, vlan, membership)), 0)
}

/// `RTM_DELLINK` of `AF_BRIDGE`. It deletes the VLAN, not the link.
pub(crate) fn del_port_vlan(index: u32, vlan: VlanId) -> Request {
    (RouteNetlinkMessage::DelLink(port_vlan(index, vlan, Membership::TAGGED)), 0)
}

fn port_vlan(index: u32, vlan: VlanId, membership: Membership) -> LinkMessage {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, membership.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, membership.untagged);
    let info = AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid: vlan.get() });
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = index;
    message.attributes.push(LinkAttribute::AfSpecBridge(vec![info]));
    message
}

fn macvlan_mode(mode: MacvlanMode) -> MacVlanMode {
    match mode {
        MacvlanMode::Bridge => MacVlanMode::Bridge,
        MacvlanMode::Private => MacVlanMode::Private,
        MacvlanMode::Vepa => MacVlanMode::Vepa,
        MacvlanMode::Passthru => MacVlanMode::Passthrough,
    }
}

fn ipvlan_mode(mode: IpvlanMode) -> IpVlanMode {
    match mode {
        IpvlanMode::L2 => IpVlanMode::L2,
        IpvlanMode::L3 => IpVlanMode::L3,
        IpvlanMode::L3s => IpVlanMode::L3S,
    }
}

/// `RTM_DELLINK` by name.
pub(crate) fn del_link(name: &IfName) -> Request {
    (RouteNetlinkMessage::DelLink(named(name)), 0)
}

/// `RTM_DELLINK` by index, whatever the link's current name is.
pub(crate) fn del_link_at(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    (RouteNetlinkMessage::DelLink(message), 0)
}

/// Changes a link, by name.
pub(crate) fn set_link(name: &IfName, change: LinkAttribute) -> Request {
    let mut message = named(name);
    message.attributes.push(change);
    (RouteNetlinkMessage::NewLink(message), 0)
}

/// Renames a link. The link must be given by its index, and must be down.
pub(crate) fn rename_link(index: u32, name: &IfName) -> Request {
    let mut message = named(name);
    message.header.index = index;
    (RouteNetlinkMessage::NewLink(message), 0)
}

/// Brings a link up or down.
pub(crate) fn set_up(name: &IfName, up: bool) -> Request {
    let mut message = named(name);
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    (RouteNetlinkMessage::NewLink(message), 0)
}

/// `IFLA_IFNAME`. The name is bytes and need not be UTF-8.
pub(crate) fn ifname(name: &IfName) -> LinkAttribute {
    const IFLA_IFNAME: u16 = 3;
    let mut value = name.bytes().into_owned();
    value.push(0);
    LinkAttribute::Other(DefaultNla::new(IFLA_IFNAME, value))
}

fn named(name: &IfName) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(ifname(name));
    message
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address(index: u32, address: &Address) -> AddressMessage {
    let ip = address.net.addr();
    let mut message = AddressMessage::default();
    message.header.family = family(ip);
    message.header.prefix_len = address.net.prefix_len();
    message.header.index = index;
    if matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()) {
        message.header.scope = AddressScope::Link;
    }
    message.attributes.extend([AddressAttribute::Local(ip), AddressAttribute::Address(ip)]);
    message
}

/// `RTM_NEWADDR`.
pub(crate) fn add_address(index: u32, wanted: &Address) -> Request {
    let mut message = address(index, wanted);
    if let (IpNet::V4(net), true) = (wanted.net, wanted.has_broadcast()) {
        message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
    }
    if wanted.nodad {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    (RouteNetlinkMessage::NewAddress(message), NEW)
}

/// `RTM_NEWADDR` for an address that the host already has, on this link or on another.
pub(crate) fn put_host_address(index: u32, wanted: &HostAddress) -> Request {
    let (plain, replace) = (Address { net: wanted.net, nodad: true }, NLM_F_CREATE | NLM_F_REPLACE);
    let mut message = address(index, &plain);
    message.attributes.extend(wanted.broadcast.map(AddressAttribute::Broadcast));
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Nodad, wanted.net.addr().is_ipv6());
    flags.set(AddressFlags::Noprefixroute, wanted.noprefixroute);
    message.attributes.push(AddressAttribute::Flags(flags));
    if let Some(life) = wanted.life {
        let mut info = CacheInfo::default();
        (info.ifa_valid, info.ifa_preferred) = (life.valid, life.preferred);
        message.attributes.push(AddressAttribute::CacheInfo(info));
    }
    (RouteNetlinkMessage::NewAddress(message), replace)
}

/// `RTM_NEWADDR` for an existing address. Its valid lifetime is infinite. Its preferred lifetime is 0 if it
/// is deprecated, and infinite otherwise.
pub(crate) fn set_deprecated(index: u32, net: IpNet, on: bool) -> Request {
    let mut message = address(index, &Address { net, nodad: true });
    // Without the flag the kernel would forget that the address needs no duplicate address detection.
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    let mut info = CacheInfo::default();
    (info.ifa_valid, info.ifa_preferred) = (u32::MAX, if on { 0 } else { u32::MAX });
    message.attributes.push(AddressAttribute::CacheInfo(info));
    (RouteNetlinkMessage::NewAddress(message), NLM_F_REPLACE)
}

/// `RTM_DELADDR`.
pub(crate) fn del_address(index: u32, unwanted: &Address) -> Request {
    (RouteNetlinkMessage::DelAddress(address(index, unwanted)), 0)
}

fn route(index: u32, route: &Route, protocol: u8) -> RouteMessage {
    let to = route.to.addr();
    let mut message = RouteMessage::default();
    message.header.address_family = family(to);
    message.header.destination_prefix_length = route.to.prefix_len();
    message.header.table = netlink_packet_route::route::RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::from(protocol);
    message.header.kind = RouteType::Unicast;
    // For IPv4, a route without a next hop must have link scope. IPv6 ignores the scope.
    message.header.scope =
        if route.via.is_none() && to.is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
    if route.to.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(route.to.network().into()));
    }
    let next_hop = |via: IpAddr| {
        let same_family = via.is_ipv4() == to.is_ipv4();
        if same_family { RouteAttribute::Gateway(via.into()) } else { RouteAttribute::Via(via.into()) }
    };
    message.attributes.extend(route.via.map(next_hop));
    message.attributes.extend(route.src.map(|src| RouteAttribute::PrefSource(src.into())));
    message.attributes.push(RouteAttribute::Oif(index));
    message.attributes.extend(route.metric.map(RouteAttribute::Priority));
    message
}

/// `RTM_NEWROUTE`. With `replace` it replaces a route of Ashore's, which the kernel finds by destination and
/// metric. Without it, an existing route is an error.
pub(crate) fn set_route(index: u32, wanted: &Route, protocol: u8, replace: bool) -> Request {
    let flags = if replace { NLM_F_CREATE | NLM_F_REPLACE } else { NEW };
    (RouteNetlinkMessage::NewRoute(route(index, wanted, protocol)), flags)
}

/// `RTM_NEWROUTE` that replaces the same route over another link. The kernel finds the old route by
/// destination and metric.
pub(crate) fn reroute(index: u32, wanted: &HostRoute) -> Request {
    let mut message = route(index, &wanted.route, wanted.protocol);
    message.attributes.push(RouteAttribute::Priority(wanted.metric));
    message.header.flags.set(RouteFlags::Onlink, wanted.onlink);
    (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// `RTM_DELROUTE`. The kernel compares the protocol too, so a route of another program is never deleted.
pub(crate) fn del_route(index: u32, unwanted: &Route, protocol: u8) -> Request {
    (RouteNetlinkMessage::DelRoute(route(index, unwanted, protocol)), 0)
}

fn neighbour(index: u32, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(ip);
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(ip.into()));
    message
}

/// `RTM_NEWNEIGH` for a permanent entry.
pub(crate) fn add_neighbour(index: u32, ip: IpAddr, mac: Mac) -> Request {
    let mut message = neighbour(index, ip);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message.attributes.push(NeighbourAttribute::Protocol(ROUTE_PROTOCOL.into()));
    (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// `RTM_DELNEIGH`.
pub(crate) fn del_neighbour(index: u32, ip: IpAddr) -> Request {
    (RouteNetlinkMessage::DelNeighbour(neighbour(index, ip)), 0)
}
