//! The events that are kept. Each kind has a bound of its own, and in it each container, network or address. Where a kind
//! is full, whoever has most of it loses a place. So neither a machine that makes up claims nor a user whose containers
//! start all the time pushes out what is of others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::event::{Event, Happening, Kind, Room};

/// How many events of one kind are kept about the same thing.
const MOST_OF_ONE: usize = 12;
/// By how much the numbers jump when the daemon was killed: it may have given as many numbers that were not written.
pub const UNWRITTEN: u64 = 100_000;

/// The last events.
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// The events of each room, the oldest first.
    rooms: BTreeMap<Room, VecDeque<Event>>,
    /// The last number that was given.
    last: u64,
}

impl Events {
    /// Returns what an earlier daemon has kept. What this version does not know is left out.
    pub fn restored(mut kept: Vec<Event>) -> Self {
        kept.sort_by_key(|event| event.number);
        kept.dedup_by_key(|event| event.number);
        let newest = kept.last();
        let is_whole = newest.is_none_or(|event| event.what.kind == Kind::Stopped);
        let newest = newest.map_or(0, |event| event.number);
        let mut events = Events {
            rooms: BTreeMap::new(),
            last: newest.saturating_add(if is_whole { 0 } else { UNWRITTEN }),
        };
        for event in kept {
            events.enter(event);
        }
        events
    }

    /// Adds what has happened. A claim that is made again is counted, because a machine may make it all the time. Returns
    /// whether it is more than one that is counted.
    pub fn add(&mut self, what: Happening, now: u64) -> bool {
        if let Some(before) = self.take_same(&what, now) {
            let is_new = before.at < now;
            let first = before.first.or(Some(before.at));
            let number = if is_new { self.next() } else { before.number };
            // The later text counts. The clock may have been set back.
            let what = if is_new { what } else { before.what };
            let times = before.times.saturating_add(1);
            self.enter(Event { number, at: now.max(before.at), first, times, what });
            return false;
        }
        let number = self.next();
        self.enter(Event { number, at: now, first: None, times: 1, what });
        true
    }

    fn next(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// Takes out the claim that is made again.
    fn take_same(&mut self, what: &Happening, now: u64) -> Option<Event> {
        if what.kind != Kind::Conflict {
            return None;
        }
        let claims = self.rooms.get_mut(&what.room())?;
        let is_same = |there: &Happening| there.is_beside(what) && there.mac == what.mac;
        let at = claims.iter().rposition(|event| is_same(&event.what)).or_else(|| {
            // Of many machines that claim one address in the same second, one is named.
            let mut beside = claims.iter().enumerate().rev().filter(|(_, event)| event.what.is_beside(what));
            let (newest, event) = beside.next()?;
            (event.at >= now && beside.count() + 1 >= MOST_OF_ONE).then_some(newest)
        })?;
        claims.remove(at)
    }

    /// Enters an event by its number, in place of another one if there is no room.
    fn enter(&mut self, event: Event) {
        let room = event.what.room();
        if room.most() == 0 {
            return;
        }
        let there = self.rooms.entry(room).or_default();
        let is_beside = |one: &Event| one.what.is_beside(&event.what);
        if there.iter().filter(|one| is_beside(one)).count() >= MOST_OF_ONE
            && let Some(oldest) = there.iter().position(is_beside)
        {
            there.remove(oldest);
        }
        let place = there.iter().rposition(|one| one.number < event.number).map_or(0, |at| at + 1);
        there.insert(place, event);
        if there.len() > room.most()
            && let Some(lost) = to_lose(there)
        {
            there.remove(lost);
        }
    }

    /// The last number that was given.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The events after a number, the oldest first, of which some are about something that a user calls so.
    pub fn after(&self, after: u64, about: Option<&str>) -> Vec<Event> {
        let all = self.rooms.values().flatten().filter(|event| event.number > after);
        let mut told: Vec<Event> =
            all.filter(|event| about.is_none_or(|about| event.what.concerns(about))).cloned().collect();
        told.sort_by_key(|event| event.number);
        told
    }

    /// The troubles that have begun and not ended, as far as is known.
    pub fn open_troubles(&self) -> Vec<Happening> {
        let of = |kind| self.rooms.iter().filter(move |(room, _)| room.kind == kind).flat_map(|(_, all)| all);
        let ended = |begun: &Event| {
            of(Kind::TroubleEnded)
                .any(|end| end.number > begun.number && is_same_trouble(&end.what, &begun.what))
        };
        let mut seen = BTreeSet::new();
        let mut open: Vec<Happening> = Vec::new();
        for begun in of(Kind::TroubleBegun).filter(|begun| !ended(begun)) {
            if seen.insert(trouble_key(&begun.what)) {
                open.push(begun.what.clone());
            }
        }
        open
    }
}

/// The place of the event that gives way: the oldest about the thing that has most, of the party that has most.
fn to_lose(there: &VecDeque<Event>) -> Option<usize> {
    let party = with_most(there.iter().map(|event| event.what.party()))?;
    let of_party = || there.iter().filter(|event| event.what.party() == party);
    let thing = with_most(of_party().map(|event| event.what.thing()))?;
    there.iter().position(|event| event.what.party() == party && event.what.thing() == thing)
}

/// What occurs most often. Of several, the one that occurs first.
fn with_most<T: Ord + Copy>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut counted: BTreeMap<T, (usize, Reverse<usize>)> = BTreeMap::new();
    for (at, one) in all.enumerate() {
        counted.entry(one).or_insert((0, Reverse(at))).0 += 1;
    }
    counted.into_iter().max_by_key(|(_, often)| *often).map(|(one, _)| one)
}

