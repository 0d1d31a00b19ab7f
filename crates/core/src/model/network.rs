//! A network, and what follows from it alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ashore_wire::conflict::Profile;
use ashore_wire::slaac::Offer;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::endpoint::Endpoint;
use crate::model::ipv6::Ipv6Mode;
use crate::model::lease::{Addressing, Fallback, LeaseOptions};
use crate::net::family::Family;
use crate::net::kind::{LinkKind, MacvlanMode, PortOption};
use crate::net::link::Tag;
use crate::net::name::{IfName, NetworkName};
use crate::net::observed::{Link, View};
use crate::net::range::Range;
use crate::net::vlan::{Membership, Vlan};

/// The name of the auxiliary address that is the host's own on the network.
pub const HOST_AUX: &str = "host";

/// A named flat network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: NetworkName,
    /// The engine that it belongs to, unless it is the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineNetwork>,
    /// The host's interface that faces the LAN.
    pub parent: IfName,
    /// The VLAN that Ashore makes the parent for; none if the parent is the user's. With kind `bridge` that is one of a
    /// bridge that filters VLANs, and the parent is Ashore's own port in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// How endpoints get onto the LAN.
    pub kind: LinkKind,
    /// Its subnets, any number of either family.
    pub subnets: Vec<Subnet>,
    /// Where its IPv4 addresses come from.
    #[serde(default, skip_serializing_if = "Addressing::is_range")]
    pub addressing: Addressing,
    /// How they are leased, where they are.
    #[serde(default, skip_serializing_if = "LeaseOptions::is_plain")]
    pub leasing: LeaseOptions,
    /// Where its IPv6 addresses come from.
    #[serde(default, skip_serializing_if = "Ipv6Mode::is_range")]
    pub ipv6: Ipv6Mode,
    /// Whether host and containers reach each other.
    pub host_access: bool,
    /// No default route for endpoints.
    pub internal: bool,
    /// Conflict detection before an address is used.
    pub conflict: Profile,
    /// MTU of the endpoints' links in bytes; the parent's without one.
    pub mtu: Option<u32>,
    /// macvlan: broadcasts that may wait, in frames; the kernel's default (1000) without one.
    pub bc_queue_len: Option<u32>,
    /// bridge: what the endpoints' ports do that not every port does.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub port: BTreeSet<PortOption>,
    /// In a bridge's VLAN: as what the endpoints' ports are in it.
    #[serde(default, skip_serializing_if = "Membership::is_untagged")]
    pub membership: Membership,
    /// Whether it is of the engine's own driver, which makes its links and chooses its addresses: Ashore adds host access
    /// and keeps watch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

/// A network as a container engine knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineNetwork {
    /// The engine's id, 64 hexadecimal digits with Docker.
    pub id: String,
    /// What the user called it. The engine tells no driver; its list does.
    pub name: Option<String>,
    /// The id of the engine on whose list it was seen; only that one can have forgotten it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The LAN's subnet.
    pub net: IpNet,
    /// What Ashore hands out of it; the whole subnet without one.
    pub range: Option<Range>,
    /// The LAN's router.
    pub gateway: Option<IpAddr>,
    /// Addresses that are never handed out, by name; the one named `host` is put on the shim.
    pub aux: BTreeMap<String, IpAddr>,
    /// Whether the range was Ashore's choice rather than the user's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chosen: bool,
}

impl Subnet {
    /// The addresses among which Ashore chooses.
    pub fn pool(&self) -> Range {
        self.range.unwrap_or_else(|| Range::of_net(&self.net))
    }

    /// Why an address can be no endpoint's, whoever holds it; nothing if it can.
    pub fn never(&self, ip: IpAddr) -> Option<Unassignable> {
        if self.gateway == Some(ip) {
            return Some(Unassignable::Gateway);
        }
        if let Some((name, _)) = self.aux.iter().find(|(_, aux)| **aux == ip) {
            return Some(Unassignable::Aux(name.clone()));
        }
        // A /31 has neither (RFC 3021), a /32 and IPv6 likewise; IPv6 has the subnet-router anycast address instead.
        match self.net {
            IpNet::V4(net) if net.prefix_len() < 31 && ip == net.network() => {
                Some(Unassignable::NetworkAddress)
            }
            IpNet::V4(net) if net.prefix_len() < 31 && ip == net.broadcast() => Some(Unassignable::Broadcast),
            IpNet::V6(net) if net.prefix_len() < 127 && ip == net.network() => {
                Some(Unassignable::RouterAnycast)
            }
            _ => None,
        }
    }

    /// All of a subnet.
    pub fn whole(net: IpNet, gateway: Option<IpAddr>) -> Self {
        Subnet { net, range: None, gateway, aux: BTreeMap::new(), chosen: false }
    }
}

