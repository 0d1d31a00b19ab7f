//! What a client makes of what it hears.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::exchange::{Exchange, pause};
use super::{Client, Ignored, Loss, Phase, REQUESTS, code};
use crate::dhcp4::route::is_host;
use crate::dhcp4::{Held, Kind, Lease, Message, Op};

impl Client {
    /// Takes in a message, and the address that its datagram came from, if that is known. What to do about it is asked for by
    /// [`poll`](crate::dhcp::Client::poll).
    pub fn receive(
        &mut self,
        now: Instant,
        message: &Message,
        source: Option<Ipv4Addr>,
    ) -> Result<(), Ignored> {
        self.expire(now);
        let kind = message.options.kind();
        if message.op != Op::Reply {
            return Err(Ignored::NoReply);
        }
        let id = message.options.get(code::CLIENT_ID);
        if message.chaddr != self.config.mac || id.is_some_and(|id| id != self.config.id.bytes()) {
            return Err(Ignored::OtherClient);
        }
        let exchange = self.exchange().filter(|exchange| exchange.first.is_some());
        let xid = exchange.ok_or(Ignored::NotAwaited(kind))?.xid;
        if message.xid != xid {
            return Err(Ignored::OtherExchange);
        }
        let server = server(message, source);
        if let Some(other) = self.unheeded(message, server, source) {
            return Err(Ignored::OtherServer(other));
        }
        match (kind, &self.phase) {
            (Some(Kind::Offer), Phase::Selecting(_)) => {
                self.offered(now, message, server.ok_or(Ignored::NoServer)?)
            }
            (_, Phase::Selecting(_)) => Err(Ignored::NotAwaited(kind)),
            (Some(Kind::Ack), _) => self.acknowledged(now, message, server),
            (Some(Kind::Nak), _) => self.refused(now, message, server),
            _ => Err(Ignored::NotAwaited(kind)),
        }
    }

    /// The server that does not count, if a message is from one. What a server calls itself anybody can write, so where it was
    /// said whose answers count, the sender of the datagram has to count too. Behind a relay the sender is the relay.
    fn unheeded(
        &self,
        message: &Message,
        server: Option<Ipv4Addr>,
        source: Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        let servers = &self.config.servers;
        let sender = source.filter(|source| message.giaddr.is_unspecified() || message.giaddr != *source);
        let mut all = server.into_iter().chain(sender);
        all.find(|ip| !servers.accept(ip))
    }

    fn exchange(&self) -> Option<&Exchange> {
        match &self.phase {
            Phase::Selecting(exchange)
            | Phase::Requesting { exchange, .. }
            | Phase::Renewing(exchange)
            | Phase::Rebinding(exchange)
            | Phase::Rebooting { exchange, .. } => Some(exchange),
            Phase::Init { .. } | Phase::Probing { .. } | Phase::Bound | Phase::Down | Phase::Released => None,
        }
    }

    /// The question to all about a lease that the client has.
    fn question_to_all(&mut self) -> Option<&mut Exchange> {
        match &mut self.phase {
            Phase::Rebinding(exchange) | Phase::Rebooting { exchange, .. } => Some(exchange),
            _ => None,
        }
    }

    /// The server that was asked, where it was one alone.
    fn asked(&self) -> Option<Ipv4Addr> {
        match &self.phase {
            Phase::Requesting { offer, .. } => Some(offer.server),
            Phase::Renewing(_) => self.held_lease.held().map(|held| held.lease.server),
            _ => None,
        }
    }

    /// The first offer that can be taken is.
    fn offered(&mut self, now: Instant, message: &Message, server: Ipv4Addr) -> Result<(), Ignored> {
        let offer = Lease::read(message, server, None, &mut self.random)?;
        if let Phase::Selecting(exchange) = &self.phase {
            self.phase = Phase::Requesting { exchange: exchange.follow(now), offer };
        }
        Ok(())
    }

    fn acknowledged(
        &mut self,
        now: Instant,
        message: &Message,
        server: Option<Ipv4Addr>,
    ) -> Result<(), Ignored> {
        let before = match &self.phase {
            Phase::Requesting { offer, .. } => Some(offer),
            _ => self.held_lease.held().map(|held| &held.lease),
        };
        let server = server.or(self.asked()).ok_or(Ignored::NoServer)?;
        // Whom a renewal is sent to may by now have another name for itself; of offers only one was taken.
        if let Phase::Requesting { offer, .. } = &self.phase
            && offer.server != server
        {
            return Err(Ignored::OtherServer(server));
        }
        let lease = Lease::read(message, server, before, &mut self.random)?;
        let since = self.exchange().and_then(|exchange| exchange.first).unwrap_or(now);
        let new = Held { lease, since };
        if !new.is_good(now) {
            return Err(Ignored::Lifetime);
        }
        let same = self.held_lease.held().is_some_and(|held| held.ip() == new.ip());
        if same && self.held_lease.is_vouched_for() {
            self.bind(new);
        } else {
            // It may be looked for already.
            let asked = same && matches!(self.phase, Phase::Rebooting { asked: true, .. });
            self.phase = Phase::Probing { candidate: new, asked };
        }
        Ok(())
    }

    /// A server says that the lease is void. Where all are asked, some servers say so of every lease that they did not give
    /// themselves. Such an objection waits for the answer of the lease's own server.
    fn refused(&mut self, now: Instant, message: &Message, server: Option<Ipv4Addr>) -> Result<(), Ignored> {
        let server = server.or(self.asked()).ok_or(Ignored::NoServer)?;
        if self.asked().is_some_and(|asked| asked != server) {
            return Err(Ignored::OtherServer(server));
        }
        let loss = Loss::Refused(message.options.message());
        let own = self.held_lease.held().map(|held| held.lease.server);
        let may_answer = own.is_some_and(|own| own != server && self.config.servers.accept(&own));
        if let Some(question) = self.question_to_all().filter(|_| may_answer) {
            question.objection = Some(loss);
            return Err(Ignored::OtherServer(server));
        }
        self.begin_anew(now, loss);
        Ok(())
    }

    /// Whether another server's objection counts by now: the lease's own server has not answered either. While the address is
    /// in use it is asked as often as it may be after a start.
    pub(super) fn objection(&self, now: Instant) -> Option<Loss> {
        let (exchange, times) = match &self.phase {
            Phase::Rebooting { exchange, .. } if self.held_lease.is_in_use() => (exchange, REQUESTS),
            Phase::Rebooting { exchange, .. } | Phase::Rebinding(exchange) => (exchange, 1),
            _ => return None,
        };
        exchange.objection.clone().filter(|_| exchange.times >= times && now >= exchange.next)
    }

    /// Begins anew: at once, but ever later if nothing else comes, or client and server would keep each other busy.
    pub(super) fn begin_anew(&mut self, now: Instant, loss: Loss) {
        self.held_lease.lose(loss);
        self.requested = None;
        let wait = if self.refused == 0 { Duration::ZERO } else { pause(self.refused, &mut self.random) };
        self.refused = self.refused.saturating_add(1);
        self.init(now, wait);
    }
}

/// Who sent a message: who it says, or else who its datagram came from. The RFC wants the option in every answer (table 3),
/// but some routers leave it out, and without a relay between the two are the same machine.
fn server(message: &Message, source: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let said = message.options.address(code::SERVER_ID).ok().flatten();
    let source = source.filter(|_| message.giaddr.is_unspecified());
    said.filter(|ip| is_host(*ip)).or(source.filter(|ip| is_host(*ip)))
}
