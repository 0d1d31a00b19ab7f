//! A DHCPv4 client (RFC 2131): the message formats, and the life of a lease.
//!
//! | state      | event                                       | action                                       | next       |
//! |------------|---------------------------------------------|----------------------------------------------|------------|
//! | init       | the pause is over                           | DISCOVER, broadcast                          | selecting  |
//! | selecting  | the first acceptable OFFER                  | REQUEST, broadcast                           | requesting |
//! | requesting | ACK                                         | have the address probed                      | probing    |
//! | requesting | NAK, or four REQUESTs without an answer     |                                              | init       |
//! | probing    | no other host has the address               | the lease may be used                        | bound      |
//! | probing    | another host has the address                | DECLINE, a pause of ten seconds              | init       |
//! | bound      | T1                                          | REQUEST to the server                        | renewing   |
//! | renewing   | T2                                          | REQUEST, broadcast                           | rebinding  |
//! | renewing, rebinding | ACK                                | the lease goes on                            | bound      |
//! | rebooting  | ACK                                         | as in renewing; if not in use, as requesting | bound      |
//! | rebooting  | no answer for a while                       | the lease is used unconfirmed                | rebooting  |
//! | rebooting  | four REQUESTs without an answer             |                                              | bound      |
//! | renewing, rebinding, rebooting | NAK                     | the lease is lost                            | init       |
//! | any        | the lease expires                           | the lease is lost                            | init       |
//! | any        | the link has a carrier again                | REQUEST for the lease, broadcast             | rebooting  |
//!
//! Time and randomness are arguments. How to drive a [`Client`] is described at
//! [`dhcp::Client`](crate::dhcp::Client).
//!
//! A client ignores messages that its state does not expect, and every unauthenticated FORCERENEW (RFC 3203).

use std::net::Ipv4Addr;

mod client;
mod config;
mod frame;
mod lease;
mod message;
mod options;
mod request;
mod route;
mod survey;

pub use crate::dhcp::{Loss, SHORTEST, Update};
pub use crate::domain::{DomainName, DomainNameError};
pub use crate::udp::Checksum;
pub use client::{Action, Client, State};
pub use config::{ClientId, ClientIdError, Config, Name, Servers};
#[cfg(test)]
pub(crate) use frame::tests::reply as reply_frame;
pub use frame::{CLIENT_PORT, Datagram, SERVER_PORT};
pub use lease::{Change, Held, Lease, Part, Recorded, Term, UNSAID};
pub use message::{Message, Op};
pub use options::{Kind, LEAST_MTU, Malformed, Options, code};
pub use request::Outgoing;
pub use route::Route;
pub use survey::{Next, Offers, QUIET, Survey};

/// Why a client ignored a message. No action is needed, except to report the reason if no usable answer
/// comes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It was sent by a client.
    #[error("it is not a reply")]
    NoReply,
    /// It is for another MAC or another client identifier (RFC 6842).
    #[error("it is for another client")]
    OtherClient,
    /// The client expects no such message at the moment.
    #[error("a {0:?} is not expected")]
    NotAwaited(Option<Kind>),
    /// It answers an earlier exchange, or one that never was.
    #[error("it answers another exchange")]
    OtherExchange,
    /// It comes from a server whose answers are not accepted, or that was not asked.
    #[error("{0} was not asked, or its answers are not accepted")]
    OtherServer(Ipv4Addr),
    /// It does not name its server, and the address of its sender does not tell, because it came through a
    /// relay or the address is unknown.
    #[error("it does not name its server")]
    NoServer,
    /// It assigns an address that no host can have.
    #[error("{0} cannot be the address of a host")]
    Address(Ipv4Addr),
    /// It assigns an address that, according to the same message, belongs to the server or the router.
    #[error("{0} is the address of the {1} that it names")]
    Named(Ipv4Addr, &'static str),
    /// Its subnet mask is invalid.
    #[error("its subnet mask is invalid")]
    Mask,
    /// Its lifetime is invalid, too short, or already over.
    #[error("its lifetime is invalid, too short or already over")]
    Lifetime,
}

impl Ignored {
    /// Whether the message is an answer for this client, but unusable.
    pub fn is_unfit(&self) -> bool {
        matches!(
            self,
            Ignored::NoServer | Ignored::Address(_) | Ignored::Named(..) | Ignored::Mask | Ignored::Lifetime
        )
    }
}
