//! Whether addresses can come from where a network is to have them.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use crate::model::ipv6::Ipv6Mode;
use crate::model::lease::{Addressing, Fallback, LeaseOptions};
use crate::model::network::{Network, Subnet};
use crate::net::kind::{IpvlanMode, LinkKind};
use crate::net::range::Range;
use crate::net::vlan::Membership;

/// Why a network's addresses cannot be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The link kind lets no server's answer through.
    #[error("a DHCP server's answers are broadcasts, which {0} does not hand on to its endpoints")]
    Unheard(LinkKind),
    /// There is a range, and it is the server that chooses.
    #[error("with --dhcp the LAN's server chooses among its own addresses, and not in {0}")]
    Range(Range),
    /// There is no range to fall back on.
    #[error("there is no range in {0} to fall back on where no DHCP server answers")]
    NoRange(IpNet),
    /// How to lease is said, and that nothing is leased.
    #[error("{0} is for addresses of a DHCP server, and this network has its own")]
    NotLeasing(&'static str),
    /// That is no machine's address.
    #[error("{0} is no DHCP server's address")]
    NoServer(Ipv4Addr),
    /// A server's answers are to count, and not.
    #[error("the answers of {0} are both to count and not to")]
    Both(Ipv4Addr),
    /// There would be nothing untagged to ask by, or to have the address on.
    #[error(
        "with --tagged the containers have their addresses on VLAN interfaces of their own, and Ashore can lease none for them"
    )]
    Tagged,
}

impl LeaseError {
    /// What helps.
    pub fn hint(&self) -> &'static str {
        match self {
            LeaseError::Unheard(_) => "use --kind macvlan or ipvlan:l2, or leave --dhcp away",
            LeaseError::Range(_) => "leave one of the two away, or say --fallback range",
            LeaseError::NoRange(_) => "name one that the server does not hand out, with --ip-range",
            LeaseError::NotLeasing(_) => "say --dhcp too (Docker: --ipam-opt addressing=dhcp)",
            LeaseError::NoServer(_) => "`ashore pool-check` shows the servers there are",
            LeaseError::Both(_) => "name it with one of --dhcp-allow and --dhcp-deny",
            LeaseError::Tagged => "leave --dhcp away, and let the containers ask for leases themselves",
        }
    }
}

impl Network {
    /// Checks that addresses can be leased where they are to be, and as they are to be.
    pub(crate) fn check_addressing(&self) -> Result<(), LeaseError> {
        let LeaseOptions { release, fallback, servers } = &self.leasing;
        if self.addressing == Addressing::Range {
            let said = [
                ("--release", !release.is_default()),
                ("--fallback", *fallback != Fallback::None),
                ("--dhcp-allow", !servers.allow.is_empty()),
                ("--dhcp-deny", !servers.deny.is_empty()),
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
        // The whole subnet is as good as no range.
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

    /// Checks that IPv6 addresses can come from where they are to.
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

/// Why a network cannot have its IPv6 addresses from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ipv6Error {
    /// The link kind lets no router's word through.
    #[error("routers speak to all, which {0} does not hand on to its endpoints")]
    Unheard(LinkKind),
    /// There is a subnet to choose from.
    #[error("with --ipv6 {0} no address is chosen from {1}")]
    Subnet(Ipv6Mode, IpNet),
    /// The link kind has one link-local address for all.
    #[error(
        "a DHCPv6 server answers endpoints at addresses of their own on the link, and those of {0} share one MAC"
    )]
    OneMac(LinkKind),
}

impl Ipv6Error {
    /// What helps.
    pub fn hint(&self) -> &'static str {
        match self {
            Ipv6Error::Unheard(_) => "use --kind macvlan or ipvlan:l2, or a --subnet to choose from",
            Ipv6Error::Subnet(..) => "leave one of the two away",
            Ipv6Error::OneMac(_) => {
                "use --kind macvlan, or --ipv6 slaac if the router advertises a prefix, or a --subnet to choose from"
            }
        }
    }
}
