//! Claims on addresses of containers whose engine makes the links itself. It gives a container that is connected anew another
//! MAC, and its list shows that a moment after the LAN has heard of it. So such a claim counts only if a list that is taken
//! after it still has the address where it was. Without a list nothing is known.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ashore_wire::{Heard, Mac};

use crate::front::docker::follow::Lists;

/// How soon it is looked whether the list is there. It takes milliseconds, or an engine does not answer for long.
const LOOK: Duration = Duration::from_millis(20);
/// Whoever claims addresses all the time has the engine list no more often than this.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Doubts {
    lists: Lists,
    /// One claim on each address.
    claims: BTreeMap<IpAddr, Claim>,
    asked: Option<Instant>,
}

struct Claim {
    heard: Heard,
    /// Who had the address when it was claimed.
    owner: Mac,
    /// The list that is to tell, once it has been asked for.
    list: Option<u64>,
}

impl Doubts {
    pub(super) fn of(lists: Lists) -> Self {
        Doubts { lists, ..Doubts::default() }
    }

    /// Takes a claim in, unless an earlier one on the same address is not settled yet.
    pub(super) fn take(&mut self, heard: Heard, owner: Mac) {
        self.claims.entry(heard.ip).or_insert(Claim { heard, owner, list: None });
    }

    /// The claims of which the list has been taken since, with who had the address then; and when to look again.
    pub(super) fn settled(&mut self, now: Instant) -> (Vec<(Heard, Mac)>, Option<Instant>) {
        let Doubts { lists, claims, asked } = self;
        let mut settled = Vec::new();
        claims.retain(|_, claim| match claim.list.and_then(|list| lists.outcome(list)) {
            None => true,
            Some(is_listed) => {
                settled.extend(is_listed.then_some((claim.heard, claim.owner)));
                false
            }
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

    #[test]
    fn a_claim_is_settled_by_a_list_that_was_begun_after_it_and_lists_are_not_asked_for_all_the_time() {
        let lists = Lists::default();
        let mut doubts = Doubts::of(lists.clone());
        let (owner, other) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let heard = Heard { sender: other, ip: "192.168.88.7".parse().unwrap(), claims: true };
        let now = Instant::now();
        assert_eq!(doubts.settled(now), (vec![], None));

        // One that has begun before does not tell.
        let before = lists.begin();
        doubts.take(heard, owner);
        assert_eq!(doubts.settled(now).0, []);
        lists.end(before, true);
        assert_eq!(doubts.settled(now).0, []);
        lists.end(lists.begin(), true);
        assert_eq!(doubts.settled(now), (vec![(heard, owner)], None));

        // The next is asked for a second later, and tells nothing if the engine does not answer.
        doubts.take(heard, owner);
        lists.end(lists.begin(), true);
        assert_eq!(doubts.settled(now), (vec![], Some(now + LOOK)));
        let later = now + INTERVAL;
        assert_eq!(doubts.settled(later).0, []);
        lists.end(lists.begin(), false);
        assert_eq!(doubts.settled(later), (vec![], None));
    }
}
