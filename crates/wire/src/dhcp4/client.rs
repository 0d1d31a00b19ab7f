//! The DHCPv4 client: its states, and what each of them sends and waits for.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::lease::{Held, Lease, Recorded};
use super::request::{self, Outgoing};
use super::{Config, Ignored, Loss, code};
use crate::Boottime;
use crate::dhcp::{self, AFTER_DECLINE, HeldLease, Lease as _};
use crate::random::Random;

mod exchange;
mod receive;

use exchange::Exchange;

/// How many REQUESTs go unanswered before the client gives up, which takes about a minute (RFC 2131, 3.1
/// (5)).
const REQUESTS: u32 = 4;

/// What the driver does next.
pub type Action = dhcp::Action<Lease, Outgoing>;

/// The state of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has no lease, and pauses.
    Init,
    /// It asks for offers.
    Selecting,
    /// It has accepted an offer.
    Requesting,
    /// It waits for the result of the probe for the address.
    Probing,
    /// It has a lease.
    Bound,
    /// It asks the server of its lease to renew it.
    Renewing,
    /// It asks any server to renew its lease.
    Rebinding,
    /// It asks whether an earlier lease is still valid.
    Rebooting,
    /// The link has no carrier.
    Down,
    /// It has released its lease, and does nothing any more.
    Released,
}

#[derive(Debug, Clone)]
enum Phase {
    Init { at: Boottime },
    Selecting(Exchange),
    Requesting { exchange: Exchange, offer: Lease },
    Probing { candidate: Held, asked: bool },
    Bound,
    Renewing(Exchange),
    Rebinding(Exchange),
    Rebooting { exchange: Exchange, confirm_by: Option<Boottime>, asked: bool },
    Down,
    Released,
}

/// One client, for one link.
#[derive(Debug, Clone)]
pub struct Client {
    config: Config,
    random: Random,
    phase: Phase,
    held_lease: HeldLease<Lease>,
    /// A DECLINE or RELEASE that is still to be sent.
    parting: Option<Outgoing>,
    requested: Option<Ipv4Addr>,
    /// When the client began to look for an address, or to renew its lease.
    began: Boottime,
    /// How often it was refused since it last had a lease.
    refused: u32,
}

impl Client {
    /// A client without a lease. It asks at once. The pause of up to ten seconds in RFC 2131, 4.4.1, is for
    /// hosts that are switched on together, and would delay every start of a container. `random` is any
    /// number.
    pub fn new(config: Config, now: Boottime, random: u64) -> Self {
        let requested = config.requested;
        Client {
            config,
            random: Random(random),
            phase: Phase::Init { at: now },
            held_lease: HeldLease::none(),
            parting: None,
            requested,
            began: now,
            refused: 0,
        }
    }

    /// A client that resumes a recorded lease. If the lease has expired, the client only requests the same
    /// address.
    pub fn resume(config: Config, recorded: Recorded, now: Boottime, random: u64) -> Self {
        let mut client = Client::new(config, now, random);
        client.requested = Some(recorded.lease.ip());
        client.held_lease = HeldLease::resumed(recorded, now);
        if client.held_lease.held().is_some() {
            client.reboot(now);
        }
        client
    }

    /// The state of the client.
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

    /// Gives up a lease or a candidate that has expired.
    fn expire(&mut self, now: Boottime) {
        let ended = self.held_lease.expire(now);
        self.requested = ended.or(self.requested);
        let idle = match &self.phase {
            Phase::Probing { candidate, .. } => !candidate.is_good(now),
            Phase::Down => false,
            _ => ended.is_some(),
        };
        if !idle {
            return;
        }
        if self.held_lease.is_in_use() {
            self.phase = Phase::Bound;
        } else {
            // The recorded lease was not in use yet, and the candidate that has now expired replaced it.
            self.held_lease.lose(Loss::Expired);
            self.init(now, Duration::ZERO);
        }
    }

    /// Starts over after a pause.
    fn init(&mut self, now: Boottime, pause: Duration) {
        self.began = now + pause;
        self.phase = Phase::Init { at: self.began };
    }

    /// Asks whether the held lease is still valid.
    fn reboot(&mut self, now: Boottime) {
        self.began = now;
        let (exchange, confirm_by) = (Exchange::new(&mut self.random, now), Some(now + self.config.confirm));
        self.phase = Phase::Rebooting { exchange, confirm_by, asked: false };
    }

