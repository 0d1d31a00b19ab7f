//! What IPv6 routers advertise on a link, followed: default routers, prefixes of which addresses are made (RFC 4862), routes
//! (RFC 4191), name servers (RFC 8106), and solicitations until a router speaks (RFC 7559).
//!
//! | known of a prefix | its advertisement says                     | then                                             |
//! |-------------------|--------------------------------------------|--------------------------------------------------|
//! | nothing           | a valid lifetime, 64 bits, not link-local  | it is known                                      |
//! | something         | any preferred lifetime                     | that                                             |
//! | something         | a valid lifetime above two hours, or longer than what is left | that                          |
//! | more than two hours left | a shorter valid lifetime            | two hours: nobody who is no router ends addresses by a packet (RFC 4862, 5.5.3 (e)) |
//! | less              | a shorter one                              | what is left                                     |
//! | something         | nothing any more                           | it is deprecated and goes when its time comes    |

mod bounded;
mod interface_id;
mod link;
mod offer;
mod pace;

pub use interface_id::is_reserved;
pub use link::{Action, Link};
pub use offer::{Lasting, Offer, OnLink, Prefix, Route, Router};
