//! The messages that a client sends, with the fields and options that RFC 2131, table 5, prescribes for each.

use std::net::Ipv4Addr;

use super::frame::Datagram;
use super::lease::Held;
use super::{Config, Kind, Lease, Message, code};
use crate::Mac;

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The payload of the UDP datagram.
    pub payload: Vec<u8>,
    /// The client's address, or `0.0.0.0` while it has none.
    pub from: Ipv4Addr,
    /// A server's address, or `255.255.255.255`.
    pub to: Ipv4Addr,
}

impl Outgoing {
    /// The whole Ethernet frame. `to` is `Mac::BROADCAST` for the broadcast address.
    pub fn frame(&self, from: Mac, to: Mac) -> Vec<u8> {
        let (source_mac, destination_mac) = (from, to);
        Datagram {
            source_mac,
            destination_mac,
            source: self.from,
            destination: self.to,
            payload: &self.payload,
        }
        .to_server()
    }

    fn broadcast(message: &Message) -> Self {
        Outgoing { payload: message.encode(), from: message.ciaddr, to: Ipv4Addr::BROADCAST }
    }

    fn unicast(message: &Message, to: Ipv4Addr) -> Self {
        Outgoing { payload: message.encode(), from: message.ciaddr, to }
    }
}

fn message(config: &Config, kind: Kind, xid: u32) -> Message {
    let mut message = Message::request(xid, config.mac);
    message.options.set(code::MESSAGE_TYPE, [kind as u8]);
    message.options.set(code::CLIENT_ID, config.id.bytes());
    message
}

/// A message that asks for something while the client has no address of its own yet.
fn question(config: &Config, kind: Kind, xid: u32, secs: u16) -> Message {
    let mut message = message(config, kind, xid);
    (message.secs, message.broadcast) = (secs, config.broadcast);
    config.describe(&mut message.options);
    message
}

/// A DISCOVER to all servers, for `requested` if possible.
pub(super) fn discover(config: &Config, xid: u32, secs: u16, requested: Option<Ipv4Addr>) -> Outgoing {
    let mut message = question(config, Kind::Discover, xid, secs);
    if let Some(requested) = requested {
        message.options.set(code::REQUESTED_ADDRESS, requested.octets());
    }
    Outgoing::broadcast(&message)
}

/// A REQUEST to all servers that accepts this offer and no other. Transaction number and `secs` are those of
/// the DISCOVER (RFC 2131, 3.1 (3)).
pub(super) fn select(config: &Config, xid: u32, secs: u16, offer: &Lease) -> Outgoing {
    let mut message = question(config, Kind::Request, xid, secs);
    message.options.set(code::REQUESTED_ADDRESS, offer.address.addr().octets());
    message.options.set(code::SERVER_ID, offer.server.octets());
    Outgoing::broadcast(&message)
}

/// A REQUEST to all servers that asks whether the client's earlier address is still valid on this LAN.
pub(super) fn reboot(config: &Config, xid: u32, secs: u16, ip: Ipv4Addr) -> Outgoing {
    let mut message = question(config, Kind::Request, xid, secs);
    message.options.set(code::REQUESTED_ADDRESS, ip.octets());
    Outgoing::broadcast(&message)
}

/// A REQUEST to the lease's server, or to all servers, that asks to extend the lease. The client has its
/// address now, so answers need not be broadcast.
pub(super) fn extend(config: &Config, xid: u32, secs: u16, held: &Held, to: Ipv4Addr) -> Outgoing {
    let mut message = question(config, Kind::Request, xid, secs);
    (message.ciaddr, message.broadcast) = (held.ip(), false);
    Outgoing::unicast(&message, to)
}

/// A DECLINE to all servers: another host already has the address that this lease assigns.
pub(super) fn decline(config: &Config, xid: u32, lease: &Lease) -> Outgoing {
    let mut message = message(config, Kind::Decline, xid);
    message.options.set(code::REQUESTED_ADDRESS, lease.address.addr().octets());
    message.options.set(code::SERVER_ID, lease.server.octets());
    message.options.set(code::MESSAGE, *b"another machine has this address");
    Outgoing::broadcast(&message)
}

/// A RELEASE to the lease's server.
pub(super) fn release(config: &Config, xid: u32, lease: &Lease) -> Outgoing {
    let mut message = message(config, Kind::Release, xid);
    message.ciaddr = lease.address.addr();
    message.options.set(code::SERVER_ID, lease.server.octets());
    message.options.set(code::MESSAGE, *b"not needed any longer");
    Outgoing::unicast(&message, lease.server)
}
