//! How a client handles the messages that it receives.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::exchange::{Exchange, pause};
use super::{Client, Ignored, Loss, Phase, REQUESTS, code};
use crate::Boottime;
use crate::dhcp4::route::is_host;
use crate::dhcp4::{Held, Kind, Lease, Message, Op};

impl Client {
    /// Processes a message. `source` is the address that its datagram came from, if known. The caller learns
    /// what to do next from [`poll`](crate::dhcp::Client::poll). Returns why the message was ignored, if it
    /// was.
    pub fn receive(
        &mut self,
        now: Boottime,
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

    /// Returns the address of a server whose answers are not accepted, if the message comes from one. Any
    /// host can write any server identifier, so the sender of the datagram must be accepted too. Behind a
    /// relay, the sender is the relay and is not checked.
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

    /// The question about a held lease that the client sends to all servers.
    fn question_to_all(&mut self) -> Option<&mut Exchange> {
        match &mut self.phase {
            Phase::Rebinding(exchange) | Phase::Rebooting { exchange, .. } => Some(exchange),
            _ => None,
        }
    }

    /// The server that was asked. Returns `None` if all servers were asked.
    fn asked(&self) -> Option<Ipv4Addr> {
        match &self.phase {
            Phase::Requesting { offer, .. } => Some(offer.server),
            Phase::Renewing(_) => self.held_lease.held().map(|held| held.lease.server),
            _ => None,
        }
    }

    /// Accepts the first usable offer.
    fn offered(&mut self, now: Boottime, message: &Message, server: Ipv4Addr) -> Result<(), Ignored> {
        let offer = Lease::read(message, server, None, &mut self.random)?;
        if let Phase::Selecting(exchange) = &self.phase {
            self.phase = Phase::Requesting { exchange: exchange.follow(now), offer };
        }
        Ok(())
    }

    fn acknowledged(
        &mut self,
        now: Boottime,
        message: &Message,
        server: Option<Ipv4Addr>,
    ) -> Result<(), Ignored> {
        let before = match &self.phase {
            Phase::Requesting { offer, .. } => Some(offer),
            _ => self.held_lease.held().map(|held| &held.lease),
        };
        let server = server.or(self.asked()).ok_or(Ignored::NoServer)?;
        // The server may have changed its identifier since, so any is accepted in answer to a renewal. Of the
        // offers only one was accepted, so here the identifier must match.
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
            // The address may already be under probe.
            let asked = same && matches!(self.phase, Phase::Rebooting { asked: true, .. });
            self.phase = Phase::Probing { candidate: new, asked };
        }
        Ok(())
    }

    /// Handles a NAK. When all servers are asked, some servers refuse every lease that they did not assign
    /// themselves. Such an objection does not count until the lease's own server had its chance to answer.
    fn refused(&mut self, now: Boottime, message: &Message, server: Option<Ipv4Addr>) -> Result<(), Ignored> {
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

    /// Returns another server's objection once it counts, which is when the lease's own server has not
    /// answered either. A rebooting client whose address is in use first sends all `REQUESTS`; otherwise one
    /// attempt is enough.
    pub(super) fn objection(&self, now: Boottime) -> Option<Loss> {
        let (exchange, times) = match &self.phase {
            Phase::Rebooting { exchange, .. } if self.held_lease.is_in_use() => (exchange, REQUESTS),
            Phase::Rebooting { exchange, .. } | Phase::Rebinding(exchange) => (exchange, 1),
            _ => return None,
        };
        exchange.objection.clone().filter(|_| exchange.times >= times && now >= exchange.next)
    }

    /// Starts over. The first time this happens at once, then after ever longer pauses if nothing else comes
    /// between; otherwise client and server would keep each other busy.
    pub(super) fn begin_anew(&mut self, now: Boottime, loss: Loss) {
        self.held_lease.lose(loss);
        self.requested = None;
        let wait = if self.refused == 0 { Duration::ZERO } else { pause(self.refused, &mut self.random) };
        self.refused = self.refused.saturating_add(1);
        self.init(now, wait);
    }
}

/// The server that sent a message: the server identifier, or else the sender of the datagram. RFC 2131, table
/// 3, demands the option in every answer, but some routers leave it out. Without a relay in between, the
/// sender is the server.
fn server(message: &Message, source: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let said = message.options.address(code::SERVER_ID).ok().flatten();
    let source = source.filter(|_| message.giaddr.is_unspecified());
    said.filter(|ip| is_host(*ip)).or(source.filter(|ip| is_host(*ip)))
}
