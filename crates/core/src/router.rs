//! What the LAN's router and switch need for a network: the VLAN, if it has one, and a DHCP pool that stays clear of the
//! range that Ashore hands out. A plan, checked once, and a renderer for each system, without I/O: nobody but a person at
//! the router carries it out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ashore_wire::conflict::Profile;
use ipnet::IpNet;
use serde::Serialize;

use crate::ipv6::Ipv6Mode;
use crate::lease::{Addressing, LeaseOptions};
use crate::name::{IfName, NetworkName, PortName};
use crate::network::{Network, NetworkError, Subnet, is_link_local};
use crate::range::Range;
use crate::request::NetworkSpec;
use crate::vlan::VlanId;

mod error;
mod ifupdown;
mod kea;
mod linux;
mod menus;
mod networkd;
mod openwrt;
mod page;
mod routeros;
mod switch;
mod vyos;

pub use error::RouterError;
use page::Page;

/// What a router and a switch need for a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouterPlan {
    /// What the router's objects are called: `vlan200`, or `lan` without a VLAN.
    pub name: String,
    /// Ashore's network, if there is one yet.
    pub network: Option<NetworkName>,
    /// The VLAN; none if the network is the untagged LAN itself.
    pub vlan: Option<VlanId>,
    /// Its subnets.
    pub subnets: Vec<RouterSubnet>,
    /// The router's interface that carries the LAN, and the VLAN beside it.
    pub lan_interface: Option<PortName>,
    /// The ports of the router or switch that lead to the NAS.
    pub ports: Vec<PortName>,
    /// What may pass between VLAN and LAN; none without a VLAN.
    pub policy: Option<Policy>,
}

/// A subnet as its router sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouterSubnet {
    /// The subnet.
    pub net: IpNet,
    /// The router's own address in it.
    pub router: IpAddr,
    /// What Ashore hands out, and the router must not.
    pub range: Range,
    /// What the router's DHCP server hands out: IPv4 alone, since IPv6 hosts choose among more addresses than collide.
    pub pools: Vec<Range>,
    /// Single addresses that nobody hands out, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
}

/// Who may open connections between the VLAN and the LAN. Replies pass always, and the VLAN reaches the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Both to each other.
    Open,
    /// The LAN to the VLAN.
    #[default]
    OneWay,
    /// Neither: the VLAN has the internet and nothing else.
    Closed,
}

/// Whose configuration is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// MikroTik RouterOS 7.
    RouterOs,
    /// OpenWrt with DSA.
    OpenWrt,
    /// VyOS 1.4 and 1.5.
    Vyos,
    /// OPNsense, by its menus.
    OpnSense,
    /// pfSense, by its menus.
    PfSense,
    /// A Linux router with systemd-networkd, dnsmasq and nftables.
    Networkd,
    /// A Linux router with ifupdown, dnsmasq and nftables.
    Ifupdown,
    /// The DHCP server dnsmasq alone, as in a Pi-hole.
    Dnsmasq,
    /// The DHCP server Kea alone.
    Kea,
    /// A managed switch, in general terms.
    Switch,
}

/// What is asked for beside the network itself.
#[derive(Debug, Clone, Default)]
pub struct RouterWish {
    /// The VLAN's number, where the parent's name does not tell it.
    pub vlan: Option<VlanId>,
    /// The router's addresses, where the network does not tell them.
    pub gateways: Vec<IpAddr>,
    /// What the router's DHCP server hands out; without a word all that is free for it.
    pub pools: Vec<Range>,
    /// The router's interface that carries the LAN.
    pub lan_interface: Option<PortName>,
    /// The ports that lead to the NAS.
    pub ports: Vec<PortName>,
    /// What may pass between VLAN and LAN.
    pub policy: Option<Policy>,
}

