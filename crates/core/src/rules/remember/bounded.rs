//! How many names are remembered.

use std::collections::{BTreeMap, BTreeSet};

use ashore_wire::dhcp4::ClientId;
use proptest::prelude::*;

use super::tests::Words;
use super::*;
use crate::model::identity::{Bearer, Rank};
use crate::model::inventory::{Inventory, ListedContainer};
use crate::model::lease::Addressing;
use crate::model::ownership::Ownership;
use crate::rules::spare::AT_ONCE;

/// The bound of these tests.
const MOST: usize = 5;

/// Names by their number. Of each kind there are more than the bound.
fn name(number: usize) -> EndpointName {
    let text = match number % 4 {
        0 => format!("brave_turing{}", number / 4),
        1 => format!("project-web-{}", number / 4),
        2 => format!("pid-{}", number / 4),
        _ => format!("chosen-{}", number / 4),
    };
    text.parse().unwrap()
}

const NAMES: usize = 40;

/// Whether a name is of the command line, and not of an engine.
fn is_of_user(number: usize) -> bool {
    number % 4 >= 2
}

#[derive(Debug, Clone)]
enum Event {
    /// A container comes, perhaps with an address that its user chose, or with a lease of so many seconds.
    Comes { number: usize, fixed: bool, lease: Option<u32> },
    /// A container goes. Its engine still has it, or not.
    Goes { number: usize, stays_listed: bool },
    /// The engine's list comes.
    List,
    /// The clock is set.
    Clock(u64),
    /// The daemon starts again.
    Start,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..NAMES, prop::bool::weighted(0.1), prop::option::weighted(0.2, 1_u32..200))
            .prop_map(|(number, fixed, lease)| Event::Comes { number, fixed, lease }),
        6 => (0..NAMES, any::<bool>()).prop_map(|(number, stays_listed)| Event::Goes { number, stays_listed }),
        3 => Just(Event::List),
        1 => (1000_u64..2000).prop_map(Event::Clock),
        1 => Just(Event::Start),
    ]
}

struct World {
    words: Words,
    /// The containers that the engine has.
    there: BTreeSet<EndpointName>,
    last: Option<Inventory>,
    /// What the last list had, also before the daemon started again.
    listed: BTreeSet<EndpointName>,
    now: u64,
}

impl World {
    fn new(identities: &[&str]) -> Self {
        let words = Words::new(Addressing::Range, identities);
        World { words, there: BTreeSet::new(), last: None, listed: BTreeSet::new(), now: 1500 }
    }

    fn endpoint(&self, number: usize, fixed: bool, lease: Option<u32>) -> Endpoint {
        let (name, ip) = (name(number), number + 2);
        let text = match lease {
            Some(_) => format!("{name} for-name lease L.{ip}=77"),
            None if fixed => format!("{name} for-name fixed .{ip}!"),
            None => format!("{name} for-name range .{ip}"),
        };
        let mut endpoint = self.words.endpoint(&text);
        if let (Some(record), Some(seconds)) = (&mut endpoint.lease, lease) {
            record.id = ClientId::duid(1, format!("{number:08}").as_bytes()).unwrap();
            record.since = self.now;
            record.lease.term = Some(
                serde_json::from_value(serde_json::json!({ "renew": 1, "rebind": 1, "end": seconds }))
                    .unwrap(),
            );
        }
        if is_of_user(number) {
            endpoint.ownership = Ownership::Cli;
        }
        endpoint
    }

    fn comes(&mut self, number: usize, fixed: bool, lease: Option<u32>) {
        let endpoint = self.endpoint(number, fixed, lease);
        if !is_of_user(number) {
            self.there.insert(endpoint.name.clone());
        }
        let bearer = Bearer::of(&endpoint);
        let mut changes = self.words.state.remember_of(&endpoint, bearer, self.now, MOST);
        changes.push(Change::PutEndpoint(endpoint));
        self.words.apply(changes);
    }

    fn goes(&mut self, number: usize, stays_listed: bool) {
        let key = ("lan".parse().unwrap(), name(number));
        if !stays_listed {
            self.there.remove(&key.1);
        }
        let Some(endpoint) = self.words.state.endpoints.get(&key).cloned() else { return };
        let bearer = Bearer::of_gone(&endpoint);
        let mut changes = self.words.state.remember_of(&endpoint, bearer, self.now, MOST);
        changes.push(Change::DelEndpoint(key));
        self.words.apply(changes);
    }

