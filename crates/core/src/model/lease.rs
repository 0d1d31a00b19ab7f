//! Leases of the LAN's DHCP servers, and how a network's addresses are leased.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ashore_wire::dhcp::Lease as _;
use ashore_wire::dhcp4::{self, ClientId, Servers};
use ashore_wire::{Mac, dhcp6};
use serde::{Deserialize, Serialize};

use crate::model::moment::Moment;
use crate::net::name::IfName;

/// Where a network's IPv4 addresses come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Addressing {
    /// Ashore chooses them from the network's ranges.
    #[default]
    Range,
    /// The LAN's DHCP server hands them out.
    Dhcp,
}

impl Addressing {
    /// Whether it is the default, which is not written down.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_range(&self) -> bool {
        *self == Addressing::Range
    }
}

impl FromStr for Addressing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "range" => Ok(Addressing::Range),
            "dhcp" => Ok(Addressing::Dhcp),
            _ => Err(format!("`{text}` is neither range nor dhcp")),
        }
    }
}

/// How a network's addresses are leased.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseOptions {
    /// What becomes of a lease whose container has gone.
    pub release: Release,
    /// What does where no server gives an address.
    pub fallback: Fallback,
    /// Whose answers count.
    pub servers: Servers,
}

impl LeaseOptions {
    /// Whether it is the default, which is not written down.
    pub(crate) fn is_plain(&self) -> bool {
        *self == LeaseOptions::default()
    }
}

/// When a lease is given back to its server. It never is because a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Release {
    /// Never: it runs out. `ashore forget` gives it back all the same.
    Never,
    /// When its container stops or is detached.
    OnStop,
    /// When its container has been gone for some seconds, and not only stopped.
    OnRemove(u32),
}

impl Release {
    /// An hour: long enough for `docker rm` and `docker run` with a new image between, and no router's pool is so small.
    const AFTER: u32 = 3600;

    /// Whether it is the default, which is not written down.
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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("on_remove:").map(str::parse)) {
            ("never", _) => Ok(Release::Never),
            ("on_stop", _) => Ok(Release::OnStop),
            ("on_remove", _) => Ok(Release::default()),
            (_, Some(Ok(seconds))) => Ok(Release::OnRemove(seconds)),
            _ => Err(format!("`{text}` is none of never, on_stop, on_remove and on_remove:SECONDS")),
        }
    }
}

impl TryFrom<String> for Release {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What does where no server gives an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// Nothing: the attach is refused.
    #[default]
    None,
    /// An address of the network's range, until the container starts again.
    Range,
}

impl FromStr for Fallback {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Fallback::None),
            "range" => Ok(Fallback::Range),
            _ => Err(format!("`{text}` is neither none nor range")),
        }
    }
}

/// A lease, and since when it runs by the time of day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord<Lease = dhcp4::Lease> {
    /// What the server said.
    #[serde(flatten)]
    pub lease: Lease,
    /// In seconds since 1970.
    pub since: u64,
    /// As whom it was asked for, and is renewed, whatever its endpoint is called by then.
    pub id: ClientId,
    /// The MAC that it was asked for with.
    pub mac: Mac,
    /// By which parent, where it may be given back when its network is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<IfName>,
    /// Who brought it: its server, or the router on the way to that. None of DHCPv6, which speaks to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Mac>,
    /// When it is given back.
    #[serde(default, skip_serializing_if = "Release::is_default")]
    pub release: Release,
}

/// The same of a DHCPv6 server's.
pub type LeaseRecord6 = LeaseRecord<dhcp6::Lease>;

impl<Lease> LeaseRecord<Lease> {
    /// How long it has run. By a clock that is behind its beginning, as that of a machine without one of its own is until it has asked
    /// the network, nobody knows: then it is as good as new. Its server is asked anyway, and its address looked for before it is used.
    pub fn age(&self, now: u64) -> Duration {
        Duration::from_secs(now.saturating_sub(self.since))
    }

    fn after(&self, seconds: u32) -> u64 {
        self.since.saturating_add(seconds.into())
    }
}

impl LeaseRecord6 {
    /// The lease by the clock that lifetimes run by; none if it cannot be told how long it has run.
    pub fn held(&self, at: Moment) -> Option<dhcp6::Held> {
        // Of one that never ends it does not matter.
        let endless = self.lease.end().is_none().then_some(at.now);
        let since = at.now.checked_sub(self.age(at.today)).or(endless)?;
        Some(dhcp6::Held { lease: self.lease.clone(), since })
    }
}

impl LeaseRecord {
    /// For how long it lasts yet, in seconds; none if for ever.
    pub fn left(&self, now: u64) -> Option<u64> {
        self.ends().map(|end| end.saturating_sub(now))
    }

    /// When it ends, in seconds since 1970; none if never.
    pub fn ends(&self) -> Option<u64> {
        self.lease.term.map(|term| self.after(term.end))
    }
}
