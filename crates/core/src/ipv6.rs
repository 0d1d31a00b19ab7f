//! Where a network's IPv6 addresses come from, and what an endpoint has of what the LAN's routers advertise.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::{Duration, Instant};

use ashore_wire::dhcp6::{Dns, Held};
use ashore_wire::ndp::Preference;
use ashore_wire::slaac::{Lasting, Offer, OnLink, Prefix, Route, Router, is_reserved};
use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::allocate::Known;
use crate::endpoint::Endpoint;
use crate::identity::{Scope, Seed};
use crate::link::{IpvlanMode, LinkKind};
use crate::name::EndpointName;
use crate::network::Network;
use crate::resolv;
use crate::state::State;

/// How many addresses of one prefix are tried (`IDGEN_RETRIES` of RFC 7217, and a few more: that all of them are another's is a sign of
/// a fault elsewhere).
const TRIES: usize = 8;
/// How many addresses are remembered of a name that is not attached.
const MOST_REMEMBERED: usize = 8;
/// How many addresses that an endpoint has lost are kept off its link.
const MOST_LOST: usize = 16;

/// Where a network's IPv6 addresses come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ipv6Mode {
    /// Ashore chooses them from the ranges of the network's IPv6 subnets. What a container's kernel makes of the routers'
    /// advertisements beside is its own.
    #[default]
    Range,
    /// From where the LAN's routers say.
    Auto,
    /// Ashore makes them of the prefixes that the routers advertise (RFC 4862).
    Slaac,
    /// The LAN's `DHCPv6` server hands them out.
    Dhcp,
    /// From nowhere: endpoints have no IPv6 at all.
    Off,
}

impl Ipv6Mode {
    /// All of them.
    pub const ALL: [Ipv6Mode; 5] =
        [Ipv6Mode::Auto, Ipv6Mode::Slaac, Ipv6Mode::Dhcp, Ipv6Mode::Range, Ipv6Mode::Off];

    /// Whether it is the default, which is not written down.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_range(&self) -> bool {
        *self == Ipv6Mode::Range
    }
}

/// By its name in `--ipv6`.
impl fmt::Display for Ipv6Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ipv6Mode::Range => "range",
            Ipv6Mode::Auto => "auto",
            Ipv6Mode::Slaac => "slaac",
            Ipv6Mode::Dhcp => "dhcp",
            Ipv6Mode::Off => "off",
        })
    }
}

impl FromStr for Ipv6Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Ipv6Mode::ALL.into_iter().find(|mode| mode.to_string() == text);
        named.ok_or_else(|| format!("`{text}` is none of auto, slaac, dhcp, range and off"))
    }
}

/// Why a network cannot have its IPv6 addresses from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ipv6Error {
    /// The link kind lets no router's word through.
    #[error("routers speak to all, which {0} does not hand on to its endpoints")]
    Unheard(LinkKind),
    /// There is a subnet to choose from.
    #[error("with --ipv6 {0} no address is chosen from {1}")]
    Subnet(Ipv6Mode, IpNet),
    /// The link kind has one link-local address for all.
    #[error(
        "a DHCPv6 server answers endpoints at addresses of their own on the link, and those of {0} share one MAC"
    )]
    OneMac(LinkKind),
}

impl Ipv6Error {
    /// What helps.
    pub fn hint(&self) -> &'static str {
        match self {
            Ipv6Error::Unheard(_) => "use --kind macvlan or ipvlan:l2, or a --subnet to choose from",
            Ipv6Error::Subnet(..) => "leave one of the two away",
            Ipv6Error::OneMac(_) => {
                "use --kind macvlan, or --ipv6 slaac if the router advertises a prefix, or a --subnet to choose from"
            }
        }
    }
}

impl Network {
    /// Whether endpoints have addresses and routes by what the LAN's routers advertise.
    pub fn follows_routers(&self) -> bool {
        matches!(self.ipv6, Ipv6Mode::Auto | Ipv6Mode::Slaac | Ipv6Mode::Dhcp)
    }

