//! What a client makes of what it hears.

use std::time::{Duration, Instant};

use super::{Client, Ignored, Loss, Offer, Phase};
use crate::dhcp6::exchange::{self, Exchange};
use crate::dhcp6::lease::Association;
use crate::dhcp6::{Duid, Held, Kind, Lease, Message, Status, code};

/// The preference of a server that wants to be chosen before others are heard (RFC 8415, 18.2.9).
const AT_ONCE: u8 = 255;
/// After so many questions whether a lease belongs to the link another server's denial counts: two if a start waits for it, and
/// all but the last while the address is in use.
const QUESTIONS: [u32; 2] = [2, 4];

impl Client {
    /// Takes in a message. What to do about it is asked for by [`poll`](crate::dhcp::Client::poll).
    pub fn receive(&mut self, now: Instant, message: &Message) -> Result<(), Ignored> {
        self.expire(now);
        let server = Exchange::answer(self.exchange(), &self.config, message)?;
        if self.asked().is_some_and(|asked| *asked != server) {
            return Err(Ignored::OtherServer(server));
        }
        // Also from a server that has no address to give.
        self.solicit = self.solicit.bounded(&message.options, code::SOL_MAX_RT);
        match (message.kind, &self.phase) {
            (Kind::Advertise, Phase::Soliciting { .. }) => self.advertised(now, message, server),
            (Kind::Reply, Phase::Soliciting { .. }) => {
                // One that was not asked for, or does not say that it is one, is no answer to a SOLICIT (RFC 8415, 18.2.1).
                if !self.config.rapid_commit || message.options.get(code::RAPID_COMMIT).is_none() {
                    return Err(Ignored::NotAwaited(message.kind));
                }
                self.replied(now, message, server)
            }
            (Kind::Reply, Phase::Confirming { .. }) => self.confirmed(now, message, &server),
            // Whatever it says, there is nothing more to be done (RFC 8415, 18.2.10.2).
            (Kind::Reply, Phase::Declining { .. } | Phase::Releasing { .. }) => {
                self.parted(now);
                Ok(())
            }
            (Kind::Reply, _) => self.replied(now, message, server),
            _ => Err(Ignored::NotAwaited(message.kind)),
        }
    }

    fn exchange(&self) -> Option<&Exchange> {
        match &self.phase {
            Phase::Soliciting { exchange, .. }
            | Phase::Requesting { exchange, .. }
            | Phase::Renewing(exchange)
            | Phase::Rebinding(exchange)
            | Phase::Confirming { exchange, .. }
            | Phase::Declining { exchange, .. }
            | Phase::Releasing { exchange, .. } => Some(exchange),
            Phase::Init { .. } | Phase::Probing { .. } | Phase::Bound | Phase::Down | Phase::Released => None,
        }
    }

    /// The server that was asked, where it was one alone.
    fn asked(&self) -> Option<&Duid> {
        match &self.phase {
            Phase::Requesting { offer, .. } => Some(&offer.server),
            Phase::Renewing(_) => self.held_lease.held().map(|held| &held.lease.server),
            Phase::Declining { lease, .. } | Phase::Releasing { lease, .. } => Some(&lease.server),
            _ => None,
        }
    }

    /// Of the offers that come until the SOLICIT would be repeated, that of the greatest preference is taken, and among such the
    /// one that gives the address that is wished for, or else the first. After that, and of a server that insists, at once.
    fn advertised(&mut self, now: Instant, message: &Message, server: Duid) -> Result<(), Ignored> {
        let association = Association::read(message, self.config.iaid);
        let (status, words) = association.status(message);
        if status != Status::Success {
            return Err(Ignored::Failed(status, words));
        }
        let requested = self.requested;
        let lease = Lease::read(message, &association, server, requested, &mut self.random)?;
        let new = Offer { lease, preference: message.options.preference() };
        let Phase::Soliciting { exchange, best } = &mut self.phase else { return Ok(()) };
        if new.preference == AT_ONCE || exchange.times > 1 {
            self.request(now, new.lease);
            return Ok(());
        }
        let rank = |offer: &Offer| (offer.preference, Some(offer.lease.address) == requested);
        if best.as_ref().is_none_or(|best| rank(&new) > rank(best)) {
            *best = Some(new);
        }
        Ok(())
    }

