//! Why there is no plan for a router, and the remedy.

use std::net::IpAddr;

use ashore_core::net::name::{IfName, NetworkName, PortName};
use ashore_core::net::option::{GATEWAY, IP_RANGE, SUBNET, VLAN};
use ashore_core::net::range::Range;
use ashore_core::net::remedy::Remedy;
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
    pub fn remedy(&self) -> Option<Remedy> {
        let stay = |remedy: Remedy| remedy.and_unset(&VLAN).and(" to stay on the LAN itself");
        Some(match self {
            RouterError::Network(error) => return error.remedy(),
            RouterError::NothingGiven => Remedy::from("name a network that `")
                .and_run("ashore network ls")
                .and("` shows, or give ")
                .and_set(&VLAN, "200")
                .and(" ")
                .and_set(&SUBNET, "10.0.200.0/24"),
            RouterError::UnknownSystem(_) => {
                format!("one of {}", System::ALL.map(System::name).join(", ")).into()
            }
            RouterError::UnknownPolicy(_) => {
                format!("one of {}", Policy::ALL.map(Policy::name).join(", ")).into()
            }
            RouterError::OtherVlan { .. } => Remedy::unset(&VLAN).and(": the parent's name gives the VLAN"),
            RouterError::OtherGateway { network, .. } => Remedy::unset(&GATEWAY)
                .and(", or create the network again with that gateway: ")
                .and_run(format!("ashore network inspect {network}"))
                .and(" shows the network"),
            RouterError::LinkLocalRouter(_) => {
                Remedy::from("give an address in the subnet, or ").and_unset(&GATEWAY)
            }
            RouterError::RouterInRange { network, router, .. } => {
                Remedy::from("create the network again with ")
                    .and_set(&GATEWAY, router)
                    .and(" (first: ")
                    .and_run(format!("ashore network rm {network}"))
                    .and("), or give another router address with ")
                    .and_give(&GATEWAY)
            }
            RouterError::NothingClear(_) => Remedy::from("give Ashore a range of its own with ")
                .and_give(&IP_RANGE)
                .and(" when you create the network"),
            RouterError::PoolOfV6(_) => "leave it out".into(),
            RouterError::PoolOutside(_) | RouterError::PoolsOverlap(..) => {
                "--pool is what the router's DHCP server hands out now, from its first address to its last"
                    .into()
            }
            RouterError::PoolInside { .. } => Remedy::from("give Ashore another range: `")
                .and_run("ashore pool-check")
                .and("` names one beside the pool"),
            RouterError::VlanOne => {
                stay(Remedy::from("use another number, such as ").and_set(&VLAN, "200").and(", or "))
            }
            RouterError::LanInVlan { .. } => stay(
                Remedy::from("use another subnet, such as ").and_set(&SUBNET, "10.0.200.0/24").and(", or "),
            ),
            RouterError::LansOwnVlan { .. } => {
                "use another number, or leave out --vlan and --lan-interface to stay on the LAN itself".into()
            }
            RouterError::NothingBetween => Remedy::from("leave --firewall out, or give ").and_give(&VLAN),
        })
    }
}
