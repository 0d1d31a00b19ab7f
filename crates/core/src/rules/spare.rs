//! Which names are forgotten when too many are remembered: those that nobody will ask for again, as far as can be
//! known, the longest unused first.
//!
//! What bears a name is recorded with its identity ([`Bearer`]): when an endpoint comes or goes, and by each list of
//! an engine. So the choice needs no list, and is the same before an engine has sent its first one.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::iter;

use crate::model::endpoint::Endpoint;
use crate::model::identity::{Bearer, Identity, Mark, Rank, Scope};
use crate::model::inventory::Inventory;
use crate::model::network::Network;
use crate::model::state::{Change, State};
use crate::net::name::EndpointName;
use crate::rules::inherit::is_placeholder;

/// Above this many names, some are forgotten.
pub const MOST_NAMES: usize = 4096;

/// How many names one change makes forgotten at most. There are more to forget if a state that was never bounded has
/// been read, or if many became unneeded at once.
pub(crate) const AT_ONCE: usize = 8;

/// How many hexadecimal digits an id has at least: Docker's short ids have this many.
const ID: usize = 12;

impl Bearer {
    /// Who bears the name of an endpoint that is there.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        match endpoint.ownership.engine() {
            Some(engine) if engine.is_listed() => Bearer::Container,
            _ => Bearer::User,
        }
    }

    /// The same when the endpoint goes. An engine may still have its container, which only a list tells.
    pub(crate) fn of_gone(endpoint: &Endpoint) -> Self {
        match Bearer::of(endpoint) {
            // No list will say whether the engine still has the container.
            Bearer::User if endpoint.ownership.engine().is_some() => Bearer::of_removed(&endpoint.name),
            Bearer::User if is_of_process(&endpoint.name) || is_placeholder(endpoint.name.own()) => {
                Bearer::MadeUp
            }
            bearer => bearer,
        }
    }

    /// The same for a container that its engine no longer has.
    fn of_removed(name: &EndpointName) -> Self {
        if is_derived(name) || is_generated(name) { Bearer::MadeUp } else { Bearer::Removed }
    }
}

/// Whether a name follows from a process, which ends it.
fn is_of_process(name: &EndpointName) -> bool {
    let of_process = name.own().strip_prefix("pid-");
    of_process.is_some_and(|pid| pid.bytes().all(|c| c.is_ascii_digit()))
}

/// Whether a name follows from a process, an address, or an id that a program drew. Users name things after
/// their MACs, too, so an id proves nothing where the name was given on the command line.
fn is_derived(name: &EndpointName) -> bool {
    let last = name.own().rsplit(['-', '_', '.']).next().unwrap_or(name.own());
    let is_id = last.len() >= ID
        && last.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        && last.bytes().any(|c| c.is_ascii_digit());
    is_of_process(name) || is_id || is_placeholder(name.own())
}

/// Whether a name has the form of those that engines generate: two words, and a digit if another container has that
/// name. Users choose such names too, so this alone proves nothing.
fn is_generated(name: &EndpointName) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase());
    let words = name.own().trim_end_matches(|c: char| c.is_ascii_digit()).split_once('_');
    words.is_some_and(|(first, second)| is_word(first) && is_word(second))
}

impl State {
    /// The names that may be forgotten at this time, the next one first.
    fn spare(&self, now: u64) -> impl Iterator<Item = &(Scope, EndpointName)> {
        let of_rank = move |rank| {
            let of = self.identities.marks_from(&Mark::Spare(rank, 0));
            let of = of.take_while(move |(mark, _)| matches!(mark, Mark::Spare(its, _) if *its == rank));
            let had_leases = self.identities.marks_from(&Mark::SpareAfter(rank, 0));
            let ended = had_leases.take_while(
                move |(mark, _)| matches!(mark, Mark::SpareAfter(its, end) if *its == rank && *end <= now),
            );
            of.chain(ended)
        };
        let all = [Rank::MadeUp, Rank::Removed].into_iter().flat_map(of_rank);
        all.map(|(_, key)| key).filter(|(scope, name)| !self.is_attached(scope, name))
    }

    /// The changes that go with others to identities, so that no more than `most` names are remembered.
    pub(crate) fn forget_for(&self, changes: &[Change], now: u64, most: usize) -> Vec<Change> {
        let mut touched = BTreeSet::new();
        let mut count = self.identities.len();
        for change in changes {
            let (key, comes) = match change {
                Change::PutIdentity(scope, name, _) => ((scope.clone(), name.clone()), true),
                Change::DelIdentity(scope, name) => ((scope.clone(), name.clone()), false),
                _ => continue,
            };
            match (self.identities.contains_key(&key), comes) {
                (false, true) => count += 1,
                (true, false) => count -= 1,
                _ => {}
            }
            touched.insert(key);
        }
        let spare = self.spare(now).filter(|key| !touched.contains(*key));
        let spare = spare.take(count.saturating_sub(most).min(AT_ONCE));
        spare.map(|(scope, name)| Change::DelIdentity(scope.clone(), name.clone())).collect()
    }

