//! One link and its routers, without I/O and without a clock.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;

use super::bounded::{Bounded, MOST};
use super::offer::{Lasting, Offer, OnLink, Prefix, Route, Router};
use super::pace::Pace;
use crate::domain::DomainName;
use crate::ipv6::is_host;
use crate::ndp::{PrefixInformation, RouterAdvertisement};
use crate::random::Random;

/// A valid lifetime is not cut below this by an advertisement (RFC 4862, 5.5.3 (e)).
const TWO_HOURS: Duration = Duration::from_secs(2 * 60 * 60);
/// The first pause between solicitations (`IRT`, RFC 7559, 2).
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// The longest pause (`MRT`).
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// How often news are told at once: more than there are in a home where all routers start together.
const NEWS_AT_ONCE: u32 = 12;
/// How much later there is one more. Whoever is told changes every container, which routers that say ever something else could have it do
/// without end.
const NEWS_EVERY: Duration = Duration::from_secs(10);
/// What every link takes that has IPv6 (RFC 8200, 5).
const LEAST_MTU: u32 = 1280;
/// A prefix that is shorter is not believed to be on the link: it is more than any site has, and who says so wants to be spoken to in
/// place of others.
const SHORTEST_ON_LINK: u8 = 32;

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the link's routers to speak ([`router_solicitation`](crate::ndp::router_solicitation)), and ask again.
    Solicit,
    /// The offer is another than before, and ask again. Of one that changes all the time it is told now and then.
    News,
    /// Nothing before this moment; never without one.
    Wait(Option<Instant>),
}

/// One link.
#[derive(Debug, Clone)]
pub struct Link {
    routers: Bounded<Router>,
    prefixes: Bounded<Prefix>,
    direct: Bounded<OnLink>,
    /// Prefixes of other than 64 bits, of which addresses are to be made.
    unfit: Bounded<OnLink>,
    routes: Bounded<Route>,
    dns: Vec<(Ipv6Addr, Lasting)>,
    search: Vec<(DomainName, Lasting)>,
    /// What each router that was heard says of the link as a whole.
    settings: Bounded<Settings>,
    solicit: Option<Solicit>,
    /// When routers were asked last.
    asked: Option<Instant>,
    /// What was told last, and when.
    told: (Offer, Instant),
    /// How often news are told.
    pace: Pace,
    heard: bool,
    random: Random,
}

/// What a router says of DHCPv6 and of packets, until it is none any more.
#[derive(Debug, Clone, Copy)]
struct Settings {
    router: Ipv6Addr,
    managed: bool,
    other: bool,
    mtu: Option<u32>,
    until: Lasting,
}

/// Solicitations until a router speaks.
#[derive(Debug, Clone, Copy)]
struct Solicit {
    next: Instant,
    pause: Duration,
}

