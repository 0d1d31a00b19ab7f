//! Address pools, which a container engine opens before it makes the network that they are for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::model::lease::{Addressing, Fallback, LeaseOptions};
use crate::model::network::{Network, Subnet};
use crate::net::name::IfName;
use crate::net::range::Range;

/// What an engine is told instead of a subnet that it would turn down. Docker up to 26 wants no automatic pool that the
/// host has a route into, which is what the LAN is, and makes one exception (libnetwork, `types.IsIPNetValid`).
pub const ANY_SUBNET: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));

/// What the text of a pool ends with whose addresses are leased.
const LEASED: &str = ",dhcp";

/// What a pool is, which is also its id: an engine that opens it again after its own restart gets the same one, and no
/// restart of the daemon can make an id unknown. As text, `192.168.88.0/24,192.168.88.192/27`, and with `,dhcp` at the end if
/// its addresses are leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PoolKey {
    /// The LAN's subnet.
    pub net: IpNet,
    /// What is handed out of it; the whole subnet without one.
    pub range: Option<Range>,
    /// Where addresses come from: networks may share the LAN's whole subnet, and an engine asks for an address of a pool.
    pub addressing: Addressing,
}

/// An open pool that waits for its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// What it is.
    pub key: PoolKey,
    /// Counts up, so that the one opened last is known.
    pub opened: u64,
    /// Addresses that the engine reserved for the network to be: gateway and auxiliary addresses.
    pub reserved: Vec<IpAddr>,
    /// The parent, where it was named with the pool.
    #[serde(default)]
    pub parent: Option<IfName>,
    /// How its addresses are leased, where they are.
    #[serde(default, skip_serializing_if = "LeaseOptions::is_plain")]
    pub leasing: LeaseOptions,
    /// Whether the range was Ashore's choice.
    #[serde(default)]
    pub chosen: bool,
}

impl PoolKey {
    /// A pool of a network's.
    pub fn of(network: &Network, subnet: &Subnet) -> Self {
        PoolKey { net: subnet.net, range: subnet.range, addressing: network.addressing }
    }

    /// The subnet of a network that was made of this pool.
    pub fn find_in<'a>(&self, network: &'a Network) -> Option<&'a Subnet> {
        network.subnets.iter().find(|subnet| PoolKey::of(network, subnet) == *self)
    }
}

impl Pool {
    /// What an engine is told where it wants to know a router that each lease will bring: the subnet's own address, which no machine has.
    pub fn unknown_router(&self) -> Option<IpAddr> {
        let by_lease = self.key.addressing == Addressing::Dhcp && self.leasing.fallback == Fallback::None;
        Some(self.key.net.network()).filter(|ip| by_lease && ip.is_ipv4())
    }

    /// Whether an address is what an engine was told in the place of a router.
    pub fn stands_for_unknown_router(&self, ip: IpAddr) -> bool {
        self.unknown_router() == Some(ip)
    }
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.net)?;
        if let Some(range) = self.range {
            write!(f, ",{range}")?;
        }
        match self.addressing {
            Addressing::Range => Ok(()),
            Addressing::Dhcp => f.write_str(LEASED),
        }
    }
}

impl FromStr for PoolKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (parts, addressing) = match text.strip_suffix(LEASED) {
            None => (text, Addressing::Range),
            Some(parts) => (parts, Addressing::Dhcp),
        };
        let (net, range) = match parts.split_once(',') {
            None => (parts, None),
            Some((net, range)) => (net, Some(range)),
        };
        let range =
            range.map(str::parse).transpose().map_err(|error| format!("{text:?} is no pool: {error}"))?;
        let net = net.parse().map_err(|_| format!("{text:?} is no pool: it begins with no subnet"))?;
        Ok(PoolKey { net, range, addressing })
    }
}

impl From<PoolKey> for String {
    fn from(key: PoolKey) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for PoolKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_reads_as_it_is_written() {
        for text in [
            "192.168.88.0/24",
            "192.168.88.0/24,192.168.88.192/27",
            "192.168.88.0/24,dhcp",
            "192.168.88.0/24,192.168.88.192/27,dhcp",
            "fd88::/64",
        ] {
            assert_eq!(text.parse::<PoolKey>().map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for text in ["", ",dhcp", "192.168.88.0/24,lease", "dhcp"] {
            assert!(text.parse::<PoolKey>().is_err(), "{text}");
        }
    }
}
