//! What is: dumps of links, addresses, routes and neighbours, in the words of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use ashore_core::IfName;
use ashore_core::link::{IpvlanMode, MacvlanMode, Netns, PortOption};
use ashore_core::observed::{
    Link, LinkAddress, Lower, Neighbour, Observed, ObservedKind, ObservedRoute, Seat, Standing, View,
};
use ashore_core::step::{Life, ROUTE_PROTOCOL, Route as WantedRoute};
use ashore_core::vlan::{Membership, VlanId};
use ashore_wire::Mac;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecBridge, AfSpecInet, AfSpecInet6, AfSpecUnspec, BridgeVlanInfoFlags, InfoBridge, InfoBridgePort,
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoVlan, IpVlanMode, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, MacVlanMode, VlanFlags, VlanProtocol,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::apply::Kernel;
use crate::error::ObserveError;
use crate::netlink::Route;
use crate::netns::Namespace;

impl Kernel {
    /// Reads the host's namespace and those containers' namespaces that are named, each once. One that is gone is
    /// absent.
    pub fn observe(&self, netns: &[Netns]) -> Result<Observed, ObserveError> {
        let mut host = view(&self.route, None)?;
        self.wireless.mark(&mut host.links);
        host.rp_filter = self.rp_filter.as_ref().and_then(read_number);
        let mut observed = Observed { host, ..Observed::default() };
        for netns in netns {
            observed.paths.insert(netns.path.clone(), netns.clone());
            if observed.netns.contains_key(netns) {
                continue;
            }
            let fault = |source| ObserveError { what: "a container's namespace", source };
            let Some(inside) = self.enter(netns).map_err(fault)? else { continue };
            observed.netns.insert(netns.clone(), view(&inside.route, Some(self.host()))?);
            self.keep(inside);
        }
        Ok(observed)
    }

    /// The MACs for which a link on the host takes frames. A macvlan child that is up has its own among them, in whatever
    /// namespace it is (Linux 6.18, `macvlan_open`). None if there is no such link.
    pub fn macs_on(&self, link: &IfName) -> Result<BTreeSet<Mac>, ObserveError> {
        let fault = |source| ObserveError { what: "the MACs that a link takes frames for", source };
        let Some(index) = self.route.index_of(link).map_err(fault)? else { return Ok(BTreeSet::new()) };
        let mut request = NeighbourMessage::default();
        (request.header.family, request.header.ifindex) = (AddressFamily::Bridge, index);
        let all = self.route.dump(&RouteNetlinkMessage::GetNeighbour(request)).map_err(fault)?;
        let macs = all.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(entry) if entry.header.ifindex == index => mac_of(entry),
            _ => None,
        });
        Ok(macs.filter(|mac| mac.is_station()).collect())
    }
}

fn mac_of(entry: &NeighbourMessage) -> Option<Mac> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac),
        _ => None,
    })
}

