//! Why there is no plan for a router, and the remedy.

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
    /// Subnet, range or gateway is invalid by itself.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Neither a network nor a subnet was given.
    #[error("neither a network nor a --subnet is given")]
    NothingGiven,
    /// There is no such system.
    #[error("unknown system `{0}`")]
    UnknownSystem(String),
    /// There is no such policy.
    #[error("unknown policy `{0}` between VLAN and LAN")]
    UnknownPolicy(String),
    /// The parent is in another VLAN.
    #[error("the parent `{parent}` is not VLAN {given}")]
    OtherVlan {
        /// The network's parent.
        parent: IfName,
        /// The VLAN as given.
        given: VlanId,
    },
    /// The network has another gateway.
    #[error("network `{network}` has the gateway {known}, not {given}")]
    OtherGateway {
        /// The network.
        network: NetworkName,
        /// Its gateway.
        known: IpAddr,
        /// The gateway as given.
        given: IpAddr,
    },
    /// The gateway is link-local. Every interface has such an address by itself.
    #[error(
        "the gateway {0} is link-local: the router has such an address anyway, and needs one in the subnet"
    )]
    LinkLocalRouter(IpAddr),
    /// Ashore would hand out the router's address.
    #[error(
        "network `{network}` hands out {range}, which includes the router's address {router}, and does not \
             know this gateway"
    )]
    RouterInRange {
        /// The network.
        network: NetworkName,
        /// The router's address.
        router: IpAddr,
        /// What the network hands out.
        range: Range,
    },
    /// On the LAN itself, no address is left for other machines.
    #[error("Ashore hands out all of {0}, so no DHCP pool on that LAN can stay clear of it")]
    NothingClear(IpNet),
    /// IPv6 has no pool here.
    #[error("the pool {0} is an IPv6 pool, but IPv6 hosts choose their own addresses")]
    PoolOfV6(Range),
    /// The pool is outside of the subnets.
    #[error("the pool {0} lies in no subnet of the network")]
    PoolOutside(Range),
    /// Two pools share addresses.
    #[error("the pools {0} and {1} overlap")]
    PoolsOverlap(Range, Range),
    /// Nothing is left of the pool.
    #[error("the pool {pool} lies entirely in {range}, which Ashore hands out")]
    PoolInside {
        /// The pool as given.
        pool: Range,
        /// What Ashore hands out.
        range: Range,
    },
    /// VLAN 1 is the untagged LAN.
    #[error(
        "VLAN 1 is what routers and switches call the untagged LAN: creating it again would cut off every \
         machine on it"
    )]
    VlanOne,
    /// The subnet would be both in the VLAN and on the LAN.
    #[error("{net} cannot be in VLAN {vlan}: this machine has {lan} on {interface}, without a tag")]
    LanInVlan {
        /// The VLAN's subnet.
        net: IpNet,
        /// The VLAN.
        vlan: VlanId,
        /// The LAN's subnet.
        lan: IpNet,
        /// The interface on which this machine has it.
        interface: IfName,
    },
    /// The VLAN is the LAN itself.
    #[error("VLAN {vlan} on the router is the LAN itself, which `{lan}` carries")]
    LansOwnVlan {
        /// The router's interface.
        lan: PortName,
        /// The VLAN.
        vlan: VlanId,
    },
    /// A policy needs a VLAN.
    #[error("without a VLAN the network is the LAN itself, so there is no place for a firewall between them")]
    NothingBetween,
}

impl RouterError {
    /// Returns the remedy, as a command or as an option to give instead. Returns `None` if there is none.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            RouterError::Network(error) => return error.remedy().map(|remedy| remedy.to_string()),
            RouterError::NothingGiven => {
                "name a network that `ashore network ls` shows, or give --vlan 200 --subnet 10.0.200.0/24"
                    .into()
            }
            RouterError::UnknownSystem(_) => {
                format!("one of {}", System::ALL.map(System::name).join(", "))
            }
            RouterError::UnknownPolicy(_) => format!("one of {}", Policy::ALL.map(Policy::name).join(", ")),
            RouterError::OtherVlan { .. } => "leave --vlan out: the parent's name gives the VLAN".into(),
            RouterError::OtherGateway { network, .. } => {
                format!(
                    "leave --gateway out, or create the network again with that gateway: ashore network \
                     inspect {network} shows the network"
                )
            }
            RouterError::LinkLocalRouter(_) => "give an address in the subnet, or leave --gateway out".into(),
            RouterError::RouterInRange { network, router, .. } => format!(
                "create the network again with --gateway {router} (first: ashore network rm {network}), or \
                 give another router address with --gateway"
            ),
            RouterError::NothingClear(_) => {
                "give Ashore a range of its own with --ip-range when you create the network".into()
            }
            RouterError::PoolOfV6(_) => "leave it out".into(),
            RouterError::PoolOutside(_) | RouterError::PoolsOverlap(..) => {
                "--pool is what the router's DHCP server hands out now, from its first address to its last"
                    .into()
            }
            RouterError::PoolInside { .. } => {
                "give Ashore another range: `ashore pool-check` names one beside the pool".into()
            }
            RouterError::VlanOne => {
                "use another number, such as --vlan 200, or leave --vlan out to stay on the LAN itself".into()
            }
            RouterError::LanInVlan { .. } => {
                "use another subnet, such as --subnet 10.0.200.0/24, or leave --vlan out to stay on the LAN \
                 itself"
                    .into()
            }
            RouterError::LansOwnVlan { .. } => {
                "use another number, or leave out --vlan and --lan-interface to stay on the LAN itself".into()
            }
            RouterError::NothingBetween => "leave --firewall out, or give --vlan".into(),
        })
    }
}