/// What makes a trouble the same one. Its message is not part of it.
fn trouble_key(what: &Happening) -> impl Ord + use<> {
    let name = what.name.clone();
    (what.trouble.clone(), what.network.clone(), name, what.parent.clone(), what.address)
}

/// Whether both are about the same trouble.
pub fn is_same_trouble(one: &Happening, other: &Happening) -> bool {
    trouble_key(one) == trouble_key(other)
}

#[cfg(test)]
mod tests {
    use ashore_wire::Mac;

    use super::*;
    use crate::model::event::ADDRESS_CLAIMED;
    use crate::net::name::EndpointName;

    fn of(kind: Kind, name: &str) -> Happening {
        Happening { name: Some(name.parse().unwrap()), ..Happening::new(kind, "so") }
    }

    fn claim(name: &str, mac: u32) -> Happening {
        let [a, b, c, d] = mac.to_be_bytes();
        let address = Some("192.168.88.7".parse().unwrap());
        Happening { mac: Some(Mac([2, 0, a, b, c, d])), address, ..of(Kind::Conflict, name) }
    }

    #[test]
    fn the_bounds_add_up_to_a_thousand() {
        assert_eq!(Room::all().map(Room::most).sum::<usize>(), 1000);
    }

    #[test]
    fn forged_claims_push_nothing_else_out() {
        let mut events = Events::default();
        events.add(of(Kind::Attached, "web"), 1);
        events.add(claim("db", 1), 1);
        for n in 0..10_000 {
            events.add(claim("web", n), 2 + u64::from(n / 100));
        }
        let told = events.after(0, None);
        assert_eq!(told.len(), 2 + MOST_OF_ONE);
        assert!(told.iter().any(|event| event.what == of(Kind::Attached, "web")));
        assert!(told.iter().any(|event| event.what == claim("db", 1)), "the claim on another address stays");
        // A flood takes few numbers, which a daemon that is killed must not give again.
        assert!(events.last() < 200, "{}", events.last());
        for n in 0..10_000 {
            events.add(claim(&format!("c{n}"), 1), 500);
        }
        let told = events.after(0, None);
        assert_eq!(told.len(), 1 + Kind::Conflict.most());
        assert_eq!(told[0].what, of(Kind::Attached, "web"));
    }

    #[test]
    fn a_container_that_starts_all_the_time_pushes_no_other_one_out() {
        let mut events = Events::default();
        events.add(of(Kind::Attached, "db"), 1);
        for n in 2..1000 {
            events.add(of(if n % 2 == 0 { Kind::Attached } else { Kind::Detached }, "web"), n);
        }
        let told = events.after(0, None);
        assert_eq!(told.len(), 1 + 2 * MOST_OF_ONE);
        assert_eq!(told[0].what, of(Kind::Attached, "db"));
        assert!(told.iter().all(|event| event.times == 1), "each start is one event");
    }

    /// What others have does not leave, whatever one party does.
    fn nothing_of_others_leaves(others: &[Happening], does: impl IntoIterator<Item = Happening>) {
        let mut events = Events::default();
        for one in others {
            events.add(one.clone(), 1);
        }
        let mut done = 0;
        for (at, what) in (2..).zip(does) {
            events.add(what, at);
            done += 1;
        }
        let told = events.after(0, None);
        for one in others {
            assert!(told.iter().any(|event| event.what == *one), "{one:?}");
        }
        assert!(told.len() < others.len() + done, "there was room for all");
        // A daemon that starts anew knows the same.
        assert_eq!(Events::restored(told.clone()).after(0, None), told);
    }

