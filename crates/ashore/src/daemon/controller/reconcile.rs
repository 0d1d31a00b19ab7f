//! Brings the kernel back to what the state asks for: at the start, every minute, and when the host's links
//! or addresses change.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use ashore_core::api::refusal::{Refusal, RefusalKind};
use ashore_core::model::endpoint::{Endpoint, Mark, Placement, Stage};
use ashore_core::model::owner::Owners;
use ashore_core::model::sorted::Sorted;
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::{Netns, Place};
use ashore_core::net::name::EndpointKey;
use ashore_core::net::observed::Observed;

use super::{Controller, Inner, all_netns, netns_by_all_paths, netns_of};
use crate::clock::now;
use crate::unlocked::Unlocked;

/// How many containers are looked into when time is the only reason: the others have their turn later. It is for what
/// the kernel does not notify of.
const IN_TURN: usize = 64;
/// How long an engine may take to move a link, in seconds. It takes a fraction of a second.
const ENGINES_PATIENCE: u64 = 10;

/// Why the kernel is compared with what the state asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Start,
    /// The host's links or addresses have changed.
    Change,
    /// The host was asleep.
    Woken,
    /// A notification of a change may have been lost, and there are none of what happens inside a container.
    Time,
    CutShort,
    /// Something else was wanted after a request than when it began.
    Overtaken,
    /// A namespace was searched for, and was found or not.
    Search,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Start => "start",
            Cause::Change => "links or addresses changed",
            Cause::Woken => "the host was asleep",
            Cause::Time => "time",
            Cause::Overtaken => "more is wanted than a request has done",
            Cause::CutShort => "a request was interrupted",
            Cause::Search => "a namespace was searched for",
        })
    }
}

/// What a reconciliation has done that came to its end.
struct Reconciled {
    /// How many things it has changed.
    changed: usize,
    observed: Observed,
    /// The first error in what was not needed for the rest.
    rest: Result<(), Refusal>,
}

impl Controller {
    /// Finishes what was interrupted, releases what is gone, and repairs the rest. Returns whether to
    /// reconcile again soon, because something is about to happen of which no notification comes, such as an
    /// engine that moves a link.
    pub(crate) fn reconcile(&self, unlocked: &mut Unlocked, why: Cause) -> bool {
        let again = self.reconcile_once(unlocked, why);
        if self.look_at_vlans(unlocked) { self.reconcile_once(unlocked, why) } else { again }
    }

    /// The host was asleep. Its switch may have forgotten it, and others may have taken its addresses.
    pub(crate) fn wakes(&self) {
        self.lan.wakes();
    }

    /// Whether there are so many containers that requests may have to wait while they are looked into.
    pub(crate) fn has_many_containers(&self) -> bool {
        self.copies.state().endpoints.len() > IN_TURN
    }

    fn reconcile_once(&self, unlocked: &mut Unlocked, why: Cause) -> bool {
        let mut inner = self.lock(unlocked);
        let reconciled = self.try_reconcile(&mut inner, why);
        if why != Cause::Time {
            self.lan.chronicle().stir_troubles();
        }
        inner.publication.begin();
        inner.unreconciled = match &reconciled {
            // A failed write is known to the code that writes, and the kernel is in line with the state.
            Ok(Reconciled { rest: Err(refusal), .. }) if refusal.kind == RefusalKind::State => None,
            Ok(Reconciled { rest, .. }) => rest.as_ref().err().cloned(),
            Err(refusal) => Some(refusal.clone()),
        };
        match reconciled.and_then(|Reconciled { changed, observed, rest }| rest.map(|()| (changed, observed)))
        {
            Ok((changed, observed)) => {
                if changed == 0 {
                    tracing::debug!(%why, "nothing to reconcile");
                } else {
                    tracing::info!(%why, changed, "reconciled");
                }
                inner.note_unlinked(&observed);
                inner.awaits_engine(&observed) || inner.vlans.are_awaited() || inner.unlinked.are_awaited()
            }
            Err(refusal) => {
                tracing::error!(%why, "could not reconcile: {refusal}");
                false
            }
        }
    }

    /// At the start: records the endpoints that a killed daemon left complete but not recorded, and searches
    /// for interrupted ones.
    pub(crate) fn recover(&self, unlocked: &mut Unlocked) {
        if let Err(refusal) = self.lock(unlocked).recover() {
            tracing::error!("{refusal}");
        }
        self.look_for_cut_short(unlocked);
    }

    /// Finishes before the next request what an earlier request began and could not finish because the disk
    /// took no writes. A failure does not stop the next request.
    pub(super) fn finish_what_was_cut_short(&self, unlocked: &mut Unlocked) {
        let to_finish = {
            let inner = self.lock(unlocked);
            inner.state().endpoints.with(Mark::Unfinished).any(|(_, endpoint)| inner.is_to_finish(endpoint))
        };
        if to_finish {
            self.reconcile(unlocked, Cause::CutShort);
        }
    }