    /// Whether endpoints make addresses of advertised prefixes.
    fn makes_addresses(&self) -> bool {
        matches!(self.ipv6, Ipv6Mode::Auto | Ipv6Mode::Slaac)
    }

    /// Whether endpoints may have addresses of a DHCPv6 server's.
    pub fn may_ask_dhcp6(&self) -> bool {
        matches!(self.ipv6, Ipv6Mode::Auto | Ipv6Mode::Dhcp) && !self.kind.shares_parents_mac()
    }

    /// Whether they ask one, by what the routers say.
    pub fn asks_dhcp6(&self, offer: &Offer) -> bool {
        self.may_ask_dhcp6() && (self.ipv6 == Ipv6Mode::Dhcp || offer.managed)
    }

    /// Whether a DHCPv6 server is asked for its endpoints what there is to know beside addresses. A router that says that addresses are
    /// to be had there says the same of all else (RFC 4861, 4.2), and who has a lease is told with it.
    pub fn inquires(&self, offer: &Offer) -> bool {
        self.follows_routers() && (offer.managed || offer.other) && !self.asks_dhcp6(offer)
    }

    /// Whether its endpoints have IPv6 addresses by Ashore.
    pub fn has_ipv6(&self) -> bool {
        self.follows_routers() || self.subnets.iter().any(|subnet| subnet.net.addr().is_ipv6())
    }

    /// Checks that IPv6 addresses can come from where they are to.
    pub(crate) fn check_ipv6(&self) -> Result<(), Ipv6Error> {
        if self.follows_routers() && matches!(self.kind, LinkKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s)) {
            return Err(Ipv6Error::Unheard(self.kind));
        }
        if self.ipv6 == Ipv6Mode::Dhcp && self.kind.shares_parents_mac() {
            return Err(Ipv6Error::OneMac(self.kind));
        }
        let mut v6 = self.subnets.iter().map(|subnet| subnet.net).filter(|net| net.addr().is_ipv6());
        match v6.next() {
            Some(net) if self.ipv6 != Ipv6Mode::Range => Err(Ipv6Error::Subnet(self.ipv6, net)),
            _ => Ok(()),
        }
    }
}

/// What an endpoint has of what the LAN's routers advertise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// The addresses that were made of prefixes, one of each, and that of a DHCPv6 server's.
    pub addresses: Vec<LearnedAddress>,
    /// The router of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<LearnedRouter>,
    /// Routes to elsewhere, and the routers that they lead by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<(Ipv6Net, Ipv6Addr)>,
    /// The most bytes that a packet may have, as routers say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// How names are looked up.
    #[serde(default, skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
}

/// An address that was made of a prefix, or that a DHCPv6 server gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedAddress {
    /// The address.
    pub ip: Ipv6Addr,
    /// The prefix.
    pub prefix: Ipv6Net,
    /// Whether the prefix is on the link.
    pub on_link: bool,
    /// Whether a DHCPv6 server gave it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leased: bool,
    /// Whether nothing new is begun from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deprecated: bool,
    /// Until when something new is begun from it, in seconds since 1970; for ever without.
    pub preferred: Option<u64>,
    /// Until when it lasts.
    pub valid: Option<u64>,
}

/// The router of a default route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedRouter {
    /// Its link-local address.
    pub ip: Ipv6Addr,
    /// Until when it is one, in seconds since 1970; for ever without.
    pub until: Option<u64>,
}

/// A moment by both clocks: the one that lifetimes run by, and the time of day by which they are written down.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the clock that goes on while the machine sleeps.
    pub now: Instant,
    /// In seconds since 1970.
    pub today: u64,
}

impl Moment {
    fn written(self, lasting: Lasting) -> Option<u64> {
        lasting.left(self.now).map(|left| self.today.saturating_add(left.as_secs()))
    }

    fn read(self, until: Option<u64>) -> Lasting {
        let left = |until: u64| Duration::from_secs(until.saturating_sub(self.today));
        Lasting(until.map(|until| self.now + left(until)))
    }
}

