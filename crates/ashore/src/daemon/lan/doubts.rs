//! Claims on addresses of containers whose engine creates the links itself. The engine gives a container that
//! is reconnected another MAC, and its list shows that only after the LAN has heard of it. So a claim counts
//! only if a list that is taken after it still has the address at the same owner. Without a list nothing is
//! known, so an engine that did not answer is asked again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ashore_core::net::name::IfName;
use ashore_wire::{Heard, Mac};

use super::{CONFLICT_SHOWN, OnLan};
use crate::engines::turns::Lists;

/// How often to check for the list. It takes milliseconds, unless the engine does not answer for long.
const LOOK: Duration = Duration::from_millis(20);
/// The minimum time between two lists, so that frequent claims do not keep the engine busy.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long an engine that does not answer is asked about a claim. An older claim would not be shown any
/// more.
const KEPT: Duration = Duration::from_secs(CONFLICT_SHOWN);

#[derive(Default)]
pub(super) struct Doubts {
    lists: Lists,
    /// One claim on each address.
    claims: BTreeMap<OnLan, Claim>,
    asked: Option<Instant>,
}

struct Claim {
    heard: Heard,
    /// The owner of the address when it was claimed.
    owner: Mac,
    /// When the claim was heard.
    at: Instant,
    /// The list that decides, once it has been asked for.
    list: Option<u64>,
}

impl Doubts {
    pub(super) fn of(lists: Lists) -> Self {
        Doubts { lists, ..Doubts::default() }
    }

    /// Adds a claim, unless an earlier one on the same address is not settled yet.
    pub(super) fn take(&mut self, parent: &IfName, heard: Heard, owner: Mac, now: Instant) {
        let claim = Claim { heard, owner, at: now, list: None };
        self.claims.entry((parent.clone(), heard.ip)).or_insert(claim);
    }

    /// Returns the claims that a list has been taken for, on addresses that still have the same owner, and
    /// when to look again.
    pub(super) fn settled(
        &mut self,
        is_owner: impl Fn(&OnLan, Mac) -> bool,
        now: Instant,
    ) -> (Vec<(IfName, Heard)>, Option<Instant>) {
        let Doubts { lists, claims, asked } = self;
        let mut settled = Vec::new();
        claims.retain(|key, claim| {
            let is_of_interest = is_owner(key, claim.owner) && now.saturating_duration_since(claim.at) < KEPT;
            match claim.list.and_then(|list| lists.outcome(list)) {
                None => {}
                // The engine did not answer, which says nothing about the claim.
                Some(false) => claim.list = None,
                Some(true) => {
                    settled.extend(is_of_interest.then(|| (key.0.clone(), claim.heard)));
                    return false;
                }
            }
            is_of_interest
        });
        let due = asked.map_or(now, |asked| asked + INTERVAL);
        if now >= due && claims.values().any(|claim| claim.list.is_none()) {
            let list = lists.ask();
            for claim in claims.values_mut() {
                claim.list.get_or_insert(list);
            }
            *asked = Some(now);
        }
        let waited = asked.map_or(Duration::ZERO, |asked| now.saturating_duration_since(asked));
        (settled, (!claims.is_empty()).then_some(now + LOOK.max(waited / 4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn eth0() -> IfName {
        "eth0".parse().expect("a name")
    }

    fn claim() -> Heard {
        let ip = "192.168.88.7".parse().expect("an address");
        Heard { sender: Mac([2, 0, 0, 0, 0, 2]), ip, claims: true }
    }

    fn is_owner(_: &OnLan, mac: Mac) -> bool {
        mac == OWNER
    }

    #[test]
    fn a_claim_is_settled_by_a_list_that_was_begun_after_it_and_lists_are_not_asked_for_all_the_time() {
        let lists = Lists::default();
        let mut doubts = Doubts::of(lists.clone());
        let now = Instant::now();
        assert_eq!(doubts.settled(is_owner, now), (vec![], None));

        // A list that began before the claim does not decide it.
        let before = lists.begin();
        doubts.take(&eth0(), claim(), OWNER, now);
        assert_eq!(doubts.settled(is_owner, now).0, []);
        lists.end(before, true);
        assert_eq!(doubts.settled(is_owner, now).0, []);
        lists.end(lists.begin(), true);
        assert_eq!(doubts.settled(is_owner, now), (vec![(eth0(), claim())], None));

        // The next list is asked for a second later.
        doubts.take(&eth0(), claim(), OWNER, now);
        lists.end(lists.begin(), true);
        assert_eq!(doubts.settled(is_owner, now), (vec![], Some(now + LOOK)));
        let later = now + INTERVAL;
        assert_eq!(doubts.settled(is_owner, later).0, []);
        lists.end(lists.begin(), true);
        assert_eq!(doubts.settled(is_owner, later), (vec![(eth0(), claim())], None));
    }

    #[test]
    fn an_engine_that_does_not_answer_is_asked_again_for_as_long_as_the_claim_matters() {
        let lists = Lists::default();
        let mut doubts = Doubts::of(lists.clone());
        let start = Instant::now();
        doubts.take(&eth0(), claim(), OWNER, start);
        for at in (0..5).map(|n| start + n * INTERVAL) {
            let before = lists.begin();
            assert_eq!(doubts.settled(is_owner, at).0, []);
            assert_eq!(lists.begin(), before + 1, "it is asked again");
            lists.end(lists.begin(), false);
            assert_eq!(doubts.settled(is_owner, at).0, []);
            assert_eq!(lists.begin(), before + 1, "not at once");
        }
        let later = start + 5 * INTERVAL;
        assert_eq!(doubts.settled(is_owner, later).0, []);
        lists.end(lists.begin(), true);
        assert_eq!(doubts.settled(is_owner, later), (vec![(eth0(), claim())], None));

        // The claim is too old, or its address has another owner.
        doubts.take(&eth0(), claim(), OWNER, start);
        assert_eq!(doubts.settled(is_owner, start + KEPT), (vec![], None));
        doubts.take(&eth0(), claim(), OWNER, start);
        assert_eq!(doubts.settled(|_, _| false, start), (vec![], None));
        // A list that arrives then does not bring it back.
        doubts.take(&eth0(), claim(), OWNER, later);
        assert_eq!(doubts.settled(is_owner, later + INTERVAL).0, []);
        lists.end(lists.begin(), true);
        assert_eq!(doubts.settled(|_, _| false, later + INTERVAL), (vec![], None));
    }
}
