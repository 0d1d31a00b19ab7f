//! Asking the LAN for addresses before they are used.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::api::refusal::Refusal;
use ashore_core::model::network::Network;
use ashore_core::rules::addresses_in_use::Hearsay;
use ashore_wire::Mac;
use ashore_wire::conflict::Profile;

use super::{Controller, Inner, Locked};
use crate::daemon::lan::Sought;
use crate::daemon::refusal;
use crate::supervise;

/// The maximum number of times that a request probes one address. More than once is needed where a machine
/// does not answer the probes and claims the address after each of them.
const LOOKS: u32 = 4;

/// What one request has learned by asking the LAN.
#[derive(Default)]
pub(super) struct Answers {
    /// Addresses that are in use, and the machines that answered for them.
    by: BTreeMap<IpAddr, Mac>,
    /// How many times each address was probed.
    looks: BTreeMap<IpAddr, u32>,
}

impl Answers {
    pub(super) fn by(&self) -> &BTreeMap<IpAddr, Mac> {
        &self.by
    }
}

impl Controller {
    /// What was heard of addresses without asking. A network without conflict detection ignores it.
    pub(super) fn heard_on(&self, network: &Network) -> BTreeMap<IpAddr, Hearsay> {
        if network.conflict == Profile::Off { BTreeMap::new() } else { self.lan.hearsay(&network.parent) }
    }

    /// Takes addresses for endpoints if all of them are clear. Otherwise takes none, and returns the
    /// addresses to probe first.
    pub(super) fn take(&self, inner: &Inner, network: &Network, sought: &[Sought]) -> Vec<Sought> {
        if network.conflict == Profile::Off {
            return Vec::new();
        }
        // What was found through another link does not count.
        self.publish(inner);
        self.lan.take(&network.parent, sought, network.conflict)
    }

    /// Whether no other machine has taken these addresses in the meantime.
    pub(super) fn keeps(&self, network: &Network, taken: &[Sought]) -> bool {
        network.conflict == Profile::Off || self.lan.are_still_clear(&network.parent, taken, network.conflict)
    }

    /// Releases the lock and probes addresses on the LAN. Meanwhile no other request can take them.
    pub(super) fn ask<'a>(
        &'a self,
        mut inner: Locked<'a>,
        network: &Network,
        sought: &[Sought],
        answers: &mut Answers,
    ) -> Result<Locked<'a>, Refusal> {
        // The parent may have come back a moment ago.
        inner.observe_host()?;
        inner.publication.again();
        let ips: Vec<IpAddr> = sought.iter().map(|(ip, _)| *ip).collect();
        inner.held.extend(&ips);
        let unlocked = inner.release();
        let probed =
            supervise::contained(|| self.lan.probe(unlocked, &network.parent, sought, network.conflict));
        let mut inner = self.lock(unlocked);
        inner.held.retain(|ip| !ips.contains(ip));
        let probed = probed?;
        answers.by.extend(probed.map_err(|why| refusal::unreachable(&ips, &why, refusal::conflict_off()))?);
        for ip in ips {
            let looks = answers.looks.entry(ip).or_default();
            *looks += 1;
            // The machine claims the address after each look: it counts as the holder.
            if let Some(mac) = self.lan.said_of(&network.parent, ip).filter(|_| *looks >= LOOKS) {
                answers.by.insert(ip, mac);
            }
        }
        Ok(inner)
    }
}