impl LearnedAddress {
    /// The address of a lease. A server says nothing of prefixes: what is on the link, routers do.
    /// It ends by the clock that the lease runs by: the time of day may be set meanwhile.
    fn leased(held: &Held, offer: &Offer, at: Moment) -> Option<Self> {
        let (ip, preferred, valid) = (held.ip(), Lasting(held.deprecates()), Lasting(held.expires()));
        let on_link = offer.on_link(ip);
        let prefix = on_link.unwrap_or(Ipv6Net::from(ip));
        let (deprecated, on_link) = (!preferred.holds(at.now), on_link.is_some());
        let (preferred, valid) = (at.written(preferred), at.written(valid));
        let address = LearnedAddress { ip, prefix, on_link, leased: true, deprecated, preferred, valid };
        held.is_good(at.now).then_some(address)
    }

    /// The address as it is on the link: by its prefix its neighbours are, if they are on the link.
    pub fn net(&self) -> IpNet {
        let length = if self.on_link { self.prefix.prefix_len() } else { 128 };
        IpNet::new(self.ip.into(), length).expect("128 bits fit an IPv6 address")
    }
}

impl Learned {
    /// What was known before a start, to be believed until it ends. A route or a name server lasts as long as the router, or without one
    /// as the addresses, since it is not written down for how long.
    pub fn recalled(&self, at: Moment) -> Offer {
        let until = |there: &LearnedRouter| at.read(there.until);
        let preference = Preference::Medium;
        let router = |there: &LearnedRouter| Router { ip: there.ip, preference, until: until(there) };
        let prefix = |there: &LearnedAddress| Prefix {
            net: there.prefix,
            on_link: there.on_link,
            preferred: at.read(there.preferred),
            valid: at.read(there.valid),
        };
        let on_link = |there: &LearnedAddress| OnLink { net: there.prefix, until: at.read(there.valid) };
        let longest =
            self.addresses.iter().map(|there| there.valid).max_by_key(|end| end.unwrap_or(u64::MAX));
        let as_long = self.router.as_ref().map_or(at.read(longest.unwrap_or(Some(at.today))), until);
        let route =
            |(to, via): &(Ipv6Net, Ipv6Addr)| Route { to: *to, via: *via, preference, until: as_long };
        Offer {
            routers: self.router.iter().map(router).collect(),
            prefixes: self.addresses.iter().filter(|there| !there.leased).map(prefix).collect(),
            on_link: self.addresses.iter().filter(|there| there.on_link).map(on_link).collect(),
            routes: self.routes.iter().map(route).collect(),
            dns: self.dns.servers.iter().map(|server| (*server, as_long)).collect(),
            search: self.dns.search.iter().map(|domain| (domain.clone(), as_long)).collect(),
            mtu: self.mtu,
            ..Offer::default()
        }
    }

    /// Whether it is the same as another but for its times, and those are hardly others: what is to be written down anew is
    /// what ends earlier, or what of the time that was written down less than half is left.
    pub fn is_as_good_as(&self, other: &Learned, today: u64) -> bool {
        let timeless = |learned: &Learned| Learned {
            addresses: learned
                .addresses
                .iter()
                .map(|there| LearnedAddress { preferred: None, valid: None, ..*there })
                .collect(),
            router: learned.router.map(|router| LearnedRouter { until: None, ..router }),
            routes: learned.routes.clone(),
            mtu: learned.mtu,
            dns: learned.dns.clone(),
        };
        let ends = |learned: &Learned| -> Vec<Option<u64>> {
            let addresses = learned.addresses.iter().flat_map(|there| [there.preferred, there.valid]);
            addresses.chain(learned.router.map(|router| router.until)).collect()
        };
        let close = |(new, old): (Option<u64>, Option<u64>)| match (new, old) {
            (Some(new), Some(old)) => {
                let left = |until: u64| until.saturating_sub(today);
                new + 5 >= old && left(old) + 5 >= left(new) / 2
            }
            (new, old) => new == old,
        };
        timeless(self) == timeless(other) && ends(self).into_iter().zip(ends(other)).all(close)
    }
}

