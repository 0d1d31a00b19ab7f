//! Addresses and routes of the host's own, which move with the host from one link to another. Ashore did not
//! make them, so all their attributes are kept.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Route;

/// The remaining lifetimes of an address, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// The valid lifetime: until the address is removed (`ifa_valid`).
    pub valid: u32,
    /// The preferred lifetime: until no new connections use the address (`ifa_prefered`).
    pub preferred: u32,
}

/// An address of the host's. It is added without duplicate address detection, because the host already has
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAddress {
    /// The address with its subnet's prefix length.
    pub net: IpNet,
    /// IPv4: the broadcast address that belongs to it.
    pub broadcast: Option<Ipv4Addr>,
    /// Its remaining lifetimes. `None` if it is permanent.
    pub life: Option<Life>,
    /// Whether the kernel makes no route for its prefix (`IFA_F_NOPREFIXROUTE`).
    pub noprefixroute: bool,
}

/// A route of the host's in the main table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoute {
    /// The destination, the next hop and the link.
    pub route: Route,
    /// The origin of the route (`rtm_protocol`).
    pub protocol: u8,
    /// Its metric.
    pub metric: u32,
    /// Whether the next hop counts as on-link whatever its address (`RTNH_F_ONLINK`).
    pub onlink: bool,
}

impl Life {
    /// Returns what is left of the lifetimes after some seconds.
    #[must_use]
    pub fn after(self, seconds: u32) -> Life {
        // `u32::MAX` means forever, as in the kernel.
        let less = |left: u32| if left == u32::MAX { left } else { left.saturating_sub(seconds).max(1) };
        Life { valid: less(self.valid), preferred: self.preferred.min(less(self.preferred)) }
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.net.fmt(f)
    }
}

/// The rest of an `ip addr replace` command, after the address and its link.
pub(super) struct Manner<'a>(pub(super) &'a HostAddress);

impl fmt::Display for Manner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostAddress { net, broadcast, life, noprefixroute } = self.0;
        if let Some(broadcast) = broadcast {
            write!(f, " brd {broadcast}")?;
        }
        if matches!(net, IpNet::V6(_)) {
            f.write_str(" nodad")?;
        }
        if *noprefixroute {
            f.write_str(" noprefixroute")?;
        }
        let Some(Life { valid, preferred }) = life else { return Ok(()) };
        write!(f, " valid_lft {} preferred_lft {}", Seconds(*valid), Seconds(*preferred))
    }
}

struct Seconds(u32);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == u32::MAX { f.write_str("forever") } else { self.0.fmt(f) }
    }
}

impl fmt::Display for HostRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.route.way())?;
        if self.onlink {
            f.write_str(" onlink")?;
        }
        write!(f, " proto {}", self.protocol)?;
        if self.metric == 0 { Ok(()) } else { write!(f, " metric {}", self.metric) }
    }
}
