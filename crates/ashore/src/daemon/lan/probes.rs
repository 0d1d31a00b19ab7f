//! Looking for addresses before they are used: when somebody asks, and ahead of need.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ashore_core::net::name::IfName;
use ashore_wire::Mac;
use ashore_wire::conflict::{
    Action, BRIEF_LOOK, LAST_LOOK, Probe, Profile, asking_group, joining_frame, probe_frame,
};
use ipnet::IpNet;

use super::hearsay::WANTED_FOR;
use super::send_queue::{SendQueue, Unsent};
use super::{Lan, OnLan, Send, Table, UNREACHABLE_FOR, Unreachable, said, said_or_waits};
use crate::daemon::random;

/// For how long a look at the LAN, with listening ever since, is good enough to use an address without another.
pub(super) const CLEAR_FOR: Duration = Duration::from_secs(120);
/// No look takes longer: by the RFC's times one takes seven seconds, and a second more where there is no room for its probes.
const LONGEST: Duration = Duration::from_secs(30);
/// The same of a last look, for which others wait. It takes a millisecond, unless somebody sees to it that it takes longer.
const LONGEST_LAST: Duration = Duration::from_millis(200);
/// An address of which the LAN was asked so lately needs no last look.
const ASKED_LATELY: Duration = Duration::from_secs(1);
/// A glance is good for so long: most lists of an engine's containers take less.
const GLANCE: Duration = Duration::from_millis(30);
/// An address looked at ahead is looked at again when its clearance is this old.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How many probes by other machines are answered for an address that was taken a moment ago. Two hosts that both took it would
/// go on answering each other otherwise.
pub(super) const MOST_TOLD: u32 = 8;

/// An address to look for, and the MAC of the endpoint that is to have it, if it has one of its own.
pub(crate) type Sought = (IpAddr, Option<Mac>);

/// Addresses that will be wanted next on a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefetch {
    pub(crate) parent: IfName,
    pub(crate) profile: Profile,
    pub(crate) ips: Vec<IpAddr>,
    /// Those of them that the very next request will get, most likely.
    pub(crate) next: Vec<IpAddr>,
}

/// Why an address is taken to be nobody's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clearance {
    pub(super) since: Instant,
    /// How thoroughly it was looked for; nothing if it was an endpoint's until then.
    pub(super) by: Option<Profile>,
    /// When the LAN was last asked for it.
    pub(super) asked: Option<Instant>,
}

/// An address that was taken for an endpoint a moment ago. The endpoint's link need not be up yet.
#[derive(Debug, Clone)]
pub(super) struct Coming {
    pub(super) until: Instant,
    /// How many more probes are answered.
    left: u32,
}

impl Coming {
    pub(super) fn new(until: Instant) -> Self {
        Coming { until, left: MOST_TOLD }
    }
}

impl Lan {
    /// Keeps these addresses looked at, so that an attach need not wait.
    pub(crate) fn look_ahead(&self, ahead: Vec<Prefetch>) {
        self.table().ahead = ahead;
        self.shared.waker.wake();
    }

    /// Begins the brief look of [`Lan::take`] at what a request will most likely take in a moment: the addresses that it `asks` for,
    /// or those that come next in a subnet. It has ended when they are taken, and nobody waits for it.
    pub(crate) fn glance(&self, parent: &IfName, subnet: &IpNet, asks: &[IpAddr]) {
        let mut table = self.table();
        let here = |ip: &&IpAddr| subnet.contains(*ip);
        let of_parent = |ahead: &&Prefetch| ahead.parent == *parent && ahead.profile != Profile::Off;
        let all: Vec<(IpAddr, Profile)> = table
            .ahead
            .iter()
            .filter(of_parent)
            .flat_map(|ahead| {
                let next = if asks.is_empty() { ahead.next.as_slice() } else { asks };
                next.iter().filter(here).map(|ip| (*ip, ahead.profile))
            })
            .filter(|(ip, profile)| table.is_clear(&(parent.clone(), *ip), *profile, CLEAR_FOR))
            .collect();
        let until = Instant::now() + GLANCE;
        for (ip, profile) in &all {
            table.glanced.insert((parent.clone(), *ip), until);
            table.begin_once(parent, (*ip, None), *profile, BRIEF_LOOK);
        }
        drop(table);
        if !all.is_empty() {
            self.shared.waker.wake();
        }
    }

