//! Probing addresses before they are used: on request, and ahead of need.

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
use crate::unlocked::Unlocked;

/// How long an address stays clear after a probe, with listening ever since, so that it can be used without
/// another.
pub(super) const CLEAR_FOR: Duration = Duration::from_secs(120);
/// No probe takes longer. With the timing of the RFC one takes seven seconds, and one second more if there is
/// no room for its frames.
const LONGEST: Duration = Duration::from_secs(30);
/// The same for a last look, which other requests wait for. It takes a millisecond, unless an attacker delays
/// it.
const LONGEST_LAST: Duration = Duration::from_millis(200);
/// An address that was probed this recently needs no last look.
const ASKED_LATELY: Duration = Duration::from_secs(1);
/// How long a glance counts. An engine's list of containers usually takes less.
const GLANCE: Duration = Duration::from_millis(30);
/// An address that is probed ahead is probed again when its clearance is this old.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How many probes of other machines are answered for an address that was taken a moment ago. Without a
/// limit, two hosts that both took it would answer each other for ever.
pub(super) const MOST_TOLD: u32 = 8;

/// An address to probe for, and the MAC of the endpoint that is to have it, if the endpoint has its own MAC.
pub(crate) type Sought = (IpAddr, Option<Mac>);

/// Addresses that are likely to be needed next on a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefetch {
    pub(crate) parent: IfName,
    pub(crate) profile: Profile,
    pub(crate) ips: Vec<IpAddr>,
    /// Those of them that the very next request will most likely get.
    pub(crate) next: Vec<IpAddr>,
}

