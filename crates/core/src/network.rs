//! A network, and everything that is checked before one is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ashore_wire::conflict::Profile;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::ipv6::Ipv6Mode;
use crate::lease::{Addressing, Fallback, LeaseOptions};
use crate::link::{IpvlanMode, LinkKind, MacvlanMode, PortOption};
use crate::name::{IfName, NetworkName};
use crate::observed::{Link, ObservedKind, View};
use crate::range::Range;
use crate::request::NetworkSpec;
use crate::step::Family;
use crate::vlan::{Membership, Vlan};

mod complete;
mod error;

pub use error::NetworkError;

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
    pub fn never(&self, ip: IpAddr) -> Option<Never> {
        if self.gateway == Some(ip) {
            return Some(Never::Gateway);
        }
        if let Some((name, _)) = self.aux.iter().find(|(_, aux)| **aux == ip) {
            return Some(Never::Aux(name.clone()));
        }
        // A /31 has neither (RFC 3021), a /32 and IPv6 likewise; IPv6 has the subnet-router anycast address instead.
        match self.net {
            IpNet::V4(net) if net.prefix_len() < 31 && ip == net.network() => Some(Never::NetworkAddress),
            IpNet::V4(net) if net.prefix_len() < 31 && ip == net.broadcast() => Some(Never::Broadcast),
            IpNet::V6(net) if net.prefix_len() < 127 && ip == net.network() => Some(Never::RouterAnycast),
            _ => None,
        }
    }
}

/// Why an address is never an endpoint's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Never {
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

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Never::Gateway => f.write_str("it is the gateway"),
            Never::Aux(name) => write!(f, "it is reserved as --aux-address {name}"),
            Never::NetworkAddress => f.write_str("it is the subnet's own address"),
            Never::Broadcast => f.write_str("it is the subnet's broadcast address"),
            Never::RouterAnycast => f.write_str("it is the subnet-router anycast address"),
        }
    }
}

impl Network {
    /// The subnet that holds an address.
    pub fn subnet_of(&self, ip: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.net.contains(&ip))
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

    /// How a subnet's addresses come about, for people.
    pub fn source_of(&self, subnet: &Subnet) -> String {
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

    /// Whether a shim can give host access: the kernel lets siblings meet only in macvlan's bridge mode and in ipvlan.
    /// A bridge parent needs none, since the host is on the bridge.
    pub fn wants_shim(&self) -> bool {
        self.host_access && matches!(self.kind, LinkKind::Macvlan(MacvlanMode::Bridge) | LinkKind::Ipvlan(_))
    }
}

impl NetworkSpec {
    /// The network that is asked for: every range, gateway and auxiliary address goes to the subnet it lies in.
    pub fn network(&self) -> Result<Network, NetworkError> {
        let named = self.parent.clone().ok_or(NetworkError::ParentUnnamed)?;
        let vlan = self.vlan.map(|id| Vlan { lower: named.clone(), id, gvrp: self.gvrp });
        let kind = self.kind.unwrap_or_default();
        let parent = vlan.as_ref().map_or(named, |vlan| vlan.interface(kind));
        match (&vlan, kind) {
            (None, _) if self.gvrp => return Err(NetworkError::GvrpOnForeign(parent)),
            (Some(vlan), LinkKind::Bridge) if self.gvrp => {
                return Err(NetworkError::GvrpOnBridge(vlan.clone()));
            }
            (Some(_), LinkKind::Bridge) => {}
            _ if self.tagged => return Err(NetworkError::TaggedWithoutVlan),
            _ => {}
        }
        let bare = |net: &IpNet| Subnet {
            net: net.trunc(),
            range: None,
            gateway: None,
            aux: BTreeMap::new(),
            chosen: false,
        };
        let mut subnets: Vec<Subnet> = self.subnets.iter().map(bare).collect();
        let Some(first) = subnets.first().map(|subnet| subnet.net) else {
            return Err(NetworkError::NoSubnet);
        };
        for range in &self.ranges {
            let outside =
                || NetworkError::RangeOutside(*range, nearest(&self.subnets, range.first()).unwrap_or(first));
            let subnet = subnets.iter_mut().find(|subnet| range.lies_in(&subnet.net)).ok_or_else(outside)?;
            if let Some(other) = subnet.range.replace(*range) {
                return Err(NetworkError::TwoRanges(other, *range, subnet.net));
            }
        }
        for ip in &self.gateways {
            let subnet = self.home_of(&mut subnets, *ip, "the gateway")?;
            if let Some(other) = subnet.gateway.replace(*ip) {
                return Err(NetworkError::TwoGateways(other, *ip, subnet.net));
            }
        }
        for (name, ip) in &self.aux {
            let subnet = self.home_of(&mut subnets, *ip, &format!("--aux-address {name}"))?;
            if let Some(other) = subnet.aux.insert(name.clone(), *ip) {
                return Err(NetworkError::TwoAux(name.clone(), other, *ip));
            }
        }
        Ok(Network {
            name: self.name.clone(),
            engine: self.engine.clone(),
            parent,
            vlan,
            kind,
            subnets,
            addressing: self.addressing,
            leasing: self.leasing.clone(),
            ipv6: self.ipv6,
            host_access: self.host_access.unwrap_or(!kind.hides_from_host()),
            internal: self.internal,
            conflict: self.conflict,
            mtu: self.mtu,
            bc_queue_len: self.bc_queue_len,
            port: self.port.clone(),
            membership: if self.tagged { Membership::TAGGED } else { Membership::UNTAGGED },
            adopted: false,
        })
    }

