//! What the LAN's router and switch need for a network: the VLAN, if it has one, and a DHCP pool that stays clear of the
//! range that Ashore hands out. A plan, checked once, and a renderer for each system, without I/O: nobody but a person at
//! the router carries it out.
//!
//! A renderer knows the plan alone, which is plain data. What a network is, and what of it makes no plan, is in `build`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::Serialize;

use crate::net::name::{NetworkName, PortName};
use crate::net::range::Range;
use crate::net::vlan::VlanId;
use page::{Page, Parts};

mod around;
mod boxes;
mod build;
mod controllers;
mod error;
mod kea;
mod lan_pool;
mod linux;
mod menus;
mod openwrt;
mod page;
mod routeros;
mod switch;
mod system;
#[cfg(test)]
mod tests;
mod vyos;

pub use build::{HostAddress, RouterWish};
pub use error::RouterError;
pub use system::System;

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
    /// Whether that is guessed: there is a router, and nobody has told where.
    pub router_guessed: bool,
    /// What Ashore hands out, and the router must not.
    pub range: Range,
    /// Whether Ashore takes leases of the router's pool instead, as any other machine does.
    pub leased: bool,
    /// What is known of the router's DHCP pool as it is.
    pub present: Present,
    /// What the router's DHCP server shall hand out: of what it hands out now what the range leaves, never more. Empty as
    /// long as that is not known, and for IPv6, whose hosts choose among more addresses than collide.
    pub pools: Vec<Range>,
    /// Single addresses that nobody hands out, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
}

/// What is known of a pool that a plan starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Present {
    /// There is none: the VLAN is to be made, and its pool with it.
    None,
    /// The router alone knows it.
    Unknown,
    /// As somebody has told.
    Told(Vec<Range>),
    /// The LAN's DHCP servers, by their addresses, were asked for addresses of the range, and offered none.
    Clear(Vec<Ipv4Addr>),
    /// They were, and one of them offered these.
    Offers {
        /// Its address.
        server: Ipv4Addr,
        /// From the lowest to the highest that it offered, which says of its pool only that it is no smaller.
        seen: Range,
    },
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

/// What is not the internet: private (RFC 1918, RFC 4193), of a provider's NAT (RFC 6598), and of the link (RFC 3927).
const PRIVATE: [&str; 6] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7"];

/// [`PRIVATE`], of one family.
fn private(v4: bool) -> Vec<&'static str> {
    PRIVATE.into_iter().filter(|net| net.contains(':') != v4).collect()
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

    /// Whether hosts choose addresses of it by what a router advertises: their interface identifiers are of 64 bits
    /// (RFC 4291, 2.5.1; RFC 4862, 5.5.3).
    fn is_advertised(&self) -> bool {
        !self.is_v4() && self.net.prefix_len() == 64
    }

    /// Whether the router has to be asked for its pool first: there is one, and nobody has told which.
    fn has_unknown_pool(&self) -> bool {
        self.is_v4() && !self.leased && self.pools.is_empty() && self.present != Present::None
    }

    /// The largest pool, for servers that take only one.
    fn largest_pool(&self) -> Option<Range> {
        // The last of equals, since `max_by_key` says so: the first is where routers begin.
        self.pools.iter().rev().copied().max_by_key(Range::len)
    }
}

impl RouterPlan {
    /// The configuration for a system: lines that are comments, or that a person pastes. In three parts: how to come back,
    /// the lines, and how to take it away.
    pub fn render(&self, system: System) -> String {
        let mut page = Page::default();
        self.head(system, &mut page);
        let parts = self.parts(system);
        for (title, part) in [
            ("1. Before: how to come back", &parts.before),
            ("2. The lines", &parts.lines),
            ("3. To take it away again", &parts.away),
        ] {
            debug_assert!(!part.is_empty(), "{}: {title}", system.name());
            page.gap();
            page.line(format_args!("# --- {title} ---"));
            page.append(part);
        }
        around::render(self, system, &mut page);
        self.foot(&mut page);
        page.into_text()
    }

    fn parts(&self, system: System) -> Parts {
        if self.vlan.is_none() && system != System::Switch && lan_pool::is_clear(self) {
            return lan_pool::nothing_to_do(self);
        }
        match system {
            System::Consumer
            | System::FritzBox
            | System::Asus
            | System::TpLink
            | System::Xiaomi
            | System::Huawei => boxes::render(self, system),
            System::UniFi | System::Omada | System::Ikuai => controllers::render(self, system),
            System::OpenWrt => openwrt::render(self),
            System::RouterOs => routeros::render(self),
            System::OpnSense => menus::render(self, menus::Menus::OpnSense),
            System::PfSense => menus::render(self, menus::Menus::PfSense),
            System::Vyos => vyos::render(self),
            System::Networkd => linux::render(self, linux::Links::Networkd),
            System::Ifupdown => linux::render(self, linux::Links::Ifupdown),
            System::Netplan => linux::render(self, linux::Links::Netplan),
            System::NetworkManager => linux::render(self, linux::Links::NetworkManager),
            System::Dnsmasq => linux::dnsmasq_alone(self),
            System::Kea => kea::render(self),
            System::Switch => switch::render(self),
        }
    }

