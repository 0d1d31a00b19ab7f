//! The way of every address: it is proposed under the lock, the LAN is asked for it without the lock, and it is
//! taken under the lock if it is still free and wanted. Otherwise the way begins again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ashore_core::api::refusal::Refusal;
use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::name::{EndpointName, IfName, NetworkName};
use ashore_core::net::observed::Observed;
use ashore_core::rules::addresses_in_use::{AddressesInUse, Hearsay};
use ashore_core::rules::attach::{AttachError, AttachSpec};
use ashore_wire::Mac;
use ashore_wire::conflict::Profile;
use ipnet::IpNet;

use super::{Controller, Inner, Locked};
use crate::daemon::hosts::{Claimed, Unclaimed};
use crate::daemon::lan::Sought;
use crate::daemon::refusal;
use crate::supervise;
use crate::unlocked::Unlocked;

/// The maximum number of times that a request probes one address. More than once is needed where a machine
/// does not answer the probes and claims the address after each of them.
const LOOKS: u32 = 4;
/// How often a request may begin anew before the LAN is asked. It makes a parent and a shim, clears the container,
/// and waits for a router and a lease, each once. A container that makes links all the time has it begin anew
/// without end, under the lock.
const MOST_BEGUN: u32 = 16;
/// How long a request looks for addresses. A machine may claim each one as soon as it is asked for.
const LONGEST: Duration = Duration::from_secs(120);

/// What differs between those who want addresses. What they see under the lock holds until the lock is
/// released. So everything is proposed anew then.
pub(super) trait Seeker<'c> {
    /// What it needs besides the addresses to take them.
    type Draft;

    /// Proposes addresses by what is known now, or says why there are none.
    fn propose(&mut self, on: &'c Controller, inner: &mut Inner, answers: &Answers) -> Proposed<Self::Draft>;

    /// Obtains what has to be there before the LAN is asked for the proposed addresses.
    /// It has this long.
    fn obtain<'a>(
        &mut self,
        _: &'c Controller,
        inner: Locked<'a>,
        _: &Proposal<Self::Draft>,
        _: Duration,
    ) -> Obtained<'a>
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
    pub(super) wanted: Vec<Wanted>,
    pub(super) draft: D,
}

/// An address that is proposed.
pub(super) struct Wanted {
    /// The name that is to have it.
    pub(super) name: EndpointName,
    pub(super) sought: Sought,
    /// Whether no other address will do.
    pub(super) only: bool,
}

/// An endpoint that is proposed, and the host by which it was.
pub(super) struct Drafted {
    pub(super) observed: Observed,
    pub(super) endpoint: Endpoint,
}

impl Drafted {
    /// Proposes the addresses of the endpoint that `draft` makes of what is known of the addresses of its network.
    pub(super) fn propose(
        on: &Controller,
        inner: &mut Inner,
        spec: &AttachSpec,
        mut observed: Observed,
        answers: &Answers<'_>,
        draft: impl FnOnce(&Inner, &Observed, &AddressesInUse<'_>) -> Result<Endpoint, AttachError>,
    ) -> Proposed<Drafted> {
        let network = inner.state().networks.get(&spec.network);
        let heard = network.map(|network| on.heard_on(network)).unwrap_or_default();
        let held = answers.held(inner);
        let known =
            AddressesInUse { host: &observed.host, heard: &heard, answered: answers.by(), held: &held };
        let endpoint = draft(inner, &observed, &known).map_err(|error| refusal::attach(&error))?;
        let network = inner.state().network_of(&endpoint).expect("a draft is made on a network of the state");
        let network = network.clone();
        let addresses: Vec<IpAddr> = endpoint.addresses.iter().map(IpNet::addr).collect();
        let looked = inner.kernel.observe_also(&mut observed, &addresses);
        looked.map_err(|error| refusal::kernel(&error))?;
        let wanted = endpoint.chosen_addresses().map(|ip| Wanted {
            name: spec.name.clone(),
            sought: (ip, endpoint.mac),
            only: spec.ips.contains(&ip),
        });
        let wanted = wanted.collect();
        Ok(Proposal { network, wanted, draft: Drafted { observed, endpoint } })
    }
}

/// What one request has learned by asking the LAN and the other hosts.
#[derive(Default)]
pub(super) struct Answers<'c> {
    /// Addresses that are in use, and the machines that answered for them.
    by: BTreeMap<IpAddr, Mac>,
    /// How many times each address was looked at: probed, or claimed by a machine after it was found clear.
    looks: BTreeMap<IpAddr, u32>,
    /// Addresses that other hosts have.
    elsewhere: BTreeSet<IpAddr>,
    claimed: BTreeMap<IpAddr, Claimed<'c>>,
    /// How often the request began anew before it asked.
    begun: u32,
    /// When it began to look.
    since: Option<Instant>,
    /// How long whoever asks waits, if that is known.
    patience: Option<Duration>,
}