    fn try_reconcile(&self, inner: &mut Inner, why: Cause) -> Result<Reconciled, Refusal> {
        // Until it is known which endpoints are complete, every unfinished one would be taken for
        // interrupted.
        if !inner.recovered {
            inner.recover()?;
        }
        inner.clear_containers();
        let flushed = inner.flush();
        let given_back = self.give_back_departed(inner);
        if why == Cause::Time {
            inner.kernel.forget_routes();
        }
        let in_turn = why == Cause::Time && !inner.unfinished.get();
        let netns = if in_turn { inner.due() } else { all_netns(inner.state()) };
        if in_turn {
            // Those that are due may be more than those that are always entered.
            inner.kernel.look_again(&netns);
        }
        let observed = inner.observe(&netns)?;
        if inner.notice_all_lost(&netns, &observed) {
            self.search_soon();
        }
        let renamed = inner.follow_renames(&observed.host);
        let taken_over = inner.take_over_vlans(&observed.host);
        let mut going = inner.going();
        going.retain(|endpoint| observed.unreadable(endpoint).is_none());
        for (netns, why) in &observed.unreadable {
            tracing::warn!(netns = %netns.path.display(), "cannot be read, and is left as it is: {why}");
        }
        for endpoint in &going {
            tracing::info!(network = %endpoint.network, name = %endpoint.name, "removing what is left of it");
        }
        // They are removed even if this cannot be written to disk: what is on disk has them removed again.
        let wanted = inner.state_without(&going);
        let marked = inner.commit(going.iter().cloned().map(Change::PutEndpoint).collect());

        let planned = inner.plan_for(&wanted, &observed).steps;
        inner.note_remade(&planned);
        let changed = planned.len() + going.len();
        let (observed, failed) =
            if planned.is_empty() { (observed, Vec::new()) } else { inner.sweep_to(&wanted, &netns)? };
        let mut left = inner.plan_for(&wanted, &observed);
        inner.leave_given_back(&mut left, &wanted, &observed);
        for error in &failed {
            tracing::warn!("{error}");
        }
        for blocked in &left.blocked {
            tracing::warn!("{blocked}");
        }
        inner.failed = failed;
        inner.unfinished.set(false);

        // If the sweep met an error, what is left in the kernel is tried again the next time.
        let is_left = |going: &Endpoint| {
            observed.unreadable(going).is_some()
                || left.steps.iter().any(|step| *step.place() == going.link().0)
                || inner.is_left(going, &observed)
        };
        let (left, gone): (Vec<Endpoint>, Vec<Endpoint>) = going.iter().cloned().partition(is_left);
        if inner.wait_for_adrift(&left, &observed) {
            self.search_soon();
        }
        let recorded = marked.and_then(|()| inner.record_gone(&gone));
        let mut changed_macs = self.note_sightings(inner, &observed);
        changed_macs.extend(inner.note_shared_macs(&observed.host));
        if !going.is_empty() {
            // They may have leases to release.
            self.schedule_deferred();
        }
        inner.publication.begin();
        inner.publication.anew();
        for endpoint in &changed_macs {
            self.announce(inner, &observed, inner.state(), endpoint);
        }
        let rest = flushed.and(renamed).and(taken_over).and(given_back.map(drop)).and(recorded);
        Ok(Reconciled { changed, observed, rest })
    }
}

impl Controller {
    /// Records what was seen of endpoints' links. Returns the endpoints whose MAC has changed, which the LAN
    /// has to learn.
    pub(super) fn note_sightings(&self, inner: &mut Inner, observed: &Observed) -> Vec<Endpoint> {
        let sightings = inner.state().sightings(observed);
        if sightings.is_empty() {
            return Vec::new();
        }
        let other_mac = |change: &Change| match change {
            Change::PutEndpoint(now) => {
                let before = inner.state().endpoints.get(&now.key()).and_then(Endpoint::mac_on_lan);
                (before != now.mac_on_lan()).then(|| now.clone())
            }
            _ => None,
        };
        let others: Vec<Endpoint> = sightings.iter().filter_map(other_mac).collect();
        for endpoint in &others {
            let (network, name, mac) = (&endpoint.network, &endpoint.name, endpoint.mac_on_lan());
            tracing::info!(%network, %name, ?mac, "its container has changed its MAC");
        }
        inner.store.defer(sightings);
        self.schedule_deferred();
        others
    }
}

impl Inner {
    fn recover(&mut self) -> Result<(), Refusal> {
        let observed = self.observe(&all_netns(self.state()))?;
        let owners = Owners::of(self.state(), &observed);
        let whole = self.state().endpoints.values().filter(|endpoint| owners.is_whole(endpoint, &observed));
        let records = whole.flat_map(|endpoint| self.state().attached(endpoint, now())).collect();
        self.commit(records)?;
        self.know_by_cookie(&observed);
        self.recovered = true;
        Ok(())
    }

    /// The endpoints that will be removed: those that are gone, and those within reach that are marked as
    /// unfinished. An attach or a detach holds the lock from its first mark to its last, so an endpoint that
    /// is seen with a mark was interrupted.
    fn going(&self) -> Vec<Endpoint> {
        let endpoints = self.state().endpoints.values();
        endpoints
            .filter(|endpoint| self.lost.is_gone(endpoint) || self.is_to_finish(endpoint))
            .map(|endpoint| Endpoint { stage: Stage::Detaching, ..endpoint.clone() })
            .collect()
    }