fn read_number(sysctl: &File) -> Option<i32> {
    let mut text = [0; 16];
    let length = sysctl.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

/// One namespace, and for a container's the host's.
fn view(route: &Route, host: Option<&Namespace>) -> Result<View, ObserveError> {
    let dump = |what, request: RouteNetlinkMessage| {
        route.dump(&request).map_err(|source: io::Error| ObserveError { what, source })
    };
    let mut view = View::default();
    let mut links = LinkMessage::default();
    links.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let messages = dump("links", RouteNetlinkMessage::GetLink(links))?;
    // Asked for after the dump, which numbers the namespaces that it names.
    let mut hosts = None;
    for message in &messages {
        let RouteNetlinkMessage::NewLink(message) = message else { continue };
        let of_other = namespace_below(message);
        if let (Some(_), Some(host), None) = (of_other, host, hosts) {
            let number = route.number_of(host.as_fd());
            hosts = Some(number.map_err(|source| ObserveError { what: "the host's namespace", source })?);
        }
        let seat = match (of_other, hosts) {
            (None, _) => Seat::Here,
            (Some(number), Some(hosts)) if hosts == Some(number) => Seat::Host,
            _ => Seat::Elsewhere,
        };
        view.links.extend(link(message, seat));
    }
    // Bridges that filter VLANs were given an empty set.
    let filtering: BTreeSet<u32> =
        view.links.iter().filter(|link| link.vlans.is_some()).map(|link| link.index).collect();
    if !filtering.is_empty() {
        for message in dump("bridges' VLANs", RouteNetlinkMessage::GetLink(bridges_vlans()))? {
            let RouteNetlinkMessage::NewLink(message) = message else { continue };
            let concerned = |link: &&mut Link| {
                link.index == message.header.index && filtering.contains(&link.master.unwrap_or(link.index))
            };
            if let Some(link) = view.links.iter_mut().find(concerned) {
                link.vlans = Some(vlans_let_through(&message));
            }
        }
    }
    for message in dump("addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
        if let RouteNetlinkMessage::NewAddress(message) = message {
            view.addresses.extend(address(&message));
        }
    }
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        request.header.table = RouteHeader::RT_TABLE_MAIN;
        match dump("routes", RouteNetlinkMessage::GetRoute(request)) {
            Ok(messages) => view.routes.extend(messages.iter().filter_map(|message| match message {
                RouteNetlinkMessage::NewRoute(message) => observed_route(message, &view.links),
                _ => None,
            })),
            // A filtered dump of a table that has never held a route (fib_table_lookup: ENOENT), or no IPv6 at all.
            Err(error)
                if matches!(error.source.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::EOPNOTSUPP)) => {
            }
            Err(error) => return Err(error),
        }
    }
    for message in dump("neighbours", RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))? {
        if let RouteNetlinkMessage::NewNeighbour(message) = message {
            view.neighbours.extend(neighbour(&message));
        }
    }
    Ok(view)
}

/// The kernel's number for the namespace of the link below one, if that is another.
fn namespace_below(message: &LinkMessage) -> Option<i32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkNetNsId(number) => Some(*number),
        _ => None,
    })
}

fn link(message: &LinkMessage, seat: Seat) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        // A name that is none of the kernel's own rules would be the first.
        name: name_of(message)?,
        kind: ObservedKind::Other(String::new()),
        lower: None,
        master: None,
        port: BTreeSet::new(),
        vlans: None,
        default_pvid: None,
        mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        // The first alone follows a cable that is pulled up to a second late.
        carrier: flags.contains(LinkFlags::Running | LinkFlags::LowerUp),
        alias: None,
        wireless: false,
        arp_filter: None,
        rp_filter: None,
        accept_ra: None,
        disable_ipv6: None,
        ipv6_mtu: None,
    };
    let (mut lower, mut kind) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac),
            LinkAttribute::LinkInfo(info) => {
                (kind, link.port) = (kind_of(info), port_options(info));
                if let Some(bridge) = filtering(info) {
                    (link.vlans, link.default_pvid) = (Some(BTreeMap::new()), default_pvid(bridge));
                }
            }
            LinkAttribute::AfSpecUnspec(specs) => sysctls(specs, &mut link),
            _ => {}
        }
    }
    // A link without one below it names itself.
    let other = lower.filter(|index| seat != Seat::Here || *index != link.index);
    link.lower = other.map(|index| Lower { index, seat });
    link.kind = kind.unwrap_or_else(|| match message.header.link_layer_type {
        LinkLayerType::Loopback => ObservedKind::Loopback,
        LinkLayerType::Ether => ObservedKind::Physical,
        other => ObservedKind::Other(format!("{other:?}").to_lowercase()),
    });
    Some(link)
}

fn name_of(message: &LinkMessage) -> Option<ashore_core::IfName> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => name.parse().ok(),
        _ => None,
    })
}

