//! A network, and everything that depends on it alone.

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
use crate::model::ownership::{EngineKind, Ownership};
use crate::model::users::{Allowed, User};
use crate::net::family::Family;
use crate::net::kind::{LinkKind, MacvlanMode, PortOption};
use crate::net::link::Tag;
use crate::net::name::{IfName, NetworkName};
use crate::net::observed::{Link, View};
use crate::net::range::Range;
use crate::net::remedy::{Front, Remedy};
use crate::net::text::Word;
use crate::net::vlan::{Membership, Vlan};

/// The name of the auxiliary address that the host itself uses on the network.
pub const HOST_AUX: &str = "host";

/// A named flat network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Network {
    /// Its name.
    pub name: NetworkName,
    /// The engine to which it belongs. `None` if the user made it with Ashore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineNetwork>,
    /// The host's interface that faces the LAN.
    pub parent: IfName,
    /// The VLAN for which Ashore makes the parent. `None` if the parent is the user's. With kind `bridge` it
    /// is a VLAN of a bridge that filters VLANs, and the parent is Ashore's own port in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// The kind of link that puts endpoints on the LAN.
    pub kind: LinkKind,
    /// Its subnets, any number of either family.
    pub subnets: Vec<Subnet>,
    /// The source of its IPv4 addresses.
    #[serde(default, skip_serializing_if = "Addressing::is_range")]
    pub addressing: Addressing,
    /// How its IPv4 addresses are leased, if they are leased.
    #[serde(default, skip_serializing_if = "LeaseOptions::is_plain")]
    pub leasing: LeaseOptions,
    /// The source of its IPv6 addresses.
    #[serde(default, skip_serializing_if = "Ipv6Mode::is_range")]
    pub ipv6: Ipv6Mode,
    /// Whether the host and the containers can reach each other.
    pub host_access: bool,
    /// Whether the LAN is told the endpoints' names by multicast DNS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mdns: bool,
    /// Whether endpoints have no default route.
    pub internal: bool,
    /// How addresses are checked for conflicts before they are used.
    pub conflict: Profile,
    /// The MTU of the endpoints' links in bytes. Without one it is the parent's.
    pub mtu: Option<u32>,
    /// macvlan: the length of the broadcast queue in frames. Without one it is the kernel's default (1000).
    pub bc_queue_len: Option<u32>,
    /// macvlan: frames for groups that more links than this are in wait in the broadcast queue; none waits if it is
    /// negative. Without one it is the kernel's default (1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bc_limit: Option<i32>,
    /// bridge: the options of the endpoints' ports.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub port: BTreeSet<PortOption>,
    /// In a bridge's VLAN: the membership of the endpoints' ports.
    #[serde(default, skip_serializing_if = "Membership::is_untagged")]
    pub membership: Membership,
    /// The users other than root who may put containers of their own on it.
    #[serde(default, skip_serializing_if = "Allowed::is_nobody")]
    pub allowed: Allowed,
    /// Whether it belongs to a driver of the engine's own, which makes the links and chooses the addresses.
    /// Ashore adds host access and watches the addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

/// A network as a container engine knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineNetwork {
    /// The kind of the engine.
    #[serde(default, skip_serializing_if = "EngineKind::is_docker")]
    pub kind: EngineKind,
    /// The engine's id of the network, 64 hexadecimal digits with Docker.
    pub id: String,
    /// The name that the user gave it. The engine does not tell a driver this name, but its list contains it.
    pub name: Option<String>,
    /// The id of the engine whose list contained it. Only this engine can have removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

impl EngineNetwork {
    /// Whether the engine is known to have it. Docker says so of each network, and Podman by a file.
    pub fn is_surely_its(&self) -> bool {
        self.kind.is_listed() || self.of.is_some()
    }
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The LAN's subnet.
    pub net: IpNet,
    /// The range from which Ashore hands out addresses. Without one it is the whole subnet.
    pub range: Option<Range>,
    /// The LAN's router.
    pub gateway: Option<IpAddr>,
    /// Addresses that are never handed out, by name. The one named `host` is set on the shim.
    pub aux: BTreeMap<String, IpAddr>,
    /// Whether Ashore chose the range, and not the user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chosen: bool,
}

impl Subnet {
    /// The addresses from which Ashore chooses.
    pub fn pool(&self) -> Range {
        self.range.unwrap_or_else(|| Range::of_net(&self.net))
    }