    fn head(&self, system: System, page: &mut Page) {
        page.note(&format!("{}.", system.about()));
        let what = self.vlan.map_or_else(|| "The untagged LAN".to_owned(), |id| format!("VLAN {id}"));
        let of = self.network.as_ref().map_or_else(String::new, |network| format!(", network {network}"));
        page.note(&format!("{what}{of}."));
        for subnet in &self.subnets {
            let ashore = if subnet.leased {
                "Ashore takes leases of it".to_owned()
            } else {
                format!("Ashore hands out {}", subnet.range)
            };
            let guessed = if subnet.router_guessed { " (a guess: --gateway tells)" } else { "" };
            page.note(&format!(
                "{}: the router has {}{guessed}, {ashore}, {}.",
                subnet.net,
                subnet.router,
                lan_pool::said(subnet)
            ));
        }
        if let Some(policy) = self.policy.filter(|_| system.has_firewall()) {
            page.note(&format!("Firewall {policy}: {}.", policy.about()));
        }
        if let Some(held_to) = system.held_to() {
            page.note(&format!(
                "Not run on such a system: held to {held_to}. Menus move from release to release."
            ));
        }
        for warning in self.warnings() {
            page.note(&warning);
        }
    }

    /// What a person should know before anything else, and what is no mistake for everybody.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for subnet in self.subnets.iter().filter(|_| self.vlan.is_some()) {
            match subnet.net {
                IpNet::V4(net) if !is_private(subnet) => warnings.push(format!(
                    "{net} is public: unless it is yours, whoever has these addresses on the internet cannot be reached any more. \
                     Private ones are 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16."
                )),
                IpNet::V6(net) if !is_private(subnet) => warnings.push(format!(
                    "{net} is public. A prefix that the provider delegates changes one day: have the router assign it, and give \
                     containers one of fd00::/8 beside it."
                )),
                _ => {}
            }
            if !subnet.is_v4() && !subnet.is_advertised() {
                warnings.push(format!(
                    "{} is no /64, so the router does not advertise it: no host chooses an address in it. Containers have theirs, \
                     and their gateway, of Ashore.",
                    subnet.net
                ));
            }
        }
        warnings
    }

    /// The command that makes the network, for those who have not made it.
    fn foot(&self, page: &mut Page) {
        if self.network.is_some() {
            return;
        }
        page.gap();
        page.note(if self.subnets.iter().any(|subnet| subnet.router_guessed) {
            "On the NAS, if eth0 is its interface, and with the router's address behind --gateway, without which containers reach the \
             LAN alone:"
        } else {
            "On the NAS, if eth0 is its interface:"
        });
        page.shown(format_args!("ashore network create {} --parent eth0{}", self.name, self.options()));
    }

    /// The options that say what this plan is about.
    fn options(&self) -> String {
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

    /// The command that prints the same for another system, or with more told.
    fn command(&self, more: &str) -> String {
        match &self.network {
            Some(network) => format!("ashore router-config {network}{more}"),
            None => format!("ashore router-config{}{more}", self.options()),
        }
    }

    /// The router's interface that carries the LAN, or what it is usually called on a system.
    fn lan_or<'a>(&'a self, usual: &'a str) -> &'a str {
        self.lan_interface.as_ref().map_or(usual, PortName::as_str)
    }

    /// The interface on which the router's VLANs are made: the one that carries the LAN, or what that stands on where it is a VLAN itself.
    fn trunk_or<'a>(&'a self, usual: &'a str) -> &'a str {
        let lan = self.lan_or(usual);
        in_vlan(lan).map_or(lan, |(below, _)| below)
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

    /// The subnets whose pool has to be read first.
    fn unknown(&self) -> impl Iterator<Item = &RouterSubnet> {
        self.subnets.iter().filter(|subnet| subnet.has_unknown_pool())
    }

    fn v6(&self) -> impl Iterator<Item = &RouterSubnet> {
        self.subnets.iter().filter(|subnet| !subnet.is_v4())
    }

    /// The subnets that a router advertises.
    fn advertised(&self) -> Vec<&RouterSubnet> {
        self.v6().filter(|subnet| subnet.is_advertised()).collect()
    }

    /// What a comment calls it on the router.
    fn description(&self) -> String {
        self.network.as_ref().map_or_else(|| "Ashore".to_owned(), |network| format!("Ashore: {network}"))
    }
}

/// The parts of an interface's name such as `eth1.10`.
fn in_vlan(name: &str) -> Option<(&str, VlanId)> {
    let (below, id) = name.rsplit_once('.')?;
    Some((below, id.parse().ok()?)).filter(|(below, _)| !below.is_empty())
}

fn is_private(subnet: &RouterSubnet) -> bool {
    let nets = PRIVATE.iter().map(|net| net.parse::<IpNet>().expect("it is a subnet"));
    nets.into_iter().any(|net| net.contains(&subnet.net))
}

/// Ranges as `first-last`, also where a prefix would do: no DHCP server takes a prefix for a pool.
fn joined(ranges: &[Range], between: &str) -> String {
    ranges.iter().map(span).collect::<Vec<_>>().join(between)
}

fn span(range: &Range) -> String {
    format!("{}-{}", range.first(), range.last())
}
