//! What an endpoint has of what the LAN's routers advertise.

use std::net::Ipv6Addr;

use ashore_wire::dhcp6::{Dns, Held};
use ashore_wire::ndp::Preference;
use ashore_wire::slaac::{Lasting, Offer, OnLink, Prefix, Route, Router};
use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::model::moment::Moment;

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

impl LearnedAddress {
    /// The address of a lease. A server says nothing of prefixes: what is on the link, routers do.
    /// It ends by the clock that the lease runs by: the time of day may be set meanwhile.
    pub(crate) fn leased(held: &Held, offer: &Offer, at: Moment) -> Option<Self> {
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
