//! The life of a lease.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::exchange::{self, Exchange, Retry};
use super::lease::{Held, Lease, Part};
use super::request::{self, Outgoing};
use super::{Config, Ignored, Kind, Loss};
use crate::dhcp::AFTER_DECLINE;
use crate::random::Random;

mod receive;

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this, and ask again.
    Send(Outgoing),
    /// Nothing before this moment, if any, unless something is heard.
    Wait(Option<Instant>),
    /// Find out whether anybody has this address (RFC 8415, 18.2.10.1), and say so by [`Client::clear`] or [`Client::taken`]. It
    /// is asked once.
    Probe(Ipv6Addr),
    /// The lease is good: put on the link, or change there, what it says.
    Bound(Held, Change),
    /// The recorded lease may be used, since it has not ended and no server has answered (RFC 8415, 18.2.3). The client goes on
    /// asking.
    Unconfirmed(Held),
    /// The address must be used no longer, and no lease is on record.
    Lost(Loss),
}

/// How a lease became good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its address was not in use before.
    New,
    /// It goes on, and this of it is not as it was.
    Renewed(Vec<Part>),
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has nothing, and pauses.
    Init,
    /// It asks for offers.
    Soliciting,
    /// It has taken one, or has its server renew a lease that the server has forgotten.
    Requesting,
    /// It waits to hear whether the address is free.
    Probing,
    /// It has a lease.
    Bound,
    /// It asks the lease's server to renew it.
    Renewing,
    /// It asks any server to.
    Rebinding,
    /// It asks whether a lease from before still belongs to this link.
    Confirming,
    /// It tells the lease's server that another machine has the address.
    Declining,
    /// It tells the lease's server that it needs it no longer.
    Releasing,
    /// The link is down.
    Down,
    /// It has given its lease back, and does nothing any more.
    Released,
}

/// A lease from the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The lease.
    pub lease: Lease,
    /// How long ago it was obtained, by a clock that nobody has set back; if that is unknown, `Duration::MAX`.
    pub age: Duration,
    /// Whether its address is on the link already.
    pub in_use: bool,
}

#[derive(Debug, Clone)]
enum Phase {
    Init { at: Instant },
    Soliciting { exchange: Exchange, best: Option<Offer> },
    Requesting { exchange: Exchange, offer: Lease },
    Probing { candidate: Held, asked: bool },
    Bound,
    Renewing(Exchange),
    Rebinding(Exchange),
    Confirming { exchange: Exchange, confirm_by: Option<Instant>, asked: bool },
    Declining { exchange: Exchange, lease: Lease, since: Instant },
    Releasing { exchange: Exchange, lease: Lease },
    Down,
    Released,
}

/// What a server offers, and how much it wants to be chosen.
#[derive(Debug, Clone)]
struct Offer {
    lease: Lease,
    preference: u8,
}

/// What is still to be told about the lease that is held.
#[derive(Debug, Clone)]
enum News {
    Bound(Change),
    Unconfirmed,
}

/// One client, for one address of one link.
#[derive(Debug, Clone)]
pub struct Client {
    config: Config,
    random: Random,
    phase: Phase,
    /// The lease that is good, whether or not it has been told of.
    held: Option<Held>,
    /// Whether its address is in use: that it may be has been told.
    in_use: bool,
    news: Option<News>,
    lost: Option<Loss>,
    wish: Option<Ipv6Addr>,
    /// How a SOLICIT is repeated: a server may say how seldom.
    solicit: Retry,
    /// How long it paused after it was refused last, unless it has had a lease since.
    refused: Option<Duration>,
}

impl Client {
    /// A client that has nothing. It asks at once: the RFC's pause of up to a second (18.2.1) is for machines that are switched
    /// on together, and would be added to every start of a container. `random` is any number.
    pub fn new(config: Config, now: Instant, random: u64) -> Self {
        let wish = config.wish;
        Client {
            config,
            random: Random(random),
            phase: Phase::Init { at: now },
            held: None,
            in_use: false,
            news: None,
            lost: None,
            wish,
            solicit: exchange::SOLICIT,
            refused: None,
        }
    }

