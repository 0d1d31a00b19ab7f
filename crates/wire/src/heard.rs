//! What a frame says about which host has an address.

use std::net::IpAddr;

use crate::Mac;
use crate::arp::Arp;
use crate::ndp::Neighbour;

/// What a frame says about which host has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The MAC of the host that sent it.
    pub sender: Mac,
    /// The address that it is about.
    pub ip: IpAddr,
    /// `true` if the sender has the address, `false` if it only probes for it because it wants to use it.
    pub claims: bool,
}

/// Reads a frame. Returns `None` if it says nothing about which host has an address.
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
