//! Claims on endpoints' addresses: does another machine make the claim, or the endpoint itself under a MAC
//! that its container has changed?

use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use ashore_core::api::refusal::Refusal;
use ashore_core::model::endpoint::Endpoint;
use ashore_core::net::link::Netns;
use ashore_wire::Mac;

use super::{Controller, netns_of};
use crate::daemon::lan::Claim;
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// How many times a claim that cannot be decided is checked again, and after how long.
const TRIES: usize = 3;
const AGAIN: Duration = Duration::from_millis(200);

impl Controller {
    /// Says where claims are reported from now on. [`Controller::look_into_claims`] must be running.
    pub(crate) fn hear_of_claims(&self, tell: Sender<Claim>) {
        self.lan.tell_claims(tell);
    }

    /// Decides claims forever.
    pub(crate) fn look_into_claims(&self, unlocked: &mut Unlocked, claims: &Receiver<Claim>) {
        while let Ok(claim) = claims.recv() {
            let own = self.is_own_at_last(unlocked, &claim);
            self.lan.settle_claim(claim, own);
        }
    }

    /// Like [`Self::is_own`], but asks again if this cannot be decided: to defend an address against the
    /// container that has it would take that container off the LAN.
    fn is_own_at_last(&self, unlocked: &mut Unlocked, claim: &Claim) -> bool {
        let mut tries = 0..TRIES;
        loop {
            match self.is_own(unlocked, claim.ip, claim.by) {
                Ok(own) => return own,
                Err(refusal) if tries.next().is_none() => {
                    tracing::warn!(ip = %claim.ip, "{refusal}");
                    return false;
                }
                Err(_) => unlocked.sleep(AGAIN),
            }
        }
    }

    /// Whether a MAC is one by which the endpoint that has an address is on the LAN now, as its container has
    /// it.
    fn is_own(&self, unlocked: &mut Unlocked, ip: IpAddr, mac: Mac) -> Result<bool, Refusal> {
        let mut inner = self.lock(unlocked);
        let Some(holder) = inner.state().holder(ip).filter(|holder| holder.is_wanted()) else {
            return Ok(false);
        };
        let key = holder.key();
        let netns: Vec<_> = netns_of(std::iter::once(holder)).collect();
        if let (Some(sandbox), []) = (holder.sandbox(), netns.as_slice()) {
            return Err(refusal::unreadable(sandbox, "it cannot be opened"));
        }
        // An ordinary observation suffices: the container decides how much there is to read, and any machine
        // on the LAN decides when.
        let observed = inner.observe(&netns)?;
        if let Some((netns, why)) = observed.unreadable.first_key_value() {
            return Err(refusal::unreadable(&netns.path, why));
        }
        let changed = self.note_sightings(&mut inner, &observed);
        if !changed.is_empty() {
            for endpoint in &changed {
                self.announce(&inner, &observed, inner.state(), endpoint);
            }
        }
        let Some(holder) = inner.state().endpoints.get(&key) else { return Ok(false) };
        // A namespace with two links on one LAN answers on either link for the addresses of both.
        let is_beside = |other: &&Endpoint| {
            let is_in = |there: Option<&Netns>| there.is_some() && there == holder.netns();
            let is_at = |there: Option<&Path>| there.is_some() && there == holder.sandbox();
            is_in(other.netns()) || is_at(other.sandbox())
        };
        let has_mac = |other: &&Endpoint| other.is_wanted() && other.mac_on_lan() == Some(mac);
        let is_own = holder.mac_on_lan() == Some(mac);
        Ok(is_own || inner.state().endpoints.values().filter(has_mac).any(|other| is_beside(&other)))
    }
}