    /// A client that has a lease from before. If it has ended, its address is a wish.
    pub fn resume(config: Config, recorded: Recorded, now: Instant, random: u64) -> Self {
        let Recorded { lease, age, in_use } = recorded;
        let mut client = Client::new(config, now, random);
        client.wish = Some(lease.address);
        let held = now.checked_sub(age).map(|since| Held { lease, since });
        if let Some(held) = held.filter(|held| held.is_good(now)) {
            (client.held, client.in_use) = (Some(held), in_use);
            client.confirm(now);
        } else if in_use {
            client.lost = Some(Loss::Expired);
        }
        client
    }

    /// Where it is.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Init { .. } => State::Init,
            Phase::Soliciting { .. } => State::Soliciting,
            Phase::Requesting { .. } => State::Requesting,
            Phase::Probing { .. } => State::Probing,
            Phase::Bound => State::Bound,
            Phase::Renewing(_) => State::Renewing,
            Phase::Rebinding(_) => State::Rebinding,
            Phase::Confirming { .. } => State::Confirming,
            Phase::Declining { .. } => State::Declining,
            Phase::Releasing { .. } => State::Releasing,
            Phase::Down => State::Down,
            Phase::Released => State::Released,
        }
    }

    /// The lease, if it is good at this moment. One from the record is so before any server has confirmed it.
    pub fn held(&self, now: Instant) -> Option<&Held> {
        self.held.as_ref().filter(|held| held.is_good(now))
    }

    /// What to do at a moment.
    pub fn poll(&mut self, now: Instant) -> Action {
        self.expire(now);
        // Before a lease is declined or given back, its address is used no longer (RFC 8415, 18.2.7 and 18.2.8).
        if let Some(loss) = self.lost.take() {
            return Action::Lost(loss);
        }
        loop {
            if let Some(action) = self.news().or_else(|| self.due(now)) {
                return action;
            }
        }
    }

    fn news(&mut self) -> Option<Action> {
        let (held, news) = (self.held.clone()?, self.news.take()?);
        self.in_use = true;
        Some(match news {
            News::Bound(change) => Action::Bound(held, change),
            News::Unconfirmed => Action::Unconfirmed(held),
        })
    }

    /// Gives up what has ended.
    fn expire(&mut self, now: Instant) {
        let over = |held: &Held| !held.is_good(now);
        let ended = self.held.as_ref().is_some_and(over);
        if ended {
            self.wish = self.held.as_ref().map(Held::ip);
            self.lose(Loss::Expired);
        }
        let idle = match &self.phase {
            Phase::Probing { candidate, .. } => over(candidate),
            // What is asked for comes in the place of what has ended.
            Phase::Requesting { .. } | Phase::Down => false,
            _ => ended,
        };
        if !idle {
            return;
        }
        if self.in_use {
            self.phase = Phase::Bound;
        } else {
            // A lease from before whose address was not in use yet was replaced by the one that has run out.
            self.lose(Loss::Expired);
            self.phase = Phase::Init { at: now };
        }
    }

    /// The lease is no more. One of which nobody has been told is not worth a word.
    fn lose(&mut self, loss: Loss) {
        let untold = matches!(self.news.take(), Some(News::Bound(Change::New)));
        if self.held.take().is_some() && !untold {
            self.lost = Some(loss);
        }
        self.in_use = false;
    }

    /// Asks whether the lease that is held still belongs to the link.
    fn confirm(&mut self, now: Instant) {
        let (exchange, confirm_by) = (Exchange::new(&mut self.random, now), Some(now + self.config.confirm));
        self.phase = Phase::Confirming { exchange, confirm_by, asked: false };
    }

    /// Asks a server for what it offers, or has forgotten.
    fn request(&mut self, now: Instant, offer: Lease) {
        self.phase = Phase::Requesting { exchange: Exchange::new(&mut self.random, now), offer };
    }

    /// What the phase wants now; none if it has moved on to another.
    fn due(&mut self, now: Instant) -> Option<Action> {
        let Client { config, random, phase, held, solicit, .. } = self;
        let ends = held.as_ref().and_then(Held::expires);
        let wait = |until: Option<Instant>| Some(Action::Wait(until.into_iter().chain(ends).min()));
        match phase {
            Phase::Init { at } if now < *at => wait(Some(*at)),
            Phase::Init { .. } => {
                *phase = Phase::Soliciting { exchange: Exchange::new(random, now), best: None };
                None
            }
            Phase::Soliciting { exchange, .. }
            | Phase::Requesting { exchange, .. }
            | Phase::Declining { exchange, .. }
            | Phase::Releasing { exchange, .. }
                if now < exchange.next =>
            {
                wait(Some(exchange.next))
            }
            Phase::Soliciting { exchange, best } => {
                if let Some(Offer { lease, .. }) = best.take() {
                    self.request(now, lease);
                    return None;
                }
                exchange.sent(now, solicit, random);
                Some(Action::Send(request::solicit(config, exchange, self.wish)))
            }
            Phase::Requesting { exchange, offer } => {
                if exchange.is_over(now, &exchange::REQUEST) {
                    self.lose(Loss::Refused(None));
                    self.phase = Phase::Init { at: now };
                    return None;
                }
                exchange.sent(now, &exchange::REQUEST, random);
                Some(Action::Send(request::extend(config, Kind::Request, exchange, offer)))
            }
            Phase::Probing { candidate, asked } => {
                if *asked {
                    return wait(candidate.expires());
                }
                *asked = true;
                Some(Action::Probe(candidate.ip()))
            }
            Phase::Declining { exchange, lease, .. } => {
                if exchange.is_over(now, &exchange::PART) {
                    self.parted(now);
                    return None;
                }
                exchange.sent(now, &exchange::PART, random);
                Some(Action::Send(request::part(config, Kind::Decline, exchange, lease)))
            }
            Phase::Releasing { exchange, lease } => {
                if exchange.is_over(now, &exchange::PART) {
                    self.parted(now);
                    return None;
                }
                exchange.sent(now, &exchange::PART, random);
                Some(Action::Send(request::part(config, Kind::Release, exchange, lease)))
            }
            Phase::Bound | Phase::Renewing(_) | Phase::Rebinding(_) => self.due_renewal(now),
            Phase::Confirming { .. } => self.due_confirmation(now),
            Phase::Down | Phase::Released => wait(None),
        }
    }

    /// The same of a lease that runs: T1 and T2, which may come long past after the machine has slept.
    fn due_renewal(&mut self, now: Instant) -> Option<Action> {
        let Client { config, random, phase, held, .. } = self;
        let held = held.as_ref().expect("a lease is held while it is renewed");
        let (Some(renews), Some(rebinds)) = (held.renews(), held.rebinds()) else {
            return Some(Action::Wait(None));
        };
        let (exchange, until, own_server) = match phase {
            Phase::Renewing(exchange) if now < rebinds => (exchange, Some(rebinds), true),
            Phase::Rebinding(exchange) => (exchange, held.expires(), false),
            Phase::Renewing(_) => {
                *phase = Phase::Rebinding(Exchange::new(random, now));
                return None;
            }
            _ if now < renews => return Some(Action::Wait(Some(renews))),
            _ => {
                *phase = Phase::Renewing(Exchange::new(random, now));
                return None;
            }
        };
        if now < exchange.next {
            return Some(Action::Wait(until.into_iter().chain([exchange.next]).min()));
        }
        exchange.sent(now, &exchange::RENEW, random);
        Some(Action::Send(if own_server {
            request::extend(config, Kind::Renew, exchange, &held.lease)
        } else {
            request::rebind(config, exchange, &held.lease)
        }))
    }

    /// The same of a lease from before.
    fn due_confirmation(&mut self, now: Instant) -> Option<Action> {
        let Client { config, random, phase, held, in_use, news, .. } = self;
        let held = held.as_ref().expect("a lease is held while it is asked for");
        let Phase::Confirming { exchange, confirm_by, asked } = phase else { return None };
        if confirm_by.is_some_and(|by| by <= now) {
            *confirm_by = None;
            if *in_use {
                *news = Some(News::Unconfirmed);
                return None;
            }
            *asked = true;
            return Some(Action::Probe(held.ip()));
        }
        let over = exchange.is_over(now, &exchange::CONFIRM);
        // Until it is known whether the address may be used, there is nothing else to do.
        let next = Some(exchange.next).filter(|_| !over || *in_use);
        if next.is_none_or(|next| now < next) {
            return Some(Action::Wait([next, *confirm_by, held.expires()].into_iter().flatten().min()));
        }
        if over {
            *phase = Phase::Bound;
            return None;
        }
        exchange.sent(now, &exchange::CONFIRM, random);
        Some(Action::Send(request::confirm(config, exchange, &held.lease)))
    }

    /// Nobody has the address. Another than what was asked about changes nothing.
    pub fn clear(&mut self, ip: Ipv6Addr) {
        match &mut self.phase {
            Phase::Probing { candidate, asked: true } if candidate.ip() == ip => {
                let candidate = candidate.clone();
                self.bind(candidate);
            }
            Phase::Confirming { asked: asked @ true, .. }
                if self.held.as_ref().is_some_and(|held| held.ip() == ip) =>
            {
                *asked = false;
                self.news = Some(News::Unconfirmed);
            }
            _ => {}
        }
    }

    /// Another machine has the address: it is declined, also if the lease was good until now.
    pub fn taken(&mut self, ip: Ipv6Addr, now: Instant) {
        let candidate = match &self.phase {
            Phase::Down => return,
            Phase::Probing { candidate, .. } => Some(candidate),
            _ => None,
        };
        let declined = candidate.into_iter().chain(&self.held).find(|held| held.ip() == ip);
        let Some(lease) = declined.map(|held| held.lease.clone()) else { return };
        // Of two the server means the newer, so the older has gone with it.
        self.lose(Loss::Taken);
        self.wish = None;
        self.phase = Phase::Declining { exchange: Exchange::new(&mut self.random, now), lease, since: now };
    }

    /// The link has no carrier: nothing is sent, and the lease runs on.
    pub fn link_down(&mut self) {
        if let Phase::Probing { candidate, .. } = &self.phase {
            self.wish = Some(candidate.ip());
        }
        self.phase = match self.phase {
            Phase::Releasing { .. } | Phase::Released => Phase::Released,
            _ => Phase::Down,
        };
    }

    /// The link has a carrier, perhaps to another LAN (RFC 8415, 18.2.12).
    pub fn link_up(&mut self, now: Instant) {
        self.link_down();
        self.refused = None;
        if matches!(self.phase, Phase::Released) {
            return;
        }
        self.expire(now);
        if self.held.is_some() { self.confirm(now) } else { self.phase = Phase::Init { at: now } }
    }

    /// Gives the lease back. What is to be told and sent is asked for as ever, until the server has answered or was asked often
    /// enough; then nothing more comes. A client that is to find its lease again is not released but dropped.
    pub fn release(&mut self, now: Instant) {
        self.expire(now);
        let given = match &self.phase {
            Phase::Down | Phase::Released => None,
            Phase::Probing { candidate, .. } => Some(candidate.lease.clone()),
            Phase::Releasing { .. } => return,
            _ => self.held.as_ref().map(|held| held.lease.clone()),
        };
        self.lose(Loss::Released);
        self.phase = match given {
            Some(lease) => Phase::Releasing { exchange: Exchange::new(&mut self.random, now), lease },
            None => Phase::Released,
        };
    }

    /// The server knows that the lease is declined or given back, or has been told often enough.
    fn parted(&mut self, now: Instant) {
        self.phase = match &self.phase {
            Phase::Declining { since, .. } => Phase::Init { at: now.max(*since + AFTER_DECLINE) },
            _ => Phase::Released,
        };
    }

    /// A lease is good from now on.
    fn bind(&mut self, new: Held) {
        let change = match &self.held {
            Some(before) if self.in_use => Change::Renewed(new.lease.changes(&before.lease)),
            _ => Change::New,
        };
        self.wish = Some(new.ip());
        (self.held, self.refused) = (Some(new), None);
        self.news = Some(News::Bound(change));
        self.phase = Phase::Bound;
    }
}

#[cfg(test)]
mod tests;
