//! A DHCPv4 client (RFC 2131): its messages in bytes, and the life of a lease.
//!
//! | state      | event                                       | action                                       | next       |
//! |------------|---------------------------------------------|----------------------------------------------|------------|
//! | init       | the pause is over                           | DISCOVER, broadcast                          | selecting  |
//! | selecting  | the first OFFER that can be taken           | REQUEST, broadcast                           | requesting |
//! | requesting | ACK                                         | ask whether anybody has the address          | probing    |
//! | requesting | NAK, or four REQUESTs without an answer     |                                              | init       |
//! | probing    | nobody has it                               | the lease may be used                        | bound      |
//! | probing    | somebody has it                             | DECLINE, a pause of ten seconds              | init       |
//! | bound      | T1                                          | REQUEST to the server                        | renewing   |
//! | renewing   | T2                                          | REQUEST, broadcast                           | rebinding  |
//! | renewing, rebinding | ACK                                | the lease goes on                            | bound      |
//! | rebooting  | ACK                                         | as in renewing; if not in use, as requesting | bound      |
//! | rebooting  | no answer for a while                       | the lease is used unconfirmed                | rebooting  |
//! | rebooting  | four REQUESTs without an answer             |                                              | bound      |
//! | renewing, rebinding, rebooting | NAK                     | the lease is lost                            | init       |
//! | any        | the lease ends                              | the lease is lost                            | init       |
//! | any        | the link is back                            | REQUEST for the lease, broadcast             | rebooting  |
//!
//! Time is an argument, and so is randomness. A [`Client`] is driven as [`dhcp::Client`](crate::dhcp::Client) says.
//!
//! What a state does not await is ignored in it, and so is every unauthenticated FORCERENEW (RFC 3203).

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
pub(crate) use frame::FRAGMENT;
#[cfg(test)]
pub(crate) use frame::tests::reply as reply_frame;
pub use frame::{CLIENT_PORT, Datagram, SERVER_PORT};
pub use lease::{Change, Held, Lease, Part, Recorded, Term, UNSAID};
pub use message::{Message, Op};
pub use options::{Kind, LEAST_MTU, Malformed, Options, code};
pub use request::Outgoing;
pub use route::Route;
pub use survey::{Next, Offers, QUIET, Survey};

/// Why a message was not for this client, or is of no use to it. Nothing needs to be done about it, but to say so where nothing else
/// comes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It is a client's own.
    #[error("it is no reply")]
    NoReply,
    /// It is for another MAC or another identifier (RFC 6842).
    #[error("it is another client's")]
    OtherClient,
    /// Nothing is asked at the moment that this would answer.
    #[error("a {0:?} is not awaited")]
    NotAwaited(Option<Kind>),
    /// It answers what is no longer, or never was asked.
    #[error("it answers another exchange")]
    OtherExchange,
    /// It comes from a server that does not count, or was not asked.
    #[error("{0} was not asked")]
    OtherServer(Ipv4Addr),
    /// It does not say which server it comes from, and a relay lies between.
    #[error("it names no server")]
    NoServer,
    /// It gives an address that no machine can have.
    #[error("{0} is not an address of a machine's")]
    Address(Ipv4Addr),
    /// It gives the address that it calls the server's or the router's own.
    #[error("{0} is the address of the {1} that it names")]
    Named(Ipv4Addr, &'static str),
    /// Its mask is none.
    #[error("its mask makes no sense")]
    Mask,
    /// Its lifetime makes no sense, is too short, or is over.
    #[error("its lifetime is of no use")]
    Lifetime,
}

impl Ignored {
    /// Whether it is an answer for this client of which nothing can be made.
    pub fn is_unfit(&self) -> bool {
        matches!(
            self,
            Ignored::NoServer | Ignored::Address(_) | Ignored::Named(..) | Ignored::Mask | Ignored::Lifetime
        )
    }
}