impl Answers<'_> {
    /// Those of a request that is waited for no longer than this.
    pub(super) fn within(patience: Option<Duration>) -> Self {
        Answers { since: Some(Instant::now()), patience, ..Answers::default() }
    }

    /// How long to go on looking.
    fn longest(&self) -> Duration {
        self.patience.map_or(LONGEST, |patience| patience.min(LONGEST))
    }

    /// What a request waits for before it looks does not count, if nobody waits for the request: a network may have it
    /// wait for a lease as long as it may look.
    fn has_waited(&mut self, time: Duration) {
        if let (Some(since), None) = (&mut self.since, self.patience) {
            *since += time;
        }
    }

    /// How long to wait for a lease.
    pub(super) fn left(&self) -> Duration {
        let since = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        self.longest().saturating_sub(since)
    }

    pub(super) fn by(&self) -> &BTreeMap<IpAddr, Mac> {
        &self.by
    }

    /// The addresses that other requests and other hosts have.
    pub(super) fn held<'a>(&'a self, inner: &'a Inner) -> Cow<'a, BTreeSet<IpAddr>> {
        if self.elsewhere.is_empty() {
            return Cow::Borrowed(&inner.held);
        }
        Cow::Owned(inner.held.union(&self.elsewhere).copied().collect())
    }

    /// Counts a look at an address, and who was heard to claim it. A machine that claims it after each look counts as
    /// the holder.
    fn looked(&mut self, ip: IpAddr, claimed_by: Option<Mac>) {
        let looks = self.looks.entry(ip).or_default();
        *looks += 1;
        self.by.extend(claimed_by.filter(|_| *looks >= LOOKS).map(|mac| (ip, mac)));
    }

    /// The addresses that were taken are in use: the claims on them last.
    pub(super) fn keep(&mut self) {
        std::mem::take(&mut self.claimed).into_values().for_each(Claimed::keep);
    }

    /// The addresses that were taken are not used.
    pub(super) fn give_up(&mut self) {
        self.claimed.clear();
    }
}