impl System {
    /// All of them, in the order in which they are listed.
    pub const ALL: [System; 10] = [
        System::RouterOs,
        System::OpenWrt,
        System::Vyos,
        System::OpnSense,
        System::PfSense,
        System::Networkd,
        System::Ifupdown,
        System::Dnsmasq,
        System::Kea,
        System::Switch,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            System::RouterOs => "routeros",
            System::OpenWrt => "openwrt",
            System::Vyos => "vyos",
            System::OpnSense => "opnsense",
            System::PfSense => "pfsense",
            System::Networkd => "systemd-networkd",
            System::Ifupdown => "ifupdown",
            System::Dnsmasq => "dnsmasq",
            System::Kea => "kea",
            System::Switch => "switch",
        }
    }

    /// Whether it stands between VLAN and LAN.
    fn has_firewall(self) -> bool {
        !matches!(self, System::Dnsmasq | System::Kea | System::Switch)
    }

    /// What is printed for it.
    pub fn about(self) -> &'static str {
        match self {
            System::RouterOs => "MikroTik RouterOS 7: commands for its terminal",
            System::OpenWrt => "OpenWrt 23.05 and later: uci commands, and the clicks in LuCI",
            System::Vyos => "VyOS 1.5 and 1.4: commands for its configuration mode",
            System::OpnSense => "OPNsense: the steps in its menus",
            System::PfSense => "pfSense 2.7 and later: the steps in its menus",
            System::Networkd => "A Linux router with systemd-networkd, dnsmasq and nftables: a shell script",
            System::Ifupdown => "A Linux router with ifupdown, dnsmasq and nftables: a shell script",
            System::Dnsmasq => "dnsmasq as the DHCP server, also inside Pi-hole: lines of its configuration",
            System::Kea => "Kea as the DHCP server: an entry of its configuration",
            System::Switch => "A managed switch, in general terms",
        }
    }
}

impl FromStr for System {
    type Err = RouterError;

    fn from_str(text: &str) -> Result<Self, RouterError> {
        let named = System::ALL.into_iter().find(|system| system.name() == text);
        named.ok_or_else(|| RouterError::UnknownSystem(text.to_owned()))
    }
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 3] = [Policy::Open, Policy::OneWay, Policy::Closed];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Open => "open",
            Policy::OneWay => "one-way",
            Policy::Closed => "closed",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Policy::Open => "VLAN and LAN reach each other, and both the internet",
            Policy::OneWay => "the LAN reaches the VLAN; the VLAN answers, and reaches the internet",
            Policy::Closed => "the VLAN reaches the internet alone, and nobody reaches the VLAN",
        }
    }
}

impl FromStr for Policy {
    type Err = RouterError;

