//! The messages that a client sends, with the options that RFC 8415, 18.2 and appendix B, prescribes for
//! each.

use std::net::Ipv6Addr;

use super::config::codes;
use super::exchange::Exchange;
use super::frame::to_servers;
use super::lease::Association;
use super::{Config, Kind, Lease, Message, Options, code};
use crate::Mac;

/// A message to send. It always goes to all servers; if it names one, only that server acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The payload of the UDP datagram.
    pub payload: Vec<u8>,
}

impl Outgoing {
    /// The whole Ethernet frame. `source` is one of the client's link-local addresses, to which servers
    /// answer (RFC 8415, 13).
    pub fn frame(&self, from: Mac, source: Ipv6Addr) -> Vec<u8> {
        to_servers(from, source, &self.payload)
    }
}

/// A message with the options that every message has.
fn message(config: &Config, kind: Kind, exchange: &Exchange) -> Message {
    let mut options = Options::default();
    options.push(code::CLIENT_ID, config.duid.bytes());
    options.push(code::ELAPSED_TIME, exchange.elapsed().to_be_bytes());
    Message { kind, xid: exchange.xid, options }
}

fn about(config: &Config, kind: Kind, exchange: &Exchange, ip: Option<Ipv6Addr>) -> Message {
    let mut message = message(config, kind, exchange);
    message.options.push(code::IA_NA, Association::ask(config.iaid, ip));
    message
}

/// A message for the lease's server alone.
fn to_its_server(config: &Config, kind: Kind, exchange: &Exchange, lease: &Lease) -> Message {
    let mut message = about(config, kind, exchange, Some(lease.address));
    message.options.push(code::SERVER_ID, lease.server.bytes());
    message
}

fn outgoing(message: &Message) -> Outgoing {
    Outgoing { payload: message.encode() }
}

/// A SOLICIT, for the address `requested` if possible.
pub(super) fn solicit(config: &Config, exchange: &Exchange, requested: Option<Ipv6Addr>) -> Outgoing {
    let mut message = about(config, Kind::Solicit, exchange, requested);
    if config.rapid_commit {
        message.options.push(code::RAPID_COMMIT, []);
    }
    config.describe(&mut message.options);
    outgoing(&message)
}

/// A REQUEST that accepts an offer, or a RENEW to the lease's server.
pub(super) fn extend(config: &Config, kind: Kind, exchange: &Exchange, lease: &Lease) -> Outgoing {
    let mut message = to_its_server(config, kind, exchange, lease);
    config.describe(&mut message.options);
    outgoing(&message)
}

/// A REBIND, which asks any server to extend the lease.
pub(super) fn rebind(config: &Config, exchange: &Exchange, lease: &Lease) -> Outgoing {
    let mut message = about(config, Kind::Rebind, exchange, Some(lease.address));
    config.describe(&mut message.options);
    outgoing(&message)
}

/// A CONFIRM, which asks whether the address belongs to the link.
pub(super) fn confirm(config: &Config, exchange: &Exchange, lease: &Lease) -> Outgoing {
    outgoing(&about(config, Kind::Confirm, exchange, Some(lease.address)))
}

/// A DECLINE, because another host has the address, or a RELEASE.
pub(super) fn part(config: &Config, kind: Kind, exchange: &Exchange, lease: &Lease) -> Outgoing {
    outgoing(&to_its_server(config, kind, exchange, lease))
}

/// An INFORMATION-REQUEST, which asks for configuration other than addresses.
pub(super) fn inform(config: &Config, exchange: &Exchange) -> Outgoing {
    const WANTED: [u16; 4] = [code::DNS, code::DOMAIN_SEARCH, code::REFRESH_TIME, code::INF_MAX_RT];
    let mut message = message(config, Kind::InformationRequest, exchange);
    message.options.push(code::OPTION_REQUEST, codes(&WANTED));
    outgoing(&message)
}
