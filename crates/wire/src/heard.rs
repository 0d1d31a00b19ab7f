//! What one frame says about who has an address.

use std::net::IpAddr;

use crate::Mac;
use crate::arp::Arp;
use crate::ndp::Neighbour;

/// What one frame says about who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Who says it.
    pub sender: Mac,
    /// About which address.
    pub ip: IpAddr,
    /// Whether the sender has it, or only asks whether anybody has, wanting it for itself.
    pub claims: bool,
}

/// Reads a frame; none if it says nothing of the kind.
pub fn heard(frame: &[u8]) -> Option<Heard> {
    if let Some(arp) = Arp::parse(frame) {
        let claims = !arp.sender_ip.is_unspecified();
        let ip = if claims { arp.sender_ip } else { arp.target_ip };
        return Some(Heard { sender: arp.sender_mac, ip: ip.into(), claims });
    }
    Some(match Neighbour::parse(frame)? {
        Neighbour::DadProbe { sender, target } => Heard { sender, ip: target.into(), claims: false },
        Neighbour::Advertisement { sender, target: ip } | Neighbour::Asker { sender, source: ip } => {
            Heard { sender, ip: ip.into(), claims: true }
        }
    })
}
