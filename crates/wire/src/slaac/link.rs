//! The state of one link and its routers, without I/O and without a clock.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::Ipv6Net;

use super::bounded::{Bounded, MOST};
use super::offer::{Lasting, Offer, OnLink, Prefix, Route, Router};
use super::pace::Pace;
use crate::Boottime;
use crate::domain::DomainName;
use crate::ipv6::is_host;
use crate::ndp::{PrefixInformation, RouterAdvertisement};
use crate::random::Random;

/// An advertisement cannot cut a valid lifetime below this (RFC 4862, 5.5.3 (e)).
const TWO_HOURS: Duration = Duration::from_secs(2 * 60 * 60);
/// The first pause between router solicitations (`IRT`; RFC 7559, 2).
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// The longest pause between router solicitations (`MRT`).
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// How many times news are reported without a pause. It is more than a home needs when all its routers start
/// together.
const NEWS_AT_ONCE: u32 = 12;
/// The interval after which news are reported once more. The caller changes every container on news, so
/// routers that keep changing their advertisements could otherwise keep it busy without end.
const NEWS_EVERY: Duration = Duration::from_secs(10);
/// The MTU that every link with IPv6 supports, in bytes (RFC 8200, 5).
const LEAST_MTU: u32 = 1280;
/// Shorter prefixes are not accepted as on-link. They are larger than any site's, and a host that advertises
/// one wants to attract packets meant for other hosts.
const SHORTEST_ON_LINK: u8 = 32;

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a router solicitation ([`router_solicitation`](crate::ndp::router_solicitation)), and poll again.
    Solicit,
    /// Read the offer, which has changed, and poll again. If the offer keeps changing, this is reported only
    /// now and then.
    News,
    /// Do nothing before this moment, or without limit if `None`, unless an advertisement comes.
    Wait(Option<Boottime>),
}

/// The state of one link.
#[derive(Debug, Clone)]
pub struct Link {
    routers: Bounded<Router>,
    prefixes: Bounded<Prefix>,
    direct: Bounded<OnLink>,
    /// Prefixes from which addresses should be formed but that do not have 64 bits.
    unfit: Bounded<OnLink>,
    routes: Bounded<Route>,
    /// The addresses that routers tell as their own.
    routers_own: Bounded<(Ipv6Addr, Lasting)>,
    dns: Vec<(Ipv6Addr, Lasting)>,
    search: Vec<(DomainName, Lasting)>,
    /// What each router says about the link as a whole.
    settings: Bounded<Settings>,
    solicit: Option<Solicit>,
    /// When the last router solicitation was sent.
    asked: Option<Boottime>,
    /// The offer that was last reported, and when.
    told: (Offer, Boottime),
    /// How often news may be reported.
    pace: Pace,
    heard: bool,
    random: Random,
}

/// The DHCPv6 flags and the MTU that a router advertises, and until when they are valid.
#[derive(Debug, Clone, Copy)]
struct Settings {
    router: Ipv6Addr,
    managed: bool,
    other: bool,
    mtu: Option<u32>,
    until: Lasting,
}

/// The solicitations that are sent until a router answers.
#[derive(Debug, Clone, Copy)]
struct Solicit {
    next: Boottime,
    pause: Duration,
}

impl Link {
    /// Begins to solicit routers. `random` is any number; it spreads the solicitations of hosts that start
    /// together.
    pub fn new(now: Boottime, random: u64) -> Self {
        Link {
            routers: Bounded::new(),
            prefixes: Bounded::new(),
            direct: Bounded::new(),
            unfit: Bounded::new(),
            routes: Bounded::new(),
            routers_own: Bounded::new(),
            dns: Vec::new(),
            search: Vec::new(),
            settings: Bounded::new(),
            solicit: Some(Solicit::at(now)),
            asked: None,
            told: (Offer::default(), now),
            pace: Pace::new(NEWS_AT_ONCE, NEWS_EVERY, now),
            heard: false,
            random: Random(random),
        }
    }

