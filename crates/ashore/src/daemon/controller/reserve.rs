//! The way of every address: it is proposed under the lock, the LAN is asked for it without the lock, and it is
//! taken under the lock if it is still free and wanted. Otherwise the way begins again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::api::refusal::Refusal;
use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::name::{IfName, NetworkName};
use ashore_core::net::observed::Observed;
use ashore_core::rules::addresses_in_use::Hearsay;
use ashore_wire::Mac;
use ashore_wire::conflict::Profile;

use super::{Controller, Inner, Locked};
use crate::daemon::lan::Sought;
use crate::daemon::refusal;
use crate::supervise;
use crate::unlocked::Unlocked;

/// The maximum number of times that a request probes one address. More than once is needed where a machine
/// does not answer the probes and claims the address after each of them.
const LOOKS: u32 = 4;

/// What differs between those who want addresses. What they see under the lock holds until the lock is
/// released. So everything is proposed anew then.
pub(super) trait Seeker<'c> {
    /// What it needs besides the addresses to take them.
    type Draft;

    /// Proposes addresses by what is known now, or says why there are none.
    fn propose(&mut self, on: &'c Controller, inner: &mut Inner, answers: &Answers) -> Proposed<Self::Draft>;

    /// Obtains what has to be there before the LAN is asked for the proposed addresses.
    fn obtain<'a>(&mut self, _: &'c Controller, inner: Locked<'a>, _: &Proposal<Self::Draft>) -> Obtained<'a>
    where
        'c: 'a,
    {
        Ok((inner, false))
    }

    /// Does what must be done, or need not wait, before the LAN is asked for unclear addresses.
    fn before_asking(
        &mut self,
        _: &'c Controller,
        _: &mut Inner,
        _: &Proposal<Self::Draft>,
        _: &[Sought],
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// Takes addresses that are clear.
    fn take(&mut self, on: &'c Controller, inner: &mut Inner, proposal: &Proposal<Self::Draft>) -> Taken;
}

pub(super) type Proposed<D> = Result<Proposal<D>, Refusal>;
/// Whether anything has changed, or may have changed because the lock was released.
pub(super) type Obtained<'a> = Result<(Locked<'a>, bool), Refusal>;
/// Whether the addresses were taken. If not, another machine has taken one of them by now.
pub(super) type Taken = Result<bool, Refusal>;

/// Addresses that are proposed.
pub(super) struct Proposal<D> {
    pub(super) network: Network,
    /// Those that the LAN is asked for.
    pub(super) sought: Vec<Sought>,
    pub(super) draft: D,
}

/// An endpoint that is proposed, and the host by which it was.
pub(super) struct Drafted {
    pub(super) observed: Observed,
    pub(super) endpoint: Endpoint,
}

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

/// What the LAN is asked through: what was made for that, and what was waited for.
#[derive(Default)]
pub(super) struct Ground {
    /// The parent was waited for, and has not come.
    without_parent: bool,
    /// The parent of a shim that was made.
    shim: Option<IfName>,
}

impl Controller {
    /// Takes the addresses that a seeker proposes, once the LAN has no objection.
    pub(super) fn reserve<'a, 'c: 'a, S: Seeker<'c>>(
        &'c self,
        mut inner: Locked<'a>,
        seeker: &mut S,
        answers: &mut Answers,
    ) -> Result<(Locked<'a>, Proposal<S::Draft>), Refusal> {
        loop {
            let proposal = seeker.propose(self, &mut inner, answers)?;
            let again;
            (inner, again) = seeker.obtain(self, inner, &proposal)?;
            if again {
                continue;
            }
            let unclear = self.unclear(&inner, &proposal.network, &proposal.sought);
            if !unclear.is_empty() {
                seeker.before_asking(self, &mut inner, &proposal, &unclear)?;
                inner = self.ask(inner, &proposal.network, &unclear, answers)?;
            } else if seeker.take(self, &mut inner, &proposal)? {
                return Ok((inner, proposal));
            }
        }
    }

    /// What was heard of addresses without asking. A network without conflict detection ignores it.
    pub(super) fn heard_on(&self, network: &Network) -> BTreeMap<IpAddr, Hearsay> {
        if network.conflict == Profile::Off { BTreeMap::new() } else { self.lan.hearsay(&network.parent) }
    }

    /// Has addresses kept for endpoints if all of them are clear. Otherwise keeps none, and returns the
    /// addresses to probe first.
    fn unclear(&self, inner: &Inner, network: &Network, sought: &[Sought]) -> Vec<Sought> {
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
    fn ask<'a>(
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

    /// Makes what is missing for the LAN to be asked: the parent, if it is a VLAN, and the shim. Returns whether
    /// anything was made or waited for.
    pub(super) fn brings<'a>(
        &'a self,
        inner: Locked<'a>,
        network: &Network,
        draft: &Drafted,
        ground: &mut Ground,
    ) -> Obtained<'a> {
        let Drafted { observed, endpoint } = draft;
        let (inner, waited) = self.brings_parent(inner, network, observed, &mut ground.without_parent)?;
        if waited || !inner.brings_shim(network, endpoint, observed)? {
            return Ok((inner, waited));
        }
        ground.shim = Some(network.parent.clone());
        Ok((inner, true))
    }

    /// Carries out a request that may make a shim. If it fails, the shim is taken back, and the refusal names a
    /// lookalike that is in the shim's way. `of` is the request's network.
    pub(super) fn on_ground<T>(
        &self,
        unlocked: &mut Unlocked,
        of: impl FnOnce(&State) -> Option<NetworkName>,
        request: impl FnOnce(&mut Unlocked, &mut Ground) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut ground = Ground::default();
        request(unlocked, &mut ground).map_err(|refusal| {
            let network = {
                let inner = self.lock(unlocked);
                inner.take_shim_back(ground.shim.as_ref());
                of(inner.state())
            };
            match network {
                Some(network) => self.name_lookalike_of_shim(unlocked, refusal, &network),
                None => refusal,
            }
        })
    }
}
