//! Whether a network's addresses can come from the requested sources.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use crate::model::ipv6::Ipv6Mode;
use crate::model::lease::{Addressing, Fallback, LeaseOptions};
use crate::model::network::{Network, Subnet};
use crate::net::kind::{IpvlanMode, LinkKind};
use crate::net::option::{
    DHCP, DHCP_ALLOW, DHCP_DENY, FALLBACK, HOSTNAME, IP_RANGE, IPV6, KIND, LEASE_TIMEOUT, NetworkOption,
    REGISTER_NAME, RELEASE, SUBNET, VENDOR_CLASS,
};
use crate::net::range::Range;
use crate::net::remedy::Remedy;
use crate::net::vlan::Membership;

/// Why a network's IPv4 addresses cannot be leased as requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The link kind passes no DHCP server's answers to the endpoints.
    #[error("a DHCP server's answers are broadcasts, which {0} does not pass on to its endpoints")]
    Unheard(LinkKind),
    /// There is a range, but the DHCP server chooses the addresses.
    #[error("the LAN's DHCP server chooses among its own addresses, not from {0}")]
    Range(Range),
    /// There is no range to fall back on.
    #[error("there is no range in {0} to fall back on when no DHCP server answers")]
    NoRange(IpNet),
    /// A lease option was given for a network that leases nothing.
    #[error(
        "`{}` is for addresses leased from a DHCP server, and Ashore assigns this network's addresses",
        .0.flag
    )]
    NotLeasing(&'static NetworkOption),
    /// The address cannot be a machine's.
    #[error("{0} cannot be the address of a DHCP server")]
    NoServer(Ipv4Addr),
    /// The server is both allowed and denied.
    #[error("the DHCP server {0} is both allowed and denied")]
    Both(Ipv4Addr),
    /// With tagged ports there is no untagged link to request the lease on or to assign the address to.
    #[error(
        "with tagged ports the containers have their addresses on VLAN interfaces of their own, and Ashore cannot lease addresses for those"
    )]
    Tagged,
}

impl LeaseError {
    /// The remedy.
    pub fn remedy(&self) -> Remedy {
        match self {
            LeaseError::Unheard(_) => {
                Remedy::from("use ").and_set(&KIND, "macvlan").and(" or ipvlan:l2, or ").and_unset(&DHCP)
            }
            LeaseError::Range(_) => Remedy::from("leave ")
                .and_give(&IP_RANGE)
                .and(" or ")
                .and_give(&DHCP)
                .and(" out, or give ")
                .and_set(&FALLBACK, "range"),
            LeaseError::NoRange(_) => {
                Remedy::from("name one that the server does not hand out, with ").and_give(&IP_RANGE)
            }
            LeaseError::NotLeasing(option) => {
                Remedy::from("give ").and_give(&DHCP).and(" too, or ").and_unset(option)
            }
            LeaseError::NoServer(_) => Remedy::run("ashore pool-check").and(" shows the servers on the LAN"),
            LeaseError::Both(_) => {
                Remedy::from("leave it out of ").and_give(&DHCP_ALLOW).and(" or of ").and_give(&DHCP_DENY)
            }
            LeaseError::Tagged => {
                Remedy::unset(&DHCP).and(", and let the containers request leases themselves")
            }
        }
    }
}

