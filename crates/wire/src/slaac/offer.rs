//! What the routers of a link offer at a given moment, and until when.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::Ipv6Net;

use super::interface_id::is_reserved;
use crate::Boottime;
use crate::domain::DomainName;
use crate::ndp::Preference;

/// Until when something is valid. Without an end, it is valid for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasting(pub Option<Boottime>);

impl Lasting {
    /// A lifetime of `seconds` that begins at `now`. [`u32::MAX`] means for ever (RFC 4861, 4.6.2).
    pub(super) fn of(seconds: u32, now: Boottime) -> Self {
        Lasting((seconds != u32::MAX).then(|| now + Duration::from_secs(seconds.into())))
    }

    /// Whether it is still valid at time `now`.
    pub fn holds(self, now: Boottime) -> bool {
        self.0.is_none_or(|end| now < end)
    }

    /// How much of it is left. `None` if it is valid for ever.
    pub fn left(self, now: Boottime) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(now))
    }
}

/// A default router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Router {
    /// The router's link-local address.
    pub ip: Ipv6Addr,
    /// The preference among several routers.
    pub preference: Preference,
    /// Until when it is a default router.
    pub until: Lasting,
}

/// A prefix from which addresses are formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The prefix, which has 64 bits.
    pub net: Ipv6Net,
    /// Whether its addresses are on the link.
    pub on_link: bool,
    /// Until when addresses from it are used for new connections.
    pub preferred: Lasting,
    /// Until when addresses from it are valid.
    pub valid: Lasting,
}

/// A prefix whose addresses are reached directly on the link, no matter how they were assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnLink {
    /// The prefix, of any length.
    pub net: Ipv6Net,
    /// Until when it is on the link.
    pub until: Lasting,
}

/// A route through a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub to: Ipv6Net,
    /// The link-local address of the router.
    pub via: Ipv6Addr,
    /// The preference among several routes.
    pub preference: Preference,
    /// Until when the route is valid.
    pub until: Lasting,
}

/// What the routers of a link offer at a given moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Default routers, the one to use first.
    pub routers: Vec<Router>,
    /// Prefixes from which addresses are formed, including deprecated ones.
    pub prefixes: Vec<Prefix>,
    /// On-link prefixes, the longest first.
    pub on_link: Vec<OnLink>,
    /// Routes other than the default route, ordered by destination, then by preference.
    pub routes: Vec<Route>,
    /// The addresses that routers tell as their own.
    pub routers_own: Vec<Ipv6Addr>,
    /// DNS servers (RFC 8106), the one to ask first, with their ends.
    pub dns: Vec<(Ipv6Addr, Lasting)>,
    /// Search domains, with their ends.
    pub search: Vec<(DomainName, Lasting)>,
    /// The link's IPv6 MTU in bytes, as routers advertise it. If they differ, it is the smallest one. Values
    /// below IPv6's minimum are ignored.
    pub mtu: Option<u32>,
    /// Prefixes from which addresses should be formed but are not, because they do not have 64 bits, as an
    /// interface identifier requires (RFC 4862, 5.5.3 (d); RFC 7136).
    pub unfit: Vec<Ipv6Net>,
    /// Whether a router says that addresses are available by DHCPv6 (flag M).
    pub managed: bool,
    /// Whether a router says that other configuration is available by DHCPv6 (flag O).
    pub other: bool,
}

impl Offer {
    /// The on-link prefix that contains `ip`. Returns `None` if there is none.
    pub fn on_link(&self, ip: Ipv6Addr) -> Option<Ipv6Net> {
        self.on_link.iter().map(|there| there.net).find(|net| net.contains(&ip))
    }

    /// Whether an address is that of routers: one that a router tells as its own, or a reserved anycast
    /// address of a prefix, such as the subnet-router one (RFC 4291, 2.6.1; RFC 2526).
    pub fn is_routers(&self, ip: Ipv6Addr) -> bool {
        let nets = self.on_link.iter().map(|there| there.net);
        let mut nets = nets.chain(self.prefixes.iter().map(|there| there.net));
        let is_anycast = |net: Ipv6Net| match net.prefix_len() {
            64 => net.contains(&ip) && is_reserved(u128::from(ip) as u64),
            length => length < 127 && net.network() == ip,
        };
        self.routers_own.contains(&ip) || nets.any(is_anycast)
    }

    /// The moments at which a part of the offer ends.
    pub(super) fn ends(&self) -> impl Iterator<Item = Boottime> {
        let routers = self.routers.iter().map(|router| router.until);
        let prefixes = self.prefixes.iter().flat_map(|prefix| [prefix.preferred, prefix.valid]);
        let on_link = self.on_link.iter().map(|there| there.until);
        let ways = self.routes.iter().map(|route| route.until);
        let dns = self.dns.iter().map(|there| there.1).chain(self.search.iter().map(|there| there.1));
        routers.chain(prefixes).chain(on_link).chain(ways).chain(dns).filter_map(|lasting| lasting.0)
    }

    /// Whether the caller must be told about this offer, after it was told about the offer `told` at the time
    /// `then`. Every advertisement extends the lifetimes. That alone counts only once less than half of the
    /// new lifetime is left of the one that was told.
    pub(super) fn differs(&self, now: Boottime, (told, then): &(Offer, Boottime)) -> bool {
        let shape = |offer: &Offer, at: Boottime| {
            let routers: Vec<_> = offer.routers.iter().map(|router| (router.ip, router.preference)).collect();
            let prefix = |prefix: &Prefix| (prefix.net, prefix.on_link, prefix.preferred.holds(at));
            let prefixes: Vec<_> = offer.prefixes.iter().map(prefix).collect();
            let on_link: Vec<_> = offer.on_link.iter().map(|there| there.net).collect();
            let ways: Vec<_> = offer.routes.iter().map(|route| (route.to, route.via)).collect();
            let dns: Vec<_> = offer.dns.iter().map(|there| there.0).collect();
            let search: Vec<_> = offer.search.iter().map(|there| there.0.clone()).collect();
            (routers, prefixes, on_link, ways, dns, search, offer.mtu, [offer.managed, offer.other])
        };
        if shape(self, now) != shape(told, *then) {
            return true;
        }
        let ends = |offer: &Offer| -> Vec<Lasting> {
            let routers = offer.routers.iter().map(|router| router.until);
            routers.chain(offer.prefixes.iter().flat_map(|prefix| [prefix.preferred, prefix.valid])).collect()
        };
        ends(self).into_iter().zip(ends(told)).any(|(new, old)| match (new.left(now), old.left(now)) {
            (None, None) => false,
            (None, Some(_)) | (Some(_), None) => true,
            (Some(new), Some(old)) => new + Duration::from_secs(1) < old || old < new / 2,
        })
    }
}
