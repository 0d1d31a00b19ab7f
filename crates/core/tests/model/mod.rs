//! A kernel that is only data. It does to an [`Observed`] what Linux does to its network state, so any
//! sequence of requests can be tried without a kernel. It copies the kernel's oddities, as the end-to-end
//! tests show them.

#![allow(dead_code, unreachable_pub, reason = "each test uses its own part of this")]

mod bridge;

use std::collections::{BTreeMap, BTreeSet};

use ashore_core::net::kind::{LinkKind, MacvlanMode};
use ashore_core::net::link::{LinkSpec, LinkType, Netns, Place};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{
    Link, LinkAddress, Lower, Neighbour, Observed, ObservedKind, ObservedRoute, Seat, Standing, View, Ways,
};
use ashore_core::net::step::{ROUTE_PROTOCOL, Route, Step, Sysctl, SysctlKey};
use ashore_core::net::vlan::{Membership, VlanId};
use ashore_wire::Mac;

#[derive(Default)]
pub struct Model {
    pub observed: Observed,
    next_index: u32,
    /// The VLANs of a bridge's ports while the bridge does not filter VLANs and does not show them.
    hidden: BTreeMap<IfName, BTreeMap<VlanId, Membership>>,
    /// Ends of veths that were removed with the other end. Removing them again is no error.
    gone_along: BTreeSet<IfName>,
}

pub const NIC: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);

impl Model {
    pub fn new() -> Self {
        let mut model = Model { next_index: 2, ..Model::default() };
        model.plug_in();
        model
    }

    pub fn nic() -> IfName {
        "eth0".parse().unwrap()
    }

    /// Adds the NIC, with the host's addresses.
    pub fn plug_in(&mut self) {
        if self.observed.host.link(&Self::nic()).is_some() {
            return;
        }
        let index = self.index();
        self.observed
            .host
            .links
            .push(Link { up: true, ..link(index, Self::nic(), ObservedKind::Physical, Some(NIC)) });
        self.set_host_address("192.168.88.9/24");
    }

    pub fn set_host_address(&mut self, v4: &str) {
        let Some(index) = self.observed.host.link(&Self::nic()).map(|nic| nic.index) else { return };
        self.observed.host.addresses.retain(|address| address.index != index);
        // Routes whose preferred source is gone go with it (fib_sync_down_addr).
        for net in [v4, "fd88::9/64"] {
            let net = net.parse().unwrap();
            self.observed.host.addresses.push(address(index, net));
        }
        let View { routes, addresses, .. } = &mut self.observed.host;
        routes
            .retain(|there| there.route.src.is_none_or(|src| addresses.iter().any(|a| a.net.addr() == src)));
    }

    /// Removes the NIC, and with it all its children, wherever they are.
    pub fn unplug(&mut self) {
        if let Some(nic) = self.observed.host.link(&Self::nic()).cloned() {
            self.remove(&Place::Host, nic.index);
        }
    }

    /// Sets the NIC down or up, and the VLAN interfaces on it with it.
    pub fn set_nic_up(&mut self, up: bool) {
        let Some(nic) = self.observed.host.link(&Self::nic()).map(|nic| nic.index) else { return };
        for link in &mut self.observed.host.links {
            let on_it = matches!(link.kind, ObservedKind::Vlan { .. })
                && link.lower.is_some_and(|lower| lower.index == nic);
            if link.index == nic || on_it {
                link.up = up;
            }
        }
    }

    /// Makes VLAN 200 as the user would by hand, if it does not exist.
    pub fn make_users_vlan(&mut self) {
        let kind = LinkType::Vlan { parent: Self::nic(), id: 200.try_into().unwrap(), gvrp: false };
        let spec = LinkSpec { name: Self::vlan(), kind, mac: None, mtu: None };
        if self.add_link(&Place::Host, &spec).is_ok() {
            let up = self.observed.host.link(&Self::nic()).is_some_and(|nic| nic.up);
            self.observed.host.links.last_mut().unwrap().up = up;
        }
    }

