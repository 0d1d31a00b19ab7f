//! The life of a lease.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::lease::{Held, Lease, Part};
use super::request::{self, Outgoing};
use super::{Config, Ignored, Loss, code};
use crate::dhcp::AFTER_DECLINE;
use crate::random::Random;

mod exchange;
mod receive;

use exchange::Exchange;

/// REQUESTs that go unanswered before the client gives up: about a minute's (RFC 2131, 3.1 (5)).
const REQUESTS: u32 = 4;

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this, and ask again.
    Send(Outgoing),
    /// Nothing before this moment, if any, unless something is heard.
    Wait(Option<Instant>),
    /// Find out whether anybody has this address, and say so by [`Client::clear`] or [`Client::taken`]. It is asked once.
    Probe(Ipv4Addr),
    /// The lease is good: put on the link, or change there, what it says.
    Bound(Held, Change),
    /// The recorded lease may be used, since it has not ended and no server has answered (RFC 2131, 3.2 (4)). The client goes
    /// on asking.
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
    Selecting,
    /// It has taken one.
    Requesting,
    /// It waits to hear whether the address is free.
    Probing,
    /// It has a lease.
    Bound,
    /// It asks the lease's server to renew it.
    Renewing,
    /// It asks any server to.
    Rebinding,
    /// It asks whether a lease from before still holds.
    Rebooting,
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
    Selecting(Exchange),
    Requesting { exchange: Exchange, offer: Lease },
    Probing { candidate: Held, asked: bool },
    Bound,
    Renewing(Exchange),
    Rebinding(Exchange),
    Rebooting { exchange: Exchange, confirm_by: Option<Instant>, asked: bool },
    Down,
    Released,
}

/// What is still to be told about the lease that is held.
#[derive(Debug, Clone)]
enum News {
    Bound(Change),
    Unconfirmed,
}

/// One client, for one link.
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
    /// A DECLINE or RELEASE that is still to be sent.
    parting: Option<Outgoing>,
    wish: Option<Ipv4Addr>,
    /// When it began to look for an address, or to renew its lease.
    began: Instant,
    /// How often it was refused since it last had a lease.
    refused: u32,
}

