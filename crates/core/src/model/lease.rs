//! Leases of the LAN's DHCP servers, and the options of a network's leases.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ashore_wire::dhcp::Lease as _;
use ashore_wire::dhcp4::{self, ClientId, Servers};
use ashore_wire::{Mac, dhcp6};
use serde::{Deserialize, Serialize};

use crate::model::moment::Moment;
use crate::net::choice::NoSuchChoice;
use crate::net::name::IfName;
use crate::net::told::{HostName, VendorClass};

/// The source of a network's IPv4 addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Addressing {
    /// Ashore chooses them from the network's ranges.
    #[default]
    Range,
    /// The LAN's DHCP server assigns them.
    Dhcp,
}

impl Addressing {
    /// Whether it is the default, which is not serialised.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_range(&self) -> bool {
        *self == Addressing::Range
    }
}

impl FromStr for Addressing {
    type Err = NoSuchChoice;

    fn from_str(text: &str) -> Result<Self, NoSuchChoice> {
        match text {
            "range" => Ok(Addressing::Range),
            "dhcp" => Ok(Addressing::Dhcp),
            _ => Err(NoSuchChoice::new(text, &["range", "dhcp"])),
        }
    }
}

/// How a network's addresses are leased.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseOptions {
    /// When the lease of a container that is gone is released.
    pub release: Release,
    /// What an endpoint gets if no server assigns an address.
    pub fallback: Fallback,
    /// Which servers are accepted.
    pub servers: Servers,
    /// The host name that servers are told of each endpoint, in place of its own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostName>,
    /// Whether DHCPv4 servers are asked to register the name in the DNS (RFC 4702). DHCPv6 has no other way to tell a
    /// name, so there servers are always asked (RFC 4704).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub register_name: bool,
    /// The vendor class that servers are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<VendorClass>,
    /// How long a first DHCPv4 lease is waited for. Without it, as long as suits most servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<LeaseTimeout>,
}

impl LeaseOptions {
    /// Whether it is the default, which is not serialised.
    pub(crate) fn is_plain(&self) -> bool {
        *self == LeaseOptions::default()
    }
}

/// How long a lease is waited for, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct LeaseTimeout(u16);

/// Why a number is no such time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of seconds from 3 to 120")]
pub struct LeaseTimeoutError(String);

impl LeaseTimeout {
    /// The time.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }

    /// The seconds.
    pub fn seconds(self) -> u32 {
        self.0.into()
    }
}

impl TryFrom<u16> for LeaseTimeout {
    type Error = LeaseTimeoutError;

    fn try_from(seconds: u16) -> Result<Self, LeaseTimeoutError> {
        // An answer takes up to three seconds from a server that pings the address first. No engine waits much longer
        // than two minutes for a container's network.
        if (3..=120).contains(&seconds) {
            Ok(LeaseTimeout(seconds))
        } else {
            Err(LeaseTimeoutError(seconds.to_string()))
        }
    }
}

impl From<LeaseTimeout> for u16 {
    fn from(timeout: LeaseTimeout) -> u16 {
        timeout.0
    }
}

impl FromStr for LeaseTimeout {
    type Err = LeaseTimeoutError;

    fn from_str(text: &str) -> Result<Self, LeaseTimeoutError> {
        let seconds: u16 = text.parse().map_err(|_| LeaseTimeoutError(text.to_owned()))?;
        seconds.try_into()
    }
}

impl fmt::Display for LeaseTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the user wants DHCP servers to be told of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseWishes {
    /// The host name, in place of the container's name or of the network's host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostName>,
    /// The client identifier, in place of the one that follows from the container's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
}

impl LeaseWishes {
    /// Whether there are none, which is not serialised.
    pub fn is_nothing(&self) -> bool {
        *self == LeaseWishes::default()
    }

    /// Whether an endpoint with the wishes `there` has all of these.
    pub fn are_met_by(&self, there: &LeaseWishes) -> bool {
        (self.hostname.is_none() || self.hostname == there.hostname)
            && (self.client_id.is_none() || self.client_id == there.client_id)
    }
}

/// When a lease is released to its server. The end of the daemon never releases a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Release {
    /// Never: the lease expires. `ashore forget` releases it nevertheless.
    Never,
    /// When its container stops or is detached.
    OnStop,
    /// This many seconds after its container is removed. A container that is only stopped does not count.
    OnRemove(u32),
}

impl Release {
    /// One hour in seconds: long enough for a `docker rm` followed by a `docker run` with a new image, and no
    /// router's pool is so small that this matters.
    const AFTER: u32 = 3600;

