//! A DHCPv6 client (RFC 8415): its messages in bytes, and the life of a lease of one address (`IA_NA`).
//!
//! | state      | event                                       | action                                       | next       |
//! |------------|---------------------------------------------|----------------------------------------------|------------|
//! | init       | the pause is over                           | SOLICIT                                      | soliciting |
//! | soliciting | an ADVERTISE of preference 255, or one after the first second, or that second is over and there was one | REQUEST to the best | requesting |
//! | soliciting, requesting | REPLY with an address           | ask whether anybody has the address          | probing    |
//! | requesting | `NoAddrsAvail`, `NotOnLink` or `NoBinding` | a lease, if any, is lost                         | init       |
//! | requesting | ten REQUESTs without an answer              | a lease, if any, runs on                     | init, bound |
//! | probing    | nobody has it                               | the lease may be used                        | bound      |
//! | probing    | somebody has it                             | DECLINE                                      | declining  |
//! | declining  | REPLY, or four DECLINEs without one         | ten seconds' pause since the first           | init       |
//! | bound      | T1                                          | RENEW to the server                          | renewing   |
//! | renewing   | T2                                          | REBIND                                       | rebinding  |
//! | renewing, rebinding | REPLY with the address             | the lease goes on                            | bound      |
//! | renewing, rebinding | REPLY with another                 | as from soliciting; the lease runs on, unless it is taken back | probing |
//! | renewing, rebinding | `NoBinding`: the server forgot     | REQUEST to that server; the lease runs on    | requesting |
//! | renewing, rebinding | `NotOnLink`, or the address ends now | the lease is lost                          | init       |
//! | confirming | REPLY                                       | the lease goes on; if not in use, ask whether anybody has the address | bound, probing |
//! | confirming | no answer for a while                       | the lease is used unconfirmed                | confirming |
//! | confirming | no answer in ten seconds                    |                                              | bound      |
//! | confirming | `NotOnLink`                                 | the lease is lost                            | init       |
//! | any        | the lease ends                              | the lease is lost                            | init       |
//! | any        | the link is back                            | CONFIRM                                      | confirming |
//! | any        | it is to give the lease back                | the lease is lost, RELEASE                   | releasing  |
//! | releasing  | REPLY, or four RELEASEs without one         |                                              | released   |
//!
//! Time is an argument, and so is randomness. A [`Client`] is driven as [`dhcp::Client`](crate::dhcp::Client) says.
//!
//! What a state does not await is ignored in it, and so is a REPLY that says that something went wrong for no reason that the
//! table names: what it answers is repeated in its time. Everything is sent by multicast, so that `UseMulticast` has nothing to
//! ask for. Every RECONFIGURE is ignored: those that are to be heeded are authenticated with a key (RFC 8415, 20.4) for which
//! this never asks.
//!
//! An [`Inquiry`] asks for what there is to know beside addresses.

use std::net::Ipv6Addr;

mod client;
mod config;
mod duid;
mod exchange;
mod frame;
mod inquiry;
mod lease;
mod message;
mod options;
mod request;

pub use crate::dhcp::{Loss, SHORTEST, Update};
pub use crate::domain::{DomainName, DomainNameError};
pub use crate::udp::Checksum;
pub use client::{Action, Client, State};
pub use config::{Config, Servers};
pub use duid::{Duid, DuidError};
#[cfg(test)]
pub(crate) use frame::tests::{question as question_frame, reply as reply_frame};
pub use frame::{ALL_SERVERS, CLIENT_PORT, Datagram, SERVER_PORT};
pub use inquiry::{Inquiry, Told};
pub use lease::{Change, Dns, Held, Lease, Part, Recorded, Term};
pub use message::{Kind, Message};
pub use options::{Options, Status, code};
pub use request::Outgoing;

/// Why a message was not for this client, or is of no use to it. Nothing needs to be done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It is no server's.
    #[error("it is no reply")]
    NoReply,
    /// It wants to be obeyed, and nothing shows that it comes from the lease's server.
    #[error("it is not authenticated")]
    Unauthenticated,
    /// It is for another DUID, or for nobody.
    #[error("it is another client's")]
    OtherClient,
    /// Nothing is asked at the moment that this would answer.
    #[error("a {0:?} is not awaited")]
    NotAwaited(Kind),
    /// It answers what is no longer, or never was asked.
    #[error("it answers another exchange")]
    OtherExchange,
    /// It comes from a server that does not count, or was not asked.
    #[error("{0} was not asked")]
    OtherServer(Duid),
    /// It does not say which server it comes from.
    #[error("it names no server")]
    NoServer,
    /// It gives no address.
    #[error("it gives no address")]
    NoAddress,
    /// It gives an address that no machine can have.
    #[error("{0} is not an address of a machine's")]
    Address(Ipv6Addr),
    /// Its lifetimes make no sense, are too short, or are over.
    #[error("its lifetimes are of no use")]
    Lifetime,
    /// It says that something went wrong, and perhaps why.
    #[error("it says {0:?}")]
    Failed(Status, Option<String>),
}
