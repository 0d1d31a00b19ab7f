//! Defending an address that is in use.

use std::net::IpAddr;
use std::time::Instant;

use super::{DEFEND_INTERVAL, announcement, speaks_against};
use crate::{Heard, Mac};

/// An address in use that is defended.
#[derive(Debug, Clone)]
pub struct Defence {
    ip: IpAddr,
    owner: Mac,
    last: Option<Instant>,
}

/// How to react to a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// There is no conflict.
    None,
    /// There is a conflict: send this frame.
    Defend(Vec<u8>),
    /// There is a conflict, but the last defence was only a moment ago.
    Silent,
}

impl Defence {
    /// Defends `ip`, which belongs to the endpoint with the MAC `owner`.
    pub fn new(ip: IpAddr, owner: Mac) -> Self {
        Defence { ip, owner, last: None }
    }

    /// The MAC of the endpoint that has the address.
    pub fn owner(&self) -> Mac {
        self.owner
    }

    /// Whether a frame is another host's claim to the address.
    pub fn is_claimed_by(&self, heard: &Heard) -> bool {
        speaks_against(heard, self.ip, self.owner, false)
    }

    /// Processes a frame.
    pub fn observe(&mut self, heard: &Heard, now: Instant) -> Response {
        if !self.is_claimed_by(heard) {
            return Response::None;
        }
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < DEFEND_INTERVAL) {
            return Response::Silent;
        }
        self.last = Some(now);
        Response::Defend(announcement(self.owner, self.ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_claim_is_answered_at_most_once_in_ten_seconds_and_a_probe_is_left_to_the_kernel() {
        let (owner, other) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let ip: IpAddr = "192.168.88.7".parse().unwrap();
        let (mut defence, start) = (Defence::new(ip, owner), Instant::now());
        let claim = Heard { sender: other, ip, claims: true };
        let own = Heard { sender: owner, ..claim };
        assert_eq!(defence.owner(), owner);
        let probe = Heard { claims: false, ..claim };
        assert_eq!(defence.observe(&own, start), Response::None);
        assert_eq!(defence.observe(&probe, start), Response::None);
        assert_eq!(defence.observe(&claim, start), Response::Defend(announcement(owner, ip)));
        assert_eq!(defence.observe(&claim, start + Duration::from_secs(9)), Response::Silent);
        let later = start + Duration::from_secs(10);
        assert!(matches!(defence.observe(&claim, later), Response::Defend(_)));
    }
}