/// Why an address is considered free.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clearance {
    pub(super) since: Instant,
    /// The profile of the probe that found it clear, or `None` if an endpoint had it until then.
    pub(super) by: Option<Profile>,
    /// When the last probe for it was sent.
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
    /// Sets the addresses that are kept probed, so that an attach need not wait.
    pub(crate) fn prefetch(&self, prefetch: Vec<Prefetch>) {
        self.table().prefetch = prefetch;
        self.shared.waker.wake();
    }

    /// Begins the brief look of [`Lan::take`] ahead of a request, for the addresses that it `asks` for, or
    /// else for those that come next in a subnet. The look has ended by the time the addresses are taken, so
    /// the request does not wait for it.
    pub(crate) fn glance(&self, parent: &IfName, subnet: &IpNet, asks: &[IpAddr]) {
        let mut table = self.table();
        let here = |ip: &&IpAddr| subnet.contains(*ip);
        let of_parent = |prefetch: &&Prefetch| prefetch.parent == *parent && prefetch.profile != Profile::Off;
        let all: Vec<(IpAddr, Profile)> = table
            .prefetch
            .iter()
            .filter(of_parent)
            .flat_map(|prefetch| {
                let next = if asks.is_empty() { prefetch.next.as_slice() } else { asks };
                next.iter().filter(here).map(|ip| (*ip, prefetch.profile))
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

    /// Takes addresses for endpoints if all of them are clear, and begins a last look at them, whose result
    /// [`Lan::are_still_clear`] returns. Otherwise takes none, and returns the addresses that must be probed
    /// first.
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
            // The glance does not count for the request after this one.
            table.glanced.retain(|(of, _), _| of != parent);
            drop(table);
            self.shared.waker.wake();
        }
        unclear
    }

    /// Waits for the last look at addresses that were taken, and returns whether they are still clear. The
    /// look finds a machine that took an address silently, usually another container of this host or a
    /// machine at the other end of a cable.
    pub(crate) fn are_still_clear(&self, parent: &IfName, sought: &[Sought], profile: Profile) -> bool {
        let looks = |table: &mut Table| {
            sought.iter().any(|(ip, _)| table.probes.contains_key(&(parent.clone(), *ip)))
        };
        let waited = self.shared.ended.wait_timeout_while(self.table(), LONGEST_LAST, looks);
        let (mut table, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<OnLan> = sought.iter().map(|(ip, _)| (parent.clone(), *ip)).collect();
        if waited.timed_out() {
            // The address is probed in full next, and no other request waits for that.
            for key in &keys {
                table.probes.remove(key);
                table.clear.remove(key);
            }
        }
        keys.iter().all(|key| table.is_clear(key, profile, CLEAR_FOR))
    }

    /// Probes for addresses, and waits until each is either clear or in use. Returns those in use, with the
    /// machines that answered. Fails if nothing can be sent through the parent.
    pub(crate) fn probe(
        &self,
        _: &Unlocked,
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

    /// Begins a look at an address for which [`Lan::is_free`] will be called in a moment.
    pub(crate) fn begin_look(&self, parent: &IfName, sought: Sought, profile: Profile) {
        self.table().begin_last(parent, sought, profile);
        self.shared.waker.wake();
    }

    /// Whether an address is free now. If it was clear until now, one probe is enough. Returns `None` if the look
    /// had no result.
    pub(crate) fn is_free(
        &self,
        _: &Unlocked,
        parent: &IfName,
        sought: Sought,
        profile: Profile,
    ) -> Result<Option<bool>, Unreachable> {
        let began = Instant::now();
        let mut table = self.table();
        table.begin_last(parent, sought, profile);
        let table = self.ended(table, parent, &[sought], began)?;
        if table.is_clear(&(parent.clone(), sought.0), profile, CLEAR_FOR) {
            return Ok(Some(true));
        }
        Ok(table.answered_since(parent, sought.0, Some(began)).map(|_| false))
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
            let why = "the interface is gone or has no MAC".to_owned();
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
            let why = format!("no probe for an address has ended within {} s", LONGEST.as_secs());
            return Err(Unreachable { parent: parent.clone(), why, errno: None });
        }
        let unheard = |(ip, _): &Sought| {
            let ended = table.unheard.get(&(parent.clone(), *ip));
            ended.is_some_and(|ended| *ended >= began) && !table.is_settled(parent, *ip, began)
        };
        if sought.iter().any(unheard) {
            let why = "frames were lost on reception, and an answer may have been among them".to_owned();
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
    /// The multicast groups in which other machines ask for addresses that are being probed, are clear or
    /// were just taken.
    pub(super) fn asking_groups(&self, parent: &IfName) -> BTreeSet<Mac> {
        let keys = self.probes.keys().chain(self.clear.keys()).chain(self.coming.keys());
        let ips = keys.filter(|(on, _)| on == parent).map(|(_, ip)| *ip);
        ips.filter_map(asking_group).collect()
    }

    /// Whether a probe for an address that began at or after the given time has a result.
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
        let Some(tap) = self.parents.get(parent) else { return };
        let (mac, now) = (tap.mac, Instant::now());
        if let Some(of) = of {
            self.own.comes(ip, of, now);
        }
        let (key, probe) = ((parent.clone(), ip), || Probe::new(ip, mac, profile, now, random()));
        self.clear.remove(&key);
        self.probes.entry(key).or_insert_with(probe);
    }

    /// Begins a last look if the address was clear until now, and otherwise a whole probe. With the full
    /// profile, the address must have been cleared by a probe: an address that an endpoint has just left is
    /// probed in full.
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

    /// Begins a brief look, unless a glance has begun it.
    fn begin_brief(&mut self, parent: &IfName, (ip, of): Sought, profile: Profile) {
        let now = Instant::now();
        if self.glanced.get(&(parent.clone(), ip)).is_none_or(|until| *until <= now) {
            return self.begin_once(parent, (ip, of), profile, BRIEF_LOOK);
        }
        if let Some(of) = of {
            self.own.comes(ip, of, now);
        }
    }

    /// Begins a look of a single probe.
    fn begin_once(&mut self, parent: &IfName, (ip, of): Sought, profile: Profile, after: Duration) {
        let Some(tap) = self.parents.get(parent) else { return };
        let (mac, now) = (tap.mac, Instant::now());
        if let Some(of) = of {
            self.own.comes(ip, of, now);
        }
        let probe = || Probe::last(ip, mac, profile, now, after);
        self.probes.entry((parent.clone(), ip)).or_insert_with(probe);
    }

    /// Begins to probe the next candidates whose clearance is missing or old.
    pub(super) fn begin_ahead(&mut self) {
        let now = Instant::now();
        let due: Vec<(IfName, IpAddr, Profile)> = self
            .prefetch
            .iter()
            .filter(|prefetch| prefetch.profile != Profile::Off)
            .flat_map(|prefetch| {
                prefetch.ips.iter().map(|ip| (prefetch.parent.clone(), *ip, prefetch.profile))
            })
            .filter(|(parent, ip, profile)| {
                let key = (parent.clone(), *ip);
                self.unreachable.get(parent).is_none_or(|(_, since)| since.elapsed() >= UNREACHABLE_FOR)
                    && self.unheard.get(&key).is_none_or(|ended| ended.elapsed() >= UNREACHABLE_FOR)
                    && !self.is_clear(&key, *profile, LOOK_AGAIN)
                    && !self.probes.contains_key(&key)
                    && self.hearsay.get(parent).is_none_or(|there| there.may_be_asked(*ip, LOOK_AGAIN, now))
                    // It has come into use, and the list of candidates has not been updated yet.
                    && !self.defended.contains_key(&key)
            })
            .collect();
        for (parent, ip, profile) in due {
            self.begin(&parent, (ip, None), profile);
        }
    }

    /// Answers a machine that probes for an address which was taken a moment ago. Until the endpoint's link
    /// is up, its kernel does not answer. The answer is a probe: it is a conflict for the other machine (RFC
    /// 5227, 2.1.1; RFC 4862, 5.4.3), and changes no neighbour cache.
    pub(super) fn tell_who_looks(&mut self, key: &OnLan, now: Instant, send: &Send) {
        let Some(coming) = self.coming.get_mut(key).filter(|coming| now < coming.until && coming.left > 0)
        else {
            return;
        };
        let (parent, ip) = key;
        let Some(tap) = self.parents.get(parent) else { return };
        coming.left -= 1;
        let told = self.send_queue.get_mut().send(parent, &probe_frame(tap.mac, *ip), now, send);
        said_or_waits(&mut self.unreachable, parent, told);
    }

    /// Handles lost frames on a parent, which may have included an answer. Probes that have been sent begin
    /// again. Those that were hit too often end without a result. Returns whether there were any of the
    /// latter.
    pub(super) fn missed(&mut self, parent: &IfName, now: Instant) -> bool {
        self.gateways.missed(parent, now);
        let Table { probes, clear, unheard, .. } = self;
        let before = probes.len();
        probes.retain(|key, probe| {
            let goes_on = key.0 != *parent || probe.missed(now);
            if !goes_on {
                tracing::warn!(ip = %key.1, %parent, "frames were lost on reception, so it is unknown whether the address is in use");
                clear.remove(key);
                unheard.insert(key.clone(), now);
            }
            goes_on
        });
        probes.len() < before
    }

    /// Continues the probes that are due. Returns the time of the next action, and whether a probe ended.
    pub(super) fn look(&mut self, now: Instant, send: &Send) -> (Instant, bool) {
        let (mut next, mut ended) = (now + LOOK_AGAIN, false);
        let (unreachable, send_queue) = (&mut self.unreachable, self.send_queue.get_mut());
        let mut probes = std::mem::take(&mut self.probes);
        let join = |send_queue: &mut SendQueue, key: &OnLan, probe: &Probe| {
            // For a last look the host has joined the group already.
            let join = joining_frame(probe.own(), key.1).filter(|_| probe.has_begun() && !probe.is_last());
            if let Some(join) = join {
                // Without it a switch may filter other machines' questions. The probe itself does not depend
                // on that.
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
                        // An attach waits for this look, and the address is clear without it.
                        Err(Unsent::Full(_)) if probe.is_brief() => break,
                        // The probe's time runs from when it is sent.
                        Err(Unsent::Full(again)) => {
                            probe.unsent(again);
                            next = next.min(again);
                            return true;
                        }
                        // A probe that was not sent has no result: the address is neither clear nor in use.
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
                    // An answer may still be unread.
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
                        tracing::warn!(ip = %key.1, %mac, parent = %key.0, "the address is in use on the LAN, so it is not assigned");
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

    /// Probes for `count` addresses to the end, with the given sender.
    fn look_for(count: u8, send: &Send) -> Table {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let tap = Tap { parent: 2, mac, shim: None, own: mac };
        let mut table = Table { parents: BTreeMap::from([(eth0(), tap)]), ..Table::default() };
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
        // There is room for two frames, and for two more some milliseconds later.
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

        // An answer may still be unread.
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

        // An address that was clear is not clear any more.
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