    fn from_str(text: &str) -> Result<Self, RouterError> {
        let named = Policy::ALL.into_iter().find(|policy| policy.name() == text);
        named.ok_or_else(|| RouterError::UnknownPolicy(text.to_owned()))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl RouterSubnet {
    /// The router's address with the subnet's prefix, as an interface is given it.
    fn interface_address(&self) -> IpNet {
        IpNet::new(self.router, self.net.prefix_len()).expect("the router lies in the subnet")
    }

    fn is_v4(&self) -> bool {
        self.net.addr().is_ipv4()
    }

    /// The largest pool, for servers that take only one.
    fn largest_pool(&self) -> Option<Range> {
        // The last of equals, since `max_by_key` says so: the first is where routers begin.
        self.pools.iter().rev().copied().max_by_key(Range::len)
    }
}

impl RouterPlan {
    /// For a network that is there.
    pub fn of_network(network: &Network, wish: RouterWish) -> Result<Self, RouterError> {
        let mut network = network.clone();
        for subnet in &mut network.subnets {
            // A link-local router is the same machine by its other address: the interface needs one in the subnet.
            subnet.gateway = subnet.gateway.filter(|ip| !is_link_local(*ip));
        }
        for ip in &wish.gateways {
            let outside = NetworkError::AddressOutside {
                what: "the gateway".into(),
                ip: *ip,
                subnet: network.subnets[0].net,
            };
            let home = network.subnets.iter_mut().find(|subnet| subnet.net.contains(ip)).ok_or(outside)?;
            match home.gateway.replace(*ip) {
                Some(known) if known != *ip => {
                    return Err(RouterError::OtherGateway { network: network.name, known, given: *ip });
                }
                Some(_) => {}
                // Ashore does not know that it is taken.
                None => not_handed_out(&network.name, home, *ip)?,
            }
        }
        for subnet in network.subnets.iter_mut().filter(|subnet| subnet.gateway.is_none()) {
            let router = usual_router(subnet);
            not_handed_out(&network.name, subnet, router)?;
            subnet.gateway = Some(router);
        }
        let mut plan = Self::build(&network, wish)?;
        plan.network = Some(network.name);
        Ok(plan)
    }

    /// For one that is yet to be made, of subnets and what Ashore shall hand out of them.
    pub fn of_subnets(subnets: &[IpNet], ranges: &[Range], wish: RouterWish) -> Result<Self, RouterError> {
        if subnets.is_empty() {
            return Err(RouterError::NothingGiven);
        }
        let (gateways, link_local): (Vec<IpAddr>, Vec<IpAddr>) =
            wish.gateways.iter().partition(|ip| !is_link_local(**ip));
        if let Some(ip) = link_local.first() {
            return Err(RouterError::LinkLocalRouter(*ip));
        }
        let spec = NetworkSpec {
            name: fixed("new"),
            engine: None,
            parent: Some(IfName::from_str("eth0").expect("a name")),
            vlan: None,
            gvrp: false,
            kind: None,
            subnets: subnets.to_vec(),
            ranges: ranges.to_vec(),
            gateways,
            aux: Vec::new(),
            addressing: Addressing::default(),
            leasing: LeaseOptions::default(),
            ipv6: Ipv6Mode::default(),
            host_access: None,
            internal: false,
            conflict: Profile::default(),
            mtu: None,
            bc_queue_len: None,
            port: BTreeSet::new(),
            tagged: false,
        };
        let mut network = spec.network()?;
        for subnet in &mut network.subnets {
            subnet.gateway = subnet.gateway.or_else(|| Some(usual_router(subnet)));
        }
        Self::build(&network, wish)
    }

    /// Every subnet has its router by now.
    fn build(network: &Network, wish: RouterWish) -> Result<Self, RouterError> {
        network.check_subnets()?;
        let vlan = vlan_of(network, wish.vlan)?;
        if vlan.is_none() && wish.policy.is_some() {
            return Err(RouterError::NothingBetween);
        }
        for (at, pool) in wish.pools.iter().enumerate() {
            check_pool(network, pool, &wish.pools[..at])?;
        }
        let subnets = network.subnets.iter().map(|subnet| {
            let given: Vec<Range> =
                wish.pools.iter().filter(|pool| pool.lies_in(&subnet.net)).copied().collect();
            RouterSubnet {
                net: subnet.net,
                router: subnet.gateway.expect("it was chosen"),
                range: subnet.pool(),
                pools: if given.is_empty() { clear_of_range(subnet) } else { given },
                reserved: subnet.aux.clone(),
            }
        });
        let subnets: Vec<RouterSubnet> = subnets.collect();
        let whole = |subnet: &&RouterSubnet| subnet.is_v4() && subnet.pools.is_empty();
        match subnets.iter().find(whole) {
            Some(subnet) if vlan.is_none() => return Err(RouterError::NothingClear(subnet.net)),
            _ => {}
        }
        Ok(RouterPlan {
            name: vlan.map_or_else(|| "lan".to_owned(), |id| format!("vlan{id}")),
            network: None,
            vlan,
            subnets,
            lan_interface: wish.lan_interface,
            ports: wish.ports,
            policy: vlan.map(|_| wish.policy.unwrap_or_default()),
        })
    }

    /// The configuration for a system: lines that are comments, or that a person pastes.
    pub fn render(&self, system: System) -> String {
        let mut page = Page::default();
        self.head(system, &mut page);
        match system {
            System::RouterOs => routeros::render(self, &mut page),
            System::OpenWrt => openwrt::render(self, &mut page),
            System::Vyos => vyos::render(self, &mut page),
            System::OpnSense => menus::render(self, menus::Menus::OpnSense, &mut page),
            System::PfSense => menus::render(self, menus::Menus::PfSense, &mut page),
            System::Networkd => networkd::render(self, &mut page),
            System::Ifupdown => ifupdown::render(self, &mut page),
            System::Dnsmasq => linux::dnsmasq_alone(self, &mut page),
            System::Kea => kea::render(self, &mut page),
            System::Switch => switch::render(self, &mut page),
        }
        self.foot(&mut page);
        page.into_text()
    }

    fn head(&self, system: System, page: &mut Page) {
        page.note(&format!("{}.", system.about()));
        let what = self.vlan.map_or_else(|| "The untagged LAN".to_owned(), |id| format!("VLAN {id}"));
        let of = self.network.as_ref().map_or_else(String::new, |network| format!(", network {network}"));
        page.note(&format!("{what}{of}."));
        for subnet in &self.subnets {
            let dhcp = match (subnet.is_v4(), joined(&subnet.pools, ", ")) {
                (false, _) => "hosts choose their own addresses".to_owned(),
                (true, pools) if pools.is_empty() => "no DHCP".to_owned(),
                (true, pools) => format!("DHCP has {pools}"),
            };
            page.note(&format!(
                "{}: the router has {}, Ashore hands out {}, {dhcp}.",
                subnet.net, subnet.router, subnet.range
            ));
        }
        if let Some(policy) = self.policy.filter(|_| system.has_firewall()) {
            page.note(&format!("Firewall {policy}: {}.", policy.about()));
        }
    }

    /// The command that makes the network, for those who have not made it.
    fn foot(&self, page: &mut Page) {
        if self.network.is_some() {
            return;
        }
        let vlan = self.vlan.map_or_else(String::new, |id| format!(" --vlan {id}"));
        let subnet = |subnet: &RouterSubnet| {
            let range = Some(subnet.range).filter(|range| *range != Range::of_net(&subnet.net));
            let range = range.map_or_else(String::new, |range| format!(" --ip-range {range}"));
            format!(" --subnet {}{range} --gateway {}", subnet.net, subnet.router)
        };
        let subnets: Vec<String> = self.subnets.iter().map(subnet).collect();
        page.gap();
        page.note("On the NAS, if eth0 is its interface:");
        page.line(format_args!(
            "# ashore network create {} --parent eth0{vlan}{}",
            self.name,
            subnets.concat()
        ));
    }

    /// The router's interface that carries the LAN, or what it is usually called on a system.
    fn lan_or<'a>(&'a self, usual: &'a str) -> &'a str {
        self.lan_interface.as_ref().map_or(usual, PortName::as_str)
    }

    /// The ports that lead to the NAS, or what such a one is called on a system.
    fn ports_or<'a>(&'a self, usual: &'a str) -> Vec<&'a str> {
        if self.ports.is_empty() {
            return vec![usual];
        }
        self.ports.iter().map(PortName::as_str).collect()
    }

    fn v4(&self) -> impl Iterator<Item = &RouterSubnet> {
        self.subnets.iter().filter(|subnet| subnet.is_v4())
    }

    /// The subnets in which a DHCP server has something to hand out.
    fn served(&self) -> Vec<&RouterSubnet> {
        self.v4().filter(|subnet| !subnet.pools.is_empty()).collect()
    }

    fn v6(&self) -> impl Iterator<Item = &RouterSubnet> {
        self.subnets.iter().filter(|subnet| !subnet.is_v4())
    }

    /// What a comment calls it on the router.
    fn description(&self) -> String {
        self.network.as_ref().map_or_else(|| "Ashore".to_owned(), |network| format!("Ashore: {network}"))
    }
}

/// Ranges as `first-last`, also where a prefix would do: no DHCP server takes a prefix for a pool.
fn joined(ranges: &[Range], between: &str) -> String {
    ranges.iter().map(span).collect::<Vec<_>>().join(between)
}

fn span(range: &Range) -> String {
    format!("{}-{}", range.first(), range.last())
}

fn fixed(text: &str) -> NetworkName {
    text.parse().expect("a name")
}

/// The VLAN that Ashore makes, or that a parent such as `eth0.200` is, or that was given.
fn vlan_of(network: &Network, given: Option<VlanId>) -> Result<Option<VlanId>, RouterError> {
    let parent = &network.parent;
    let named = parent.as_str().rsplit_once('.').and_then(|(_, id)| id.parse::<VlanId>().ok());
    let known = network.vlan.as_ref().map(|vlan| vlan.id).or(named);
    match given {
        Some(given) if known.is_some_and(|known| known != given) => {
            Err(RouterError::OtherVlan { parent: parent.clone(), given })
        }
        _ => Ok(given.or(known)),
    }
}

/// Where a router usually is: the first address that is not reserved for something else.
fn usual_router(subnet: &Subnet) -> IpAddr {
    let mut after_first = Range::of_net(&subnet.net).from_offset(1);
    let free = after_first.find(|ip| subnet.never(*ip).is_none());
    free.unwrap_or(subnet.net.addr())
}

/// A router's address that the network does not know must not be one that it hands out.
fn not_handed_out(network: &NetworkName, subnet: &Subnet, router: IpAddr) -> Result<(), RouterError> {
    let range = subnet.pool();
    if range.contains(router) && !subnet.aux.values().any(|ip| *ip == router) {
        return Err(RouterError::RouterInRange { network: network.clone(), router, range });
    }
    Ok(())
}

/// All that Ashore and the router leave, for IPv4.
fn clear_of_range(subnet: &Subnet) -> Vec<Range> {
    if subnet.net.addr().is_ipv6() {
        return Vec::new();
    }
    let mut left = vec![Range::of_net(&subnet.net)];
    let taken = [subnet.pool(), subnet.net.network().into(), subnet.net.broadcast().into()];
    let single = subnet.gateway.iter().chain(subnet.aux.values()).map(|ip| Range::from(*ip));
    for taken in taken.into_iter().chain(single) {
        left = left.iter().flat_map(|range| range.without(&taken)).collect();
    }
    left
}

fn check_pool(network: &Network, pool: &Range, earlier: &[Range]) -> Result<(), RouterError> {
    if pool.first().is_ipv6() {
        return Err(RouterError::PoolOfV6(*pool));
    }
    let home = network.subnets.iter().find(|subnet| pool.lies_in(&subnet.net));
    let Some(subnet) = home else { return Err(RouterError::PoolOutside(*pool)) };
    if let Some(other) = earlier.iter().find(|other| other.overlaps(pool)) {
        return Err(RouterError::PoolsOverlap(*pool, *other));
    }
    let range = subnet.pool();
    if pool.overlaps(&range) {
        return Err(RouterError::PoolOverlapsRange { pool: *pool, range, left: pool.without(&range) });
    }
    let single = subnet.gateway.iter().chain(subnet.aux.values()).copied();
    let mut never = single.chain([subnet.net.network(), subnet.net.broadcast()]);
    match never.find(|ip| pool.contains(*ip) && subnet.never(*ip).is_some()) {
        Some(ip) => {
            let why = subnet.never(ip).expect("it is one").to_string();
            Err(RouterError::PoolHolds { pool: *pool, ip, why, left: pool.without(&ip.into()) })
        }
        None => Ok(()),
    }
}