    /// What the current phase does now. Returns `None` if it has moved on to another phase.
    fn due(&mut self, now: Boottime) -> Option<Action> {
        if let Some(loss) = self.objection(now) {
            self.begin_anew(now, loss);
            return self.held_lease.loss().map(Action::Lost);
        }
        let Client { config, random, phase, held_lease, .. } = self;
        let secs = u16::try_from(now.saturating_duration_since(self.began).as_secs()).unwrap_or(u16::MAX);
        let ends = held_lease.held().and_then(Held::expires);
        let wait = |until: Option<Boottime>| Some(Action::Wait(until.into_iter().chain(ends).min()));
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
                Some(Action::Send(request::discover(config, exchange.xid, secs, self.requested)))
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

    /// As `due`, for a lease that is bound or being renewed: checks T1 and T2. Either may be long past after
    /// the host was suspended.
    fn due_renewal(&mut self, now: Boottime, secs: u16) -> Option<Action> {
        let Client { config, random, phase, held_lease, .. } = self;
        let held = held_lease.held().expect("a lease is held while it is renewed");
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

    /// As `due`, for a lease that is being confirmed.
    fn due_confirmation(&mut self, now: Boottime, secs: u16) -> Option<Action> {
        let Client { config, random, phase, held_lease, .. } = self;
        let held = held_lease.held().expect("a lease is held while it is asked for");
        let Phase::Rebooting { exchange, confirm_by, asked } = phase else { return None };
        if exchange.objection.is_some() && !held_lease.is_in_use() {
            return Some(Action::Wait(held.expires().into_iter().chain([exchange.next]).min()));
        }
        if confirm_by.is_some_and(|by| by <= now) {
            *confirm_by = None;
            if held_lease.is_in_use() {
                held_lease.use_unconfirmed();
                return None;
            }
            *asked = true;
            return Some(Action::Probe(held.ip()));
        }
        let over = exchange.times == REQUESTS;
        // Until it is known whether the address may be used, there is nothing else to do.
        let next = Some(exchange.next).filter(|_| !over || held_lease.is_in_use());
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

    /// Makes `new` the held lease.
    fn bind(&mut self, new: Held) {
        (self.requested, self.refused) = (Some(new.ip()), 0);
        self.held_lease.bind(new);
        self.phase = Phase::Bound;
    }
}

impl dhcp::Client for Client {
    type Lease = Lease;
    type Outgoing = Outgoing;

    fn poll(&mut self, now: Boottime) -> Action {
        self.expire(now);
        if let Some(parting) = self.parting.take() {
            return Action::Send(parting);
        }
        if let Some(loss) = self.held_lease.loss() {
            return Action::Lost(loss);
        }
        loop {
            if let Some(action) = self.held_lease.news().or_else(|| self.due(now)) {
                return action;
            }
        }
    }

    fn held(&self, now: Boottime) -> Option<&Held> {
        self.held_lease.held().filter(|held| held.is_good(now))
    }

    fn clear(&mut self, ip: Ipv4Addr) {
        match &mut self.phase {
            Phase::Probing { candidate, asked: true } if candidate.ip() == ip => {
                let candidate = candidate.clone();
                self.bind(candidate);
            }
            Phase::Rebooting { asked: asked @ true, exchange, .. }
                if self.held_lease.held().is_some_and(|held| held.ip() == ip) =>
            {
                *asked = false;
                if exchange.objection.is_none() {
                    self.held_lease.use_unconfirmed();
                }
            }
            _ => {}
        }
    }

    fn taken(&mut self, ip: Ipv4Addr, now: Boottime) {
        let candidate = match &self.phase {
            Phase::Down => return,
            Phase::Probing { candidate, .. } => Some(candidate),
            _ => None,
        };
        let Some(held) = candidate.into_iter().chain(self.held_lease.held()).find(|held| held.ip() == ip)
        else {
            return;
        };
        self.parting = Some(request::decline(&self.config, self.random.number(), &held.lease));
        // If there is also a candidate, the server only knows that newer one. So the held lease is void as
        // well.
        self.held_lease.lose(Loss::Taken);
        self.requested = None;
        self.init(now, AFTER_DECLINE);
    }

    fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Down)
    }

    fn link_down(&mut self) {
        if let Phase::Probing { candidate, .. } = &self.phase {
            self.requested = Some(candidate.ip());
        }
        if !matches!(self.phase, Phase::Released) {
            (self.phase, self.parting) = (Phase::Down, None);
        }
    }

    fn is_unanswered(&self) -> bool {
        match &self.phase {
            Phase::Selecting(_) => true,
            Phase::Rebooting { exchange, .. } => exchange.objection.is_none(),
            _ => false,
        }
    }

    fn link_up(&mut self, now: Boottime) {
        self.link_down();
        self.refused = 0;
        if matches!(self.phase, Phase::Released) {
            return;
        }
        self.expire(now);
        if self.held_lease.held().is_some() { self.reboot(now) } else { self.init(now, Duration::ZERO) }
    }

    fn release(&mut self, now: Boottime) {
        self.expire(now);
        let candidate = match &self.phase {
            Phase::Probing { candidate, .. } => Some(candidate),
            _ => None,
        };
        let silent = matches!(self.phase, Phase::Down);
        let given = candidate.or(self.held_lease.held()).filter(|_| !silent);
        let parting = given.map(|held| request::release(&self.config, self.random.number(), &held.lease));
        self.parting = parting.or(self.parting.take());
        self.held_lease.lose(Loss::Released);
        self.phase = Phase::Released;
    }
}

#[cfg(test)]
mod tests;