impl<D> Proposal<D> {
    fn sought(&self) -> Vec<Sought> {
        self.wanted.iter().map(|one| one.sought).collect()
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
    /// Takes the addresses that a seeker proposes, once the LAN has no objection. The claims on them are given up
    /// with `answers`, unless [`Answers::keep`] says that they are used.
    pub(super) fn reserve<'a, 'c: 'a, S: Seeker<'c>>(
        &'c self,
        mut inner: Locked<'a>,
        seeker: &mut S,
        answers: &mut Answers<'c>,
    ) -> Result<(Locked<'a>, Proposal<S::Draft>), Refusal> {
        loop {
            let proposal = seeker.propose(self, &mut inner, answers)?;
            let begins = Instant::now();
            let again;
            (inner, again) = seeker.obtain(self, inner, &proposal, answers.left())?;
            if again {
                answers.has_waited(begins.elapsed());
                answers.begun += 1;
                if answers.begun > MOST_BEGUN {
                    return Err(refusal::never_begins(&proposal.network));
                }
                continue;
            }
            if answers.since.get_or_insert_with(Instant::now).elapsed() > answers.longest() {
                return Err(refusal::always_claimed(&proposal.network, answers.longest()));
            }
            let unclear = self.unclear(&inner, &proposal, answers);
            if !unclear.is_empty() {
                seeker.before_asking(self, &mut inner, &proposal, &unclear)?;
                inner = self.ask(inner, &proposal, &unclear, answers)?;
            } else if seeker.take(self, &mut inner, &proposal)? {
                let is_taken = |ip: &IpAddr| proposal.wanted.iter().any(|one| one.sought.0 == *ip);
                answers.claimed.retain(|ip, _| is_taken(ip));
                return Ok((inner, proposal));
            } else {
                self.lost(&proposal, answers);
            }
        }
    }

    /// Notes that another machine has claimed an address after it was found clear.
    pub(super) fn lost<D>(&self, proposal: &Proposal<D>, answers: &mut Answers<'_>) {
        let parent = &proposal.network.parent;
        for (ip, _) in proposal.sought() {
            if let Some(mac) = self.lan.said_of(parent, ip) {
                answers.looked(ip, Some(mac));
            }
        }
    }

    /// What was heard of addresses without asking. A network without conflict detection ignores it.
    pub(super) fn heard_on(&self, network: &Network) -> BTreeMap<IpAddr, Hearsay> {
        if network.conflict == Profile::Off { BTreeMap::new() } else { self.lan.hearsay(&network.parent) }
    }

    /// Has addresses kept for endpoints if all of them are clear. Otherwise keeps none, and returns the
    /// addresses to ask for first.
    fn unclear<D>(&self, inner: &Inner, proposal: &Proposal<D>, answers: &Answers<'_>) -> Vec<Sought> {
        let Proposal { network, wanted, .. } = proposal;
        let is_claimed = |one: &Wanted| answers.claimed.contains_key(&one.sought.0);
        if self.claims.are_shared() && !wanted.iter().all(is_claimed) {
            return proposal.sought();
        }
        if network.conflict == Profile::Off {
            return Vec::new();
        }
        // What was found through another link does not count.
        self.publish(inner);
        let unclear = self.lan.take(&network.parent, &proposal.sought(), network.conflict);
        let ips = wanted.iter().map(|one| one.sought.0);
        inner.publication.takes(&network.name, ips, !unclear.is_empty());
        unclear
    }

    /// Whether no other machine has taken these addresses in the meantime.
    pub(super) fn keeps<D>(&self, taken: &Proposal<D>) -> bool {
        let Network { conflict, parent, .. } = &taken.network;
        *conflict == Profile::Off || self.lan.are_still_clear(parent, &taken.sought(), *conflict)
    }

    /// Releases the lock, claims addresses and probes them on the LAN. Meanwhile no other request can take them.
    fn ask<'a, 'c: 'a, D>(
        &'c self,
        mut inner: Locked<'a>,
        proposal: &Proposal<D>,
        sought: &[Sought],
        answers: &mut Answers<'c>,
    ) -> Result<Locked<'a>, Refusal> {
        let network = &proposal.network;
        // The parent may have come back a moment ago.
        inner.observe_host()?;
        inner.publication.again();
        let ips: Vec<IpAddr> = sought.iter().map(|(ip, _)| *ip).collect();
        inner.held.extend(&ips);
        let unlocked = inner.release();
        let probed = supervise::contained(|| {
            if !self.claim(unlocked, proposal, sought, answers)? || network.conflict == Profile::Off {
                return Ok(None);
            }
            let probed = self.lan.probe(unlocked, &network.parent, sought, network.conflict);
            probed.map(Some).map_err(|why| refusal::unreachable(&ips, &why, refusal::conflict_off()))
        });
        let mut inner = self.lock(unlocked);
        inner.held.retain(|ip| !ips.contains(ip));
        let Some(probed) = probed.flatten()? else { return Ok(inner) };
        answers.by.extend(probed);
        for ip in ips {
            answers.looked(ip, self.lan.said_of(&network.parent, ip));
        }
        Ok(inner)
    }

    /// Claims addresses. Returns whether no other host has one of them.
    fn claim<'c, D>(
        &'c self,
        unlocked: &Unlocked,
        Proposal { network, wanted, .. }: &Proposal<D>,
        sought: &[Sought],
        answers: &mut Answers<'c>,
    ) -> Result<bool, Refusal> {
        let mut is_all = true;
        for Wanted { name, sought: (ip, _), only } in wanted.iter().filter(|one| sought.contains(&one.sought))
        {
            if answers.claimed.contains_key(ip) {
                continue;
            }
            match self.claims.claim(unlocked, name, &network.name, *ip) {
                Ok(()) => _ = answers.claimed.insert(*ip, Claimed::new(&*self.claims, *ip)),
                Err(Unclaimed::HeldBy { .. }) if !only => {
                    answers.elsewhere.insert(*ip);
                    is_all = false;
                }
                Err(unclaimed) => return Err(unclaimed.into()),
            }
        }
        Ok(is_all)
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

#[cfg(test)]
mod tests;