    #[test]
    fn claims_on_many_addresses_push_out_claims_on_the_same_lan_alone_and_of_those_the_most() {
        let on = |parent: &str, address: u32, mac: u32| Happening {
            parent: Some(parent.parse().unwrap()),
            address: Some(std::net::IpAddr::from([192, 168, 88, u8::try_from(address).unwrap()])),
            ..claim(&format!("c{address}"), mac)
        };
        let others = [on("eth0", 200, 1), on("eth1", 7, 1), on("eth1", 8, 1)];
        let forged = (0..13).flat_map(|address| (0..12).map(move |mac| (address, mac)));
        nothing_of_others_leaves(&others, forged.map(|(address, mac)| on("eth0", address, mac)));
        let many = (0..200).map(|address| on("eth0", address, 1));
        nothing_of_others_leaves(&others[1..], many);
        // As troubles, too, and no other trouble.
        let trouble = |kind, code: &str, what: Happening| Happening {
            trouble: Some(code.to_owned()),
            mac: None,
            ..Happening { kind, ..what }
        };
        let claimed = |kind, what| trouble(kind, ADDRESS_CLAIMED, what);
        for kind in [Kind::TroubleBegun, Kind::TroubleEnded] {
            let no_lease = (0..60).map(|n| trouble(kind, "no-lease", of(kind, &format!("l{n}"))));
            let others: Vec<Happening> = no_lease.chain([claimed(kind, on("eth1", 7, 1))]).collect();
            let forged = (0..13).flat_map(|address| (0..12).map(move |_| address));
            nothing_of_others_leaves(&others, forged.map(|address| claimed(kind, on("eth0", address, 1))));
            // A trouble says of which network it is, and not of which parent.
            let bare =
                |address| Happening { parent: None, network: Some("lan".into()), ..on("eth0", address, 1) };
            nothing_of_others_leaves(&others, (0..100).map(|address| claimed(kind, bare(address))));
        }
    }

    #[test]
    fn what_some_endpoints_do_all_the_time_pushes_out_nothing_of_others() {
        for (kind, endpoints) in
            [(Kind::TroubleBegun, 7), (Kind::TroubleEnded, 7), (Kind::LeaseChanged, 4), (Kind::Attached, 16)]
        {
            let others: Vec<Happening> = (0..5).map(|n| of(kind, &format!("o{n}"))).collect();
            let rounds = (0..12).flat_map(|_| 0..endpoints);
            nothing_of_others_leaves(&others, rounds.map(|n| of(kind, &format!("e{n}"))));
        }
    }

    #[test]
    fn however_many_containers_a_user_has_only_what_is_of_the_same_user_leaves() {
        let own = |n: u32| format!("w{n}").parse::<EndpointName>().unwrap();
        let of_user = |uid: u32, n: u32| Happening {
            name: Some(own(n).of_user(uid)),
            ..Happening::new(Kind::Attached, "so")
        };
        let others: Vec<Happening> =
            [of_user(1001, 1)].into_iter().chain((0..12).map(|_| of(Kind::Attached, "db"))).collect();
        nothing_of_others_leaves(&others, (0..12).flat_map(|_| (0..16).map(|n| of_user(1000, n))));
        nothing_of_others_leaves(&others, (0..500).map(|n| of_user(1000, n)));
    }

    #[test]
    fn a_claim_that_is_made_again_is_counted_and_moves_to_the_end() {
        let mut events = Events::default();
        events.add(claim("web", 1), 10);
        events.add(of(Kind::Attached, "db"), 11);
        for at in [12, 12, 13] {
            events.add(claim("web", 1), at);
        }
        let told = events.after(0, None);
        assert_eq!(told.len(), 2);
        let again = &told[1];
        assert_eq!((again.times, again.first, again.at), (4, Some(10), 13));
        assert_eq!(events.after(told[0].number, None), told[1..]);
        assert!(events.after(again.number, None).is_empty());
        assert_eq!(events.after(0, Some("db")).len(), 1);
        assert!(events.after(0, Some("nobody")).is_empty());
        for at in [20, 30] {
            events.add(of(Kind::Started, "x"), at);
        }
        assert_eq!(events.after(0, Some("x")).len(), 2, "each start of a daemon that is killed is an event");
    }

    #[test]
    fn what_was_kept_is_taken_over_and_numbers_go_on() {
        let mut events = Events::default();
        events.add(of(Kind::Attached, "web"), 1);
        events.add(claim("web", 1), 2);
        let kept = events.after(0, None);
        let mut killed = Events::restored(kept.iter().rev().cloned().collect());
        assert_eq!(killed.after(0, None), kept);
        killed.add(of(Kind::Stopped, "web"), 3);
        assert!(killed.last() > 2 + UNWRITTEN, "a killed daemon may have told of more than it wrote");
        let whole = Events::restored(killed.after(0, None));
        assert_eq!(whole.last(), killed.last());
        // More than there is room for, and what a later version has.
        let many = (1..5000).map(|number| Event { number, ..kept[0].clone() });
        let unknown = Event { number: 9000, at: 1, first: None, times: 1, what: of(Kind::Unknown, "web") };
        let bounded = Events::restored(many.chain([unknown]).collect());
        assert_eq!(bounded.after(0, None).len(), MOST_OF_ONE);
        assert!(bounded.last() >= 9000);
    }

    #[test]
    fn a_trouble_is_open_until_it_ends() {
        let mut events = Events::default();
        let trouble = |kind, code: &str| Happening { trouble: Some(code.into()), ..of(kind, "web") };
        events.add(trouble(Kind::TroubleBegun, "no-lease"), 1);
        events.add(trouble(Kind::TroubleBegun, "mac-changed"), 2);
        events.add(trouble(Kind::TroubleEnded, "no-lease"), 3);
        assert_eq!(events.open_troubles(), [trouble(Kind::TroubleBegun, "mac-changed")]);
        events.add(trouble(Kind::TroubleBegun, "no-lease"), 4);
        assert_eq!(events.open_troubles().len(), 2);
    }
}