    /// Takes addresses for endpoints if all of them are clear, and begins a last look at them, which ends with
    /// [`Lan::are_still_clear`]. Otherwise takes none, and returns the ones to look for first.
    pub(crate) fn take(&self, parent: &IfName, sought: &[Sought], profile: Profile) -> Vec<Sought> {
        let mut table = self.table();
        let is_clear = |ip: IpAddr| table.is_clear(&(parent.clone(), ip), profile, CLEAR_FOR);
        let unclear: Vec<Sought> = sought.iter().copied().filter(|(ip, _)| !is_clear(*ip)).collect();
        if unclear.is_empty() {
            let coming = Coming::new(Instant::now() + WANTED_FOR);
            table.coming.extend(sought.iter().map(|(ip, _)| ((parent.clone(), *ip), coming.clone())));
            for one in sought {
                table.begin_brief(parent, *one, profile);
            }
            // What it has begun is of the past for the next request.
            table.glanced.retain(|(of, _), _| of != parent);
            drop(table);
            self.shared.waker.wake();
        }
        unclear
    }

    /// Whether addresses that were taken are clear after the last look as well. It finds what took an address without a word:
    /// most often that is another container of this host, or a machine at the other end of a cable.
    pub(crate) fn are_still_clear(&self, parent: &IfName, sought: &[Sought], profile: Profile) -> bool {
        let looks = |table: &mut Table| {
            sought.iter().any(|(ip, _)| table.probes.contains_key(&(parent.clone(), *ip)))
        };
        let waited = self.shared.ended.wait_timeout_while(self.table(), LONGEST_LAST, looks);
        let (mut table, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<OnLan> = sought.iter().map(|(ip, _)| (parent.clone(), *ip)).collect();
        if waited.timed_out() {
            // It is looked for whole next, for which nobody else waits.
            for key in &keys {
                table.probes.remove(key);
                table.clear.remove(key);
            }
        }
        keys.iter().all(|key| table.is_clear(key, profile, CLEAR_FOR))
    }

    /// Looks for addresses, and returns once each is either clear or in use: those in use, and the machines that answered. Fails
    /// if the LAN cannot be asked.
    pub(crate) fn probe(
        &self,
        parent: &IfName,
        sought: &[Sought],
        profile: Profile,
    ) -> Result<BTreeMap<IpAddr, Mac>, Unreachable> {
        let began = Instant::now();
        let mut table = self.table();
        for one in sought {
            table.begin(parent, *one, profile);
        }
        let table = self.ended(table, parent, sought, began)?;
        let answered = |(ip, _): &Sought| Some((*ip, table.answered_since(parent, *ip, Some(began))?));
        Ok(sought.iter().filter_map(answered).collect())
    }

    /// Begins to look for an address of which it will be asked in a moment whether it is free.
    pub(crate) fn begin_look(&self, parent: &IfName, sought: Sought, profile: Profile) {
        self.table().begin_last(parent, sought, profile);
        self.shared.waker.wake();
    }

    /// Whether an address is nobody's at this moment. One that has been clear until now takes one probe to tell.
    pub(crate) fn is_free(
        &self,
        parent: &IfName,
        sought: Sought,
        profile: Profile,
    ) -> Result<bool, Unreachable> {
        let began = Instant::now();
        let mut table = self.table();
        table.begin_last(parent, sought, profile);
        let table = self.ended(table, parent, &[sought], began)?;
        Ok(table.is_clear(&(parent.clone(), sought.0), profile, CLEAR_FOR))
    }

    /// Waits until the probes for some addresses have ended.
    fn ended<'a>(
        &'a self,
        table: MutexGuard<'a, Table>,
        parent: &IfName,
        sought: &[Sought],
        began: Instant,
    ) -> Result<MutexGuard<'a, Table>, Unreachable> {
        if !table.parents.contains_key(parent) {
            let why = "it is gone, or has no MAC".to_owned();
            return Err(Unreachable { parent: parent.clone(), why, errno: None });
        }
        self.shared.waker.wake();
        let looks = |table: &mut Table| {
            sought.iter().any(|(ip, _)| table.probes.contains_key(&(parent.clone(), *ip)))
        };
        let waited = self.shared.ended.wait_timeout_while(table, LONGEST, looks);
        let (mut table, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            table.probes.retain(|(by, ip), _| by != parent || !sought.iter().any(|(wanted, _)| wanted == ip));
            let why = format!("no look for an address has ended within {} s", LONGEST.as_secs());
            return Err(Unreachable { parent: parent.clone(), why, errno: None });
        }
        let unheard = |(ip, _): &Sought| {
            let ended = table.unheard.get(&(parent.clone(), *ip));
            ended.is_some_and(|ended| *ended >= began) && !table.is_settled(parent, *ip, began)
        };
        if sought.iter().any(unheard) {
            let why = "more is being said there than can be heard, an answer perhaps among it".to_owned();
            return Err(Unreachable { parent: parent.clone(), why, errno: None });
        }
        match table.unreachable.get(parent) {
            Some((unreachable, _)) if !sought.iter().all(|(ip, _)| table.is_settled(parent, *ip, began)) => {
                Err(unreachable.clone())
            }
            _ => Ok(table),
        }
    }
}

