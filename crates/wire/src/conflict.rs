//! Address conflict detection: RFC 5227 for IPv4, and duplicate address detection (RFC 4862, 5.4) for IPv6.
//!
//! | state       | event                                       | action                                | next      |
//! |-------------|---------------------------------------------|---------------------------------------|-----------|
//! | probing     | time for the next probe                     | send it                               | probing   |
//! | probing     | a probe could not be sent yet               | send it a little later                | probing   |
//! | probing     | some of what was said was not heard         | begin anew, twice at most             | probing   |
//! | probing     | another claims it or probes for it, after the first probe | give it up              | conflict  |
//! | probing     | the wait after the last probe is over       | the address may be used, announce it  | clear     |
//! | clear       | it was so a while ago, and is to be used    | send one more probe                   | probing   |
//! | in use      | another claims it, none did for a while     | announce once more (defend)           | in use    |
//! | in use      | another claims it, defended a moment ago    | stay silent, or the two would not stop | in use    |
//!
//! A server's address is not given up once it is in use (RFC 5227, 2.4 (c)): its clients would lose it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arp::Arp;
use crate::ipv6::group_mac;
use crate::{Heard, Mac, mld, ndp};

mod defence;
mod probe;

pub use defence::{Defence, Response};
pub use probe::{Action, Probe};

/// How thoroughly an address is looked for before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Not at all.
    Off,
    /// Three probes within 200 ms, which fits a container's start.
    #[default]
    Quick,
    /// With the constants of RFC 5227, 1.1: 4 to 7 s.
    Full,
}

/// The times of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The most that the first probe waits (`PROBE_WAIT`).
    pub wait: Duration,
    /// How many probes there are (`PROBE_NUM`).
    pub probes: u32,
    /// The least between two probes (`PROBE_MIN`).
    pub least: Duration,
    /// The most between two probes (`PROBE_MAX`).
    pub most: Duration,
    /// From the last probe until the address may be used (`ANNOUNCE_WAIT`).
    pub after: Duration,
}

/// How long a last look waits for an answer. The address was looked for a while ago, so a machine that is slow to answer was heard
/// then, and one that took the address since answers at once.
pub const LAST_LOOK: Duration = Duration::from_millis(25);
/// The same where there is hardly any time. Another container of this host answers within microseconds, and a machine at the other
/// end of a cable within a millisecond.
pub const BRIEF_LOOK: Duration = Duration::from_millis(1);
/// From one announcement to the second (`ANNOUNCE_INTERVAL`).
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// How many announcements there are (`ANNOUNCE_NUM`).
pub const ANNOUNCE_NUM: u32 = 2;
/// The least between two defences (`DEFEND_INTERVAL`).
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

impl Profile {
    /// Its times; none where it does not look at all.
    pub fn timing(self) -> Option<Timing> {
        let ms = Duration::from_millis;
        match self {
            Profile::Off => None,
            Profile::Quick => {
                Some(Timing { wait: ms(0), probes: 3, least: ms(50), most: ms(60), after: ms(75) })
            }
            Profile::Full => {
                Some(Timing { wait: ms(1000), probes: 3, least: ms(1000), most: ms(2000), after: ms(2000) })
            }
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Profile::Off => "off",
            Profile::Quick => "quick",
            Profile::Full => "full",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no profile of conflict detection; there are off, quick and full")]
pub struct ProfileError(String);

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        [Profile::Off, Profile::Quick, Profile::Full]
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| ProfileError(text.to_owned()))
    }
}

/// The frame that asks whether anybody has an address.
pub fn probe_frame(sender: Mac, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => Arp::probe(sender, ip).broadcast_frame().to_vec(),
        IpAddr::V6(ip) => ndp::dad_probe(sender, ip),
    }
}

/// The MAC of the group in which machines ask for an address, where they do not ask all. Who looks for the address must be in it
/// (RFC 4862, 5.4.2), or a NIC or a switch keeps the questions of others from it.
pub fn asking_group(ip: IpAddr) -> Option<Mac> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(group_mac(ndp::solicited_node_group(ip))),
    }
}

/// The frame that tells switches of it.
pub fn joining_frame(sender: Mac, ip: IpAddr) -> Option<Vec<u8>> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(mld::join(sender, ndp::solicited_node_group(ip))),
    }
}

/// The frame that tells everybody who has an address.
pub fn announcement(owner: Mac, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => Arp::announcement(owner, ip).broadcast_frame().to_vec(),
        IpAddr::V6(ip) => ndp::advertisement(owner, ip),
    }
}

/// Whether what was heard speaks against one's use of an address: a claim by another, or another's probe for it while one
/// probes oneself (RFC 5227, 2.1.1).
fn speaks_against(heard: &Heard, ip: IpAddr, own: Mac, probing: bool) -> bool {
    heard.ip == ip && heard.sender != own && (heard.claims || probing)
}
