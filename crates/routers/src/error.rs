//! Why there is nothing to tell a router, and what helps.

use std::net::IpAddr;

use ashore_core::net::name::{IfName, NetworkName, PortName};
use ashore_core::net::range::Range;
use ashore_core::net::vlan::VlanId;
use ashore_core::rules::create::NetworkError;
use ipnet::IpNet;

use crate::plan::Policy;
use crate::system::System;

/// Why there is no plan for a router.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// Subnet, range or gateway are wrong in themselves.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Nothing says what it is about.
    #[error("neither a network nor a --subnet says what the router shall have")]
    NothingGiven,
    /// No such system.
    #[error("`{0}` is no system whose configuration is known")]
    UnknownSystem(String),
    /// No such policy.
    #[error("`{0}` is no policy between VLAN and LAN")]
    UnknownPolicy(String),
    /// The parent is another VLAN.
    #[error("the parent `{parent}` is not VLAN {given}")]
    OtherVlan {
        /// The network's parent.
        parent: IfName,
        /// The VLAN as given.
        given: VlanId,
    },
    /// The network has another gateway.
    #[error("network `{network}` sends by {known}, not by {given}")]
    OtherGateway {
        /// The network.
        network: NetworkName,
        /// Its gateway.
        known: IpAddr,
        /// The gateway as given.
        given: IpAddr,
    },
    /// A router's address on the link, which every interface has by itself.
    #[error(
        "{0} is link-local: the router's interface has one of these by itself, and needs one in the subnet"
    )]
    LinkLocalRouter(IpAddr),
    /// Ashore would hand out the router's address.
    #[error("network `{network}` hands out {range}, also the router's {router}, of which it does not know")]
    RouterInRange {
        /// The network.
        network: NetworkName,
        /// The router's address.
        router: IpAddr,
        /// What the network hands out.
        range: Range,
    },
    /// On the LAN itself, no address is left for others.
    #[error("Ashore hands out all of {0}, so no DHCP pool on that LAN can stay clear of it")]
    NothingClear(IpNet),
    /// IPv6 has no pool here.
    #[error("the pool {0} is of IPv6, whose hosts choose their own addresses")]
    PoolOfV6(Range),
    /// The pool leaves the subnets.
    #[error("the pool {0} lies in no subnet of the network")]
    PoolOutside(Range),
    /// Two pools share addresses.
    #[error("the pools {0} and {1} overlap")]
    PoolsOverlap(Range, Range),
    /// Nothing is left of the pool.
    #[error("the pool {pool} lies in {range}, all of which Ashore hands out")]
    PoolInside {
        /// The pool as given.
        pool: Range,
        /// What Ashore hands out.
        range: Range,
    },
    /// The VLAN of what has none.
    #[error(
        "VLAN 1 is what routers and switches call the untagged LAN: to make it anew cuts off whoever is on it"
    )]
    VlanOne,
    /// One subnet in two places.
    #[error("{net} cannot be in VLAN {vlan}: this machine has {lan} on {interface}, without a tag")]
    LanInVlan {
        /// The VLAN's subnet.
        net: IpNet,
        /// The VLAN.
        vlan: VlanId,
        /// The LAN's.
        lan: IpNet,
        /// The interface by which this machine has it.
        interface: IfName,
    },
    /// The LAN's own VLAN.
    #[error("VLAN {vlan} on the router is the LAN itself, which `{lan}` carries")]
    LansOwnVlan {
        /// The router's interface.
        lan: PortName,
        /// The VLAN.
        vlan: VlanId,
    },
    /// A firewall between the LAN and itself.
    #[error("without a VLAN there is nothing between the LAN and the network for a firewall to stand in")]
    NothingBetween,
}

impl RouterError {
    /// What helps, as a command or an option to give instead.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            RouterError::Network(error) => return error.hint(),
            RouterError::NothingGiven => {
                "name a network that `ashore network ls` shows, or give --vlan 200 --subnet 10.0.200.0/24"
                    .into()
            }
            RouterError::UnknownSystem(_) => {
                format!("one of {}", System::ALL.map(System::name).join(", "))
            }
            RouterError::UnknownPolicy(_) => format!("one of {}", Policy::ALL.map(Policy::name).join(", ")),
            RouterError::OtherVlan { .. } => "leave --vlan out: the parent's name tells it".into(),
            RouterError::OtherGateway { network, .. } => {
                format!(
                    "leave --gateway out, or make the network anew with it: ashore network inspect {network}"
                )
            }
            RouterError::LinkLocalRouter(_) => "give an address in the subnet, or leave --gateway out".into(),
            RouterError::RouterInRange { network, router, .. } => format!(
                "make the network anew with --gateway {router} (ashore network rm {network} first), or name another with --gateway"
            ),
            RouterError::NothingClear(_) => {
                "give Ashore a range of its own with --ip-range when the network is made".into()
            }
            RouterError::PoolOfV6(_) => "leave it out".into(),
            RouterError::PoolOutside(_) | RouterError::PoolsOverlap(..) => {
                "--pool is what the router's DHCP server hands out now, from its first address to its last".into()
            }
            RouterError::PoolInside { .. } => {
                "give Ashore another range: `ashore pool-check` names one beside the pool".into()
            }
            RouterError::VlanOne => {
                "another number, such as --vlan 200; or none, and the network is on the LAN itself".into()
            }
            RouterError::LanInVlan { .. } => {
                "a subnet of its own, such as --subnet 10.0.200.0/24; or no --vlan, and the network is on the LAN itself"
                    .into()
            }
            RouterError::LansOwnVlan { .. } => {
                "another number; or neither --vlan nor --lan-interface, and the network is on the LAN itself"
                    .into()
            }
            RouterError::NothingBetween => "leave --firewall out, or give --vlan".into(),
        })
    }
}