impl Table {
    /// The groups in which others ask for addresses that are looked for by a parent, or are to be used without another whole look.
    pub(super) fn asking_groups(&self, parent: &IfName) -> BTreeSet<Mac> {
        let keys = self.probes.keys().chain(self.clear.keys()).chain(self.coming.keys());
        let ips = keys.filter(|(on, _)| on == parent).map(|(_, ip)| *ip);
        ips.filter_map(asking_group).collect()
    }

    /// Whether a look for an address that began at some time has a result.
    fn is_settled(&self, parent: &IfName, ip: IpAddr, began: Instant) -> bool {
        self.clear.contains_key(&(parent.clone(), ip))
            || self.answered_since(parent, ip, Some(began)).is_some()
    }

    fn is_clear(&self, key: &OnLan, profile: Profile, age: Duration) -> bool {
        self.clear.get(key).is_some_and(|clearance| {
            clearance.by.is_none_or(|by| by == profile) && clearance.since.elapsed() < age
        })
    }

    fn begin(&mut self, parent: &IfName, (ip, of): Sought, profile: Profile) {
        let Some(ear) = self.parents.get(parent) else { return };
        let (mac, now) = (ear.mac, Instant::now());
        if let Some(of) = of {
            self.own.comes(ip, of, now);
        }
        let (key, probe) = ((parent.clone(), ip), || Probe::new(ip, mac, profile, now, random()));
        self.clear.remove(&key);
        self.probes.entry(key).or_insert_with(probe);
    }

    /// The same where it may have been clear until now, and then a last look does: not if who wants the whole one has not had it.
    fn begin_last(&mut self, parent: &IfName, sought: Sought, profile: Profile) {
        let key = (parent.clone(), sought.0);
        let clearance = self.clear.get(&key).filter(|_| self.is_clear(&key, profile, CLEAR_FOR));
        let Some(clearance) =
            clearance.filter(|clearance| profile != Profile::Full || clearance.by.is_some())
        else {
            return self.begin(parent, sought, profile);
        };
        if clearance.asked.is_none_or(|asked| asked.elapsed() >= ASKED_LATELY) {
            self.begin_once(parent, sought, profile, LAST_LOOK);
        }
    }

    /// Begins the briefest look, if a glance has not done so.
    fn begin_brief(&mut self, parent: &IfName, (ip, of): Sought, profile: Profile) {
        let now = Instant::now();
        if self.glanced.get(&(parent.clone(), ip)).is_none_or(|until| *until <= now) {
            return self.begin_once(parent, (ip, of), profile, BRIEF_LOOK);
        }
        if let Some(of) = of {
            self.own.comes(ip, of, now);
        }
    }

