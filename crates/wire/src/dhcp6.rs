//! A DHCPv6 client (RFC 8415): the message formats, and the life of a lease of one address (`IA_NA`).
//!
//! | state      | event                                       | action                                       | next       |
//! |------------|---------------------------------------------|----------------------------------------------|------------|
//! | init       | the pause is over                           | SOLICIT                                      | soliciting |
//! | soliciting | an ADVERTISE of preference 255, or one after the first second, or that second is over and there was one | REQUEST to the best server | requesting |
//! | soliciting, requesting | REPLY with an address           | have the address probed                      | probing    |
//! | requesting | `NoAddrsAvail`, `NotOnLink` or `NoBinding`  | a lease, if any, is lost                     | init       |
//! | requesting | ten REQUESTs without an answer              | a lease, if any, runs on                     | init, bound |
//! | probing    | no other host has the address               | the lease may be used                        | bound      |
//! | probing    | another host has the address                | DECLINE                                      | declining  |
//! | declining  | REPLY, or four DECLINEs without one         | a pause of ten seconds since the first       | init       |
//! | bound      | T1                                          | RENEW to the server                          | renewing   |
//! | renewing   | T2                                          | REBIND                                       | rebinding  |
//! | renewing, rebinding | REPLY with the address             | the lease goes on                            | bound      |
//! | renewing, rebinding | REPLY with another address         | as in soliciting; the lease runs on, unless it is withdrawn | probing |
//! | renewing, rebinding | `NoBinding`: the server forgot the lease | REQUEST to that server; the lease runs on | requesting |
//! | renewing, rebinding | `NotOnLink`, or the address is withdrawn | the lease is lost                       | init       |
//! | confirming | REPLY                                       | the lease goes on; if it is not in use, have the address probed | bound, probing |
//! | confirming | no answer for a while                       | the lease is used unconfirmed                | confirming |
//! | confirming | no answer in ten seconds                    |                                              | bound      |
//! | confirming | `NotOnLink`                                 | the lease is lost                            | init       |
//! | any        | the lease expires                           | the lease is lost                            | init       |
//! | any        | the link has a carrier again                | CONFIRM                                      | confirming |
//! | any        | the caller releases the lease               | the lease is lost, RELEASE                   | releasing  |
//! | releasing  | REPLY, or four RELEASEs without one         |                                              | released   |
//!
//! Time and randomness are arguments. How to drive a [`Client`] is described at
//! [`dhcp::Client`](crate::dhcp::Client).
//!
//! A client ignores messages that its state does not expect. It also ignores a REPLY with a failure status
//! that the table does not name: it repeats its message when the time comes. All messages are sent by
//! multicast, so `UseMulticast` has no effect. Every RECONFIGURE is ignored, because a valid one is
//! authenticated with a key (RFC 8415, 20.4) that this client never asks for.
//!
//! An [`Inquiry`] asks for configuration other than addresses.

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

/// Why a client ignored a message. No action is needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It was not sent by a server.
    #[error("it is not a reply")]
    NoReply,
    /// It demands an action, but nothing proves that it comes from the lease's server.
    #[error("it is not authenticated")]
    Unauthenticated,
    /// It is for another DUID, or for none.
    #[error("it is for another client")]
    OtherClient,
    /// The client expects no such message at the moment.
    #[error("a {0:?} is not expected")]
    NotAwaited(Kind),
    /// It answers an earlier exchange, or one that never was.
    #[error("it answers another exchange")]
    OtherExchange,
    /// It comes from a server whose answers are not accepted, or that was not asked.
    #[error("{0} was not asked, or its answers are not accepted")]
    OtherServer(Duid),
    /// It does not name its server.
    #[error("it does not name its server")]
    NoServer,
    /// It assigns no address.
    #[error("it assigns no address")]
    NoAddress,
    /// It assigns an address that no host can have.
    #[error("{0} cannot be the address of a host")]
    Address(Ipv6Addr),
    /// Its lifetimes are invalid, too short, or already over.
    #[error("its lifetimes are invalid, too short or already over")]
    Lifetime,
    /// It reports a failure, with its reason if it gives one.
    #[error("it reports the status {0:?}")]
    Failed(Status, Option<String>),
}