    /// The subnet an address lies in. A link-local router serves the first IPv6 subnet.
    fn home_of<'a>(
        &self,
        subnets: &'a mut [Subnet],
        ip: IpAddr,
        what: &str,
    ) -> Result<&'a mut Subnet, NetworkError> {
        let link_local = is_link_local(ip);
        let fits =
            |subnet: &&mut Subnet| subnet.net.contains(&ip) || (link_local && subnet.net.addr().is_ipv6());
        let subnet = nearest(&self.subnets, ip).ok_or(NetworkError::NoSubnet)?;
        subnets.iter_mut().find(fits).ok_or(NetworkError::AddressOutside {
            what: what.to_owned(),
            ip,
            subnet,
        })
    }
}

/// The subnet to name beside an address that lies in none: the first of its family, or the first at all.
fn nearest(subnets: &[IpNet], ip: IpAddr) -> Option<IpNet> {
    let same = |net: &&IpNet| Family::of(net.addr()) == Family::of(ip);
    subnets.iter().find(same).or(subnets.first()).copied()
}

pub(crate) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

impl Network {
    /// Checks all that can be known of a network without looking at other networks.
    pub fn check(&self, host: &View) -> Result<(), NetworkError> {
        let lowest = self.check_parent(host)?;
        self.check_mtu(host.link(&self.parent).unwrap_or(lowest))?;
        let parent = self.hosts_own(host);
        self.check_subnets()?;
        if let Some(parent) = parent {
            for family in [Family::Ipv4, Family::Ipv6] {
                self.check_subnets_of_parent(host, parent, family)?;
            }
        }
        self.check_host_is_not_cut(host)?;
        self.check_host_address(host)?;
        if let Some(parent) = parent {
            self.check_answers_pass(host, parent)?;
        }
        self.check_options()
    }

    /// In passthru mode the kernel hands every frame that the parent receives to the child (Linux 6.18, `macvlan.c`).
    pub fn check_host_is_not_cut(&self, host: &View) -> Result<(), NetworkError> {
        if self.kind != LinkKind::Macvlan(MacvlanMode::Passthru) {
            return Ok(());
        }
        let Some(parent) = host.link(&self.parent) else { return Ok(()) };
        let addresses = || host.addresses_of(parent).filter(|address| !address.link_scope);
        if addresses().next().is_none() {
            return Ok(());
        }
        let (parent, present) = (self.parent.clone(), list(addresses().map(|address| address.net.addr())));
        Err(NetworkError::PassthruCutsHost { parent, present })
    }