    /// Begins to look with one probe.
    fn begin_once(&mut self, parent: &IfName, (ip, of): Sought, profile: Profile, after: Duration) {
        let Some(ear) = self.parents.get(parent) else { return };
        let (mac, now) = (ear.mac, Instant::now());
        if let Some(of) = of {
            self.own.comes(ip, of, now);
        }
        let probe = || Probe::last(ip, mac, profile, now, after);
        self.probes.entry((parent.clone(), ip)).or_insert_with(probe);
    }

    /// Begins to look at the next candidates whose clearance is missing or old.
    pub(super) fn begin_ahead(&mut self) {
        let now = Instant::now();
        let due: Vec<(IfName, IpAddr, Profile)> = self
            .ahead
            .iter()
            .filter(|ahead| ahead.profile != Profile::Off)
            .flat_map(|ahead| ahead.ips.iter().map(|ip| (ahead.parent.clone(), *ip, ahead.profile)))
            .filter(|(parent, ip, profile)| {
                let key = (parent.clone(), *ip);
                self.unreachable.get(parent).is_none_or(|(_, since)| since.elapsed() >= UNREACHABLE_FOR)
                    && self.unheard.get(&key).is_none_or(|ended| ended.elapsed() >= UNREACHABLE_FOR)
                    && !self.is_clear(&key, *profile, LOOK_AGAIN)
                    && !self.probes.contains_key(&key)
                    && self.hearsay.get(parent).is_none_or(|there| there.may_be_asked(*ip, LOOK_AGAIN, now))
                    // It has come into use, and what will be wanted next has not been said again yet.
                    && !self.defended.contains_key(&key)
            })
            .collect();
        for (parent, ip, profile) in due {
            self.begin(&parent, (ip, None), profile);
        }
    }

    /// Answers a machine that looks for an address which an attach took a moment ago. Until the endpoint's link is up, its kernel
    /// does not answer. The answer is a probe, since that is a conflict for the other machine (RFC 5227, 2.1.1; RFC 4862, 5.4.3)
    /// and changes no cache.
    pub(super) fn tell_who_looks(&mut self, key: &OnLan, now: Instant, send: &Send) {
        let Some(coming) = self.coming.get_mut(key).filter(|coming| now < coming.until && coming.left > 0)
        else {
            return;
        };
        let (parent, ip) = key;
        let Some(ear) = self.parents.get(parent) else { return };
        coming.left -= 1;
        let told = self.send_queue.get_mut().send(parent, &probe_frame(ear.mac, *ip), now, send);
        said_or_waits(&mut self.unreachable, parent, told);
    }

    /// Some of what was said by a parent could not be heard, an answer perhaps among it: looks that have asked begin anew, and those
    /// for which that has happened too often come to nothing. Tells whether there were any of these.
    pub(super) fn missed(&mut self, parent: &IfName, now: Instant) -> bool {
        let Table { probes, clear, unheard, .. } = self;
        let before = probes.len();
        probes.retain(|key, probe| {
            let goes_on = key.0 != *parent || probe.missed(now);
            if !goes_on {
                tracing::warn!(ip = %key.1, %parent, "more is said there than can be heard, so nobody knows whether it is in use");
                clear.remove(key);
                unheard.insert(key.clone(), now);
            }
            goes_on
        });
        probes.len() < before
    }