impl Client {
    /// A client that has nothing. It asks at once: the RFC's pause of up to ten seconds (4.4.1) is for machines that are
    /// switched on together, and would be added to every start of a container. `random` is any number.
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
            parting: None,
            wish,
            began: now,
            refused: 0,
        }
    }

    /// A client that has a lease from before. If it has ended, its address is a wish.
    pub fn resume(config: Config, recorded: Recorded, now: Instant, random: u64) -> Self {
        let Recorded { lease, age, in_use } = recorded;
        let mut client = Client::new(config, now, random);
        client.wish = Some(lease.address.addr());
        let held = now.checked_sub(age).map(|since| Held { lease, since });
        if let Some(held) = held.filter(|held| held.is_good(now)) {
            (client.held, client.in_use) = (Some(held), in_use);
            client.reboot(now);
        } else if in_use {
            client.lost = Some(Loss::Expired);
        }
        client
    }

    /// Where it is.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Init { .. } => State::Init,
            Phase::Selecting(_) => State::Selecting,
            Phase::Requesting { .. } => State::Requesting,
            Phase::Probing { .. } => State::Probing,
            Phase::Bound => State::Bound,
            Phase::Renewing(_) => State::Renewing,
            Phase::Rebinding(_) => State::Rebinding,
            Phase::Rebooting { .. } => State::Rebooting,
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
        if let Some(parting) = self.parting.take() {
            return Action::Send(parting);
        }
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
            Phase::Down => false,
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
            self.init(now, Duration::ZERO);
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

    /// Begins anew after a pause.
    fn init(&mut self, now: Instant, pause: Duration) {
        self.began = now + pause;
        self.phase = Phase::Init { at: self.began };
    }

    /// Asks whether the lease that is held still holds.
    fn reboot(&mut self, now: Instant) {
        self.began = now;
        let (exchange, confirm_by) = (Exchange::new(&mut self.random, now), Some(now + self.config.confirm));
        self.phase = Phase::Rebooting { exchange, confirm_by, asked: false };
    }

    /// What the phase wants now; none if it has moved on to another.
    fn due(&mut self, now: Instant) -> Option<Action> {
        let Client { config, random, phase, held, .. } = self;
        let secs = u16::try_from(now.saturating_duration_since(self.began).as_secs()).unwrap_or(u16::MAX);
        let ends = held.as_ref().and_then(Held::expires);
        let wait = |until: Option<Instant>| Some(Action::Wait(until.into_iter().chain(ends).min()));
        match phase {
            Phase::Init { at } if now < *at => wait(Some(*at)),
            Phase::Init { .. } => {
                *phase = Phase::Selecting(Exchange::new(random, now));
                None
            }
            Phase::Selecting(exchange) => {
                if now < exchange.next {
                    return wait(Some(exchange.next));
                }
                exchange.sent(now, random);
                exchange.secs = secs;
                Some(Action::Send(request::discover(config, exchange.xid, secs, self.wish)))
            }
            Phase::Requesting { exchange, offer } => {
                if now < exchange.next {
                    return wait(Some(exchange.next));
                }
                if exchange.times == REQUESTS {
                    *phase = Phase::Init { at: now };
                    return None;
                }
                exchange.sent(now, random);
                Some(Action::Send(request::select(config, exchange.xid, exchange.secs, offer)))
            }
            Phase::Probing { candidate, asked } => {
                if *asked {
                    return wait(candidate.expires());
                }
                *asked = true;
                Some(Action::Probe(candidate.ip()))
            }
            Phase::Bound | Phase::Renewing(_) | Phase::Rebinding(_) => self.due_renewal(now, secs),
            Phase::Rebooting { .. } => self.due_confirmation(now, secs),
            Phase::Down | Phase::Released => wait(None),
        }
    }

    /// The same of a lease that runs: T1 and T2, which may come long past after the machine has slept.
    fn due_renewal(&mut self, now: Instant, secs: u16) -> Option<Action> {
        let Client { config, random, phase, held, .. } = self;
        let held = held.as_ref().expect("a lease is held while it is renewed");
        let (Some(renews), Some(rebinds), Some(ends)) = (held.renews(), held.rebinds(), held.expires())
        else {
            return Some(Action::Wait(None));
        };
        let (exchange, until, to) = match phase {
            Phase::Renewing(exchange) if now < rebinds => (exchange, rebinds, held.lease.server),
            Phase::Rebinding(exchange) => (exchange, ends, Ipv4Addr::BROADCAST),
            Phase::Renewing(_) => {
                *phase = Phase::Rebinding(Exchange::new(random, now));
                return None;
            }
            _ if now < renews => return Some(Action::Wait(Some(renews))),
            _ => {
                self.began = now;
                *phase = Phase::Renewing(Exchange::new(random, now));
                return None;
            }
        };
        if now < exchange.next {
            return Some(Action::Wait(Some(exchange.next.min(until))));
        }
        exchange.sent_anew(now, until, random);
        Some(Action::Send(request::extend(config, exchange.xid, secs, held, to)))
    }

    /// The same of a lease from before.
    fn due_confirmation(&mut self, now: Instant, secs: u16) -> Option<Action> {
        let Client { config, random, phase, held, in_use, news, .. } = self;
        let held = held.as_ref().expect("a lease is held while it is asked for");
        let Phase::Rebooting { exchange, confirm_by, asked } = phase else { return None };
        if confirm_by.is_some_and(|by| by <= now) {
            *confirm_by = None;
            if *in_use {
                *news = Some(News::Unconfirmed);
                return None;
            }
            *asked = true;
            return Some(Action::Probe(held.ip()));
        }
        let over = exchange.times == REQUESTS;
        // Until it is known whether the address may be used, there is nothing else to do.
        let next = Some(exchange.next).filter(|_| !over || *in_use);
        if next.is_none_or(|next| now < next) {
            return Some(Action::Wait([next, *confirm_by, held.expires()].into_iter().flatten().min()));
        }
        if over {
            *phase = Phase::Bound;
            return None;
        }
        exchange.sent(now, random);
        Some(Action::Send(request::reboot(config, exchange.xid, secs, held.ip())))
    }

    /// Nobody has the address. Another than what was asked about changes nothing.
    pub fn clear(&mut self, ip: Ipv4Addr) {
        match &mut self.phase {
            Phase::Probing { candidate, asked: true } if candidate.ip() == ip => {
                let candidate = candidate.clone();
                self.bind(candidate);
            }
            Phase::Rebooting { asked: asked @ true, .. }
                if self.held.as_ref().is_some_and(|held| held.ip() == ip) =>
            {
                *asked = false;
                self.news = Some(News::Unconfirmed);
            }
            _ => {}
        }
    }

    /// Another machine has the address: it is declined, also if the lease was good until now.
    pub fn taken(&mut self, ip: Ipv4Addr, now: Instant) {
        let candidate = match &self.phase {
            Phase::Down => return,
            Phase::Probing { candidate, .. } => Some(candidate),
            _ => None,
        };
        let Some(held) = candidate.into_iter().chain(&self.held).find(|held| held.ip() == ip) else { return };
        self.parting = Some(request::decline(&self.config, self.random.number(), &held.lease));
        // Of two the server means the newer, so the older has gone with it.
        self.lose(Loss::Taken);
        self.wish = None;
        self.init(now, AFTER_DECLINE);
    }

    /// The link has no carrier: nothing is sent, and the lease runs on.
    pub fn link_down(&mut self) {
        if let Phase::Probing { candidate, .. } = &self.phase {
            self.wish = Some(candidate.ip());
        }
        if !matches!(self.phase, Phase::Released) {
            (self.phase, self.parting) = (Phase::Down, None);
        }
    }

    /// The link has a carrier, perhaps to another LAN (RFC 2131, 3.7).
    pub fn link_up(&mut self, now: Instant) {
        self.link_down();
        self.refused = 0;
        if matches!(self.phase, Phase::Released) {
            return;
        }
        self.expire(now);
        if self.held.is_some() { self.reboot(now) } else { self.init(now, Duration::ZERO) }
    }

    /// Gives the lease back. What is to be sent and told is asked for as ever; then nothing more comes. A client that is to
    /// find its lease again is not released but dropped.
    pub fn release(&mut self, now: Instant) {
        self.expire(now);
        let candidate = match &self.phase {
            Phase::Probing { candidate, .. } => Some(candidate),
            _ => None,
        };
        let silent = matches!(self.phase, Phase::Down);
        let given = candidate.or(self.held.as_ref()).filter(|_| !silent);
        let parting = given.map(|held| request::release(&self.config, self.random.number(), &held.lease));
        self.parting = parting.or(self.parting.take());
        self.lose(Loss::Released);
        self.phase = Phase::Released;
    }

    /// A lease is good from now on.
    fn bind(&mut self, new: Held) {
        let change = match &self.held {
            Some(before) if self.in_use => Change::Renewed(new.lease.changes(&before.lease)),
            _ => Change::New,
        };
        self.wish = Some(new.ip());
        (self.held, self.refused) = (Some(new), 0);
        self.news = Some(News::Bound(change));
        self.phase = Phase::Bound;
    }
}

#[cfg(test)]
mod tests;