fn kind_of(info: &[LinkInfo]) -> Option<ObservedKind> {
    let kind = info.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })?;
    let data = info.iter().find_map(|info| match info {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    Some(match (kind, data) {
        (InfoKind::MacVlan, Some(InfoData::MacVlan(data))) => macvlan(data)?,
        (InfoKind::IpVlan, Some(InfoData::IpVlan(data))) => ipvlan(data)?,
        (InfoKind::Vlan, Some(InfoData::Vlan(data))) => vlan(data)?,
        (InfoKind::Veth, _) => ObservedKind::Veth,
        (InfoKind::Bridge, _) => ObservedKind::Bridge,
        (other, _) => ObservedKind::Other(other.to_string()),
    })
}

fn port_options(info: &[LinkInfo]) -> BTreeSet<PortOption> {
    let ports = info.iter().filter_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(data)) => Some(data),
        _ => None,
    });
    let on = ports.flatten().filter_map(|option| match option {
        InfoBridgePort::Isolated(true) => Some(PortOption::Isolated),
        InfoBridgePort::HairpinMode(true) => Some(PortOption::Hairpin),
        InfoBridgePort::Learning(false) => Some(PortOption::Unlearning),
        _ => None,
    });
    on.collect()
}

/// What a bridge that filters VLANs says of itself.
fn filtering(info: &[LinkInfo]) -> Option<&[InfoBridge]> {
    let data = info.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Bridge(data)) => Some(data.as_slice()),
        _ => None,
    });
    data.filter(|data| data.contains(&InfoBridge::VlanFiltering(true)))
}

/// There is none if it is 0.
fn default_pvid(data: &[InfoBridge]) -> Option<VlanId> {
    data.iter().find_map(|item| match item {
        InfoBridge::VlanDefaultPvid(id) => (*id).try_into().ok(),
        _ => None,
    })
}

/// Asks for the VLANs of all bridges and their ports, also of those that do not filter.
fn bridges_vlans() -> LinkMessage {
    let mut request = LinkMessage::default();
    request.header.interface_family = AddressFamily::Bridge;
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::Brvlan]));
    request
}

fn vlans_let_through(message: &LinkMessage) -> BTreeMap<VlanId, Membership> {
    let specs = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::AfSpecBridge(specs) => Some(specs),
        _ => None,
    });
    let vlans = specs.flatten().filter_map(|spec| match spec {
        AfSpecBridge::VlanInfo(info) => {
            let (pvid, untagged) = (BridgeVlanInfoFlags::Pvid, BridgeVlanInfoFlags::Untagged);
            let membership =
                Membership { pvid: info.flags.contains(pvid), untagged: info.flags.contains(untagged) };
            Some((info.vid.try_into().ok()?, membership))
        }
        _ => None,
    });
    vlans.collect()
}

fn macvlan(data: &[InfoMacVlan]) -> Option<ObservedKind> {
    let (mut mode, mut bc_queue_len) = (None, None);
    for item in data {
        match item {
            InfoMacVlan::Mode(MacVlanMode::Bridge) => mode = Some(MacvlanMode::Bridge),
            InfoMacVlan::Mode(MacVlanMode::Private) => mode = Some(MacvlanMode::Private),
            InfoMacVlan::Mode(MacVlanMode::Vepa) => mode = Some(MacvlanMode::Vepa),
            InfoMacVlan::Mode(MacVlanMode::Passthrough) => mode = Some(MacvlanMode::Passthru),
            InfoMacVlan::BcQueueLen(length) => bc_queue_len = Some(*length),
            _ => {}
        }
    }
    Some(ObservedKind::Macvlan { mode: mode?, bc_queue_len })
}

fn ipvlan(data: &[InfoIpVlan]) -> Option<ObservedKind> {
    data.iter().find_map(|item| {
        let mode = match item {
            InfoIpVlan::Mode(IpVlanMode::L2) => IpvlanMode::L2,
            InfoIpVlan::Mode(IpVlanMode::L3) => IpvlanMode::L3,
            InfoIpVlan::Mode(IpVlanMode::L3S) => IpvlanMode::L3s,
            _ => return None,
        };
        Some(ObservedKind::Ipvlan { mode })
    })
}