impl Link {
    /// Begins to ask for routers. `random` is any number: it spreads the questions of machines that start together.
    pub fn new(now: Instant, random: u64) -> Self {
        Link {
            routers: Bounded::new(),
            prefixes: Bounded::new(),
            direct: Bounded::new(),
            unfit: Bounded::new(),
            routes: Bounded::new(),
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

    /// What was known before the program started, which is believed until it ends or a router says otherwise. It is no news.
    pub fn recall(&mut self, known: Offer, now: Instant) {
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

    /// Whether a router has spoken since it began to ask.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// The link has come back, perhaps to other routers.
    pub fn link_up(&mut self, now: Instant) {
        self.heard = false;
        self.solicit = Some(Solicit::at(now));
    }

    /// Takes in what a router says.
    pub fn receive(&mut self, said: &RouterAdvertisement, now: Instant) {
        self.heard = true;
        let (lifetime, preference) = said.as_default();
        let of_router = |there: &Router| there.ip == said.router;
        if lifetime == 0 {
            self.routers.remove(of_router);
        } else {
            let until = Lasting::of(lifetime, now);
            self.routers.take(Router { ip: said.router, preference, until }, of_router);
            // Only a default router ends the search for one (RFC 7559, 2.1).
            self.solicit = None;
        }
        self.take_settings(said, now);
        for prefix in &said.prefixes {
            self.take_on_link(prefix, now);
            self.take_prefix(prefix, now);
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

    /// They have no lifetime of their own: they last as long as the router, or that of what else it says if it is no default router.
    fn take_settings(&mut self, said: &RouterAdvertisement, now: Instant) {
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

    /// RFC 4861, 6.3.4: whoever says nothing of it says nothing against it.
    fn take_on_link(&mut self, said: &PrefixInformation, now: Instant) {
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

    /// RFC 4862, 5.5.3.
    fn take_prefix(&mut self, said: &PrefixInformation, now: Instant) {
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
            // Whoever says nothing of it says nothing against it (RFC 4861, 6.3.4).
            Some(there) => {
                let valid = not_cut_short(there.valid, valid, now);
                Prefix { on_link: there.on_link || said.on_link, valid, ..new }
            }
            None if said.valid == 0 => return,
            None => new,
        };
        self.prefixes.take(prefix, same);
    }

    /// What there is at a moment.
    pub fn offer(&self, now: Instant) -> Offer {
        let mut routers: Vec<Router> = self.routers.iter().copied().collect();
        routers.retain(|router| router.until.holds(now));
        // The one that was there first stays first: sorting keeps the order of equals, so that of two routers neither takes the
        // other's place with every word.
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
        let mut ways: Vec<Route> = self.routes.iter().copied().collect();
        ways.retain(|route| route.until.holds(now));
        ways.sort_by_key(|route| (route.to, std::cmp::Reverse(route.preference), route.via));
        let (mut dns, mut search) = (self.dns.clone(), self.search.clone());
        dns.retain(|there| there.1.holds(now));
        search.retain(|there| there.1.holds(now));
        let settings = || self.settings.iter().filter(|there| there.until.holds(now));
        let managed = settings().any(|there| there.managed);
        let other = settings().any(|there| there.other);
        let mtu = settings().filter_map(|there| there.mtu).min();
        let unfit = self.unfit.iter().filter(|there| there.until.holds(now)).map(|there| there.net).collect();
        Offer { routers, prefixes, on_link, routes: ways, dns, search, mtu, unfit, managed, other }
    }

    /// What to do at a moment.
    pub fn poll(&mut self, now: Instant) -> Action {
        self.prefixes.retain(|prefix| prefix.valid.holds(now));
        self.direct.retain(|there| there.until.holds(now));
        self.unfit.retain(|there| there.until.holds(now));
        self.routes.retain(|route| route.until.holds(now));
        self.dns.retain(|there| there.1.holds(now));
        self.search.retain(|there| there.1.holds(now));
        self.settings.retain(|there| there.until.holds(now));
        let had_router = !self.routers.is_empty();
        self.routers.retain(|router| router.until.holds(now));
        if had_router && self.routers.is_empty() && self.solicit.is_none() {
            // One that comes and goes with every word is not asked as often.
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
            // Between 0.9 and 1.1 of the pause, which doubles (RFC 8415, 15).
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
    fn at(now: Instant) -> Self {
        Solicit { next: now, pause: FIRST_PAUSE }
    }
}

/// How long a prefix is valid after another word of it: as it says, or as long as before, but for two hours (RFC 4862, 5.5.3 (e)).
fn not_cut_short(before: Lasting, said: Lasting, now: Instant) -> Lasting {
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

/// Takes in what a router says of how names are looked up (RFC 8106, 5.3.1). What is known stays in its place, or two routers would take
/// turns in being asked first.
fn take_names<'a, Name: Clone + PartialEq + 'a>(
    known: &mut Vec<(Name, Lasting)>,
    said: impl Iterator<Item = &'a (Name, u32)>,
    now: Instant,
) {
    for (name, lifetime) in said {
        let until = Lasting::of(*lifetime, now);
        if let Some(there) = known.iter_mut().find(|there| there.0 == *name) {
            there.1 = until;
            continue;
        }
        // Who is known already and ends first makes room.
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
    // A lifetime of zero takes it back.
    known.retain(|there| there.1.holds(now));
}

fn recall<Name: PartialEq>(known: &mut Vec<(Name, Lasting)>, before: Vec<(Name, Lasting)>, now: Instant) {
    for name in before.into_iter().filter(|there| there.1.holds(now)) {
        if known.iter().all(|there| there.0 != name.0) && known.len() < MOST {
            known.push(name);
        }
    }
}

/// Whether a prefix is no LAN's: groups, the loopback address, and what every link has of its own.
fn unfit(net: &Ipv6Net) -> bool {
    let ip = net.addr();
    ip.is_multicast() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.to_ipv4_mapped().is_some()
}

#[cfg(test)]
mod tests;