    /// Returns the reason why an address can never belong to an endpoint. Returns `None` if it can.
    pub fn never(&self, ip: IpAddr) -> Option<Unassignable> {
        if self.gateway == Some(ip) {
            return Some(Unassignable::Gateway);
        }
        if let Some((name, _)) = self.aux.iter().find(|(_, aux)| **aux == ip) {
            return Some(Unassignable::Aux(name.clone()));
        }
        // A /31 (RFC 3021), a /32 and IPv6 have neither a network nor a broadcast address. IPv6 has the
        // subnet-router anycast address instead.
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

    /// Returns a whole subnet, without a range or auxiliary addresses.
    pub fn whole(net: IpNet, gateway: Option<IpAddr>) -> Self {
        Subnet { net, range: None, gateway, aux: BTreeMap::new(), chosen: false }
    }
}

/// The reason why an address can never belong to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unassignable {
    /// It is the gateway.
    Gateway,
    /// It is an auxiliary address.
    Aux(String),
    /// It is the subnet's network address.
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
    /// Whom the containers belong to that the network's maker attaches.
    pub fn ownership(&self) -> Ownership {
        self.engine.as_ref().map_or(Ownership::Cli, |engine| engine.kind.into())
    }

    /// Whether no user other than root can be let on it, whatever is said in `allowed`: its endpoint would have the
    /// parent's MAC and could change it.
    pub fn is_for_root_alone(&self) -> bool {
        self.kind == LinkKind::Macvlan(MacvlanMode::Passthru)
    }

    /// Whether a user other than root may put containers on it.
    pub fn admits(&self, user: &User) -> bool {
        !self.adopted && !self.is_for_root_alone() && self.allowed.admits(user)
    }

