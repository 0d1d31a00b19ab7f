//! Leases: addresses that the LAN's DHCP server hands out, which Ashore keeps alive for as long as their endpoints need them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use ashore_wire::Mac;
use ashore_wire::dhcp::Lease as _;
use ashore_wire::dhcp4::{self, ClientId, Servers};
use ashore_wire::dhcp6;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::identity::{Identity, Scope};
use crate::inventory::Inventory;
use crate::ipv6::Moment;
use crate::link::{IpvlanMode, LinkKind};
use crate::name::{EndpointName, IfName};
use crate::network::{Network, Subnet};
use crate::observed::View;
use crate::range::Range;
use crate::state::{Change, State};
use crate::step::Family;
use crate::vlan::Membership;

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

/// What became of an endpoint's lease, where its network's addresses are leased.
#[derive(Debug, Clone, Copy)]
pub enum Leased<'a> {
    /// It is still to be asked for: it is only seen whether all else fits.
    NotYet,
    /// It was got.
    Got(&'a LeaseRecord),
    /// No server gave one, and an address of the range does.
    Instead,
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
    /// There is no range to fall back on.
    #[error("there is no range in {0} to fall back on where no DHCP server answers")]
    NoRange(IpNet),
    /// How to lease is said, and that nothing is leased.
    #[error("{0} is for addresses of a DHCP server, and this network has its own")]
    NotLeasing(&'static str),
    /// That is no machine's address.
    #[error("{0} is no DHCP server's address")]
    NoServer(Ipv4Addr),
    /// A server's answers are to count, and not.
    #[error("the answers of {0} are both to count and not to")]
    Both(Ipv4Addr),
    /// There would be nothing untagged to ask by, or to have the address on.
    #[error(
        "with --tagged the containers have their addresses on VLAN interfaces of their own, and Ashore can lease none for them"
    )]
    Tagged,
}

impl LeaseError {
    /// What helps.
    pub fn hint(&self) -> &'static str {
        match self {
            LeaseError::Unheard(_) => "use --kind macvlan or ipvlan:l2, or leave --dhcp away",
            LeaseError::Range(_) => "leave one of the two away, or say --fallback range",
            LeaseError::NoRange(_) => "name one that the server does not hand out, with --ip-range",
            LeaseError::NotLeasing(_) => "say --dhcp too (Docker: --ipam-opt addressing=dhcp)",
            LeaseError::NoServer(_) => "`ashore pool-check` shows the servers there are",
            LeaseError::Both(_) => "name it with one of --dhcp-allow and --dhcp-deny",
            LeaseError::Tagged => "leave --dhcp away, and let the containers ask for leases themselves",
        }
    }
}

impl Network {
    /// Checks that addresses can be leased where they are to be, and as they are to be.
    pub(crate) fn check_addressing(&self) -> Result<(), LeaseError> {
        let LeaseOptions { release, fallback, servers } = &self.leasing;
        if self.addressing == Addressing::Range {
            let said = [
                ("--release", !release.is_default()),
                ("--fallback", *fallback != Fallback::None),
                ("--dhcp-allow", !servers.allow.is_empty()),
                ("--dhcp-deny", !servers.deny.is_empty()),
            ];
            let option = said.iter().find_map(|(option, said)| said.then_some(*option));
            return option.map_or(Ok(()), |option| Err(LeaseError::NotLeasing(option)));
        }
        if self.membership == Membership::TAGGED {
            return Err(LeaseError::Tagged);
        }
        if matches!(self.kind, LinkKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s)) {
            return Err(LeaseError::Unheard(self.kind));
        }
        let nobodys = |ip: &&Ipv4Addr| ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast();
        if let Some(ip) = servers.allow.iter().chain(&servers.deny).find(nobodys) {
            return Err(LeaseError::NoServer(*ip));
        }
        if let Some(ip) = servers.allow.iter().find(|ip| servers.deny.contains(ip)) {
            return Err(LeaseError::Both(*ip));
        }
        // The whole subnet is as good as no range.
        let part = |subnet: &Subnet| subnet.range.filter(|range| *range != Range::of_net(&subnet.net));
        for subnet in self.subnets.iter().filter(|subnet| subnet.net.addr().is_ipv4()) {
            match (part(subnet), fallback) {
                (Some(range), Fallback::None) => return Err(LeaseError::Range(range)),
                (None, Fallback::Range) => return Err(LeaseError::NoRange(subnet.net)),
                _ => {}
            }
        }
        Ok(())
    }
}

impl State {
    /// A network as it shows: where its endpoints' leases are all of another subnet than it was made with, it is that one.
    pub fn as_leased(&self, network: &Network) -> Network {
        let mut shown = network.clone();
        if network.leasing.fallback != Fallback::None || !network.leases(Family::Ipv4) {
            return shown;
        }
        let leases = || self.endpoints_on(&network.name).filter_map(|one| Some(&one.lease.as_ref()?.lease));
        let Some(subnet) = shown.subnets.iter_mut().find(|subnet| subnet.net.addr().is_ipv4()) else {
            return shown;
        };
        if let Some(other) = leases().next()
            && !leases().any(|lease| subnet.net.contains(&IpAddr::V4(lease.address.addr())))
        {
            subnet.net = other.address.trunc().into();
            subnet.gateway = other.router().map(IpAddr::V4);
        }
        shown
    }

