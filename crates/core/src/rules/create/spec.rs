//! The request for a network, and the network that follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ashore_wire::conflict::Profile;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::error::NetworkError;
use crate::model::ipv6::Ipv6Mode;
use crate::model::lease::{Addressing, LeaseOptions};
use crate::model::network::{EngineNetwork, Network, Subnet};
use crate::model::users::Allowed;
use crate::net::family::{Family, is_link_local};
use crate::net::kind::{LinkKind, PortOption};
use crate::net::name::{IfName, NetworkName};
use crate::net::range::Range;
use crate::net::vlan::{Membership, Vlan, VlanId};

/// A network to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct NetworkSpec {
    /// Its name.
    pub name: NetworkName,
    /// The engine's network that it is made for, or `None` for a user's own network.
    #[serde(default)]
    pub engine: Option<EngineNetwork>,
    /// The host's interface that faces the LAN. `None`: the one of the default route, or of the subnet.
    #[serde(default)]
    pub parent: Option<IfName>,
    /// The VLAN on that interface. Ashore makes the VLAN interface if there is none.
    #[serde(default)]
    pub vlan: Option<VlanId>,
    /// Whether GVRP announces that VLAN to switches.
    #[serde(default)]
    pub gvrp: bool,
    /// How endpoints get onto the LAN. `None`: what fits the parent.
    #[serde(default)]
    pub kind: Option<LinkKind>,
    /// The LAN's subnets. Empty: the parent's own.
    #[serde(default)]
    pub subnets: Vec<IpNet>,
    /// The ranges from which Ashore assigns addresses, at most one per subnet.
    #[serde(default)]
    pub ranges: Vec<Range>,
    /// The LAN's routers, at most one per subnet.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Addresses that are never assigned to endpoints, with their names.
    #[serde(default)]
    pub aux: Vec<(String, IpAddr)>,
    /// Where IPv4 addresses come from.
    #[serde(default)]
    pub addressing: Addressing,
    /// How IPv4 addresses are leased, if they are.
    #[serde(default)]
    pub leasing: LeaseOptions,
    /// Where IPv6 addresses come from.
    #[serde(default)]
    pub ipv6: Ipv6Mode,
    /// Whether host and containers reach each other. `None`: yes, if the link kind allows it.
    #[serde(default)]
    pub host_access: Option<bool>,
    /// Whether the LAN is told the endpoints' names by multicast DNS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mdns: bool,
    /// Whether endpoints get no default route.
    #[serde(default)]
    pub internal: bool,
    /// Conflict detection.
    #[serde(default)]
    pub conflict: Profile,
    /// MTU of the endpoints' links in bytes.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// macvlan: the length of the broadcast queue in frames.
    #[serde(default)]
    pub bc_queue_len: Option<u32>,
    /// macvlan: frames for groups that more links than this are in wait in the broadcast queue.
    #[serde(default)]
    pub bc_limit: Option<i32>,
    /// bridge: the options of the endpoints' ports.
    #[serde(default)]
    pub port: BTreeSet<PortOption>,
    /// bridge, in a VLAN: whether the endpoints speak 802.1Q themselves.
    #[serde(default)]
    pub tagged: bool,
    /// The users other than root who may put containers of their own on it.
    #[serde(default, skip_serializing_if = "Allowed::is_nobody")]
    pub allowed: Allowed,
}

/// A question about which addresses the DHCP servers assign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolQuestion {
    /// The network whose range is in question.
    pub network: Option<NetworkName>,
    /// The interface to ask on. `None`: that of the network, of the range, or of the default route.
    pub parent: Option<IfName>,
    /// The VLAN on that interface.
    pub vlan: Option<VlanId>,
    /// The range in question. `None`: the network's, or without a network the parent's whole subnet.
    pub range: Option<Range>,
}

impl NetworkSpec {
    /// A network of which nothing but the name is asked for.
    pub fn named(name: NetworkName) -> Self {
        NetworkSpec {
            name,
            engine: None,
            parent: None,
            vlan: None,
            gvrp: false,
            kind: None,
            subnets: Vec::new(),
            ranges: Vec::new(),
            gateways: Vec::new(),
            aux: Vec::new(),
            addressing: Addressing::default(),
            leasing: LeaseOptions::default(),
            ipv6: Ipv6Mode::default(),
            host_access: None,
            mdns: false,
            internal: false,
            conflict: Profile::default(),
            mtu: None,
            bc_queue_len: None,
            bc_limit: None,
            port: BTreeSet::new(),
            tagged: false,
            allowed: Allowed::default(),
        }
    }

    /// Returns the requested network. Every range, gateway and auxiliary address goes to the subnet that
    /// contains it.
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
            mdns: self.mdns,
            internal: self.internal,
            conflict: self.conflict,
            mtu: self.mtu,
            bc_queue_len: self.bc_queue_len,
            bc_limit: self.bc_limit,
            port: self.port.clone(),
            membership: if self.tagged { Membership::TAGGED } else { Membership::UNTAGGED },
            allowed: self.allowed.clone(),
            adopted: false,
        })
    }

    /// The subnet that contains an address. A link-local router serves the first IPv6 subnet.
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

/// The subnet to name in the error about an address that is in none: the first of its family, or the first of
/// all.
fn nearest(subnets: &[IpNet], ip: IpAddr) -> Option<IpNet> {
    let same = |net: &&IpNet| Family::of(net.addr()) == Family::of(ip);
    subnets.iter().find(same).or(subnets.first()).copied()
}