    /// The parent, or the interface that Ashore makes it on, has to be able to carry the network.
    fn check_parent<'a>(&self, host: &'a View) -> Result<&'a Link, NetworkError> {
        let name = self.lowest(host);
        let parent = host.link(name).ok_or_else(|| NetworkError::NoParent {
            parent: name.clone(),
            present: list(host.links.iter().filter(|l| could_be_parent(l)).map(|l| l.name.as_str())),
        })?;
        let vlan = self.vlan.as_ref().filter(|vlan| vlan.lower == *name);
        match vlan {
            Some(vlan) if self.kind == LinkKind::Bridge => vlan.check_takes_ports(host, parent)?,
            Some(vlan) => {
                check_can_have_vlan(parent, vlan)?;
                vlan.check_reaches_host(host, parent)?;
            }
            None => {
                self.check_can_have_children(parent)?;
                host.check_not_deaf(parent)?;
            }
        }
        if let Some(master) = parent.master {
            let master = host.link_at(master);
            return Err(NetworkError::ParentIsPort {
                parent: name.clone(),
                bridge: master.is_some_and(|master| master.kind == ObservedKind::Bridge),
                master: master.map_or_else(|| "another link".into(), |master| master.name.to_string()),
                kind: self.kind,
                vlan: vlan.map(|vlan| vlan.id),
            });
        }
        if parent.up { Ok(parent) } else { Err(NetworkError::ParentDown(name.clone())) }
    }

    fn check_can_have_children(&self, parent: &Link) -> Result<(), NetworkError> {
        let name = &parent.name;
        if parent.tag().is_some() {
            return Err(of_ashore(name));
        }
        if parent.wireless && !matches!(self.kind, LinkKind::Ipvlan(_)) {
            return Err(NetworkError::ParentIsWifi(name.clone(), self.kind));
        }
        match (&parent.kind, self.kind) {
            (ObservedKind::Bridge, LinkKind::Bridge) => {}
            (ObservedKind::Bridge, kind) => return Err(NetworkError::ParentIsBridge(name.clone(), kind)),
            (_, LinkKind::Bridge) => return Err(NetworkError::ParentIsNoBridge(name.clone())),
            _ => check_faces_a_lan(parent)?,
        }
        Ok(())
    }

    fn check_mtu(&self, parent: &Link) -> Result<(), NetworkError> {
        let Some(mtu) = self.mtu else { return Ok(()) };
        if mtu > parent.mtu {
            return Err(NetworkError::MtuTooLarge { mtu, parent: parent.name.clone(), most: parent.mtu });
        }
        let v6 = self.has_ipv6();
        let (family, least) = if v6 { ("IPv6", 1280) } else { ("IPv4", 68) };
        if mtu < least { Err(NetworkError::MtuTooSmall { mtu, family, least }) } else { Ok(()) }
    }

    pub(crate) fn check_subnets(&self) -> Result<(), NetworkError> {
        if self.subnets.is_empty() {
            return Err(NetworkError::NoSubnet);
        }
        for (at, subnet) in self.subnets.iter().enumerate() {
            if subnet.net.prefix_len() == subnet.net.max_prefix_len() {
                return Err(NetworkError::SubnetTooSmall(subnet.net));
            }
            if let Some(other) = self.subnets[..at].iter().find(|other| overlap(&other.net, &subnet.net)) {
                return Err(NetworkError::SubnetsOverlap(other.net, subnet.net));
            }
            if let Some(range) = subnet.range.filter(|range| !range.lies_in(&subnet.net)) {
                return Err(NetworkError::RangeOutside(range, subnet.net));
            }
            if let Some(why) = unfit_subnet(&subnet.net) {
                return Err(NetworkError::SubnetUnfit(subnet.net, why));
            }
            check_given_addresses(subnet)?;
        }
        Ok(())
    }

    /// The host has an address of the family on the parent: then one of the subnets has to be that one, and others are
    /// further ones on the same wire. Without any address the network is on a LAN of which the host is no part (a VLAN,
    /// say), and there is nothing to compare with.
    fn check_subnets_of_parent(
        &self,
        host: &View,
        parent: &Link,
        family: Family,
    ) -> Result<(), NetworkError> {
        let subnets = || self.subnets.iter().filter(|subnet| Family::of(subnet.net.addr()) == family);
        let present: Vec<IpNet> = host
            .addresses_of(parent)
            .filter(|address| !address.link_scope && Family::of(address.net.addr()) == family)
            .map(|address| address.net)
            .collect();
        // An address of a single one tells nothing of the subnet: DHCPv6 gives such (RFC 8415), and so do point-to-point links.
        let is_hosts_own = |subnet: &Subnet| {
            present.iter().any(|net| {
                net.trunc() == subnet.net
                    || (net.prefix_len() == net.max_prefix_len() && subnet.net.contains(net))
            })
        };
        match subnets().next() {
            Some(foreign) if !present.is_empty() && !subnets().any(is_hosts_own) => {
                Err(NetworkError::ForeignSubnet {
                    subnet: foreign.net,
                    parent: parent.name.clone(),
                    present: list(present.iter().map(ToString::to_string)),
                })
            }
            _ => Ok(()),
        }
    }

    /// The address that is reserved for the host is one more of its own.
    fn check_host_address(&self, host: &View) -> Result<(), NetworkError> {
        let reserved = self.subnets.iter().filter_map(|subnet| subnet.aux.get(HOST_AUX));
        match reserved.copied().find(|ip| host.has_foreign_address(*ip)) {
            None => Ok(()),
            Some(ip) => Err(NetworkError::AddressUnfit {
                what: "--aux-address host".into(),
                ip,
                why: "this host has it already, and without one of its own the shim works with that".into(),
            }),
        }
    }

    /// What an ipvlan endpoint in l2 mode sends to the host comes in by the parent, while the way back is by the shim (Linux
    /// 6.1, `ipvlan_core.c`). A host's address on the shim itself is reached there.
    fn check_answers_pass(&self, host: &View, parent: &Link) -> Result<(), NetworkError> {
        let l2 = self.kind == LinkKind::Ipvlan(IpvlanMode::L2) && self.host_access;
        let by_parent = |subnet: &Subnet| {
            subnet.net.addr().is_ipv4()
                && !subnet.aux.contains_key(HOST_AUX)
                && host.host_address(parent, &subnet.net).is_some()
        };
        if l2 && host.is_strict(parent) && self.subnets.iter().any(by_parent) {
            return Err(NetworkError::StrictReversePath(parent.name.clone()));
        }
        Ok(())
    }

    fn check_options(&self) -> Result<(), NetworkError> {
        self.check_addressing()?;
        self.check_ipv6()?;
        if self.bc_queue_len.is_some() && !matches!(self.kind, LinkKind::Macvlan(_)) {
            return Err(NetworkError::NoQueue(self.kind));
        }
        if let Some(option) = self.port.first().filter(|_| self.kind != LinkKind::Bridge) {
            return Err(NetworkError::NoPorts(*option, self.kind));
        }
        let host_address = self.subnets.iter().any(|subnet| subnet.aux.contains_key(HOST_AUX));
        if host_address && !self.host_access {
            return Err(NetworkError::HostAddressWithoutAccess);
        }
        if self.host_access && self.kind.hides_from_host() {
            Err(NetworkError::NoHostAccess(self.kind))
        } else {
            Ok(())
        }
    }
}

