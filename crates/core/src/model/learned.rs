//! What an endpoint uses of the LAN's router advertisements.

use std::net::Ipv6Addr;

use ashore_wire::dhcp6::{Dns, Held};
use ashore_wire::ndp::Preference;
use ashore_wire::slaac::{Lasting, Offer, OnLink, Prefix, Route, Router};
use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::model::moment::Moment;

/// What an endpoint uses of the LAN's router advertisements.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// One address made from each prefix, and the address that a DHCPv6 server assigned.
    pub addresses: Vec<LearnedAddress>,
    /// The router of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<LearnedRouter>,
    /// More specific routes, each with the router that is its next hop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<(Ipv6Net, Ipv6Addr)>,
    /// The MTU in bytes that routers advertise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The name servers and search domains.
    #[serde(default, skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
}

/// An address that was made from a prefix, or that a DHCPv6 server assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedAddress {
    /// The address.
    pub ip: Ipv6Addr,
    /// The prefix.
    pub prefix: Ipv6Net,
    /// Whether the prefix is on the link.
    pub on_link: bool,
    /// Whether a DHCPv6 server assigned it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leased: bool,
    /// Whether it is deprecated: no new connections use it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deprecated: bool,
    /// When its preferred lifetime ends, in seconds since 1970. `None` if it never ends.
    pub preferred: Option<u64>,
    /// When its valid lifetime ends, in seconds since 1970. `None` if it never ends.
    pub valid: Option<u64>,
}

/// The router of a default route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedRouter {
    /// Its link-local address.
    pub ip: Ipv6Addr,
    /// When its router lifetime ends, in seconds since 1970. `None` if it never ends.
    pub until: Option<u64>,
}

impl LearnedAddress {
    /// The address of a DHCPv6 lease. Returns `None` if the lease is no longer good. A DHCPv6 server says
    /// nothing about prefixes: routers say which prefixes are on the link. The lifetimes follow the clock
    /// that the lease runs by, because the time of day may be changed meanwhile.
    pub(crate) fn leased(held: &Held, offer: &Offer, at: Moment) -> Option<Self> {
        let (ip, preferred, valid) = (held.ip(), Lasting(held.deprecates()), Lasting(held.expires()));
        let on_link = offer.on_link(ip);
        let prefix = on_link.unwrap_or(Ipv6Net::from(ip));
        let (deprecated, on_link) = (!preferred.holds(at.now), on_link.is_some());
        let (preferred, valid) = (at.written(preferred), at.written(valid));
        let address = LearnedAddress { ip, prefix, on_link, leased: true, deprecated, preferred, valid };
        held.is_good(at.now).then_some(address)
    }

    /// The address as it is set on the link. Its prefix length is that of the prefix if the prefix is on the
    /// link, otherwise 128.
    pub fn net(&self) -> IpNet {
        let length = if self.on_link { self.prefix.prefix_len() } else { 128 };
        IpNet::new(self.ip.into(), length).expect("128 bits fit an IPv6 address")
    }
}

impl Learned {
    /// Returns what was known before the daemon started, which is valid until it expires. The lifetimes of
    /// routes and name servers are not stored: they last as long as the router, or without a router as long
    /// as the addresses.
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

    /// Whether it differs from `other` only in its times, and these are close enough that it need not be
    /// written again. It is written again if something ends more than 5 s earlier than stored, or if the
    /// stored end leaves less than half of the time that is really left.
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
