//! How a client handles the messages that it receives.

use std::time::Duration;

use super::{Client, Ignored, Loss, Offer, Phase};
use crate::Boottime;
use crate::dhcp6::exchange::{self, Exchange};
use crate::dhcp6::lease::Association;
use crate::dhcp6::{Duid, Held, Kind, Lease, Message, Status, code};

/// The preference of a server that is to be selected without waiting for other servers (RFC 8415, 18.2.9).
const AT_ONCE: u8 = 255;
/// How many questions must be sent before another server's denial of a lease counts. It is two if the address
/// is not in use, because a start of a container waits, or if the lease is being rebound. It is four, which
/// is all CONFIRMs, while the address is in use.
const QUESTIONS: [u32; 2] = [2, 4];

impl Client {
    /// Processes a message. The caller learns what to do next from [`poll`](crate::dhcp::Client::poll).
    /// Returns why the message was ignored, if it was.
    pub fn receive(&mut self, now: Boottime, message: &Message) -> Result<(), Ignored> {
        self.expire(now);
        let server = Exchange::answer(self.exchange(), &self.config, message)?;
        if self.asked().is_some_and(|asked| *asked != server) {
            return Err(Ignored::OtherServer(server));
        }
        // A server's limit applies even if the server has no address to assign.
        self.solicit = self.solicit.bounded(&message.options, code::SOL_MAX_RT);
        match (message.kind, &self.phase) {
            (Kind::Advertise, Phase::Soliciting { .. }) => self.advertised(now, message, server),
            (Kind::Reply, Phase::Soliciting { .. }) => {
                // A REPLY to a SOLICIT counts only if the client asked for rapid commit and the REPLY carries
                // that option (RFC 8415, 18.2.1).
                if !self.config.rapid_commit || message.options.get(code::RAPID_COMMIT).is_none() {
                    return Err(Ignored::NotAwaited(message.kind));
                }
                self.replied(now, message, server)
            }
            (Kind::Reply, Phase::Confirming { .. }) => self.confirmed(now, message, &server),
            // Whatever the status is, nothing more needs to be done (RFC 8415, 18.2.10.2).
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

    /// The server that was asked. Returns `None` if all servers were asked.
    fn asked(&self) -> Option<&Duid> {
        match &self.phase {
            Phase::Requesting { offer, .. } => Some(&offer.server),
            Phase::Renewing(_) => self.held_lease.held().map(|held| &held.lease.server),
            Phase::Declining { lease, .. } | Phase::Releasing { lease, .. } => Some(&lease.server),
            _ => None,
        }
    }

    /// Handles an ADVERTISE. Offers are collected until the first SOLICIT would be repeated. Then the one
    /// with the highest preference is accepted; among equals the one with the requested address, otherwise
    /// the first. After that time, or with the preference 255, an offer is accepted at once.
    fn advertised(&mut self, now: Boottime, message: &Message, server: Duid) -> Result<(), Ignored> {
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

    /// Whether a server's denial of the lease comes too early to count. When all servers are asked, some deny
    /// every lease that they did not assign themselves. The lease's own server gets time to answer first.
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

    /// Handles a REPLY that assigns, extends or withdraws an address.
    fn replied(&mut self, now: Boottime, message: &Message, server: Duid) -> Result<(), Ignored> {
        let association = Association::read(message, self.config.iaid);
        let (status, words) = association.status(message);
        match (status, &self.phase) {
            (Status::Success, _) => {}
            (Status::NoBinding | Status::NotOnLink, Phase::Rebinding(_)) if self.is_hasty(&server) => {
                return Err(Ignored::OtherServer(server));
            }
            // The server has forgotten the lease, and may restore it.
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
            // The question is repeated when the time comes, as if no answer had come. Another server may
            // answer a SOLICIT or a REBIND, and all messages are multicast anyway.
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

    /// Handles the REPLY to a CONFIRM, which says whether the lease still belongs to this link. The times of
    /// the lease do not change.
    fn confirmed(&mut self, now: Boottime, message: &Message, server: &Duid) -> Result<(), Ignored> {
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
            // The address may already be under probe.
            let asked = matches!(self.phase, Phase::Confirming { asked: true, .. });
            self.phase = Phase::Probing { candidate: held, asked };
        }
        Ok(())
    }

    /// Starts over. The first time this happens at once, then after ever longer pauses if nothing else comes
    /// between; otherwise client and server would keep each other busy.
    fn refused(&mut self, now: Boottime, words: Option<String>) {
        self.held_lease.lose(Loss::Refused(words));
        self.requested = None;
        let pause = self.refused.map(|before| exchange::REFUSED.pause(before, &mut self.random));
        let pause = pause.unwrap_or(Duration::ZERO);
        self.refused = Some(pause);
        self.phase = Phase::Init { at: now + pause };
    }
}