fn check_given_addresses(subnet: &Subnet) -> Result<(), NetworkError> {
    let mut given: Vec<(String, IpAddr)> =
        subnet.aux.iter().map(|(name, ip)| (format!("--aux-address {name}"), *ip)).collect();
    given.extend(subnet.gateway.map(|ip| ("the gateway".to_owned(), ip)));
    // Whether it is reserved is no question here: it is what the reservation is for.
    let bare = Subnet { gateway: None, aux: BTreeMap::new(), ..subnet.clone() };
    for (at, (what, ip)) in given.iter().enumerate() {
        // A router's IPv6 address on the link is as good a next hop as any, and the usual one at home.
        let next_hop = is_link_local(*ip) && subnet.gateway == Some(*ip);
        if !subnet.net.contains(ip) && !next_hop {
            return Err(NetworkError::AddressOutside { what: what.clone(), ip: *ip, subnet: subnet.net });
        }
        if let Some(why) = bare.never(*ip) {
            return Err(NetworkError::AddressUnfit { what: what.clone(), ip: *ip, why: why.to_string() });
        }
        if let Some((other, _)) = given[..at].iter().find(|(_, earlier)| earlier == ip) {
            return Err(NetworkError::AddressTwice { ip: *ip, one: other.clone(), other: what.clone() });
        }
    }
    Ok(())
}

fn could_be_parent(link: &Link) -> bool {
    link.tag().is_none()
        && link.master.is_none()
        && match &link.kind {
            ObservedKind::Physical
            | ObservedKind::Bridge
            | ObservedKind::Vlan { .. }
            | ObservedKind::Veth => true,
            ObservedKind::Other(kind) => kind == "bond" || kind == "team",
            ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. } | ObservedKind::Loopback => false,
        }
}

/// Why no machine of a LAN can have an address in a subnet (RFC 6890, RFC 4291).
fn unfit_subnet(net: &IpNet) -> Option<&'static str> {
    let ip = net.addr();
    if net.prefix_len() == 0 {
        return Some("it is all addresses that there are");
    }
    if ip.is_multicast() {
        return Some("its addresses are groups");
    }
    if ip.is_loopback() {
        return Some("its addresses never leave a host");
    }
    match ip {
        IpAddr::V4(ip) if ip.octets()[0] == 0 => Some("its addresses name no machine"),
        IpAddr::V4(ip) if ip.octets()[0] >= 240 => Some("its addresses are reserved"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("every link has that one of its own"),
        _ => None,
    }
}

fn check_can_have_vlan(lower: &Link, vlan: &Vlan) -> Result<(), NetworkError> {
    check_faces_a_lan(lower)?;
    if lower.tag().is_some() {
        return Err(of_ashore(&lower.name));
    }
    if lower.wireless { Err(NetworkError::VlanOnWifi(vlan.clone())) } else { Ok(()) }
}

fn check_faces_a_lan(link: &Link) -> Result<(), NetworkError> {
    match &link.kind {
        ObservedKind::Loopback => Err(unfit(&link.name, "the loopback interface")),
        ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. } => {
            Err(unfit(&link.name, "itself a macvlan or ipvlan child"))
        }
        _ if link.mac.is_none() => Err(unfit(&link.name, "a tunnel without Ethernet addresses")),
        _ => Ok(()),
    }
}

fn of_ashore(name: &IfName) -> NetworkError {
    unfit(name, "an interface of Ashore's own, and goes with its last network")
}

fn unfit(name: &IfName, what: &str) -> NetworkError {
    NetworkError::ParentUnfit(name.clone(), what.to_owned())
}

/// Whether two subnets have an address in common.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// `a, b and c`, or `none`.
pub(crate) fn list(items: impl Iterator<Item = impl fmt::Display>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    match items.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
