//! What the routers of a link have to offer at a moment, and until when.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;

use crate::domain::DomainName;
use crate::ndp::Preference;

/// Until when something holds; without an end it is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasting(pub Option<Instant>);

impl Lasting {
    /// So many seconds from a moment on; [`u32::MAX`] is for ever (RFC 4861, 4.6.2).
    pub(super) fn of(seconds: u32, now: Instant) -> Self {
        Lasting((seconds != u32::MAX).then(|| now + Duration::from_secs(seconds.into())))
    }

    /// Whether it holds at a moment.
    pub fn holds(self, now: Instant) -> bool {
        self.0.is_none_or(|end| now < end)
    }

    /// How much is left of it; none if it is for ever.
    pub fn left(self, now: Instant) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(now))
    }
}

/// A default router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Router {
    /// Its link-local address.
    pub ip: Ipv6Addr,
    /// Which of several is taken.
    pub preference: Preference,
    /// Until when it is one.
    pub until: Lasting,
}

/// A prefix of which addresses are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The prefix, of 64 bits.
    pub net: Ipv6Net,
    /// Whether its addresses are on the link.
    pub on_link: bool,
    /// Until when something new is begun from its addresses.
    pub preferred: Lasting,
    /// Until when its addresses last.
    pub valid: Lasting,
}

/// A prefix whose addresses are reached on the link itself, wherever they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnLink {
    /// The prefix, of any length.
    pub net: Ipv6Net,
    /// Until when that is so.
    pub until: Lasting,
}

/// A route by a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: Ipv6Net,
    /// By which router.
    pub via: Ipv6Addr,
    /// Which of several is taken.
    pub preference: Preference,
    /// Until when.
    pub until: Lasting,
}

/// What the routers of a link have to offer at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Default routers, the one to take first.
    pub routers: Vec<Router>,
    /// Prefixes of which addresses are made, deprecated ones among them.
    pub prefixes: Vec<Prefix>,
    /// Prefixes whose addresses are on the link, the longest first.
    pub on_link: Vec<OnLink>,
    /// Routes to elsewhere, the one to take first.
    pub routes: Vec<Route>,
    /// Name servers (RFC 8106), the one to ask first, and until when.
    pub dns: Vec<(Ipv6Addr, Lasting)>,
    /// Domains in which names are looked for, and until when.
    pub search: Vec<(DomainName, Lasting)>,
    /// The most bytes that an IPv6 packet on the link has, as routers say: of several the least, and none below what IPv6 needs.
    pub mtu: Option<u32>,
    /// Prefixes that addresses are to be made of, and that are not of 64 bits: an interface identifier has 64 (RFC 4862, 5.5.3 (d);
    /// RFC 7136), so none is.
    pub unfit: Vec<Ipv6Net>,
    /// Whether a router says that addresses are to be had by DHCPv6 (M).
    pub managed: bool,
    /// Whether a router says that other settings are (O).
    pub other: bool,
}

impl Offer {
    /// The prefix on the link to which an address belongs.
    pub fn on_link(&self, ip: Ipv6Addr) -> Option<Ipv6Net> {
        self.on_link.iter().map(|there| there.net).find(|net| net.contains(&ip))
    }

    /// The moments at which something of it ends.
    pub(super) fn ends(&self) -> impl Iterator<Item = Instant> {
        let routers = self.routers.iter().map(|router| router.until);
        let prefixes = self.prefixes.iter().flat_map(|prefix| [prefix.preferred, prefix.valid]);
        let on_link = self.on_link.iter().map(|there| there.until);
        let ways = self.routes.iter().map(|route| route.until);
        let dns = self.dns.iter().map(|there| there.1).chain(self.search.iter().map(|there| there.1));
        routers.chain(prefixes).chain(on_link).chain(ways).chain(dns).filter_map(|lasting| lasting.0)
    }

    /// Whether somebody who was told of another offer should know. That everything lasts on, as every advertisement says, is
    /// told when less than half is left of what was told.
    pub(super) fn differs(&self, now: Instant, (told, then): &(Offer, Instant)) -> bool {
        let shape = |offer: &Offer, at: Instant| {
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
