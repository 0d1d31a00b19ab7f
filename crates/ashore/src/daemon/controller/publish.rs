//! Publishes the state, and what was seen of the host, to those who follow them.
//!
//! This happens whenever the lock is released, if anything has changed. A request only publishes itself if it
//! goes on under the lock with what a follower knows, such as when it asks conflict detection for an address
//! or announces one.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ashore_core::model::state::State;
use ashore_core::net::name::NetworkName;
use ashore_core::net::observed::View;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::allocate::SMALL;
use ashore_wire::conflict::Profile;

use super::away::Away;
use super::demand::Demand;
use super::{Controller, Inner};
use crate::clock::now;
use crate::daemon::follower::Published;
use crate::daemon::lan::Prefetch;

/// What followers know, and what they are to learn.
#[derive(Debug, Default)]
pub(super) struct Publication {
    /// Whether the first reconciliation has removed what an earlier daemon left unfinished. Before that,
    /// followers would take over leases and router offers of endpoints that are about to go.
    has_begun: Cell<bool>,
    /// The state that they know. A changed state is another one.
    state: RefCell<Option<Arc<State>>>,
    seen: RefCell<Seen>,
    /// The names that may come back next.
    away: RefCell<Away>,
    /// How many new names may come next.
    demand: RefCell<Demand>,
}

/// The host as it was seen last.
#[derive(Debug, Default)]
struct Seen {
    /// `None` before the first look.
    host: Option<Arc<View>>,
    due: Due,
}

/// Why to publish although the state is the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    #[default]
    No,
    /// Followers also look at what changes by itself, such as what routers offer.
    Again,
    /// The host has changed, or so much time has passed that other addresses may be free.
    Anew,
}

impl Publication {
    /// Whether the first reconciliation is over.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// From now on, the state is published.
    pub(super) fn begin(&self) {
        self.has_begun.set(true);
    }

    /// Notes what was seen of the host. Its routes and neighbours change with each endpoint, and no follower
    /// asks for them.
    pub(super) fn sees(&self, host: &View) {
        let mut seen = self.seen.borrow_mut();
        if !seen.host.as_deref().is_some_and(|seen| seen.has_same_links(host)) {
            let host = host.without_routes();
            *seen = Seen { host: Some(Arc::new(host)), due: Due::Anew };
        }
    }

    /// Has followers look again, even if the state and the host stay as they are.
    pub(super) fn again(&self) {
        let mut seen = self.seen.borrow_mut();
        seen.due = seen.due.max(Due::Again);
    }

    /// Does the same, and looks for the next candidates again.
    pub(super) fn anew(&self) {
        self.seen.borrow_mut().due = Due::Anew;
    }

    /// Notes that addresses are taken, and whether the request has to wait for their probing.
    pub(super) fn takes(&self, network: &NetworkName, ips: impl Iterator<Item = IpAddr>, waits: bool) {
        if self.demand.borrow_mut().takes(network, ips, waits, Instant::now()) {
            self.anew();
        }
    }

    /// Returns what is to be published, if anything is, and whether to look for the next candidates.
    fn take(&self, inner: &Inner) -> Option<(Published, bool)> {
        if !self.has_begun.get() {
            return None;
        }
        let mut seen = self.seen.borrow_mut();
        let host = seen.host.clone()?;
        let (mut known, state) = (self.state.borrow_mut(), inner.store.snapshot());
        let changed = known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &state));
        let due = std::mem::take(&mut seen.due);
        *known = Some(state.clone());
        let is_due = changed || due != Due::No;
        is_due.then_some((Published { state, host }, changed || due == Due::Anew))
    }
}

impl Controller {
    /// Passes the state and the host to all followers, if either has changed, and tells conflict detection
    /// which addresses will be wanted next.
    pub(super) fn publish(&self, inner: &Inner) {
        let Some((now, candidates_change)) = inner.publication.take(inner) else { return };
        for follower in &self.followers {
            follower.follow(&now);
        }
        if candidates_change {
            let mut away = inner.publication.away.borrow_mut();
            away.follow(&now.state);
            self.lan.prefetch(self.next_candidates(inner, &now.host, &away));
        }
    }

    /// Returns the addresses that the next attaches will get, so that conflict detection can probe them
    /// ahead: some of each subnet for new names, as many as the demand asks for, and those of the names that left
    /// last, including leased ones.
    fn next_candidates(&self, inner: &Inner, host: &View, away: &Away) -> Vec<Prefetch> {
        /// In so large a range an address follows from the name, so few of a new name's can be told.
        const OF_LARGE: usize = 3;
        const LEFT_LAST: usize = 8;
        /// How many of these are likely to be taken next: one for a new name, and two for the names that left
        /// last.
        const NEXT: [usize; 2] = [1, 2];
        /// When a host starts, its containers come back together.
        const LEASED: usize = 32;
        let (state, none) = (inner.state(), BTreeMap::new());
        let (mut ahead, mut for_new) = (Vec::new(), BTreeMap::new());
        for network in state.networks.values().filter(|network| network.conflict != Profile::Off) {
            let hearsay = self.lan.hearsay(&network.parent);
            let known = AddressesInUse { host, heard: &hearsay, answered: &none, held: &inner.held };
            let demand = inner.publication.demand.borrow().of(&network.name, Instant::now());
            let for_new: &mut BTreeSet<IpAddr> = for_new.entry(network.name.clone()).or_default();
            let mut say = |ips: Vec<IpAddr>, next: Vec<IpAddr>| {
                let (parent, profile) = (network.parent.clone(), network.conflict);
                ahead.push(Prefetch { parent, profile, ips, next });
            };
            let names = away.from(network).take(LEFT_LAST).collect::<Vec<_>>();
            for subnet in network.handed_out() {
                let candidates = |name| state.candidates(network, subnet, name, &known);
                let most = if subnet.pool().len() > SMALL { OF_LARGE } else { demand };
                let new: Vec<IpAddr> = candidates(None).take(most).collect();
                for_new.extend(&new);
                let returning: Vec<IpAddr> =
                    names.iter().filter_map(|name| candidates(Some(*name)).next()).collect();
                let [of_new, of_returning] = NEXT;
                let next = new.iter().take(of_new).chain(returning.iter().take(of_returning));
                let next = next.copied().collect();
                say([new, returning].concat(), next);
            }
            say(state.still_leased(network, now()).take(LEASED).map(IpAddr::from).collect(), Vec::new());
            say(self.likely(state, network, names.into_iter()), Vec::new());
        }
        inner.publication.demand.borrow_mut().probes(for_new);
        ahead
    }
}