    /// Restores what was known before the program started. It stays valid until it ends or a router says
    /// otherwise. This is not reported as news.
    pub fn recall(&mut self, known: Offer, now: Boottime) {
        for prefix in known.prefixes.into_iter().filter(|prefix| prefix.valid.holds(now)) {
            self.prefixes.recall(prefix, |there| there.net == prefix.net);
        }
        for on_link in known.on_link.into_iter().filter(|there| there.until.holds(now)) {
            self.direct.recall(on_link, |there| there.net == on_link.net);
        }
        for router in known.routers.into_iter().filter(|router| router.until.holds(now)) {
            self.routers.recall(router, |there| there.ip == router.ip);
        }
        for route in known.routes.into_iter().filter(|route| route.until.holds(now)) {
            self.routes.recall(route, |there| there.to == route.to && there.via == route.via);
        }
        if let Some(router) = self.routers.iter().next().filter(|_| known.mtu.is_some()) {
            let (router, until) = (router.ip, router.until);
            let settings = Settings { router, managed: false, other: false, mtu: known.mtu, until };
            self.settings.recall(settings, |there| there.router == router);
        }
        recall(&mut self.dns, known.dns, now);
        recall(&mut self.search, known.search, now);
        self.told = (self.offer(now), now);
    }

    /// Whether an advertisement came since the link was created or last came up.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// Reports that the link has a carrier again, perhaps with other routers.
    pub fn link_up(&mut self, now: Boottime) {
        self.heard = false;
        self.solicit = Some(Solicit::at(now));
    }

    /// Processes a router advertisement.
    pub fn receive(&mut self, said: &RouterAdvertisement, now: Boottime) {
        self.heard = true;
        let (lifetime, preference) = said.as_default();
        let of_router = |there: &Router| there.ip == said.router;
        if lifetime == 0 {
            self.routers.remove(of_router);
        } else {
            let until = Lasting::of(lifetime, now);
            self.routers.take(Router { ip: said.router, preference, until }, of_router);
            // Only a default router ends the solicitations (RFC 7559, 2.1).
            self.solicit = None;
        }
        self.take_settings(said, now);
        for prefix in &said.prefixes {
            self.take_on_link(prefix, now);
            self.take_prefix(prefix, now);
            if let Some(ip) = prefix.router.filter(|ip| is_host(*ip)) {
                // A lifetime of zero ends it at once.
                self.routers_own.take((ip, Lasting::of(prefix.valid, now)), |there| there.0 == ip);
            }
        }
        take_names(&mut self.dns, said.dns.iter().filter(|(ip, _)| is_host(*ip)), now);
        take_names(&mut self.search, said.search.iter(), now);
        for route in &said.routes {
            if route.is_default() || unfit(&route.to) {
                continue;
            }
            let same = |there: &Route| there.to == route.to && there.via == said.router;
            if route.lifetime == 0 {
                self.routes.remove(same);
            } else {
                let until = Lasting::of(route.lifetime, now);
                let (to, via, preference) = (route.to, said.router, route.preference);
                self.routes.take(Route { to, via, preference, until }, same);
            }
        }
    }

    /// Takes over the flags and the MTU. They have no lifetime of their own. They last as long as the default
    /// router, or, if the router is none, as long as the longest of its prefixes and routes.
    fn take_settings(&mut self, said: &RouterAdvertisement, now: Boottime) {
        let of_router = |there: &Settings| there.router == said.router;
        let mtu = said.mtu.filter(|mtu| *mtu >= LEAST_MTU);
        if !said.managed && !said.other && mtu.is_none() {
            self.settings.remove(of_router);
            return;
        }
        let prefixes = said.prefixes.iter().map(|prefix| prefix.valid);
        let else_said = prefixes.chain(said.routes.iter().map(|route| route.lifetime)).max().unwrap_or(0);
        let (lifetime, _) = said.as_default();
        let lifetime = if lifetime > 0 { lifetime } else { else_said };
        let (router, until) = (said.router, Lasting::of(lifetime, now));
        let settings = Settings { router, managed: said.managed, other: said.other, mtu, until };
        self.settings.take(settings, of_router);
    }

