//! What is the host's own, and moves with it from one link to another: addresses and routes that somebody else made, with
//! all by which they are known.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Route;

/// For how long an address stays, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Until it goes (`ifa_valid`).
    pub valid: u32,
    /// Until nothing new is begun from it (`ifa_prefered`).
    pub preferred: u32,
}

/// An address of the host's. It is checked for duplicates by nobody, because the host has it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAddress {
    /// The address with the length of its subnet's prefix.
    pub net: IpNet,
    /// IPv4: the broadcast address that goes with it.
    pub broadcast: Option<Ipv4Addr>,
    /// How long it stays; for ever without.
    pub life: Option<Life>,
    /// Whether the kernel makes no route of its prefix (`IFA_F_NOPREFIXROUTE`).
    pub noprefixroute: bool,
}

/// A route of the host's in the main table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoute {
    /// Where it leads, and how.
    pub route: Route,
    /// Who made it (`rtm_protocol`).
    pub protocol: u8,
    /// Its priority.
    pub metric: u32,
    /// Whether the next hop is taken to be on the link, whatever its address (`RTNH_F_ONLINK`).
    pub onlink: bool,
}

impl Life {
    /// What is left of it later.
    #[must_use]
    pub fn after(self, seconds: u32) -> Life {
        // `u32::MAX` is for ever, in the kernel as well.
        let less = |left: u32| if left == u32::MAX { left } else { left.saturating_sub(seconds).max(1) };
        Life { valid: less(self.valid), preferred: self.preferred.min(less(self.preferred)) }
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.net.fmt(f)
    }
}

/// The rest of an `ip addr replace`, after the address and its link.
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
