//! The DHCPv6 client: its states, and what each of them sends and waits for.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::exchange::{self, Exchange, Retry};
use super::lease::{Held, Lease, Recorded};
use super::request::{self, Outgoing};
use super::{Config, Ignored, Kind, Loss};
use crate::Boottime;
use crate::dhcp::{self, AFTER_DECLINE, HeldLease, Lease as _};
use crate::random::Random;

mod receive;

/// What the driver does next.
pub type Action = dhcp::Action<Lease, Outgoing>;

/// The state of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has no lease, and pauses.
    Init,
    /// It asks for offers.
    Soliciting,
    /// It has accepted an offer, or asks its server to restore a lease that the server has forgotten.
    Requesting,
    /// It waits for the result of the probe for the address.
    Probing,
    /// It has a lease.
    Bound,
    /// It asks the server of its lease to renew it.
    Renewing,
    /// It asks any server to renew its lease.
    Rebinding,
    /// It asks whether an earlier lease still belongs to this link.
    Confirming,
    /// It reports to the lease's server that another host has the address.
    Declining,
    /// It tells the lease's server that it no longer needs the address.
    Releasing,
    /// The link has no carrier.
    Down,
    /// It has released its lease, and does nothing any more.
    Released,
}

#[derive(Debug, Clone)]
enum Phase {
    Init { at: Boottime },
    Soliciting { exchange: Exchange, best: Option<Offer> },
    Requesting { exchange: Exchange, offer: Lease },
    Probing { candidate: Held, asked: bool },
    Bound,
    Renewing(Exchange),
    Rebinding(Exchange),
    Confirming { exchange: Exchange, confirm_by: Option<Boottime>, asked: bool },
    Declining { exchange: Exchange, lease: Lease, since: Boottime },
    Releasing { exchange: Exchange, lease: Lease },
    Down,
    Released,
}

/// A server's offer, and how much the server wants to be selected.
#[derive(Debug, Clone)]
struct Offer {
    lease: Lease,
    preference: u8,
}

/// One client, for one address on one link.
#[derive(Debug, Clone)]
pub struct Client {
    config: Config,
    random: Random,
    phase: Phase,
    held_lease: HeldLease<Lease>,
    requested: Option<Ipv6Addr>,
    /// How a SOLICIT is repeated. A server may ask for longer pauses.
    solicit: Retry,
    /// The pause after the last refusal. `None` if the client has had a lease or a new carrier since.
    refused: Option<Duration>,
}

impl Client {
    /// A client without a lease. It asks at once. The pause of up to a second in RFC 8415, 18.2.1, is for
    /// hosts that are switched on together, and would delay every start of a container. `random` is any
    /// number.
    pub fn new(config: Config, now: Boottime, random: u64) -> Self {
        let requested = config.requested;
        Client {
            config,
            random: Random(random),
            phase: Phase::Init { at: now },
            held_lease: HeldLease::none(),
            requested,
            solicit: exchange::SOLICIT,
            refused: None,
        }
    }

    /// A client that resumes a recorded lease. If the lease has expired, the client only requests the same
    /// address.
    pub fn resume(config: Config, recorded: Recorded, now: Boottime, random: u64) -> Self {
        let mut client = Client::new(config, now, random);
        client.requested = Some(recorded.lease.ip());
        client.held_lease = HeldLease::resumed(recorded, now);
        if client.held_lease.held().is_some() {
            client.confirm(now);
        }
        client
    }

    /// The state of the client.
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

    /// Gives up a lease or a candidate that has expired.
    fn expire(&mut self, now: Boottime) {
        let ended = self.held_lease.expire(now);
        self.requested = ended.or(self.requested);
        let idle = match &self.phase {
            Phase::Probing { candidate, .. } => !candidate.is_good(now),
            // The requested lease replaces the one that has expired.
            Phase::Requesting { .. } | Phase::Down => false,
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
            self.phase = Phase::Init { at: now };
        }
    }

    /// Asks whether the held lease still belongs to the link.
    fn confirm(&mut self, now: Boottime) {
        let (exchange, confirm_by) = (Exchange::new(&mut self.random, now), Some(now + self.config.confirm));
        self.phase = Phase::Confirming { exchange, confirm_by, asked: false };
    }

    /// Sends a REQUEST for a lease that the server offers or has forgotten.
    fn request(&mut self, now: Boottime, offer: Lease) {
        self.phase = Phase::Requesting { exchange: Exchange::new(&mut self.random, now), offer };
    }