    fn list(&mut self) {
        let container = |name: &EndpointName| ListedContainer {
            id: name.to_string(),
            name: name.clone(),
            formerly: None,
            memberships: Vec::new(),
            sandbox: None,
        };
        let inventory = Inventory {
            kind: crate::model::ownership::EngineKind::Docker,
            engine: "e1".into(),
            networks: Vec::new(),
            containers: self.there.iter().map(container).collect(),
        };
        let changes = self.words.state.bearers(&inventory, self.last.as_ref(), &[&inventory]);
        self.words.apply(changes);
        self.listed.clone_from(&self.there);
        self.last = Some(inventory);
    }

    fn happens(&mut self, event: &Event) {
        match *event {
            Event::Comes { number, fixed, lease } => {
                let key = ("lan".parse().unwrap(), name(number));
                if !self.words.state.endpoints.contains_key(&key) {
                    self.comes(number, fixed, lease);
                }
            }
            Event::Goes { number, stays_listed } => self.goes(number, stays_listed),
            Event::List => self.list(),
            Event::Clock(now) => self.now = now,
            Event::Start => self.last = None,
        }
    }

    fn names(&self) -> BTreeSet<EndpointName> {
        self.words.state.identities.keys().map(|(_, name)| name.clone()).collect()
    }

    /// The names that must not be forgotten now.
    fn protected(&self) -> BTreeSet<EndpointName> {
        let lasts = |identity: &Identity| {
            identity.lease.as_ref().is_some_and(|record| record.left(self.now) != Some(0))
        };
        let all = self.words.state.identities.iter();
        let protected = all.filter(|((_, name), identity)| {
            !identity.asked.is_empty()
                || lasts(identity)
                || self.words.state.endpoints.contains_key(&("lan".parse().unwrap(), name.clone()))
                || self.listed.contains(name)
        });
        protected.map(|((_, name), _)| name.clone()).collect()
    }

    /// The names that may be forgotten now, by a look at all of them.
    fn spare(&self) -> usize {
        let protected = self.protected();
        let rank = |identity: &Identity| match identity.bearer {
            Bearer::MadeUp => Some(Rank::MadeUp),
            Bearer::Removed => Some(Rank::Removed),
            _ => None,
        };
        let all = self.words.state.identities.iter();
        all.filter(|((_, name), identity)| !protected.contains(name) && rank(identity).is_some()).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_comes_and_goes_only_what_may_go_is_forgotten_and_the_bound_holds_where_it_can(
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut world = World::new(&[]);
        let mut last_use = 0;
        for event in events {
            let (before, protected) = (world.names(), world.protected());
            world.happens(&event);
            let after = world.names();
            let forgotten: Vec<_> = before.difference(&after).collect();
            prop_assert!(forgotten.iter().all(|name| !protected.contains(*name)), "{event:?}: {forgotten:?}");
            if forgotten.is_empty() {
                prop_assert!(after.len() <= before.len() + 1);
            } else {
                prop_assert!(after.len() >= MOST, "{event:?}: no more than needed");
            }
            if matches!(event, Event::Comes { .. }) && after.len() > before.len() {
                let held = after.len() <= MOST || forgotten.len() == AT_ONCE || world.spare() == 0;
                prop_assert!(held, "{event:?}: {after:?}");
            }
            let uses = world.words.state.identities.values().map(|identity| identity.used).max().unwrap_or(0);
            prop_assert!(uses >= last_use || !forgotten.is_empty(), "the counter goes on, whatever the clock says");
            last_use = uses;
        }
    }
}

/// Containers of these names come and go, one after the other, and their engine has removed them.
fn removed(world: &mut World, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        world.comes(number, false, None);
        world.goes(number, false);
        world.list();
    }
}