    /// Whether an endpoint is unfinished and within reach.
    fn is_to_finish(&self, endpoint: &Endpoint) -> bool {
        endpoint.is_cut_short() && !self.lost.is_out_of_reach(endpoint)
    }

    /// The state that the next reconciliation will bring the kernel to, if it observes the same.
    pub(super) fn state_to_come(&self, observed: &Observed) -> State {
        let mut going = self.going();
        going.retain(|endpoint| observed.unreadable(endpoint).is_none());
        self.state_without(&going)
    }

    fn state_without(&self, going: &[Endpoint]) -> State {
        self.state().with(&going.iter().cloned().map(Change::PutEndpoint).collect::<Vec<_>>())
    }

    fn record_gone(&mut self, gone: &[Endpoint]) -> Result<(), Refusal> {
        for endpoint in gone {
            let record = match endpoint.placement {
                Placement::Netns { .. } => self.state().detached(endpoint, now()),
                // The engine met an error, and will say what becomes of the address.
                Placement::Engine { .. } => {
                    let endpoint = endpoint.clone().without_learned();
                    vec![Change::PutEndpoint(Endpoint { stage: Stage::Reserved, seen: None, ..endpoint })]
                }
            };
            self.commit(record)?;
        }
        Ok(())
    }

    /// The containers to observe as time passes: the next ones in turn, and those where something is expected
    /// to change.
    fn due(&mut self) -> Vec<Netns> {
        let going = self.going();
        let mut due: BTreeSet<EndpointKey> = going.iter().map(Endpoint::key).collect();
        let endpoints = &self.store.state().endpoints;
        due.extend(endpoints.values().filter(|endpoint| self.is_fresh(endpoint)).map(Endpoint::key));
        due.extend(self.lost.waiting().cloned());
        due.extend(self.unlinked.all().cloned());
        let next = in_turn(endpoints, self.looked_into.as_ref());
        self.memory.looked_into = next.last().cloned();
        due.extend(next);
        let failed = self.failed.iter().filter_map(|error| match error.step.place() {
            Place::Host => None,
            Place::Netns(netns) => Some(netns.clone()),
        });
        let of_going = going.iter().flat_map(|endpoint| netns_by_all_paths(self.state(), endpoint));
        netns_of(due.iter().filter_map(|key| endpoints.get(key))).chain(of_going).chain(failed).collect()
    }

    /// Whether a link was handed to an engine a moment ago and is not up in its container yet.
    fn awaits_engine(&self, observed: &Observed) -> bool {
        let fresh: Vec<&Endpoint> =
            self.state().endpoints.values().filter(|one| self.is_fresh(one)).collect();
        if fresh.is_empty() {
            return false;
        }
        let owners = Owners::of(self.state(), observed);
        let is_up =
            |endpoint: &Endpoint| owners.link_of(endpoint, observed).is_some_and(|(_, _, link)| link.up);
        !fresh.into_iter().all(is_up)
    }

    /// Whether the endpoint's link was handed to an engine a moment ago.
    pub(super) fn is_fresh(&self, endpoint: &Endpoint) -> bool {
        let handed_over = endpoint.netns().is_none() && endpoint.is_wanted();
        handed_over
            && endpoint.since + ENGINES_PATIENCE > now()
            && self.state().network_of(endpoint).is_some_and(|network| !network.adopted)
    }
}

/// Returns the keys whose turn it is after one key. If there are few, these are all keys.
fn in_turn<T>(all: &Sorted<EndpointKey, T>, after: Option<&EndpointKey>) -> Vec<EndpointKey> {
    let later = all.from(|key| match after {
        Some(after) if key <= after => Ordering::Less,
        _ => Ordering::Greater,
    });
    later.chain(all.iter()).take(IN_TURN.min(all.len())).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_and_few_have_one_each_time() {
        let named = |n| ("lan".parse().unwrap(), format!("c{n}").parse().unwrap());
        let few: Sorted<EndpointKey, usize> = (0..IN_TURN).map(|n| (named(n), n)).collect();
        let seen: BTreeSet<EndpointKey> = in_turn(&few, Some(&named(7))).into_iter().collect();
        assert!(seen.iter().eq(few.keys()));

        let mut many: Sorted<EndpointKey, usize> = (0..3 * IN_TURN).map(|n| (named(n), n)).collect();
        let (mut after, mut seen) = (Some(named(50)), BTreeSet::new());
        for _ in 0..3 {
            let next = in_turn(&many, after.as_ref());
            assert_eq!(next.len(), IN_TURN);
            // The last one may be gone by now.
            many.remove(&named(IN_TURN));
            after = next.last().cloned();
            seen.extend(next);
        }
        assert!(many.keys().all(|key| seen.contains(key)));
        assert_eq!(in_turn(&Sorted::<EndpointKey, usize>::new(), after.as_ref()), []);
    }
}