    /// Looks further where it is time to. Answers when it will be next, and whether a look ended.
    pub(super) fn look(&mut self, now: Instant, send: &Send) -> (Instant, bool) {
        let (mut next, mut ended) = (now + LOOK_AGAIN, false);
        let (unreachable, send_queue) = (&mut self.unreachable, self.send_queue.get_mut());
        let mut probes = std::mem::take(&mut self.probes);
        let join = |send_queue: &mut SendQueue, key: &OnLan, probe: &Probe| {
            // Whoever has a last look is in the group.
            let join = joining_frame(probe.own(), key.1).filter(|_| probe.has_begun() && !probe.is_last());
            if let Some(join) = join {
                // Without it a switch may keep others' questions from this host, which the look itself need not know.
                let _ = send_queue.send_now(&key.0, &join, now, send);
            }
        };
        probes.retain(|key, probe| {
            loop {
                let action = probe.poll(now);
                if matches!(action, Action::Send(_)) {
                    join(send_queue, key, probe);
                }
                match action {
                    Action::Send(frame) => match send_queue.send_now(&key.0, &frame, now, send) {
                        Ok(()) => {
                            said(unreachable, &key.0, Ok(()));
                        }
                        // An attach waits for it, and the address is clear.
                        Err(Unsent::Full(_)) if probe.is_brief() => break,
                        // Its time runs from when it is asked.
                        Err(Unsent::Full(again)) => {
                            probe.unsent(again);
                            next = next.min(again);
                            return true;
                        }
                        // What nobody was asked, nobody has answered: it is neither clear nor another's.
                        Err(Unsent::Failed(error)) => {
                            said(unreachable, &key.0, Err(error));
                            self.clear.remove(key);
                            break;
                        }
                    },
                    Action::Wait(until) => {
                        next = next.min(until);
                        return true;
                    }
                    // An answer may wait to be heard.
                    Action::Clear if self.behind.contains(&key.0) => {
                        next = now;
                        return true;
                    }
                    Action::Clear if probe.is_last() => {
                        if let Some(clearance) = self.clear.get_mut(key) {
                            clearance.asked = Some(now);
                        }
                        break;
                    }
                    Action::Clear => {
                        if let Some(there) = self.hearsay.get_mut(&key.0) {
                            there.refute(key.1);
                        }
                        let by = Some(probe.profile());
                        self.clear.insert(key.clone(), Clearance { since: now, by, asked: Some(now) });
                        break;
                    }
                    Action::Conflict(mac) => {
                        tracing::warn!(ip = %key.1, %mac, parent = %key.0, "in use on the LAN, so not handed out");
                        self.hearsay.entry(key.0.clone()).or_default().confirm(key.1, mac, now);
                        break;
                    }
                }
            }
            ended = true;
            false
        });
        self.probes = probes;
        (next, ended)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::io;

    use ashore_wire::{Mac, heard};

    use super::super::Tap;
    use super::*;

    fn eth0() -> IfName {
        "eth0".parse().unwrap()
    }

    fn full() -> io::Error {
        io::Error::from_raw_os_error(nix::libc::ENOBUFS)
    }

    /// Looks for so many addresses by a sender, to the end.
    fn look_for(count: u8, send: &Send) -> Table {
        let ear = Tap { parent: 2, mac: Mac([2, 0, 0, 0, 0, 1]), shim: None };
        let mut table = Table { parents: BTreeMap::from([(eth0(), ear)]), ..Table::default() };
        for last in 1..=count {
            table.begin(&eth0(), (IpAddr::from([192, 168, 88, last]), None), Profile::Quick);
        }
        while !table.probes.is_empty() {
            let (next, _) = table.turn(send);
            std::thread::sleep(next.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
        }
        table
    }

    #[test]
    fn a_probe_for_which_there_is_no_room_is_sent_a_little_later() {
        // Two frames find room, and two others some milliseconds later.
        let (room, emptied) = (Cell::new(2_u8), Cell::new(Instant::now()));
        let asked: RefCell<BTreeMap<IpAddr, Vec<Instant>>> = RefCell::default();
        let table = look_for(50, &|_, frame| {
            if emptied.get().elapsed() >= Duration::from_millis(2) {
                room.set(2);
                emptied.set(Instant::now());
            }
            room.set(room.get().checked_sub(1).ok_or_else(full)?);
            asked.borrow_mut().entry(heard(frame).unwrap().ip).or_default().push(Instant::now());
            Ok(())
        });
        assert!(table.unreachable.is_empty());
        assert_eq!(asked.borrow().len(), 50);
        for (ip, probes) in asked.borrow().iter() {
            assert_eq!(probes.len(), 3);
            let clearance = table.clear[&(eth0(), *ip)];
            assert!(clearance.since - probes[0] >= Duration::from_millis(50 + 50 + 70), "as long as always");
        }
    }

    #[test]
    fn where_there_is_never_room_nobody_was_asked() {
        let table = look_for(3, &|_, _| Err(full()));
        assert!(table.clear.is_empty());
        assert_eq!(table.unreachable[&eth0()].0.errno, Some(nix::libc::ENOBUFS));
    }

    #[test]
    fn what_was_clear_is_so_no_more_if_the_lan_cannot_be_asked_at_last() {
        let mut table = look_for(1, &|_, _| Ok(()));
        let ip = IpAddr::from([192, 168, 88, 1]);
        let key = (eth0(), ip);
        table.clear.get_mut(&key).unwrap().asked = None;
        table.begin_last(&eth0(), (ip, None), Profile::Quick);
        assert!(table.probes[&key].is_last());
        table.turn(&|_, _| Err(io::ErrorKind::NetworkDown.into()));
        assert!(!table.is_settled(&eth0(), ip, Instant::now()) && table.unreachable.contains_key(&eth0()));
    }

    #[test]
    fn a_look_for_which_there_is_hardly_time_is_left_out_where_there_is_no_room() {
        type Error = fn() -> io::Error;
        let (sought, down) = ((IpAddr::from([192, 168, 88, 1]), None), || io::ErrorKind::NetworkDown.into());
        let cases = [(None, true), (Some(full as Error), true), (Some(down as Error), false)];
        for (error, is_clear) in cases {
            let mut table = look_for(1, &|_, _| Ok(()));
            table.begin_once(&eth0(), sought, Profile::Quick, BRIEF_LOOK);
            while !table.probes.is_empty() {
                table.turn(&|_, _| error.map_or(Ok(()), |error| Err(error())));
            }
            assert_eq!(table.is_clear(&(eth0(), sought.0), Profile::Quick, CLEAR_FOR), is_clear, "{error:?}");
        }
    }

    #[test]
    fn where_not_all_could_be_heard_nobody_is_known_to_have_it_or_not() {
        let (ip, began) = (IpAddr::from([192, 168, 88, 1]), Instant::now());
        let (key, sent) = ((eth0(), ip), Cell::new(0));
        let mut table = look_for(0, &|_, _| Ok(()));
        let say = |_: &IfName, _: &[u8]| {
            sent.set(sent.get() + 1);
            Ok(())
        };
        table.begin(&eth0(), (ip, None), Profile::Quick);
        table.missed(&eth0(), Instant::now());
        table.missed(&"eth1".parse().unwrap(), Instant::now());
        while table.probes.contains_key(&key) {
            table.turn(&say);
            table.missed(&eth0(), Instant::now());
        }
        assert!(sent.get() >= 3, "it was tried more than once");
        assert!(!table.is_settled(&eth0(), ip, began) && table.unheard[&key] >= began);

        // An answer may wait to be heard.
        table.begin(&eth0(), (ip, None), Profile::Quick);
        table.behind.insert(eth0());
        let end = Instant::now() + Duration::from_millis(400);
        while Instant::now() < end {
            table.turn(&say);
        }
        assert!(table.probes.contains_key(&key));
        table.behind.clear();
        table.turn(&say);
        assert!(table.is_settled(&eth0(), ip, began));

        // What was clear is so no more.
        table.clear.get_mut(&key).unwrap().asked = None;
        table.begin_once(&eth0(), (ip, None), Profile::Quick, BRIEF_LOOK);
        while table.probes.contains_key(&key) {
            table.turn(&say);
            table.missed(&eth0(), Instant::now());
        }
        assert!(!table.is_settled(&eth0(), ip, began));
    }

    #[test]
    fn who_wants_the_whole_look_has_it_where_nobody_has_looked() {
        let mut table = look_for(0, &|_, _| Ok(()));
        let ip = IpAddr::from([192, 168, 88, 1]);
        let key = (eth0(), ip);
        for (profile, is_last) in [(Profile::Quick, true), (Profile::Full, false)] {
            table.probes.clear();
            // As an endpoint leaves it.
            table.clear.insert(key.clone(), Clearance { since: Instant::now(), by: None, asked: None });
            table.begin_last(&eth0(), (ip, None), profile);
            assert_eq!(table.probes[&key].is_last(), is_last);
        }
    }
}