    /// As whom a name's lease is asked for: nobody else's may be asked for so, and a container that was renamed keeps what it had.
    pub fn client_id(&self, network: &Network, name: &EndpointName) -> ClientId {
        let scope = State::scope(network);
        // Both kinds of servers know it as one machine (RFC 4361, 6.1).
        let ids = |lease: &'_ Option<Box<LeaseRecord>>, lease6: &'_ Option<Box<LeaseRecord6>>| {
            let lease = lease.as_ref().map(|record| record.id.clone());
            lease.into_iter().chain(lease6.as_ref().map(|record| record.id.clone()))
        };
        let own = self.identities.get(&(scope.clone(), name.clone()));
        if let Some(id) = own.and_then(|own| ids(&own.lease, &own.lease6).next()) {
            return id;
        }
        let endpoints = self.endpoints.values().flat_map(|endpoint| ids(&endpoint.lease, &endpoint.lease6));
        let identities = self.identities.values().flat_map(|identity| ids(&identity.lease, &identity.lease6));
        let taken: Vec<ClientId> = endpoints.chain(identities).collect();
        let mut derived = (0..=u8::MAX).map(|attempt| self.seed.client_id(&scope, name, attempt));
        derived.find(|id| !taken.contains(id)).unwrap_or_else(|| self.seed.client_id(&scope, name, 0))
    }

    /// Names that are remembered with a lease and whose containers are gone, with the seconds after which theirs is to be given
    /// back. A container of an engine's that has stopped is not gone, and while no list tells, none is; where a lease is given
    /// back when its container stops, it is gone then.
    pub fn gone_with_lease(
        &self,
        inventory: Option<&Inventory>,
    ) -> impl Iterator<Item = (&(Scope, EndpointName), u32)> {
        let attached: BTreeSet<(Scope, &EndpointName)> = self
            .endpoints
            .values()
            .filter_map(|endpoint| Some((State::scope(self.network_of(endpoint)?), &endpoint.name)))
            .collect();
        self.identities.iter().filter_map(move |(key, identity)| {
            let release = identity.lease.as_ref().map(|record| record.release);
            let release = release.or(identity.lease6.as_ref().map(|record| record.release));
            let (after, may_stop) = match release? {
                Release::Never => return None,
                Release::OnStop => (0, false),
                Release::OnRemove(after) => (after, true),
            };
            let (scope, name) = key;
            let mut of_engines =
                self.networks.values().filter(|network| network.engine.is_some()).map(State::scope);
            let stopped = match inventory {
                Some(listed) => listed.containers.iter().any(|container| container.name == *name),
                None => of_engines.any(|of| of == *scope),
            };
            let stopped = may_stop && stopped;
            // An endpoint whose name is not known yet may have it.
            let in_use = self.endpoints.values().filter_map(|endpoint| endpoint.lease.as_ref());
            let in_use = in_use.into_iter().any(|record| identity.client_ids().any(|id| *id == record.id));
            (!stopped && !in_use && !attached.contains(&(scope.clone(), name))).then_some((key, after))
        })
    }

    /// Whether a server hears what is said for a name now, as far as this host can tell: its network's parent, or that by which its
    /// lease came, is up and has its cable in.
    pub fn is_heard(&self, key: &(Scope, EndpointName), host: &View) -> bool {
        let network = self.networks.values().find(|network| State::scope(network) == key.0);
        let of_lease = || {
            let identity = self.identities.get(key)?;
            let parent = identity.lease.as_ref().and_then(|record| record.parent.as_ref());
            parent.or_else(|| identity.lease6.as_ref().and_then(|record| record.parent.as_ref()))
        };
        let parent = network.map(|network| &network.parent).or_else(of_lease);
        parent.is_none_or(|parent| host.link(parent).is_some_and(|parent| parent.up && parent.carrier))
    }

    /// The addresses of leases that names which are not on a network have there still, the one that left last first. What has ended may be
    /// another machine's to look for, which would hear a look for it and give it up.
    pub fn still_leased(&self, network: &Network, now: u64) -> impl Iterator<Item = Ipv4Addr> {
        let scope = State::scope(network);
        let lease = move |name: &EndpointName| {
            self.identities.get(&(scope.clone(), name.clone())).and_then(|identity| identity.lease.as_deref())
        };
        let leases = network.leases(Family::Ipv4);
        let here =
            |record: &&LeaseRecord| record.parent.as_ref().is_none_or(|parent| *parent == network.parent);
        let records = self.left_last(network).filter(move |_| leases).filter_map(lease).filter(here);
        records.filter(move |record| record.left(now) != Some(0)).map(|record| record.lease.address.addr())
    }

    /// Leases are given back: their name remembers the IPv4 address, and would like it again.
    pub fn without_lease(&self, (scope, name): &(Scope, EndpointName)) -> Option<Change> {
        let identity = self.identities.get(&(scope.clone(), name.clone()))?;
        Some(Change::PutIdentity(
            scope.clone(),
            name.clone(),
            Identity { lease: None, lease6: None, ..identity.clone() },
        ))
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
