//! Claims on endpoints' addresses: is it another machine, or the endpoint itself by a MAC that its container has changed?

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

/// How often it is asked again whose claim it is, and after how long.
const TRIES: usize = 3;
const AGAIN: Duration = Duration::from_millis(200);

impl Controller {
    /// From here on claims are told, and [`Controller::look_into_claims`] has to be at work.
    pub(crate) fn hear_of_claims(&self, tell: Sender<Claim>) {
        self.lan.tell_claims(tell);
    }

    /// Looks into claims for ever.
    pub(crate) fn look_into_claims(&self, claims: &Receiver<Claim>) {
        while let Ok(claim) = claims.recv() {
            let own = self.is_own_at_last(&claim);
            self.lan.settle_claim(claim, own);
        }
    }

    /// The same as [`Self::is_own`], asked again where it cannot be told: to defend an address against the container that has
    /// it would take that off the LAN.
    fn is_own_at_last(&self, claim: &Claim) -> bool {
        let mut tries = 0..TRIES;
        loop {
            match self.is_own(claim.ip, claim.by) {
                Ok(own) => return own,
                Err(refusal) if tries.next().is_none() => {
                    tracing::warn!(ip = %claim.ip, "{refusal}");
                    return false;
                }
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }

    /// Whether the endpoint that has an address has a MAC, as its container has it now.
    fn is_own(&self, ip: IpAddr, mac: Mac) -> Result<bool, Refusal> {
        let mut inner = self.lock();
        let Some(holder) = inner.state().holder(ip).filter(|holder| holder.is_wanted()) else {
            return Ok(false);
        };
        let key = holder.key();
        let netns: Vec<_> = netns_of(std::iter::once(holder)).collect();
        if let (Some(sandbox), []) = (holder.sandbox(), netns.as_slice()) {
            return Err(refusal::unreadable(sandbox, "it cannot be opened"));
        }
        // In passing: whoever lives there decides how much there is, and anybody on the LAN when it is read.
        let observed = inner.observe(&netns)?;
        if let Some((netns, why)) = observed.unreadable.first_key_value() {
            return Err(refusal::unreadable(&netns.path, why));
        }
        let changed = self.note_sightings(&mut inner, &observed);
        if !changed.is_empty() {
            self.follow(&inner, &observed);
            for endpoint in &changed {
                self.announce(&inner, &observed, inner.state(), endpoint);
            }
        }
        let Some(holder) = inner.state().endpoints.get(&key) else { return Ok(false) };
        // A namespace with two links on one LAN answers for the addresses of both on either.
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