    /// Takes over an on-link prefix. An advertisement without the flag L does not revoke an earlier one with
    /// it (RFC 4861, 6.3.4).
    fn take_on_link(&mut self, said: &PrefixInformation, now: Boottime) {
        if !said.on_link || said.net.prefix_len() < SHORTEST_ON_LINK || unfit(&said.net) {
            return;
        }
        let same = |there: &OnLink| there.net == said.net;
        if said.valid == 0 {
            self.direct.remove(same);
        } else {
            self.direct.take(OnLink { net: said.net, until: Lasting::of(said.valid, now) }, same);
        }
    }

    /// Takes over a prefix for addresses (RFC 4862, 5.5.3).
    fn take_prefix(&mut self, said: &PrefixInformation, now: Boottime) {
        if !said.autonomous || said.preferred > said.valid || unfit(&said.net) {
            return;
        }
        if said.net.prefix_len() != 64 {
            let same = |there: &OnLink| there.net == said.net;
            self.unfit.take(OnLink { net: said.net, until: Lasting::of(said.valid, now) }, same);
            return;
        }
        let (preferred, valid) = (Lasting::of(said.preferred, now), Lasting::of(said.valid, now));
        let same = |there: &Prefix| there.net == said.net;
        let new = Prefix { net: said.net, on_link: said.on_link, preferred, valid };
        let prefix = match self.prefixes.iter().find(|there| same(there)) {
            // An advertisement without the flag L does not revoke an earlier one with it (RFC 4861, 6.3.4).
            Some(there) => {
                let valid = not_cut_short(there.valid, valid, now);
                Prefix { on_link: there.on_link || said.on_link, valid, ..new }
            }
            None if said.valid == 0 => return,
            None => new,
        };
        self.prefixes.take(prefix, same);
    }

    /// The offer at time `now`.
    pub fn offer(&self, now: Boottime) -> Offer {
        let mut routers: Vec<Router> = self.routers.iter().copied().collect();
        routers.retain(|router| router.until.holds(now));
        // Of routers with the same preference, the one that was first stays first. Sorting keeps the order of
        // equals, so two routers do not swap places with every advertisement.
        routers.sort_by_key(|router| {
            let before = self.told.0.routers.iter().position(|told| told.ip == router.ip);
            (std::cmp::Reverse(router.preference), before.unwrap_or(usize::MAX))
        });
        let mut prefixes: Vec<Prefix> = self.prefixes.iter().copied().collect();
        prefixes.retain(|prefix| prefix.valid.holds(now));
        prefixes.sort_by_key(|prefix| prefix.net);
        let mut on_link: Vec<OnLink> = self.direct.iter().copied().collect();
        on_link.retain(|there| there.until.holds(now));
        on_link.sort_by_key(|there| (std::cmp::Reverse(there.net.prefix_len()), there.net));
        let mut told_routes: Vec<Route> = self.routes.iter().copied().collect();
        told_routes.retain(|route| route.until.holds(now));
        told_routes.sort_by_key(|route| (route.to, std::cmp::Reverse(route.preference), route.via));
        let (mut dns, mut search) = (self.dns.clone(), self.search.clone());
        dns.retain(|there| there.1.holds(now));
        search.retain(|there| there.1.holds(now));
        let settings = || self.settings.iter().filter(|there| there.until.holds(now));
        let managed = settings().any(|there| there.managed);
        let other = settings().any(|there| there.other);
        let mtu = settings().filter_map(|there| there.mtu).min();
        let unfit = self.unfit.iter().filter(|there| there.until.holds(now)).map(|there| there.net).collect();
        let routers_own =
            self.routers_own.iter().filter(|there| there.1.holds(now)).map(|there| there.0).collect();
        Offer {
            routers,
            prefixes,
            on_link,
            routes: told_routes,
            routers_own,
            dns,
            search,
            mtu,
            unfit,
            managed,
            other,
        }
    }

