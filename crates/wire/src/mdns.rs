//! A responder of multicast DNS (RFC 6762) with services (RFC 6763), without sockets or clock: names of containers on the
//! LAN, as `web.local`.
//!
//! | a name is | event | action | next |
//! |-----------|-------|--------|------|
//! | waiting   | it gets an address | wait a random moment | probing |
//! | probing   | time for the next of three probes | send it (8.1) | probing |
//! | probing   | another host probes for the name and wishes for later data | wait a second (8.2) | conflict |
//! | probing   | another host has the name | take the next label (9) | probing |
//! | probing   | any conflict, the fifteenth of all names within ten seconds | the same, and wait five seconds (8.1) | conflict |
//! | any       | the fifteenth conflict of this name, or a later one | take the wanted label, wait longer each time | conflict |
//! | conflict  | the wait is over | | probing |
//! | probing   | the wait after the last probe is over | announce all records (8.3), report another label than the last | announced |
//! | announced | a second later | announce them again | announced |
//! | announced | a question for its records | answer (6) | announced |
//! | announced | another host probes for the name | answer | announced |
//! | announced | another host says something else of the name | probe again (9) | probing |
//! | announced | an hour is over with another label than the wanted one | once: say goodbye, take the wanted label | probing |
//! | announced | its addresses or services change | say goodbye to the old ones, announce the new ones (8.4) | announced |
//! | announced | it has no address any more, is removed, or the responder stops | say goodbye (10.1) | waiting or gone |
//!
//! Only what is sent to the group from port 5353 is a conflict (6, 11). Data that is the same is none, whoever says it: what
//! a reflector repeats, what is heard on another channel, what a responder within the container publishes.
//!
//! **One responder for one LAN.** It speaks on two [`Channel`]s, IPv4 and IPv6. A query is answered where it was heard; what
//! was sent last is known for each channel.

mod asked;
mod channel;
mod claim;
mod frame;
mod label;
mod message;
mod name;
mod record;
mod responder;
mod service;
mod zone;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use channel::{Channel, Channels};
pub use claim::{Conflict, HOST_TTL, MOST_ADDRESSES, OTHER_TTL, State, Wanted};
pub use frame::{Frame, frame, packet_within_host};
pub use label::{Label, LabelError};
pub use message::{LONGEST, Message, Question, Said};
pub use name::{LONGEST_LABEL, LONGEST_NAME, Name};
pub use record::{Data, Record, kind};
pub use responder::{Action, Datagram, Listed, Packet, Responder};
pub use service::{MOST_SERVICES, Service, ServiceError};

/// The port (RFC 6762, 3).
pub const PORT: u16 = 5353;
/// The group of IPv4 (RFC 6762, 3).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The group of IPv6 (RFC 6762, 3).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
