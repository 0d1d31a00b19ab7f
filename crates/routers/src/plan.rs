//! The plan: what a router and a switch need for a network, as plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ashore_core::net::name::{NetworkName, PortName};
use ashore_core::net::range::Range;
use ashore_core::net::vlan::VlanId;
use ipnet::IpNet;
use serde::Serialize;

/// What a router and a switch need for a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouterPlan {
    /// The name of the router's objects: `vlan200`, or `lan` without a VLAN.
    pub name: String,
    /// Ashore's network. `None` if it is not created yet.
    pub network: Option<NetworkName>,
    /// The VLAN. `None` if the network is the untagged LAN itself.
    pub vlan: Option<VlanId>,
    /// The network's subnets.
    pub subnets: Vec<RouterSubnet>,
    /// The router's interface that carries the LAN, and the VLAN beside it.
    pub lan_interface: Option<PortName>,
    /// The ports of the router or switch that lead to the NAS.
    pub ports: Vec<PortName>,
    /// What may pass between VLAN and LAN. `None` without a VLAN.
    pub policy: Option<Policy>,
}

/// A subnet as its router sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouterSubnet {
    /// The subnet.
    pub net: IpNet,
    /// The router's own address in it.
    pub router: IpAddr,
    /// Whether `router` is a guess: there is a router, but its address was not given.
    pub router_guessed: bool,
    /// The addresses that Ashore hands out and the router must not.
    pub range: Range,
    /// Whether Ashore takes leases from the router's pool instead, like any other machine.
    pub leased: bool,
    /// What is known of the router's present DHCP pool.
    pub present: Present,
    /// What the router's DHCP server is to hand out: the present pool without the range, never more. Empty as
    /// long as the present pool is not known, and for IPv6, where hosts choose among so many addresses that
    /// they do not collide.
    pub pools: Vec<Range>,
    /// Single addresses that are never handed out, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
}

/// What is known of the pool that a plan starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Present {
    /// There is no pool: the VLAN is to be created, and its pool with it.
    None,
    /// Only the router knows the pool.
    Unknown,
    /// The user has given the pool.
    Told(Vec<Range>),
    /// The DHCP servers on the LAN with these addresses were asked for addresses of the range, and offered
    /// none.
    Clear(Vec<Ipv4Addr>),
    /// The DHCP servers were asked, and one of them offered addresses of the range.
    Offers {
        /// The server's address.
        server: Ipv4Addr,
        /// From the lowest to the highest address that it offered. The server's pool is at least this large.
        seen: Range,
    },
}

/// Who may open connections between the VLAN and the LAN. Replies always pass, and the VLAN reaches the
/// internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Both may open connections to each other.
    Open,
    /// The LAN may open connections to the VLAN.
    #[default]
    OneWay,
    /// Neither may: the VLAN reaches only the internet.
    Closed,
}

/// The networks that do not count as the internet: private (RFC 1918, RFC 4193), of a provider's NAT (RFC
/// 6598), and link-local (RFC 3927).
pub(crate) const PRIVATE: [&str; 6] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7"];

/// The networks of [`PRIVATE`] of one family.
pub(crate) fn private(v4: bool) -> Vec<&'static str> {
    PRIVATE.into_iter().filter(|net| net.contains(':') != v4).collect()
}

impl Policy {
    /// All policies.
    pub const ALL: [Policy; 3] = [Policy::Open, Policy::OneWay, Policy::Closed];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Open => "open",
            Policy::OneWay => "one-way",
            Policy::Closed => "closed",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Policy::Open => "VLAN and LAN reach each other, and both the internet",
            Policy::OneWay => "the LAN reaches the VLAN; the VLAN answers, and reaches the internet",
            Policy::Closed => "the VLAN reaches only the internet, and nothing reaches the VLAN",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl RouterSubnet {
    /// The router's address with the subnet's prefix length, as it is configured on an interface.
    pub(crate) fn interface_address(&self) -> IpNet {
        IpNet::new(self.router, self.net.prefix_len()).expect("the router lies in the subnet")
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.net.addr().is_ipv4()
    }

    /// Returns whether hosts choose addresses in the subnet from a router's advertisement. Their interface
    /// identifiers have 64 bits (RFC 4291, 2.5.1; RFC 4862, 5.5.3).
    pub(crate) fn is_advertised(&self) -> bool {
        !self.is_v4() && self.net.prefix_len() == 64
    }

    /// Returns whether the router's pool has to be read first: there is one, but it is not known.
    fn has_unknown_pool(&self) -> bool {
        self.is_v4() && !self.leased && self.pools.is_empty() && self.present != Present::None
    }

    /// The largest pool, for servers that take only one. Returns `None` if there is none.
    pub(crate) fn largest_pool(&self) -> Option<Range> {
        // `max_by_key` returns the last of equal elements. Reversed, that is the first pool, where routers
        // begin.
        self.pools.iter().rev().copied().max_by_key(Range::len)
    }
}

impl RouterPlan {
    /// The options that describe this plan.
    pub(crate) fn options(&self) -> String {
        let vlan = self.vlan.map_or_else(String::new, |id| format!(" --vlan {id}"));
        let subnet = |subnet: &RouterSubnet| {
            let range = Some(subnet.range).filter(|range| *range != Range::of_net(&subnet.net));
            let range = range.map_or_else(String::new, |range| format!(" --ip-range {range}"));
            let router = Some(subnet.router).filter(|_| !subnet.router_guessed);
            let router = router.map_or_else(String::new, |router| format!(" --gateway {router}"));
            format!(" --subnet {}{range}{router}", subnet.net)
        };
        let subnets: Vec<String> = self.subnets.iter().map(subnet).collect();
        format!("{vlan}{}", subnets.concat())
    }

