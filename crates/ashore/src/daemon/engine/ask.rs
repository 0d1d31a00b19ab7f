//! Asking the LAN for addresses before they are used.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::allocate::Hearsay;
use ashore_core::network::Network;
use ashore_core::request::Refusal;
use ashore_wire::Mac;
use ashore_wire::conflict::Profile;

use super::{Engine, Locked};
use crate::daemon::lan::Sought;
use crate::daemon::{refusal, supervise};

/// How often one request looks for an address that nobody answers for and of which it is heard again each time.
const LOOKS: u32 = 4;

/// What one request has learnt by asking.
#[derive(Default)]
pub(super) struct Answers {
    /// Who answered for which addresses.
    by: BTreeMap<IpAddr, Mac>,
    /// How often addresses were looked for.
    looks: BTreeMap<IpAddr, u32>,
}

impl Answers {
    pub(super) fn by(&self) -> &BTreeMap<IpAddr, Mac> {
        &self.by
    }
}

impl Engine {
    /// What is heard of a network's addresses; nothing where the LAN does not count.
    pub(super) fn heard_on(&self, network: &Network) -> BTreeMap<IpAddr, Hearsay> {
        if network.conflict == Profile::Off { BTreeMap::new() } else { self.lan.hearsay() }
    }

    /// Takes addresses for endpoints, if nobody on the LAN has them. Answers those that are to be looked for first; then none
    /// is taken.
    pub(super) fn take(&self, network: &Network, sought: &[Sought]) -> Vec<Sought> {
        if network.conflict == Profile::Off {
            return Vec::new();
        }
        self.lan.take(&network.parent, sought, network.conflict)
    }

    /// Whether addresses that were taken are still nobody else's.
    pub(super) fn keeps(&self, network: &Network, taken: &[Sought]) -> bool {
        network.conflict == Profile::Off || self.lan.are_still_clear(&network.parent, taken, network.conflict)
    }

    /// Looks for addresses on the LAN with the lock let go, while nobody else can take them.
    pub(super) fn ask<'a>(
        &'a self,
        mut inner: Locked<'a>,
        network: &Network,
        sought: &[Sought],
        answers: &mut Answers,
    ) -> Result<Locked<'a>, Refusal> {
        // The parent may have come back a moment ago.
        self.lan.follow(inner.state(), &inner.observe(&[])?.host);
        let ips: Vec<IpAddr> = sought.iter().map(|(ip, _)| *ip).collect();
        inner.held.extend(&ips);
        drop(inner);
        let probed = supervise::contained(|| self.lan.probe(&network.parent, sought, network.conflict));
        let mut inner = self.lock();
        inner.held.retain(|ip| !ips.contains(ip));
        let probed = probed?;
        answers.by.extend(probed.map_err(|deaf| refusal::deaf(&ips, &deaf, refusal::CONFLICT_OFF))?);
        for ip in ips {
            let looks = answers.looks.entry(ip).or_default();
            *looks += 1;
            // Who is silent when asked, and speaks whenever it is not, has it for all that can be told.
            if let Some(mac) = self.lan.said_of(ip).filter(|_| *looks >= LOOKS) {
                answers.by.insert(ip, mac);
            }
        }
        Ok(inner)
    }
}