    /// Deletes VLAN 200, whoever made it.
    pub fn delete_vlan(&mut self) {
        if let Some(index) = self.observed.host.link(&Self::vlan()).map(|link| link.index) {
            self.remove(&Place::Host, index);
        }
    }

    pub fn vlan() -> IfName {
        "eth0.200".parse().unwrap()
    }

    /// Deletes a link on the host.
    pub fn delete(&mut self, name: &IfName) {
        if let Some(index) = self.observed.host.link(name).map(|link| link.index) {
            self.remove(&Place::Host, index);
        }
    }

    pub fn users_child() -> IfName {
        "m0".parse().unwrap()
    }

    /// Makes a child of the NIC in a container, as the user would by hand.
    pub fn make_users_child(&mut self, netns: &Netns) {
        if !self.observed.netns.contains_key(netns) {
            return;
        }
        let next = (self.next_index + 1).to_be_bytes();
        let mac = Some(Mac([2, 9, 0, 0, next[2], next[3]]));
        let kind = LinkType::Macvlan {
            parent: Self::nic(),
            mode: MacvlanMode::Bridge,
            bc_queue_len: None,
            bc_limit: None,
        };
        let spec = LinkSpec { name: Self::users_child(), kind, mac, mtu: None };
        // The link may exist already, or the NIC may not.
        let _ = self.add_link(&Place::Netns(netns.clone()), &spec);
    }

    /// Changes a container's link in the ways that are possible from inside.
    pub fn meddle(&mut self, netns: &Netns, tricks: u8) {
        let Some(view) = self.observed.netns.get_mut(netns) else { return };
        let Some(link) = view.links.iter_mut().find(|link| link.name != Self::users_child()) else { return };
        let (was, index) = (link.name.clone(), link.index.to_be_bytes());
        if tricks & 1 > 0 {
            link.alias = Some("ashore:lan:c0".into());
        }
        if tricks & 2 > 0 {
            link.mac = Some(Mac([2, 7, 0, 0, index[2], index[3]]));
        }
        if tricks & 4 > 0 {
            link.name = "wan0".parse().unwrap();
        }
        if tricks & 8 > 0 {
            // Or mode `source`, which no network has.
            set_mode(link, (tricks & 1 > 0).then_some(MacvlanMode::Private));
        }
        link.up &= tricks & 16 == 0;
        let name = link.name.clone();
        view.routes
            .iter_mut()
            .filter(|there| there.route.dev == was)
            .for_each(|there| there.route.dev = name.clone());
    }

    pub fn open(&mut self, netns: &Netns) {
        self.observed.netns.entry(netns.clone()).or_default();
    }

    /// Removes a namespace, and its links with it.
    pub fn close(&mut self, netns: &Netns) {
        let links = self.observed.netns.get(netns).map(|view| view.links.clone()).unwrap_or_default();
        for link in links {
            self.remove(&Place::Netns(netns.clone()), link.index);
        }
        self.observed.netns.remove(netns);
    }

    fn index(&mut self) -> u32 {
        self.next_index += 1;
        self.next_index
    }

    fn view(&mut self, place: &Place) -> &mut View {
        match place {
            Place::Host => &mut self.observed.host,
            Place::Netns(netns) => {
                self.observed.netns.get_mut(netns).expect("a step in a namespace that is gone")
            }
        }
    }

    fn remove(&mut self, place: &Place, index: u32) {
        let view = self.view(place);
        let Some(link) = view.link_at(index).cloned() else { return };
        view.links.retain(|link| link.index != index);
        view.addresses.retain(|address| address.index != index);
        view.neighbours.retain(|entry| entry.index != index);
        view.routes.retain(|there| there.route.dev != link.name);
        self.hidden.remove(&link.name);
        if link.kind == ObservedKind::Veth {
            self.gone_along.insert(link.name.clone());
        }
        // The other end of this veth is in another namespace.
        if let (ObservedKind::Veth, Some(peer), Place::Netns(_)) = (&link.kind, link.lower, place) {
            self.remove(&Place::Host, peer.index);
        }
        if *place == Place::Host {
            let netns: Vec<Place> = self.observed.netns.keys().cloned().map(Place::Netns).collect();
            for place in std::iter::once(Place::Host).chain(netns) {
                let below = Some(Lower { index, seat: on_host_from(&place) });
                let children: Vec<u32> =
                    self.view(&place).links.iter().filter(|l| l.lower == below).map(|l| l.index).collect();
                for child in children {
                    self.remove(&place, child);
                }
            }
        }
    }