impl Endpoint {
    /// The addresses that somebody gave it: all but those made of advertised prefixes.
    pub fn given(&self) -> impl Iterator<Item = &IpNet> {
        self.addresses.iter().filter(|net| self.learned_address(net.addr()).is_none())
    }

    /// What is known of an address that was made of an advertised prefix.
    pub fn learned_address(&self, ip: IpAddr) -> Option<&LearnedAddress> {
        let mut learned = self.learned.iter().flat_map(|learned| &learned.addresses);
        learned.find(|there| IpAddr::V6(there.ip) == ip)
    }

    /// The same endpoint with what routers advertise now. What it had and has no longer must not stay on its link.
    #[must_use]
    pub fn with_learned(self, learned: Option<Box<Learned>>) -> Self {
        let mut addresses: Vec<IpNet> = self.given().copied().collect();
        addresses.extend(learned.iter().flat_map(|learned| &learned.addresses).map(LearnedAddress::net));
        let gone = self.addresses.iter().filter(|net| !addresses.contains(net));
        let mut lost: Vec<IpNet> = gone.chain(&self.lost).copied().collect();
        lost.retain(|net| !addresses.contains(net));
        let mut v6 = 0;
        lost.retain(|net| {
            v6 += usize::from(net.addr().is_ipv6());
            net.addr().is_ipv4() || v6 <= MOST_LOST
        });
        Endpoint { addresses, learned, lost, ..self }
    }

    /// The same endpoint off the link: what routers advertise is learnt anew when it comes back.
    #[must_use]
    pub fn without_learned(self) -> Self {
        let addresses = self.given().copied().collect();
        let lost = self.lost.iter().copied().filter(|net| net.addr().is_ipv4()).collect();
        Endpoint { addresses, learned: None, lost, ..self }
    }
}

impl Seed {
    /// The addresses of a name in a prefix, by RFC 7217: the seed is the secret, the network is the `Network_ID`, the name stands for the
    /// interface, and each address further on is for one more that turned out to be another's. So a name has the same address
    /// wherever its container runs anew, and it tells nobody in another network whose it is.
    pub fn addresses(
        &self,
        scope: &Scope,
        name: &EndpointName,
        prefix: Ipv6Net,
    ) -> impl Iterator<Item = Ipv6Addr> {
        let network = u128::from(prefix.network()) & !u128::from(u64::MAX);
        let made = (0..=u8::MAX).map(move |counter| self.interface_id(scope, name, prefix, counter));
        made.filter(|id| !is_reserved(*id))
            .take(TRIES)
            .map(move |id| Ipv6Addr::from(network | u128::from(id)))
    }
}

