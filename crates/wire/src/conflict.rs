//! Address conflict detection: RFC 5227 for IPv4, and duplicate address detection (RFC 4862, 5.4) for IPv6.
//!
//! | state       | event                                       | action                                | next      |
//! |-------------|---------------------------------------------|---------------------------------------|-----------|
//! | probing     | time for the next probe                     | send it                               | probing   |
//! | probing     | a probe could not be sent yet               | send it a little later                | probing   |
//! | probing     | received frames were lost                   | start over, twice at most             | probing   |
//! | probing     | another host claims the address or probes for it, after the first probe | do not use it | conflict |
//! | probing     | the wait after the last probe is over       | the address may be used, announce it  | clear     |
//! | clear       | it was clear a while ago, and is about to be used | send one more probe             | probing   |
//! | in use      | another host claims it, for the first time in a while | announce once more (defend) | in use    |
//! | in use      | another host claims it shortly after a defence | stay silent, or the two hosts would never stop | in use |
//!
//! An address in use is not given up, because a container may be a server, whose clients would lose it.
//! RFC 5227, 2.4 (c), allows this.

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

/// How thoroughly an address is probed before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Without probes.
    Off,
    /// Three probes within 200 ms, which is short enough for the start of a container.
    #[default]
    Quick,
    /// With the constants of RFC 5227, 1.1: 4 to 7 s.
    Full,
}

/// The timing of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The longest random wait before the first probe (`PROBE_WAIT`).
    pub wait: Duration,
    /// The number of probes (`PROBE_NUM`).
    pub probes: u32,
    /// The shortest pause between two probes (`PROBE_MIN`).
    pub least: Duration,
    /// The longest pause between two probes (`PROBE_MAX`).
    pub most: Duration,
    /// The wait from the last probe until the address may be used (`ANNOUNCE_WAIT`).
    pub after: Duration,
}

/// How long a last probe waits for an answer. The address was probed a while ago, so a host that is slow to
/// answer was heard then. A host that took the address since then answers at once.
pub const LAST_LOOK: Duration = Duration::from_millis(25);
/// The same wait where there is hardly any time. Another container on this host answers within microseconds,
/// and a host at the other end of a cable within a millisecond.
pub const BRIEF_LOOK: Duration = Duration::from_millis(1);
/// The interval between the two announcements (`ANNOUNCE_INTERVAL`).
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// The number of announcements (`ANNOUNCE_NUM`).
pub const ANNOUNCE_NUM: u32 = 2;
/// The shortest interval between two defences (`DEFEND_INTERVAL`).
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

impl Profile {
    /// The timing of the profile. Returns `None` for [`Profile::Off`], which does not probe.
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

/// The error of parsing a text that is not the name of a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a conflict detection profile: expected off, quick or full")]
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

/// The frame that probes whether any host has an address.
pub fn probe_frame(sender: Mac, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => Arp::probe(sender, ip).broadcast_frame().to_vec(),
        IpAddr::V6(ip) => ndp::dad_probe(sender, ip),
    }
}

/// The MAC of the multicast group in which hosts ask for `ip`. Returns `None` for IPv4, where hosts ask by
/// broadcast. A host that probes for the address must be in the group (RFC 4862, 5.4.2); otherwise a NIC or a
/// switch keeps the other hosts' solicitations from it.
pub fn asking_group(ip: IpAddr) -> Option<Mac> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(group_mac(ndp::solicited_node_group(ip))),
    }
}

/// The frame that tells switches about joining [`asking_group`]. Returns `None` for IPv4.
pub fn joining_frame(sender: Mac, ip: IpAddr) -> Option<Vec<u8>> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(mld::join(sender, ndp::solicited_node_group(ip))),
    }
}

/// The frame that announces which host has an address.
pub fn announcement(owner: Mac, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => Arp::announcement(owner, ip).broadcast_frame().to_vec(),
        IpAddr::V6(ip) => ndp::advertisement(owner, ip),
    }
}

/// Whether a frame conflicts with the use of `ip` by `own`: another host claims the address, or probes for it
/// while `own` is probing too (RFC 5227, 2.1.1).
fn speaks_against(heard: &Heard, ip: IpAddr, own: Mac, probing: bool) -> bool {
    heard.ip == ip && heard.sender != own && (heard.claims || probing)
}