    fn set_sysctl(&mut self, place: &Place, sysctl: &Sysctl, value: i32) -> Result<(), &'static str> {
        let Some(link) = self.link(place, &sysctl.link) else { return Err("ENODEV") };
        if sysctl.key == SysctlKey::Mtu && !(1280..=link.mtu.cast_signed()).contains(&value) {
            return Err("EINVAL");
        }
        *match sysctl.key {
            SysctlKey::ArpFilter => &mut link.arp_filter,
            SysctlKey::RpFilter => &mut link.rp_filter,
            SysctlKey::AcceptRa => &mut link.accept_ra,
            SysctlKey::DisableIpv6 => &mut link.disable_ipv6,
            SysctlKey::Mtu => &mut link.ipv6_mtu,
        } = Some(value);
        Ok(())
    }

    /// Applies one step. The error says why the kernel would refuse it.
    pub fn apply(&mut self, step: &Step) -> Result<(), String> {
        let fault = |why: &str| Err(format!("{step}: {why}"));
        match step {
            Step::AddLink { place, link } => {
                return self.add_link(place, link).map_err(|why| format!("{step}: {why}"));
            }
            Step::DelLink { place, link } => {
                let Some(there) = self.view(place).link(link).cloned() else {
                    return if self.gone_along.contains(link) { Ok(()) } else { fault("ENODEV") };
                };
                let users = there.alias.is_none() && matches!(there.kind, ObservedKind::Vlan { .. });
                assert!(!users, "the user's own VLAN interface is removed");
                assert!(*link != Self::users_child(), "a child that the user made is removed");
                self.remove(place, there.index);
            }
            Step::SetAlias { place, link, tag } => {
                let Some(link) = self.link(place, link) else { return fault("ENODEV") };
                link.alias = tag.as_ref().map(ToString::to_string);
            }
            Step::SetNoLinkLocal { place, link } => {
                if self.link(place, link).is_none() {
                    return fault("ENODEV");
                }
            }
            Step::SetMtu { place, link, mtu, was } => {
                let Some(link) = self.link(place, link) else { return fault("ENODEV") };
                assert_eq!(link.mtu, *was);
                (link.mtu, link.ipv6_mtu) = (*mtu, Some(mtu.cast_signed()));
            }
            Step::SetMode { place, link, kind, .. } => match (self.link(place, link), kind) {
                (Some(link), LinkKind::Macvlan(mode)) => set_mode(link, Some(*mode)),
                _ => return fault("ENODEV"),
            },
            Step::SetGvrp { place, link, on } => match self.link(place, link).map(|link| &mut link.kind) {
                Some(ObservedKind::Vlan { gvrp, .. }) => *gvrp = *on,
                _ => return fault("ENODEV"),
            },
            Step::SetUp { place, link, up } => {
                let view = self.view(place);
                let Some(there) = view.link(link).cloned() else { return fault("ENODEV") };
                let below = there.lower.and_then(|lower| view.link_at(lower.index));
                if matches!(there.kind, ObservedKind::Vlan { .. }) && below.is_some_and(|below| !below.up) {
                    return fault("ENETDOWN");
                }
                let link = self.link(place, link).unwrap();
                (link.up, link.ipv6_mtu) = (*up, Some(link.mtu.cast_signed()));
            }
            Step::SetSysctl { place, sysctl, value, .. } => {
                return self.set_sysctl(place, sysctl, *value).map_err(|why| format!("{step}: {why}"));
            }
            Step::AddAddress { place, link, address } => {
                return self.add_address(place, link, address.net).map_err(|why| format!("{step}: {why}"));
            }
            Step::DelAddress { place, link, address } => {
                let view = self.view(place);
                let Some(index) = view.link(link).map(|link| link.index) else { return fault("ENODEV") };
                view.addresses.retain(|there| there.index != index || there.net != address.net);
                let gone = address.net.addr();
                view.routes.retain(|there| there.route.src != Some(gone));
            }
            Step::SetDeprecated { place, link, net, on } => {
                let view = self.view(place);
                let Some(index) = view.link(link).map(|link| link.index) else { return fault("ENODEV") };
                let there = view.addresses.iter_mut().find(|there| there.index == index && there.net == *net);
                let Some(there) = there else { return fault("EADDRNOTAVAIL") };
                there.standing = if *on { Standing::Deprecated } else { Standing::Steady };
            }
            Step::SetRoute { place, route, instead_of } => {
                return self
                    .set_route(place, route, instead_of.as_ref())
                    .map_err(|why| format!("{step}: {why}"));
            }
            Step::DelRoute { place, route } => {
                let view = self.view(place);
                if !view.routes.iter().any(|there| there.route == *route && there.protocol == ROUTE_PROTOCOL)
                {
                    return fault("ESRCH");
                }
                view.routes.retain(|there| there.route != *route || there.protocol != ROUTE_PROTOCOL);
            }
            Step::AddNeighbour { place, link, ip, mac } => {
                let view = self.view(place);
                let Some(index) = view.link(link).map(|link| link.index) else { return fault("ENODEV") };
                view.neighbours.push(Neighbour { index, ip: *ip, mac: *mac, ours: true });
            }
            Step::DelNeighbour { place, ip, .. } => {
                self.view(place).neighbours.retain(|entry| entry.ip != *ip);
            }
            Step::SetMaster { .. }
            | Step::SetPort { .. }
            | Step::SetPortVlan { .. }
            | Step::DelPortVlan { .. } => {
                return self.change_port(step).map_err(|why| format!("{step}: {why}"));
            }
            Step::PutHostAddress { .. } | Step::DelHostAddress { .. } | Step::Reroute { .. } => {
                panic!("the model's host does not move")
            }
        }
        Ok(())
    }

    fn link(&mut self, place: &Place, name: &IfName) -> Option<&mut Link> {
        self.view(place).links.iter_mut().find(|link| link.name == *name)
    }

    fn add_address(&mut self, place: &Place, link: &IfName, net: ipnet::IpNet) -> Result<(), &'static str> {
        let view = self.view(place);
        let index = view.link(link).map(|link| link.index).ok_or("ENODEV")?;
        if view.addresses.iter().any(|there| there.index == index && there.net == net) {
            return Err("EEXIST");
        }
        let link_scope = matches!(net.addr(), std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
        view.addresses.push(LinkAddress { link_scope, ..address(index, net) });
        Ok(())
    }

    fn add_link(&mut self, place: &Place, spec: &LinkSpec) -> Result<(), &'static str> {
        if self.view(place).link(&spec.name).is_some() {
            return Err("EEXIST");
        }
        if let LinkType::Veth { peer, peer_place, .. } = &spec.kind {
            return self.add_veth(place, spec, peer, peer_place);
        }
        let index = self.index();
        let (kind, parent) = match &spec.kind {
            LinkType::Macvlan { parent, mode, bc_queue_len, .. } => {
                let bc_queue_len = Some(bc_queue_len.unwrap_or(1000));
                (ObservedKind::Macvlan { mode: Some(*mode), bc_queue_len }, parent)
            }
            LinkType::Ipvlan { parent, mode } => (ObservedKind::Ipvlan { mode: *mode }, parent),
            LinkType::Vlan { parent, id, gvrp } => (ObservedKind::Vlan { id: id.get(), gvrp: *gvrp }, parent),
            other => panic!("the model makes no {other:?}"),
        };
        let parent = self.observed.host.link(parent).ok_or("ENODEV")?.clone();
        let mut siblings =
            self.observed.netns.values().chain([&self.observed.host]).flat_map(|view| &view.links);
        let used = spec.mac.is_some() && siblings.any(|link| link.mac == spec.mac);
        drop(siblings);
        if used {
            return Err("EADDRINUSE");
        }
        let same_vlan = |link: &Link| match (&link.kind, &kind) {
            (ObservedKind::Vlan { id: there, .. }, ObservedKind::Vlan { id, .. }) => there == id,
            _ => false,
        };
        if self.observed.host.links.iter().any(same_vlan) {
            return Err("EEXIST");
        }
        let lower = Some(Lower { index: parent.index, seat: on_host_from(place) });
        let mac = spec.mac.or(parent.mac);
        let mtu = spec.mtu.unwrap_or(parent.mtu);
        let link = Link { lower, mtu, ..link(index, spec.name.clone(), kind, mac) };
        self.view(place).links.push(link);
        Ok(())
    }

    fn add_veth(
        &mut self,
        place: &Place,
        spec: &LinkSpec,
        peer: &IfName,
        peer_place: &Place,
    ) -> Result<(), &'static str> {
        if self.view(peer_place).link(peer).is_some() {
            return Err("EEXIST");
        }
        let (far, near) = (self.index(), self.index());
        let seat = |from: &Place, to: &Place| match (from, to) {
            _ if from == to => Seat::Here,
            (_, Place::Host) => Seat::Host,
            _ => Seat::Elsewhere,
        };
        let mac = |index: u32| Some(Mac([2, 1, 0, 0, index.to_be_bytes()[2], index.to_be_bytes()[3]]));
        let veth = |index, name: &IfName, mac| link(index, name.clone(), ObservedKind::Veth, mac);
        let lower = Some(Lower { index: near, seat: seat(peer_place, place) });
        let far_end = Link { lower, ..veth(far, peer, mac(far)) };
        self.view(peer_place).links.push(far_end);
        let mtu = spec.mtu.unwrap_or(1500);
        let lower = Some(Lower { index: far, seat: seat(place, peer_place) });
        let near_end = Link { lower, mtu, ..veth(near, &spec.name, spec.mac.or(mac(near))) };
        self.view(place).links.push(near_end);
        Ok(())
    }

    fn set_route(
        &mut self,
        place: &Place,
        route: &Route,
        instead_of: Option<&Route>,
    ) -> Result<(), &'static str> {
        let view = self.view(place);
        let dev = view.link(&route.dev).ok_or("ENODEV")?;
        if !dev.up {
            return Err("ENETDOWN");
        }
        if route.src.is_some_and(|src| !view.has_address(src)) {
            return Err("EINVAL: invalid prefsrc address");
        }
        match instead_of {
            Some(old) => view.routes.retain(|there| there.route != *old),
            None if view.routes.iter().any(|there| there.route.to == route.to) => return Err("EEXIST"),
            None => {}
        }
        view.routes.push(ObservedRoute {
            route: route.clone(),
            protocol: ROUTE_PROTOCOL,
            metric: 0,
            onlink: false,
            ways: Ways::One,
        });
        Ok(())
    }
}

fn set_mode(link: &mut Link, to: Option<MacvlanMode>) {
    if let ObservedKind::Macvlan { mode, .. } = &mut link.kind {
        *mode = to;
    }
}

/// The seat of a link on the host, as seen from a place.
fn on_host_from(place: &Place) -> Seat {
    if *place == Place::Host { Seat::Here } else { Seat::Host }
}

fn link(index: u32, name: IfName, kind: ObservedKind, mac: Option<Mac>) -> Link {
    Link {
        index,
        name,
        kind,
        lower: None,
        master: None,
        port: BTreeSet::new(),
        vlans: None,
        default_pvid: None,
        mac,
        mtu: 1500,
        up: false,
        carrier: true,
        alias: None,
        wireless: false,
        arp_filter: Some(0),
        rp_filter: Some(0),
        arp_ignore: Some(0),
        accept_ra: Some(1),
        disable_ipv6: Some(0),
        ipv6_mtu: Some(1500),
    }
}

fn address(index: u32, net: ipnet::IpNet) -> LinkAddress {
    LinkAddress {
        index,
        net,
        broadcast: None,
        life: None,
        noprefixroute: false,
        peer: None,
        link_scope: false,
        standing: Standing::Steady,
    }
}