/// Why an address is never an endpoint's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unassignable {
    /// It is the gateway.
    Gateway,
    /// It is an auxiliary address.
    Aux(String),
    /// It names the subnet.
    NetworkAddress,
    /// It is the subnet's broadcast address.
    Broadcast,
    /// It is the subnet-router anycast address (RFC 4291, 2.6.1).
    RouterAnycast,
}

impl fmt::Display for Unassignable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unassignable::Gateway => f.write_str("it is the gateway"),
            Unassignable::Aux(name) => write!(f, "it is reserved as --aux-address {name}"),
            Unassignable::NetworkAddress => f.write_str("it is the subnet's own address"),
            Unassignable::Broadcast => f.write_str("it is the subnet's broadcast address"),
            Unassignable::RouterAnycast => f.write_str("it is the subnet-router anycast address"),
        }
    }
}

impl Network {
    /// The subnet that holds an address.
    pub fn subnet_of(&self, ip: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.net.contains(&ip))
    }

    /// The subnet of an endpoint's lease, if it is none of the network's: the router is another by now, or has other addresses.
    pub fn other_lan_of(&self, endpoint: &Endpoint) -> Option<IpNet> {
        let leased = endpoint.lease.as_ref()?.lease.address;
        self.subnet_of(leased.addr().into()).is_none().then(|| leased.trunc().into())
    }

    /// The routers of an endpoint's default routes, at most one of each family: that of its lease, the subnet's, or the one that
    /// advertises itself.
    pub fn gateways_of(&self, endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> {
        let wanted = endpoint.default_route && !self.internal;
        let gateway = |net: &IpNet| match &endpoint.lease {
            Some(record) if net.addr().is_ipv4() => record.lease.router().map(IpAddr::V4),
            _ => self.subnet_of(net.addr())?.gateway,
        };
        let learned = endpoint.learned.as_ref().and_then(|learned| learned.router);
        let learned = learned.map(|router| IpAddr::V6(router.ip));
        endpoint.addresses.iter().filter_map(gateway).chain(learned).filter(move |_| wanted)
    }

    /// The subnets out of which Ashore itself hands out addresses, if only for want of a DHCP server.
    pub fn handed_out(&self) -> impl Iterator<Item = &Subnet> {
        let fallback = self.leasing.fallback == Fallback::Range;
        self.subnets.iter().filter(move |subnet| fallback || !self.leases(Family::of(subnet.net.addr())))
    }

    /// Whether addresses of a family come from the LAN's DHCP server.
    pub fn leases(&self, family: Family) -> bool {
        self.addressing == Addressing::Dhcp && family == Family::Ipv4
    }

    /// How addresses come about, for people: those of each subnet, and those that are of no subnet of the network's own.
    pub fn sources(&self) -> impl Iterator<Item = String> {
        let advertised = self.follows_routers().then(|| format!("ipv6:{}", self.ipv6));
        self.subnets.iter().map(|subnet| self.source_of(subnet)).chain(advertised)
    }

    fn source_of(&self, subnet: &Subnet) -> String {
        let range = match subnet.range {
            Some(range) if subnet.chosen => format!("{range} (chosen)"),
            Some(range) => range.to_string(),
            None => "all".to_owned(),
        };
        match (self.leases(Family::of(subnet.net.addr())), self.leasing.fallback) {
            (false, _) => range,
            (true, Fallback::None) => "by DHCP".to_owned(),
            (true, Fallback::Range) => format!("by DHCP, or {range}"),
        }
    }

    /// Whether the LAN itself has a say in its addresses: a DHCP server, or routers.
    pub fn listens(&self) -> bool {
        self.addressing == Addressing::Dhcp || self.follows_routers()
    }

    /// What people call it.
    pub fn label(&self) -> &str {
        self.engine.as_ref().and_then(|engine| engine.name.as_deref()).unwrap_or(self.name.as_str())
    }

    /// What helps where its parent has gone and does not come back, most often because it has another name since a start of the host.
    pub fn remedy_without_parent(&self, host: &View) -> String {
        let label = self.label();
        let now = host.faces_now(self);
        let new = now.map_or("NEW", IfName::as_str);
        let now = now.map_or_else(String::new, |now| format!("its subnet is on `{now}` now; "));
        if self.adopted {
            return format!(
                "{now}if it has another name now, make the network anew on that: docker network disconnect -f {label} NAME for each \
                 container, docker network rm {label}, docker network create … -o parent={new} {label}, and \
                 docker network connect {label} NAME"
            );
        }
        format!("{now}if it has another name now: ashore network move {label} --parent {new}")
    }

    /// Whether a shim can give host access: the kernel lets siblings meet only in macvlan's bridge mode and in ipvlan.
    /// A bridge parent needs none, since the host is on the bridge.
    pub fn uses_shim(&self) -> bool {
        self.host_access && matches!(self.kind, LinkKind::Macvlan(MacvlanMode::Bridge) | LinkKind::Ipvlan(_))
    }

    /// The interface that must be there, and up, for the network to be on its LAN: the parent, or what Ashore makes it on.
    pub fn lower_device(&self, host: &View) -> &IfName {
        let users = |link: &Link| link.tag() != Some(Tag::Vlan(self.parent.clone()));
        match &self.vlan {
            Some(vlan) if self.bridge_vlan().is_some() || !host.link(&self.parent).is_some_and(users) => {
                &vlan.lower
            }
            _ => &self.parent,
        }
    }

    /// Whether the host, if it is to have access, has it only as machines of other subnets do: on a VLAN that Ashore makes
    /// it has no address but one that is reserved for it.
    pub fn host_goes_by_router(&self) -> bool {
        let reserved = |subnet: &Subnet| subnet.aux.contains_key(HOST_AUX);
        self.vlan.is_some() && self.host_access && !self.subnets.iter().any(reserved)
    }

    /// The VLAN of a bridge that its endpoints' ports are in.
    pub fn bridge_vlan(&self) -> Option<&Vlan> {
        self.vlan.as_ref().filter(|_| self.kind == LinkKind::Bridge)
    }

    /// With kind `bridge`, the bridge that its endpoints' ports are on.
    pub fn bridge(&self) -> &IfName {
        self.bridge_vlan().map_or(&self.parent, |vlan| &vlan.lower)
    }

    /// Whether anything can be heard and said by the parent, as far as it is Ashore's own port. A new one passes nothing until the
    /// kernel's link watch has seen both ends (Linux 6.1).
    pub fn is_passing(&self, host: &View) -> bool {
        let parent = &self.parent;
        let ends = [Tag::Vlan(parent.clone()), Tag::VlanPort(parent.clone())];
        let passes = |tag: &Tag| host.tagged(tag).is_some_and(|link| link.carrier);
        self.bridge_vlan().is_none() || ends.iter().all(passes)
    }

    /// The interface by which the host itself is on the network's LAN, if it is: the parent, or its own in a bridge's VLAN.
    pub fn hosts_own<'a>(&self, host: &'a View) -> Option<&'a Link> {
        match self.bridge_vlan() {
            Some(vlan) => host.links.iter().find(|link| vlan.is(link, host)),
            None => host.link(&self.parent),
        }
    }

    /// Whether endpoints have addresses and routes by what the LAN's routers advertise.
    pub fn follows_routers(&self) -> bool {
        matches!(self.ipv6, Ipv6Mode::Auto | Ipv6Mode::Slaac | Ipv6Mode::Dhcp)
    }

    /// Whether endpoints make addresses of advertised prefixes.
    pub(crate) fn makes_addresses(&self) -> bool {
        matches!(self.ipv6, Ipv6Mode::Auto | Ipv6Mode::Slaac)
    }

    /// Whether endpoints may have addresses of a DHCPv6 server's.
    pub fn may_ask_dhcp6(&self) -> bool {
        matches!(self.ipv6, Ipv6Mode::Auto | Ipv6Mode::Dhcp) && !self.kind.shares_parents_mac()
    }

    /// Whether they ask one, by what the routers say.
    pub fn asks_dhcp6(&self, offer: &Offer) -> bool {
        self.may_ask_dhcp6() && (self.ipv6 == Ipv6Mode::Dhcp || offer.managed)
    }

    /// Whether a DHCPv6 server is asked for its endpoints what there is to know beside addresses. A router that says that addresses are
    /// to be had there says the same of all else (RFC 4861, 4.2), and who has a lease is told with it.
    pub fn inquires(&self, offer: &Offer) -> bool {
        self.follows_routers() && (offer.managed || offer.other) && !self.asks_dhcp6(offer)
    }

    /// Whether its endpoints have IPv6 addresses by Ashore.
    pub fn has_ipv6(&self) -> bool {
        self.follows_routers() || self.subnets.iter().any(|subnet| subnet.net.addr().is_ipv6())
    }
}

impl View {
    /// Where the addresses of a network's subnets are on this host, if that is not its parent.
    pub fn faces_now(&self, network: &Network) -> Option<&IfName> {
        let of_subnet = |link: &&Link| {
            let mut nets = self.addresses_of(link).filter(|there| !there.link_scope).map(|there| there.net);
            nets.any(|net| network.subnets.iter().any(|subnet| subnet.net == net.trunc()))
        };
        let is_other = |link: &&Link| {
            link.tag().is_none()
                && link.name.is_plain()
                && link.master.is_none()
                && link.name != network.parent
        };
        self.links.iter().filter(is_other).find(of_subnet).map(|link| &link.name)
    }
}