    /// Returns what to do at time `now`.
    pub fn poll(&mut self, now: Boottime) -> Action {
        self.prefixes.retain(|prefix| prefix.valid.holds(now));
        self.direct.retain(|there| there.until.holds(now));
        self.unfit.retain(|there| there.until.holds(now));
        self.routes.retain(|route| route.until.holds(now));
        self.routers_own.retain(|there| there.1.holds(now));
        self.dns.retain(|there| there.1.holds(now));
        self.search.retain(|there| there.1.holds(now));
        self.settings.retain(|there| there.until.holds(now));
        let had_router = !self.routers.is_empty();
        self.routers.retain(|router| router.until.holds(now));
        if had_router && self.routers.is_empty() && self.solicit.is_none() {
            // A router that appears and disappears with every advertisement does not cause more
            // solicitations.
            let earliest = self.asked.map(|asked| asked + FIRST_PAUSE);
            self.solicit = Some(Solicit::at(earliest.unwrap_or(now).max(now)));
        }
        let offer = self.offer(now);
        let mut news = None;
        if offer.differs(now, &self.told) {
            match self.pace.take(now) {
                Ok(()) => {
                    self.told = (offer, now);
                    return Action::News;
                }
                Err(due) => news = Some(due),
            }
        }
        if let Some(solicit) = &mut self.solicit
            && now >= solicit.next
        {
            // The pause is randomised by a factor from 0.9 to 1.1, and doubles (RFC 8415, 15).
            let (least, most) = (solicit.pause * 9 / 10, solicit.pause * 11 / 10);
            solicit.next = now + self.random.between(least, most);
            solicit.pause = (solicit.pause * 2).min(LONGEST_PAUSE);
            self.asked = Some(now);
            return Action::Solicit;
        }
        let settings = self.settings.iter().filter_map(|there| there.until.0);
        let ends = offer.ends().chain(settings).filter(|end| *end > now);
        Action::Wait(ends.chain(self.solicit.map(|solicit| solicit.next)).chain(news).min())
    }
}

impl Solicit {
    fn at(now: Boottime) -> Self {
        Solicit { next: now, pause: FIRST_PAUSE }
    }
}

/// The valid lifetime of a prefix after a new advertisement: the advertised one or the earlier one. An
/// earlier one above two hours may be cut to two hours, but not below (RFC 4862, 5.5.3 (e)).
fn not_cut_short(before: Lasting, said: Lasting, now: Boottime) -> Lasting {
    let left = before.left(now);
    let longer = match (said.left(now), left) {
        (None, _) => true,
        (Some(said), left) => said > TWO_HOURS || left.is_some_and(|left| said > left),
    };
    match longer {
        true => said,
        false if left.is_none_or(|left| left > TWO_HOURS) => Lasting(Some(now + TWO_HOURS)),
        false => before,
    }
}

/// Takes over DNS servers or search domains (RFC 8106, 5.3.1). A known name keeps its place; otherwise two
/// routers would take turns at being first.
fn take_names<'a, Name: Clone + PartialEq + 'a>(
    known: &mut Vec<(Name, Lasting)>,
    said: impl Iterator<Item = &'a (Name, u32)>,
    now: Boottime,
) {
    for (name, lifetime) in said {
        let until = Lasting::of(*lifetime, now);
        if let Some(there) = known.iter_mut().find(|there| there.0 == *name) {
            there.1 = until;
            continue;
        }
        // If there is no room, the known name that ends first is dropped.
        let ends = |there: &Lasting| there.0.map_or((1, now), |at| (0, at));
        let first = known.iter().enumerate().min_by_key(|(_, there)| ends(&there.1)).map(|(at, _)| at);
        if known.len() >= MOST
            && let Some(first) = first.filter(|at| ends(&known[*at].1) <= ends(&until))
        {
            known.remove(first);
        }
        if known.len() < MOST {
            known.push((name.clone(), until));
        }
    }
    // A lifetime of zero revokes a name.
    known.retain(|there| there.1.holds(now));
}

fn recall<Name: PartialEq>(known: &mut Vec<(Name, Lasting)>, before: Vec<(Name, Lasting)>, now: Boottime) {
    for name in before.into_iter().filter(|there| there.1.holds(now)) {
        if known.iter().all(|there| there.0 != name.0) && known.len() < MOST {
            known.push(name);
        }
    }
}

/// Whether a prefix cannot be that of a LAN: multicast, link-local, unspecified, loopback or IPv4-mapped.
fn unfit(net: &Ipv6Net) -> bool {
    !is_host(net.addr()) || net.addr().is_unicast_link_local()
}

#[cfg(test)]
mod tests;
