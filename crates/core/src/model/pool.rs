//! Address pools. A container engine opens a pool before it makes the network that uses it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::model::lease::{Addressing, Fallback, LeaseOptions};
use crate::model::network::{Network, Subnet};
use crate::net::name::IfName;
use crate::net::range::{Range, RangeError};

/// The subnet that an engine is told if it would refuse the real one. Docker up to 26 accepts no automatic
/// pool into which the host has a route, which is true of the LAN's subnet, with one exception: this one
/// (libnetwork, `types.IsIPNetValid`).
pub const ANY_SUBNET: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));

/// The end of a pool's text if its addresses are leased.
const LEASED: &str = ",dhcp";

/// The content of a pool, which is also its id. An engine that opens the same pool again after its own
/// restart gets the same id, and an id stays known over restarts of the daemon. As text it is
/// `192.168.88.0/24,192.168.88.192/27`, with `,dhcp` at the end if its addresses are leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PoolKey {
    /// The LAN's subnet.
    pub net: IpNet,
    /// The range that is handed out. Without one it is the whole subnet.
    pub range: Option<Range>,
    /// The source of its addresses. It is part of the key because networks may share the LAN's whole subnet
    /// and an engine asks for addresses by pool.
    pub addressing: Addressing,
}

/// An open pool whose network is not made yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its key.
    pub key: PoolKey,
    /// A counter that shows which pool was opened last.
    pub opened: u64,
    /// Addresses that the engine reserved for the future network: gateway and auxiliary addresses.
    pub reserved: Vec<IpAddr>,
    /// The parent, if it was named when the pool was opened.
    #[serde(default)]
    pub parent: Option<IfName>,
    /// How its addresses are leased, if they are leased.
    #[serde(default, skip_serializing_if = "LeaseOptions::is_plain")]
    pub leasing: LeaseOptions,
    /// Whether Ashore chose the range.
    #[serde(default)]
    pub chosen: bool,
}

impl PoolKey {
    /// The key of a network's pool.
    pub fn of(network: &Network, subnet: &Subnet) -> Self {
        PoolKey { net: subnet.net, range: subnet.range, addressing: network.addressing }
    }

    /// The subnet of a network that was made from this pool.
    pub fn find_in<'a>(&self, network: &'a Network) -> Option<&'a Subnet> {
        network.subnets.iter().find(|subnet| PoolKey::of(network, subnet) == *self)
    }
}

impl Pool {
    /// The address that an engine is told as the router if only a lease will name the router: the subnet's
    /// network address, which no machine has. Returns `None` if the pool is not leased, has a fallback or is
    /// IPv6.
    pub fn unknown_router(&self) -> Option<IpAddr> {
        let by_lease = self.key.addressing == Addressing::Dhcp && self.leasing.fallback == Fallback::None;
        Some(self.key.net.network()).filter(|ip| by_lease && ip.is_ipv4())
    }

    /// Whether an address is the one that an engine was told in place of the router.
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

/// Why a text is not a pool's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolKeyError {
    /// It does not begin with a subnet.
    #[error("{0:?} is not a pool: it must begin with a subnet")]
    NoSubnet(String),
    /// What follows is no range.
    #[error("{text:?} is not a pool: {error}")]
    Range {
        /// The text.
        text: String,
        /// What is wrong with the range.
        error: RangeError,
    },
}

impl FromStr for PoolKey {
    type Err = PoolKeyError;

    fn from_str(text: &str) -> Result<Self, PoolKeyError> {
        let (parts, addressing) = match text.strip_suffix(LEASED) {
            None => (text, Addressing::Range),
            Some(parts) => (parts, Addressing::Dhcp),
        };
        let (net, range) = match parts.split_once(',') {
            None => (parts, None),
            Some((net, range)) => (net, Some(range)),
        };
        let range = range.map(str::parse).transpose();
        let range = range.map_err(|error| PoolKeyError::Range { text: text.to_owned(), error })?;
        let net = net.parse().map_err(|_| PoolKeyError::NoSubnet(text.to_owned()))?;
        Ok(PoolKey { net, range, addressing })
    }
}

impl From<PoolKey> for String {
    fn from(key: PoolKey) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for PoolKey {
    type Error = PoolKeyError;

    fn try_from(text: String) -> Result<Self, PoolKeyError> {
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