    /// What the current phase does now. Returns `None` if it has moved on to another phase.
    fn due(&mut self, now: Boottime) -> Option<Action> {
        let Client { config, random, phase, held_lease, solicit, .. } = self;
        let ends = held_lease.held().and_then(Held::expires);
        let wait = |until: Option<Boottime>| Some(Action::Wait(until.into_iter().chain(ends).min()));
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
                Some(Action::Send(request::solicit(config, exchange, self.requested)))
            }
            Phase::Requesting { exchange, offer } => {
                if exchange.is_over(now, &exchange::REQUEST) {
                    // The server only said that it does not know the lease. The lease runs on until it
                    // expires (RFC 8415, 18.2.2).
                    let runs = self.held_lease.is_in_use();
                    self.phase = if runs { Phase::Bound } else { Phase::Init { at: now } };
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

    /// As `due`, for a lease that is bound or being renewed: checks T1 and T2. Either may be long past after
    /// the host was suspended.
    fn due_renewal(&mut self, now: Boottime) -> Option<Action> {
        let Client { config, random, phase, held_lease, .. } = self;
        let held = held_lease.held().expect("a lease is held while it is renewed");
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

    /// As `due`, for a lease that is being confirmed.
    fn due_confirmation(&mut self, now: Boottime) -> Option<Action> {
        let Client { config, random, phase, held_lease, .. } = self;
        let held = held_lease.held().expect("a lease is held while it is asked for");
        let Phase::Confirming { exchange, confirm_by, asked } = phase else { return None };
        if confirm_by.is_some_and(|by| by <= now) {
            *confirm_by = None;
            if held_lease.is_in_use() {
                held_lease.use_unconfirmed();
                return None;
            }
            *asked = true;
            return Some(Action::Probe(held.ip()));
        }
        let over = exchange.is_over(now, &exchange::CONFIRM);
        // Until it is known whether the address may be used, there is nothing else to do.
        let next = Some(exchange.next).filter(|_| !over || held_lease.is_in_use());
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

    /// Ends a DECLINE or RELEASE: the server has answered, or the message was sent often enough.
    fn parted(&mut self, now: Boottime) {
        self.phase = match &self.phase {
            Phase::Declining { since, .. } => Phase::Init { at: now.max(*since + AFTER_DECLINE) },
            _ => Phase::Released,
        };
    }

    /// Makes `new` the held lease.
    fn bind(&mut self, new: Held) {
        (self.requested, self.refused) = (Some(new.ip()), None);
        self.held_lease.bind(new);
        self.phase = Phase::Bound;
    }
}

impl dhcp::Client for Client {
    type Lease = Lease;
    type Outgoing = Outgoing;

    fn poll(&mut self, now: Boottime) -> Action {
        self.expire(now);
        // The address goes out of use before its lease is declined or released (RFC 8415, 18.2.7 and 18.2.8).
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

    fn clear(&mut self, ip: Ipv6Addr) {
        match &mut self.phase {
            Phase::Probing { candidate, asked: true } if candidate.ip() == ip => {
                let candidate = candidate.clone();
                self.bind(candidate);
            }
            Phase::Confirming { asked: asked @ true, .. }
                if self.held_lease.held().is_some_and(|held| held.ip() == ip) =>
            {
                *asked = false;
                self.held_lease.use_unconfirmed();
            }
            _ => {}
        }
    }

    fn taken(&mut self, ip: Ipv6Addr, now: Boottime) {
        let candidate = match &self.phase {
            Phase::Down => return,
            Phase::Probing { candidate, .. } => Some(candidate),
            _ => None,
        };
        let declined = candidate.into_iter().chain(self.held_lease.held()).find(|held| held.ip() == ip);
        let Some(lease) = declined.map(|held| held.lease.clone()) else { return };
        // If there is also a candidate, the server only knows that newer one. So the held lease is void as
        // well.
        self.held_lease.lose(Loss::Taken);
        self.requested = None;
        self.phase = Phase::Declining { exchange: Exchange::new(&mut self.random, now), lease, since: now };
    }

    fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Down)
    }

    fn link_down(&mut self) {
        if let Phase::Probing { candidate, .. } = &self.phase {
            self.requested = Some(candidate.ip());
        }
        self.phase = match self.phase {
            Phase::Releasing { .. } | Phase::Released => Phase::Released,
            _ => Phase::Down,
        };
    }

    fn is_unanswered(&self) -> bool {
        match &self.phase {
            Phase::Soliciting { best, .. } => best.is_none(),
            Phase::Confirming { .. } => true,
            _ => false,
        }
    }

    fn link_up(&mut self, now: Boottime) {
        self.link_down();
        self.refused = None;
        if matches!(self.phase, Phase::Released) {
            return;
        }
        self.expire(now);
        if self.held_lease.held().is_some() {
            self.confirm(now);
        } else {
            self.phase = Phase::Init { at: now }
        }
    }

    fn release(&mut self, now: Boottime) {
        self.expire(now);
        let given = match &self.phase {
            Phase::Down | Phase::Released => None,
            Phase::Probing { candidate, .. } => Some(candidate.lease.clone()),
            Phase::Releasing { .. } => return,
            _ => self.held_lease.held().map(|held| held.lease.clone()),
        };
        self.held_lease.lose(Loss::Released);
        self.phase = match given {
            Some(lease) => Phase::Releasing { exchange: Exchange::new(&mut self.random, now), lease },
            None => Phase::Released,
        };
    }
}

#[cfg(test)]
mod tests;