    /// Whether it is the default, which is not serialised.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Release::default()
    }
}

impl Default for Release {
    fn default() -> Self {
        Release::OnRemove(Release::AFTER)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Release::Never => f.write_str("never"),
            Release::OnStop => f.write_str("on_stop"),
            Release::OnRemove(after) => write!(f, "on_remove:{after}"),
        }
    }
}

impl From<Release> for String {
    fn from(release: Release) -> String {
        release.to_string()
    }
}

impl FromStr for Release {
    type Err = NoSuchChoice;

    fn from_str(text: &str) -> Result<Self, NoSuchChoice> {
        match (text, text.strip_prefix("on_remove:").map(str::parse)) {
            ("never", _) => Ok(Release::Never),
            ("on_stop", _) => Ok(Release::OnStop),
            ("on_remove", _) => Ok(Release::default()),
            (_, Some(Ok(seconds))) => Ok(Release::OnRemove(seconds)),
            _ => Err(NoSuchChoice::new(text, &["never", "on_stop", "on_remove", "on_remove:SECONDS"])),
        }
    }
}

impl TryFrom<String> for Release {
    type Error = NoSuchChoice;

    fn try_from(text: String) -> Result<Self, NoSuchChoice> {
        text.parse()
    }
}

/// What an endpoint gets if no server assigns an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// Nothing: the attach is refused.
    #[default]
    None,
    /// An address of the network's range, until the container starts again.
    Range,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fallback::None => "none",
            Fallback::Range => "range",
        })
    }
}

impl FromStr for Fallback {
    type Err = NoSuchChoice;

    fn from_str(text: &str) -> Result<Self, NoSuchChoice> {
        match text {
            "none" => Ok(Fallback::None),
            "range" => Ok(Fallback::Range),
            _ => Err(NoSuchChoice::new(text, &["none", "range"])),
        }
    }
}

/// A lease, with its start by the time of day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord<Lease = dhcp4::Lease> {
    /// What the server sent.
    #[serde(flatten)]
    pub lease: Lease,
    /// The start of the lease, in seconds since 1970.
    pub since: u64,
    /// The client identifier with which it was requested and is renewed, even if its endpoint has another
    /// name by then.
    pub id: ClientId,
    /// The MAC with which it was requested.
    pub mac: Mac,
    /// The parent, if the lease may be released after its network is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<IfName>,
    /// The MAC of the sender of the reply: the server, or the router on the way to it. `None` for DHCPv6,
    /// whose messages go to all servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Mac>,
    /// When it is released.
    #[serde(default, skip_serializing_if = "Release::is_default")]
    pub release: Release,
}

/// A DHCPv6 lease.
pub type LeaseRecord6 = LeaseRecord<dhcp6::Lease>;

impl<Lease> LeaseRecord<Lease> {
    /// How long the lease has run. The clock may be behind the start of the lease, as on a machine without a
    /// hardware clock before it has asked the network for the time. Then the age is unknown and counts as
    /// zero. This is safe, because the server is asked anyway and the address is probed before it is used.
    pub fn age(&self, now: u64) -> Duration {
        Duration::from_secs(now.saturating_sub(self.since))
    }

    fn after(&self, seconds: u32) -> u64 {
        self.since.saturating_add(seconds.into())
    }
}

impl LeaseRecord6 {
    /// When the lease ends, in seconds since 1970. Returns `None` if it never ends.
    pub fn ends(&self) -> Option<u64> {
        self.lease.end().map(|end| self.after(end))
    }

    /// The lease on the clock by which lifetimes run. Returns `None` if its start cannot be expressed on that
    /// clock.
    pub fn held(&self, at: Moment) -> Option<dhcp6::Held> {
        // For a lease that never ends the start does not matter.
        let endless = self.lease.end().is_none().then_some(at.now);
        let since = at.now.checked_sub(self.age(at.today)).or(endless)?;
        Some(dhcp6::Held { lease: self.lease.clone(), since })
    }
}

impl LeaseRecord {
    /// The remaining lifetime in seconds. Returns `None` if the lease never ends.
    pub fn left(&self, now: u64) -> Option<u64> {
        self.ends().map(|end| end.saturating_sub(now))
    }

    /// When the lease ends, in seconds since 1970. Returns `None` if it never ends.
    pub fn ends(&self) -> Option<u64> {
        self.lease.term.map(|term| self.after(term.end))
    }
}