#[test]
fn the_longest_unused_go_first_by_the_order_of_uses_and_not_by_the_clock() {
    let mut world = World::new(&[]);
    for (number, now) in [(0, 1900), (4, 1100), (8, 1800), (12, 1000), (16, 1700)] {
        world.now = now;
        removed(&mut world, [number]);
    }
    world.now = 1;
    removed(&mut world, [0]);
    assert_eq!(world.names().len(), MOST);
    removed(&mut world, [20, 24]);
    let left: BTreeSet<EndpointName> = [0, 12, 16, 20, 24].into_iter().map(name).collect();
    assert_eq!(world.names(), left);
    // What the forgotten names had is free for others, as if no name ever had it. What a remembered name has comes
    // last, that of the name that left last the very last.
    let state = &world.words.state;
    let network = world.words.network();
    let (host, none, held) = Default::default();
    let heard = BTreeMap::new();
    let known = crate::rules::addresses_in_use::AddressesInUse {
        host: &host,
        heard: &heard,
        answered: &none,
        held: &held,
    };
    let subnet = network.subnet_of("192.168.88.2".parse().unwrap()).unwrap();
    let all: Vec<IpAddr> = state.candidates(network, subnet, None, &known).collect();
    let at = |number: usize| {
        let ip: IpAddr = format!("192.168.88.{}", number + 2).parse().unwrap();
        all.iter().position(|one| *one == ip).unwrap()
    };
    assert!(at(4) < at(12) && at(8) < at(12));
    let kept = [at(12), at(16), at(0), at(20), at(24)];
    assert_eq!(kept, [all.len() - 5, all.len() - 4, all.len() - 3, all.len() - 2, all.len() - 1]);
}

#[test]
fn names_that_nobody_chose_go_before_those_of_removed_containers() {
    let mut world = World::new(&[]);
    removed(&mut world, [1, 5, 0, 9, 4, 13]);
    assert_eq!(world.names(), [1, 5, 9, 4, 13].into_iter().map(name).collect());
    removed(&mut world, [17, 21]);
    assert_eq!(world.names(), [5, 9, 13, 17, 21].into_iter().map(name).collect());
}

#[test]
fn what_an_engine_has_stays_also_before_its_first_list() {
    let mut world = World::new(&[]);
    for number in [0, 4, 8, 12, 16, 20] {
        world.comes(number, false, None);
        world.goes(number, true);
    }
    // It has removed them, and has not said so.
    world.there.clear();
    world.comes(1, false, None);
    assert_eq!(world.names().len(), 7);
    world.list();
    world.comes(5, false, None);
    assert_eq!(world.names().len(), MOST);
    // One is made again, and not started.
    world.there.insert(name(20));
    world.list();
    for number in [9, 13, 17, 21] {
        world.comes(number, false, None);
    }
    assert!(world.names().contains(&name(20)));
}

#[test]
fn what_is_about_to_be_attached_again_stays() {
    let mut world = World::new(&[]);
    removed(&mut world, [0, 4, 8, 12, 16]);
    // It is reserved, and its name has not been used yet.
    let reserved =
        Endpoint { stage: crate::model::endpoint::Stage::Reserved, ..world.endpoint(0, false, None) };
    world.words.apply(vec![Change::PutEndpoint(reserved)]);
    world.list();
    world.comes(3, false, None);
    assert_eq!(world.names(), [0, 8, 12, 16, 3].into_iter().map(name).collect());
}

#[test]
fn of_names_from_earlier_versions_only_generated_ones_go() {
    let rows = ["brave_turing .202", "web .203", "keen_curie .204", "4f66ad9a0b2e .205", "mail .206"];
    let mut world = World::new(&rows);
    world.there.insert("keen_curie".parse().unwrap());
    world.list();
    for number in [3, 7, 11, 15] {
        world.comes(number, false, None);
    }
    let left: Vec<String> = world.names().iter().map(ToString::to_string).collect();
    assert_eq!(left, ["chosen-0", "chosen-1", "chosen-2", "chosen-3", "keen_curie", "mail", "web"]);
}

#[test]
fn a_state_that_was_never_bounded_comes_down_little_by_little() {
    let rows: Vec<String> = (0..60).map(|number| format!("brave_turing{number} .{}", number + 100)).collect();
    let mut world = World::new(&rows.iter().map(String::as_str).collect::<Vec<_>>());
    world.list();
    let mut counts = Vec::new();
    for number in (3..40).step_by(4) {
        world.comes(number, false, None);
        counts.push(world.names().len());
    }
    assert_eq!(counts, [53, 46, 39, 32, 25, 18, 11, 8, 9, 10]);
}