    /// The command that prints the plan with further options, such as another system.
    pub(crate) fn command(&self, more: &str) -> String {
        match &self.network {
            Some(network) => format!("ashore router-config {network}{more}"),
            None => format!("ashore router-config{}{more}", self.options()),
        }
    }

    /// The router's interface that carries the LAN, or its usual name on a system.
    pub(crate) fn lan_or<'a>(&'a self, usual: &'a str) -> &'a str {
        self.lan_interface.as_ref().map_or(usual, PortName::as_str)
    }

    /// The interface on which the router's VLANs are created: the one that carries the LAN or, if that is a
    /// VLAN itself, the interface below it.
    pub(crate) fn trunk_or<'a>(&'a self, usual: &'a str) -> &'a str {
        let lan = self.lan_or(usual);
        in_vlan(lan).map_or(lan, |(below, _)| below)
    }

    /// The ports that lead to the NAS, or the usual name of such a port on a system.
    pub(crate) fn ports_or<'a>(&'a self, usual: &'a str) -> Vec<&'a str> {
        if self.ports.is_empty() {
            return vec![usual];
        }
        self.ports.iter().map(PortName::as_str).collect()
    }

    pub(crate) fn v4(&self) -> impl Iterator<Item = &RouterSubnet> {
        self.subnets.iter().filter(|subnet| subnet.is_v4())
    }

    /// The subnets in which a DHCP server has addresses to hand out.
    pub(crate) fn served(&self) -> Vec<&RouterSubnet> {
        self.v4().filter(|subnet| !subnet.pools.is_empty()).collect()
    }

    /// The subnets whose pool has to be read first.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = &RouterSubnet> {
        self.subnets.iter().filter(|subnet| subnet.has_unknown_pool())
    }

    pub(crate) fn v6(&self) -> impl Iterator<Item = &RouterSubnet> {
        self.subnets.iter().filter(|subnet| !subnet.is_v4())
    }

    /// The subnets that a router advertises.
    pub(crate) fn advertised(&self) -> Vec<&RouterSubnet> {
        self.v6().filter(|subnet| subnet.is_advertised()).collect()
    }

    /// The text of comments on the router.
    pub(crate) fn description(&self) -> String {
        self.network.as_ref().map_or_else(|| "Ashore".to_owned(), |network| format!("Ashore: {network}"))
    }
}

/// The two parts of an interface name such as `eth1.10`. Returns `None` for other names.
pub(crate) fn in_vlan(name: &str) -> Option<(&str, VlanId)> {
    let (below, id) = name.rsplit_once('.')?;
    Some((below, id.parse().ok()?)).filter(|(below, _)| !below.is_empty())
}

pub(crate) fn is_private(subnet: &RouterSubnet) -> bool {
    let nets = PRIVATE.iter().map(|net| net.parse::<IpNet>().expect("it is a subnet"));
    nets.into_iter().any(|net| net.contains(&subnet.net))
}

/// Formats ranges as `first-last`, even where a prefix would do: no DHCP server takes a prefix as a pool.
pub(crate) fn joined(ranges: &[Range], between: &str) -> String {
    ranges.iter().map(span).collect::<Vec<_>>().join(between)
}

pub(crate) fn span(range: &Range) -> String {
    format!("{}-{}", range.first(), range.last())
}