impl Network {
    /// Checks that the network's IPv4 addresses can be leased, and with the requested options.
    pub(crate) fn check_addressing(&self) -> Result<(), LeaseError> {
        let LeaseOptions { release, fallback, servers, hostname, register_name, vendor_class, timeout } =
            &self.leasing;
        if self.addressing == Addressing::Range {
            // A DHCPv6 server is told names and classes too.
            let asks_nobody = !self.may_ask_dhcp6();
            let said = [
                (&RELEASE, !release.is_default()),
                (&FALLBACK, *fallback != Fallback::None),
                (&DHCP_ALLOW, !servers.allow.is_empty()),
                (&DHCP_DENY, !servers.deny.is_empty()),
                (&REGISTER_NAME, *register_name),
                (&LEASE_TIMEOUT, timeout.is_some()),
                (&HOSTNAME, hostname.is_some() && asks_nobody),
                (&VENDOR_CLASS, vendor_class.is_some() && asks_nobody),
            ];
            let option = said.iter().find_map(|(option, said)| said.then_some(*option));
            return option.map_or(Ok(()), |option| Err(LeaseError::NotLeasing(option)));
        }
        if self.membership == Membership::TAGGED {
            return Err(LeaseError::Tagged);
        }
        if matches!(self.kind, LinkKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s)) {
            return Err(LeaseError::Unheard(self.kind));
        }
        let nobodys = |ip: &&Ipv4Addr| ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast();
        if let Some(ip) = servers.allow.iter().chain(&servers.deny).find(nobodys) {
            return Err(LeaseError::NoServer(*ip));
        }
        if let Some(ip) = servers.allow.iter().find(|ip| servers.deny.contains(ip)) {
            return Err(LeaseError::Both(*ip));
        }
        // A range that is the whole subnet counts as no range.
        let part = |subnet: &Subnet| subnet.range.filter(|range| *range != Range::of_net(&subnet.net));
        for subnet in self.subnets.iter().filter(|subnet| subnet.net.addr().is_ipv4()) {
            match (part(subnet), fallback) {
                (Some(range), Fallback::None) => return Err(LeaseError::Range(range)),
                (None, Fallback::Range) => return Err(LeaseError::NoRange(subnet.net)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that the network's IPv6 addresses can come from the requested source.
    pub(crate) fn check_ipv6(&self) -> Result<(), Ipv6Error> {
        if self.follows_routers() && matches!(self.kind, LinkKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s)) {
            return Err(Ipv6Error::Unheard(self.kind));
        }
        if self.ipv6 == Ipv6Mode::Dhcp && self.kind.shares_parents_mac() {
            return Err(Ipv6Error::OneMac(self.kind));
        }
        let mut v6 = self.subnets.iter().map(|subnet| subnet.net).filter(|net| net.addr().is_ipv6());
        match v6.next() {
            Some(net) if self.ipv6 != Ipv6Mode::Range => Err(Ipv6Error::Subnet(self.ipv6, net)),
            _ => Ok(()),
        }
    }
}

/// Why a network's IPv6 addresses cannot come from the requested source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ipv6Error {
    /// The link kind passes no router advertisements to the endpoints.
    #[error("router advertisements are multicast, which {0} does not pass on to its endpoints")]
    Unheard(LinkKind),
    /// An IPv6 subnet was given, but Ashore does not choose the IPv6 addresses in this mode.
    #[error("in the IPv6 mode {0} no address is chosen from {1}")]
    Subnet(Ipv6Mode, IpNet),
    /// All endpoints of the link kind share one MAC.
    #[error(
        "a DHCPv6 server answers each endpoint at its own link-local address, and endpoints of {0} share one MAC"
    )]
    OneMac(LinkKind),
}

impl Ipv6Error {
    /// The remedy.
    pub fn remedy(&self) -> Remedy {
        match self {
            Ipv6Error::Unheard(_) => Remedy::from("use ")
                .and_set(&KIND, "macvlan")
                .and(" or ipvlan:l2, or a ")
                .and_give(&SUBNET)
                .and(" to choose from"),
            Ipv6Error::Subnet(mode, _) => {
                Remedy::from("leave ").and_set(&IPV6, mode).and(" or the subnet out")
            }
            Ipv6Error::OneMac(_) => Remedy::from("use ")
                .and_set(&KIND, "macvlan")
                .and(", or ")
                .and_set(&IPV6, "slaac")
                .and(" if the router advertises a prefix, or a ")
                .and_give(&SUBNET)
                .and(" to choose from"),
        }
    }
}