    /// Whether more names are remembered than should be, and none of them may be forgotten.
    pub fn remembers_too_many(&self, now: u64) -> bool {
        self.identities.len() > MOST_NAMES && self.spare(now).next().is_none()
    }

    /// The changes that record what an engine's list says of who bears the remembered names. `last` is the engine's
    /// previous list, and `lists` has the last list of each engine, with this one.
    pub fn bearers(
        &self,
        inventory: &Inventory,
        last: Option<&Inventory>,
        lists: &[&Inventory],
    ) -> Vec<Change> {
        let names = |list: &Inventory| list.containers.iter().map(|one| one.name.clone()).collect();
        let here: BTreeSet<EndpointName> = names(inventory);
        let before: BTreeSet<EndpointName> = last.map(names).unwrap_or_default();
        // The names of a network that belongs to no engine may be of either, and those of no network of anybody.
        let (of_engines, others): (Vec<&Network>, Vec<&Network>) =
            self.networks.values().partition(|network| network.engine.is_some());
        let [of_engines, others] =
            [of_engines, others].map(|some| some.into_iter().map(State::scope).collect::<BTreeSet<Scope>>());
        let is_engines = |scope: &Scope| of_engines.contains(scope) && !others.contains(scope);
        let put = |(scope, name): &(Scope, EndpointName), identity: &Identity, bearer| {
            Change::PutIdentity(scope.clone(), name.clone(), Identity { bearer, ..identity.clone() })
        };
        let mut changes = Vec::new();

        for scope in self.scopes() {
            for name in here.difference(&before) {
                let key = (scope.clone(), name.clone());
                let Some(identity) = self.identities.get(&key) else { continue };
                let is_its = match identity.bearer {
                    Bearer::Removed | Bearer::MadeUp => true,
                    Bearer::Unknown => is_engines(scope),
                    Bearer::User | Bearer::Container => false,
                };
                changes.extend(is_its.then(|| put(&key, identity, Bearer::Container)));
            }
        }
        let is_gone = |(scope, name): &(Scope, EndpointName)| {
            !here.contains(name) && !self.is_attached(scope, name) && !self.may_be_stopped(scope, name, lists)
        };
        let gone = self.identities.with(Mark::Container).filter(|(key, _)| is_gone(key));
        changes.extend(gone.map(|(key, identity)| put(key, identity, Bearer::of_removed(&key.1))));
        // What earlier versions remembered is looked at once.
        let all = self.identities.iter().filter(|_| last.is_none());
        let old = all.filter(|(key, identity)| {
            identity.bearer == Bearer::Unknown
                && is_engines(&key.0)
                && Bearer::of_removed(&key.1) == Bearer::MadeUp
                && is_gone(key)
        });
        changes.extend(old.map(|(key, identity)| put(key, identity, Bearer::MadeUp)));
        changes
    }

    /// The scopes of all identities.
    fn scopes(&self) -> impl Iterator<Item = &Scope> {
        let after = |scope: &Scope| {
            let is_after = |of: &Scope| if of <= scope { Ordering::Less } else { Ordering::Greater };
            self.identities.from(|(of, _)| is_after(of)).next().map(|((scope, _), _)| scope)
        };
        let first = self.identities.keys().next().map(|(scope, _)| scope);
        iter::successors(first, move |scope| after(scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_given_on_the_command_line_is_not_taken_for_an_id() {
        let gone = |name: &str| {
            let name = name.parse().unwrap();
            let ownership = crate::model::ownership::Ownership::Cli;
            Bearer::of_gone(&Endpoint { name, ownership, ..crate::rules::learn::tests::endpoint("web") })
        };
        assert_eq!(gone("cam-001122334455"), Bearer::User);
        assert_eq!(gone("backup-202611291100"), Bearer::User);
        assert_eq!(gone("pid-4711"), Bearer::MadeUp);
    }

    #[test]
    fn names_that_nobody_chose_are_known_by_their_form() {
        let is_made_up = |name: &str| Bearer::of_removed(&name.parse().unwrap()) == Bearer::MadeUp;
        for name in [
            "brave_turing",
            "brave_turing7",
            "4f66ad9a0b2e",
            "project-job-run-4f66ad9a0b2e",
            "netns-0f1a7c1e-5d1e-4f4e-9d55-6f0f4c1f2a3b",
            "pid-4711",
            "at-192.168.88.193",
        ] {
            assert!(is_made_up(name), "{name}");
        }
        for name in
            ["web", "project-web-1", "project_web_1", "pid-file", "decade", "a_", "cafe-2024", "My_app"]
        {
            assert!(!is_made_up(name), "{name}");
        }
    }
}