    /// The subnet that contains an address.
    pub fn subnet_of(&self, ip: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.net.contains(&ip))
    }

    /// The subnet of an endpoint's lease, if it is not one of the network's subnets: the router was replaced
    /// or its addresses have changed.
    pub fn other_lan_of(&self, endpoint: &Endpoint) -> Option<IpNet> {
        let leased = endpoint.lease.as_ref()?.lease.address;
        self.subnet_of(leased.addr().into()).is_none().then(|| leased.trunc().into())
    }

    /// The routers of an endpoint's default routes, at most one of each family: the router of its lease, the
    /// gateway of the subnet, or the advertised router.
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

    /// The subnets from which Ashore itself hands out addresses, if only as the fallback when no DHCP server
    /// answers.
    pub fn handed_out(&self) -> impl Iterator<Item = &Subnet> {
        let fallback = self.leasing.fallback == Fallback::Range;
        self.subnets.iter().filter(move |subnet| fallback || !self.leases(Family::of(subnet.net.addr())))
    }

    /// Whether addresses of a family come from the LAN's DHCP server.
    pub fn leases(&self, family: Family) -> bool {
        self.addressing == Addressing::Dhcp && family == Family::Ipv4
    }

    /// The sources of its addresses, as text for users: one of each subnet, and the source of IPv6 addresses
    /// that come from router advertisements.
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

    /// Whether the LAN influences its addresses: a DHCP server or routers.
    pub fn listens(&self) -> bool {
        self.addressing == Addressing::Dhcp || self.follows_routers()
    }

    /// The name that users know: the engine's name for it, or its own.
    pub fn label(&self) -> &str {
        self.engine.as_ref().and_then(|engine| engine.name.as_deref()).unwrap_or(self.name.as_str())
    }

    /// Its label as a word for a shell. Docker accepts names with any characters.
    pub fn word(&self) -> Word<'_> {
        Word::of(self.label())
    }

    /// The front by which it was created, and would be created again.
    pub fn front(&self) -> Front {
        self.ownership().engine().map_or(Front::CommandLine, EngineKind::front)
    }

    /// To create it again with other options. It is removed first, and its names keep their addresses.
    pub fn anew(&self, with: Remedy) -> Remedy {
        let (label, front) = (self.word(), self.front());
        let remedy = Remedy::from("create the network again with ").then(with.in_words_of(front));
        let create = match front {
            Front::CommandLine | Front::Rootless => format!("ashore network create {label} …"),
            Front::Docker | Front::Compose => {
                format!("docker network create -d ashore --ipam-driver ashore … {label}")
            }
            Front::Podman => format!("podman network create -d ashore … {label}"),
            // Its runtime makes it by a file, and not by a command.
            Front::Cni => return remedy,
        };
        let program = self.ownership().engine().map_or("ashore", EngineKind::program);
        remedy.and(": first ").and_run(format!("{program} network rm {label}")).and(", then ").and_run(create)
    }

    /// The remedy if its parent is gone and does not come back. Most often the interface has a new name since
    /// the host booted.
    pub fn remedy_without_parent(&self, host: &View) -> Remedy {
        let label = self.word();
        let now = host.faces_now(self);
        let new = now.map_or_else(|| "NEW".to_owned(), IfName::word);
        let now = now.map_or_else(String::new, |now| format!("its subnet is on `{now}` now; "));
        if self.adopted {
            let engine = self.ownership().engine().unwrap_or_default().program();
            return Remedy::from(format!(
                "{now}if it has another name now, create the network again on that interface: "
            ))
            .and_run(format!("{engine} network disconnect -f {label} NAME"))
            .and(" for each container, ")
            .and_run(format!("{engine} network rm {label}"))
            .and(", ")
            .and_run(format!("{engine} network create … -o parent={new} {label}"))
            .and(", and ")
            .and_run(format!("{engine} network connect {label} NAME"));
        }
        Remedy::from(format!("{now}if it has another name now: "))
            .and_run(format!("ashore network move {label} --parent {new}"))
    }

    /// Whether a shim gives host access. The kernel lets siblings reach each other only in macvlan's bridge
    /// mode and in ipvlan. A bridge parent needs no shim, because the host is on the bridge.
    pub fn uses_shim(&self) -> bool {
        self.host_access && matches!(self.kind, LinkKind::Macvlan(MacvlanMode::Bridge) | LinkKind::Ipvlan(_))
    }

    /// The interface that must exist and be up for the network to be on its LAN: the parent, or the interface
    /// on which Ashore makes the parent.
    pub fn lower_device(&self, host: &View) -> &IfName {
        let users = |link: &Link| link.tag() != Some(Tag::Vlan(self.parent.clone()));
        match &self.vlan {
            Some(vlan) if self.bridge_vlan().is_some() || !host.link(&self.parent).is_some_and(users) => {
                &vlan.lower
            }
            _ => &self.parent,
        }
    }

    /// Whether the host reaches the endpoints only through a router, as machines of other subnets do. On a
    /// VLAN that Ashore makes, the host has no address unless one is reserved for it.
    pub fn host_goes_by_router(&self) -> bool {
        let reserved = |subnet: &Subnet| subnet.aux.contains_key(HOST_AUX);
        self.vlan.is_some() && self.host_access && !self.subnets.iter().any(reserved)
    }

    /// The VLAN of a bridge in which its endpoints' ports are members.
    pub fn bridge_vlan(&self) -> Option<&Vlan> {
        self.vlan.as_ref().filter(|_| self.kind == LinkKind::Bridge)
    }

    /// With kind `bridge`: the bridge that has its endpoints' ports.
    pub fn bridge(&self) -> &IfName {
        self.bridge_vlan().map_or(&self.parent, |vlan| &vlan.lower)
    }

    /// Whether frames can pass through the parent, if the parent is Ashore's own port. A new port passes
    /// nothing until the kernel's link watch has seen both ends (Linux 6.1).
    pub fn is_passing(&self, host: &View) -> bool {
        let parent = &self.parent;
        let ends = [Tag::Vlan(parent.clone()), Tag::VlanPort(parent.clone())];
        let passes = |tag: &Tag| host.tagged(tag).is_some_and(|link| link.carrier);
        self.bridge_vlan().is_none() || ends.iter().all(passes)
    }

    /// The interface by which the host itself is on the network's LAN: the parent, or the host's own
    /// interface in a bridge's VLAN. Returns `None` if the host has none.
    pub fn hosts_own<'a>(&self, host: &'a View) -> Option<&'a Link> {
        match self.bridge_vlan() {
            Some(vlan) => host.links.iter().find(|link| vlan.is(link, host)),
            None => host.link(&self.parent),
        }
    }

    /// Whether endpoints get addresses and routes from the LAN's router advertisements.
    pub fn follows_routers(&self) -> bool {
        matches!(self.ipv6, Ipv6Mode::Auto | Ipv6Mode::Slaac | Ipv6Mode::Dhcp)
    }

    /// Whether endpoints make addresses from advertised prefixes.
    pub(crate) fn makes_addresses(&self) -> bool {
        matches!(self.ipv6, Ipv6Mode::Auto | Ipv6Mode::Slaac)
    }

    /// Whether endpoints may get addresses from a DHCPv6 server.
    pub fn may_ask_dhcp6(&self) -> bool {
        matches!(self.ipv6, Ipv6Mode::Auto | Ipv6Mode::Dhcp) && !self.kind.shares_parents_mac()
    }

    /// Whether any DHCP server may be asked for addresses.
    pub fn asks_servers(&self) -> bool {
        self.addressing == Addressing::Dhcp || self.may_ask_dhcp6()
    }

    /// Whether endpoints ask a DHCPv6 server for addresses, given what the routers advertise.
    pub fn asks_dhcp6(&self, offer: &Offer) -> bool {
        self.may_ask_dhcp6() && (self.ipv6 == Ipv6Mode::Dhcp || offer.managed)
    }

    /// Whether a DHCPv6 server is asked only for information other than addresses. A router that says that
    /// DHCPv6 provides addresses says the same of all other information (RFC 4861, 4.2). An endpoint that
    /// asks for a lease gets the information with it.
    pub fn inquires(&self, offer: &Offer) -> bool {
        self.follows_routers() && (offer.managed || offer.other) && !self.asks_dhcp6(offer)
    }

    /// Whether its endpoints get IPv6 addresses from Ashore.
    pub fn has_ipv6(&self) -> bool {
        self.follows_routers() || self.subnets.iter().any(|subnet| subnet.net.addr().is_ipv6())
    }
}

impl View {
    /// The interface of this host that now has addresses in the network's subnets, if that is not the
    /// network's parent.
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
