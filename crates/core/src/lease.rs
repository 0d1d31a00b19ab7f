//! Leases: addresses that the LAN's DHCP server hands out, which Ashore keeps alive for as long as their endpoints need them.

use std::str::FromStr;
use std::time::Duration;

use ashore_wire::Mac;
use ashore_wire::dhcp4::{ClientId, Lease};
use serde::{Deserialize, Serialize};

use crate::link::{IpvlanMode, LinkKind};
use crate::name::EndpointName;
use crate::network::{Network, Subnet};
use crate::range::Range;
use crate::state::State;

/// Where a network's IPv4 addresses come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Why a network's addresses cannot be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The link kind lets no server's answer through.
    #[error("a DHCP server's answers are broadcasts, which {0} does not hand on to its endpoints")]
    Unheard(LinkKind),
    /// There is a range, and it is the server that chooses.
    #[error("with --dhcp the LAN's server chooses among its own addresses, and not in {0}")]
    Range(Range),
}

impl LeaseError {
    /// What helps.
    pub fn hint(&self) -> &'static str {
        match self {
            LeaseError::Unheard(_) => "use --kind macvlan or ipvlan:l2, or leave --dhcp away",
            LeaseError::Range(_) => "leave one of the two away",
        }
    }
}

impl Network {
    /// Checks that addresses can be leased where they are to be.
    pub(crate) fn check_addressing(&self) -> Result<(), LeaseError> {
        if self.addressing == Addressing::Range {
            return Ok(());
        }
        if matches!(self.kind, LinkKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s)) {
            return Err(LeaseError::Unheard(self.kind));
        }
        // The whole subnet is as good as no range.
        let part = |subnet: &Subnet| subnet.range.filter(|range| *range != Range::of_net(&subnet.net));
        let mut v4 = self.subnets.iter().filter(|subnet| subnet.net.addr().is_ipv4());
        v4.find_map(part).map_or(Ok(()), |range| Err(LeaseError::Range(range)))
    }
}

impl State {
    /// As whom a name's lease is asked for: nobody else's may be asked for so, and a container that was renamed keeps what it had.
    pub fn client_id(&self, network: &Network, name: &EndpointName) -> ClientId {
        let scope = State::scope(network);
        let of_identity =
            self.identities.get(&(scope.clone(), name.clone())).and_then(|own| own.lease.as_ref());
        if let Some(record) = of_identity {
            return record.id.clone();
        }
        let endpoints = self.endpoints.values().filter_map(|endpoint| endpoint.lease.as_ref());
        let identities = self.identities.values().filter_map(|identity| identity.lease.as_ref());
        let taken: Vec<&ClientId> = endpoints.chain(identities).map(|record| &record.id).collect();
        let mut derived = (0..=u8::MAX).map(|attempt| self.seed.client_id(&scope, name, attempt));
        derived.find(|id| !taken.contains(&id)).unwrap_or_else(|| self.seed.client_id(&scope, name, 0))
    }
}

/// A lease, and since when it runs by the time of day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// What the server said.
    #[serde(flatten)]
    pub lease: Lease,
    /// In seconds since 1970.
    pub since: u64,
    /// As whom it was asked for, and is renewed, whatever its endpoint is called by then.
    pub id: ClientId,
    /// The MAC that it was asked for with.
    pub mac: Mac,
}

impl LeaseRecord {
    /// How long it has run. If the clock was set back it is not known, which counts as longer than any lease lasts.
    pub fn age(&self, now: u64) -> Duration {
        now.checked_sub(self.since).map_or(Duration::MAX, Duration::from_secs)
    }

    /// For how long it lasts yet, in seconds; none if for ever.
    pub fn left(&self, now: u64) -> Option<u64> {
        self.ends().map(|end| end.saturating_sub(now))
    }

    /// When it ends, in seconds since 1970; none if never.
    pub fn ends(&self) -> Option<u64> {
        self.lease.term.map(|term| self.since.saturating_add(term.end.into()))
    }
}
