//! Follows what IPv6 routers advertise on a link: default routers, prefixes from which addresses are formed
//! (RFC 4862), routes (RFC 4191) and DNS servers (RFC 8106). Solicits until a router answers (RFC 7559).
//!
//! | known of a prefix | its advertisement says                     | then                                             |
//! |-------------------|--------------------------------------------|--------------------------------------------------|
//! | nothing           | a valid lifetime, 64 bits, not link-local  | the prefix becomes known                         |
//! | something         | any preferred lifetime                     | that preferred lifetime                          |
//! | something         | a valid lifetime above two hours, or longer than what is left | that valid lifetime           |
//! | more than two hours left | a shorter valid lifetime            | two hours, so that a forged packet cannot end addresses (RFC 4862, 5.5.3 (e)) |
//! | two hours or less left | a shorter valid lifetime              | the valid lifetime runs on                       |
//! | something         | nothing any more                           | it is deprecated, and removed when it expires    |

mod bounded;
mod interface_id;
mod link;
mod offer;
mod pace;

pub use interface_id::is_reserved;
pub use link::{Action, Link};
pub use offer::{Lasting, Offer, OnLink, Prefix, Route, Router};