/// A VLAN of 802.1Q. Those of 802.1ad are others with the same numbers.
fn vlan(data: &[InfoVlan]) -> Option<ObservedKind> {
    let (mut id, mut gvrp) = (None, false);
    for item in data {
        match item {
            InfoVlan::Id(number) => id = Some(*number),
            InfoVlan::Flags((flags, _)) => gvrp = flags.contains(VlanFlags::Gvrp),
            InfoVlan::Protocol(VlanProtocol::Ieee8021Ad) => {
                return Some(ObservedKind::Other("vlan of 802.1ad".into()));
            }
            _ => {}
        }
    }
    Some(ObservedKind::Vlan { id: id?, gvrp })
}

/// The link's sysctls travel with it.
fn sysctls(specs: &[AfSpecUnspec], link: &mut Link) {
    for spec in specs {
        match spec {
            AfSpecUnspec::Inet(items) => {
                for item in items {
                    if let AfSpecInet::DevConf(conf) = item {
                        (link.arp_filter, link.rp_filter) = (Some(conf.arpfilter), Some(conf.rp_filter));
                    }
                }
            }
            AfSpecUnspec::Inet6(items) => {
                for item in items {
                    if let AfSpecInet6::DevConf(conf) = item {
                        (link.accept_ra, link.disable_ipv6) = (Some(conf.accept_ra), Some(conf.disable_ipv6));
                        link.ipv6_mtu = Some(conf.mtu6);
                    }
                }
            }
            _ => {}
        }
    }
}

fn address(message: &AddressMessage) -> Option<LinkAddress> {
    let (mut address, mut local, mut broadcast, mut life) = (None, None, None, None);
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Broadcast(ip) => broadcast = Some(*ip),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::CacheInfo(info) => {
                life = Some(Life { valid: info.ifa_valid, preferred: info.ifa_preferred });
            }
            _ => {}
        }
    }
    let ip: IpAddr = local.or(address)?;
    // IFA_F_SECONDARY means "another address in the same subnet" for IPv4, and "temporary" for IPv6.
    let temporary = ip.is_ipv6() && flags.contains(AddressFlags::Secondary);
    let standing = if temporary || flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed) {
        Standing::Unsteady
    } else if flags.contains(AddressFlags::Deprecated) {
        Standing::Deprecated
    } else {
        Standing::Steady
    };
    Some(LinkAddress {
        index: message.header.index,
        net: IpNet::new(ip, message.header.prefix_len).ok()?,
        broadcast,
        life: life.filter(|_| !flags.contains(AddressFlags::Permanent)),
        noprefixroute: flags.contains(AddressFlags::Noprefixroute),
        peer: address.filter(|peer| *peer != ip),
        link_scope: message.header.scope == AddressScope::Link,
        standing,
    })
}

fn observed_route(message: &RouteMessage, links: &[Link]) -> Option<ObservedRoute> {
    let header = &message.header;
    if header.kind != RouteType::Unicast || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut to, mut via, mut src, mut dev, mut metric) = (None, None, None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip_of(address),
            RouteAttribute::Gateway(address) => via = ip_of(address),
            RouteAttribute::PrefSource(address) => src = ip_of(address),
            RouteAttribute::Oif(index) => dev = links.iter().find(|link| link.index == *index),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        _ => IpAddr::from([0; 16]),
    };
    let to = IpNet::new(to.unwrap_or(any), header.destination_prefix_length).ok()?;
    let route = WantedRoute { to, via, dev: dev?.name.clone(), src };
    let onlink = header.flags.contains(RouteFlags::Onlink);
    Some(ObservedRoute { route, protocol: header.protocol.into(), metric, onlink })
}

pub(crate) fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    if message.header.state != NeighbourState::Permanent {
        return None;
    }
    let (mut ip, mut mac, mut ours) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Protocol(protocol) => ours = u8::from(*protocol) == ROUTE_PROTOCOL,
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                ip = Some(IpAddr::from(*address));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                ip = Some(IpAddr::from(*address));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
            }
            _ => {}
        }
    }
    Some(Neighbour { index: message.header.ifindex, ip: ip?, mac: mac?, ours })
}