impl State {
    /// What an endpoint of a name has of what the routers of its link offer. It keeps what it has; of a new prefix it gets the address that
    /// the name had in it before, or the first that is nobody's. Of a deprecated prefix no new address is made (RFC 4862, 5.5.4).
    pub fn learn(
        &self,
        network: &Network,
        name: &EndpointName,
        offer: &Offer,
        lease: Option<&Held>,
        known: &Known<'_>,
        at: Moment,
    ) -> Option<Box<Learned>> {
        if !network.follows_routers() {
            return None;
        }
        let scope = State::scope(network);
        let key = (network.name.clone(), name.clone());
        let before = self.endpoints.get(&key);
        let has: Vec<&LearnedAddress> = before
            .and_then(|endpoint| endpoint.learned.as_ref())
            .into_iter()
            .flat_map(|learned| learned.addresses.iter().filter(|there| !there.leased))
            .collect();
        let remembered = self.identities.get(&(scope.clone(), name.clone()));
        let remembered = remembered.map_or(&[][..], |identity| &identity.made);
        let is_free = |ip: &Ipv6Addr| {
            let ip = IpAddr::V6(*ip);
            let others =
                self.holder(ip).is_some_and(|holder| (&holder.network, &holder.name) != (&key.0, &key.1));
            !others && !known.host.has_address(ip) && !known.answered.contains_key(&ip)
        };
        let of_prefixes = offer.prefixes.iter().filter(|_| network.makes_addresses());
        let addresses = of_prefixes.filter_map(|prefix| {
            let made: Vec<Ipv6Addr> = self.seed.addresses(&scope, name, prefix.net).collect();
            let preferred = prefix.preferred.holds(at.now);
            // Whatever name it was made of: a container that is renamed keeps its address.
            let kept = has.iter().find(|there| there.prefix == prefix.net).map(|there| &there.ip);
            let known = || remembered.iter().find(|ip| prefix.net.contains(*ip) && is_free(ip));
            let next = || made.iter().find(|ip| is_free(ip) && !self.has_made(&scope, name, **ip));
            let new = || known().or_else(next).filter(|_| preferred);
            Some(LearnedAddress {
                ip: *kept.or_else(new)?,
                prefix: prefix.net,
                on_link: prefix.on_link,
                leased: false,
                deprecated: !preferred,
                preferred: at.written(prefix.preferred),
                valid: at.written(prefix.valid),
            })
        });
        let addresses: Vec<LearnedAddress> =
            addresses.chain(lease.and_then(|held| LearnedAddress::leased(held, offer, at))).collect();
        if addresses.is_empty() {
            return None;
        }
        let router = offer.routers.first();
        let router = router.map(|there| LearnedRouter { ip: there.ip, until: at.written(there.until) });
        let mut ways: Vec<(Ipv6Net, Ipv6Addr)> =
            offer.routes.iter().map(|route| (route.to, route.via)).collect();
        // The one to take comes first.
        ways.dedup_by_key(|(to, _)| *to);
        // What is on the link is reached on the link.
        ways.retain(|(to, _)| !addresses.iter().any(|there| there.on_link && there.prefix == *to));
        let (mtu, dns) = (offer.mtu, resolv::names(offer));
        Some(Box::new(Learned { addresses, router, routes: ways, mtu, dns }))
    }

    /// The addresses that a name will most likely make of what is offered, to be looked for ahead.
    pub fn likely<'a>(
        &'a self,
        network: &Network,
        name: &'a EndpointName,
        offer: &Offer,
        at: Moment,
    ) -> Vec<IpAddr> {
        let scope = State::scope(network);
        let remembered = self.identities.get(&(scope.clone(), name.clone()));
        let prefixes = offer
            .prefixes
            .iter()
            .filter(|prefix| network.makes_addresses() && prefix.preferred.holds(at.now));
        let likely = prefixes.filter_map(|prefix| {
            let made: Vec<Ipv6Addr> = self.seed.addresses(&scope, name, prefix.net).collect();
            let remembered = remembered.map_or(&[][..], |identity| &identity.made);
            let had = remembered.iter().find(|ip| prefix.net.contains(*ip));
            let next = || made.iter().find(|ip| !self.has_made(&scope, name, **ip));
            had.or_else(next).copied().map(IpAddr::V6)
        });
        likely.collect()
    }

    /// Whether another name has made an address of a prefix: a container that was called so then has it again when it comes back.
    fn has_made(&self, scope: &Scope, name: &EndpointName, ip: Ipv6Addr) -> bool {
        let others = self.identities.iter().filter(|((of, other), _)| (of, other) != (scope, name));
        others.into_iter().any(|(_, identity)| identity.made.contains(&ip))
    }

    /// The addresses that an endpoint's name made of prefixes, its latest first.
    pub(crate) fn made(endpoint: &Endpoint, before: &[Ipv6Addr]) -> Vec<Ipv6Addr> {
        let learned = endpoint.learned.iter().flat_map(|learned| &learned.addresses);
        let made = learned.filter(|there| !there.leased).map(|there| there.ip);
        let mut made: Vec<Ipv6Addr> = made.collect();
        let prefix = |ip: &Ipv6Addr| u128::from(*ip) >> 64;
        let others = before.iter().filter(|ip| !made.iter().any(|new| prefix(new) == prefix(ip)));
        let others: Vec<Ipv6Addr> = others.copied().collect();
        made.extend(others);
        made.truncate(MOST_REMEMBERED);
        made
    }
}

#[cfg(test)]
pub(crate) mod tests;
