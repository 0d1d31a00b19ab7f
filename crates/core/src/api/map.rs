//! Who has which address of a network's subnets, as far as Ashore knows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::survey::PoolSeen;
use crate::net::name::IfName;
use crate::net::range::Range;

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanMap {
    /// The user's name for the network.
    pub network: String,
    /// Its parent.
    pub parent: IfName,
    /// The subnet.
    pub subnet: IpNet,
    /// The range from which Ashore hands out addresses. `None` if they come from elsewhere.
    pub range: Option<Range>,
    /// The LAN's router.
    pub gateway: Option<IpAddr>,
    /// Addresses that are never handed out, each with the reason.
    pub reserved: BTreeMap<IpAddr, String>,
    /// The host's own addresses.
    pub host: BTreeSet<IpAddr>,
    /// The addresses of containers, each with the container's name. On another network of the same LAN, it is
    /// `NETWORK/NAME`.
    pub endpoints: BTreeMap<IpAddr, String>,
    /// The addresses of names that are not on the network now.
    pub away: BTreeMap<IpAddr, String>,
    /// What DHCP servers were seen to offer.
    pub pools: Vec<PoolSeen>,
    /// Other machines that were heard on the LAN.
    pub machines: Vec<Machine>,
    /// Machines that recently claimed an address that is in use.
    pub claimed: Vec<Claimed>,
}

/// A machine on the LAN that is heard with an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The address.
    pub ip: IpAddr,
    /// Its MAC.
    pub mac: Mac,
    /// Whether it has the address. Otherwise it has only asked whether the address is free.
    pub claims: bool,
    /// Since when it is heard, in seconds since 1970.
    pub since: u64,
    /// When it was last heard, in seconds since 1970.
    pub heard: u64,
    /// The maker of its network card, if the client knows it. The daemon does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<String>,
}

/// A claim on an address that is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// The address.
    pub ip: IpAddr,
    /// The machine that claims it.
    pub mac: Mac,
    /// When it last did, in seconds since 1970.
    pub at: u64,
}