    /// Whether a denial is not to be believed yet: all servers were asked, and some deny every lease that they did not give
    /// themselves. The lease's own server has time to answer first.
    fn is_hasty(&self, server: &Duid) -> bool {
        let (exchange, enough) = match &self.phase {
            Phase::Confirming { exchange, .. } => {
                (exchange, QUESTIONS[usize::from(self.held_lease.is_in_use())])
            }
            Phase::Rebinding(exchange) => (exchange, QUESTIONS[0]),
            _ => return false,
        };
        let own = self.held_lease.held().map(|held| &held.lease.server);
        exchange.times < enough && own.is_some_and(|own| own != server && self.config.servers.accept(own))
    }

    /// An address is given, goes on, or does not.
    fn replied(&mut self, now: Instant, message: &Message, server: Duid) -> Result<(), Ignored> {
        let association = Association::read(message, self.config.iaid);
        let (status, words) = association.status(message);
        match (status, &self.phase) {
            (Status::Success, _) => {}
            (Status::NoBinding | Status::NotOnLink, Phase::Rebinding(_)) if self.is_hasty(&server) => {
                return Err(Ignored::OtherServer(server));
            }
            // The server has forgotten the lease, and may take it up again.
            (Status::NoBinding, Phase::Renewing(_) | Phase::Rebinding(_)) => {
                if let Some(held) = self.held_lease.held() {
                    let offer = Lease { server, ..held.lease.clone() };
                    self.request(now, offer);
                }
                return Ok(());
            }
            (Status::NoAddrsAvail | Status::NoBinding | Status::NotOnLink, Phase::Requesting { .. })
            | (Status::NotOnLink, Phase::Renewing(_) | Phase::Rebinding(_)) => {
                self.refused(now, words);
                return Ok(());
            }
            // It is asked again when it is time, as though nothing had been said: others may answer a SOLICIT or a REBIND, and all
            // is asked by multicast anyway.
            _ => return Err(Ignored::Failed(status, words)),
        }
        let (held, requested) = (self.held_lease.held().map(Held::ip), self.requested);
        let withdrawn = held.is_some_and(|ip| association.withdraws(ip));
        if withdrawn && self.is_hasty(&server) {
            return Err(Ignored::OtherServer(server));
        }
        let lease = Lease::read(message, &association, server, held.or(requested), &mut self.random);
        let since = self.exchange().map_or(now, |exchange| exchange.asked(now));
        let new = lease.map(|lease| Held { lease, since });
        let new = new.and_then(|new| if new.is_good(now) { Ok(new) } else { Err(Ignored::Lifetime) });
        let new = match new {
            Err(_) if withdrawn => {
                self.refused(now, words);
                return Ok(());
            }
            new => new?,
        };
        if withdrawn {
            self.held_lease.lose(Loss::Refused(words));
        }
        if held == Some(new.ip()) && self.held_lease.is_vouched_for() {
            self.bind(new);
        } else {
            self.phase = Phase::Probing { candidate: new, asked: false };
        }
        Ok(())
    }

    /// The lease from before belongs to this link, or does not. Its times are as they were.
    fn confirmed(&mut self, now: Instant, message: &Message, server: &Duid) -> Result<(), Ignored> {
        let (status, words) = message.options.status();
        match status {
            Status::Success => {}
            Status::NotOnLink if self.is_hasty(server) => return Err(Ignored::OtherServer(server.clone())),
            Status::NotOnLink => {
                self.refused(now, words);
                return Ok(());
            }
            _ => return Err(Ignored::Failed(status, words)),
        }
        let Some(held) = self.held_lease.held().cloned() else { return Ok(()) };
        if self.held_lease.is_vouched_for() {
            self.bind(held);
        } else {
            // It may be looked for already.
            let asked = matches!(self.phase, Phase::Confirming { asked: true, .. });
            self.phase = Phase::Probing { candidate: held, asked };
        }
        Ok(())
    }

    /// Begins anew: at once, but ever later if nothing else comes, or client and server would keep each other busy.
    fn refused(&mut self, now: Instant, words: Option<String>) {
        self.held_lease.lose(Loss::Refused(words));
        self.requested = None;
        let pause = self.refused.map(|before| exchange::REFUSED.pause(before, &mut self.random));
        let pause = pause.unwrap_or(Duration::ZERO);
        self.refused = Some(pause);
        self.phase = Phase::Init { at: now + pause };
    }
}
