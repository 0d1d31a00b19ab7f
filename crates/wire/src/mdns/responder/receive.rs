//! What is heard: questions, and what other hosts say of names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::Boottime;

use super::super::PORT;
use super::super::asked::{Asked, Known, Peer};
use super::super::claim::{Claim, Phase};
use super::super::message::{Message, Said};
use super::super::name::Name;
use super::super::record::Record;
use super::{AFTER_CONFLICTS, CONFLICTS_WITHIN, DEFER, Datagram, MOST_CONFLICTS, Responder};

/// How long the rest of known answers is waited for (RFC 6762, 7.2).
const REST: [Duration; 2] = [Duration::from_millis(400), Duration::from_millis(500)];

/// Whether an address is of this link (RFC 6762, 11).
fn is_on_link(ip: IpAddr, prefixes: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    link_local || prefixes.iter().any(|prefix| prefix.contains(&ip))
}

impl Responder {
    /// Processes what was received at port 5353. What is not a message, or not of this link, changes nothing.
    pub fn receive(&mut self, datagram: &Datagram<'_>, now: Boottime) {
        let on_link = is_on_link(datagram.from.ip(), datagram.prefixes);
        if !self.channels.contains(datagram.channel) || !datagram.to_group && !on_link {
            return;
        }
        let Some(message) = Message::read(datagram.payload) else { return };
        while self.remembered.front().is_some_and(|(_, until)| *until <= now) {
            self.remembered.pop_front();
        }
        // A response from another port is none. Nor is a unicast one, because no query from here asks for it (RFC 6762, 6): a
        // host elsewhere may send it with a forged source. So may it a probe.
        let believed = datagram.to_group && datagram.from.port() == PORT;
        if message.response {
            if believed {
                self.told(&message, datagram, now);
            }
            return;
        }
        if believed {
            self.meet(&message, datagram.from.ip(), now);
        }
        self.asked(&message, datagram, on_link, now);
    }

    fn asked(&mut self, message: &Message, datagram: &Datagram<'_>, on_link: bool, now: Boottime) {
        let (channel, from) = (datagram.channel, datagram.from);
        if from.port() != PORT {
            if on_link {
                self.answer_legacy(message, channel, from, now);
            }
            return;
        }
        let peer = Peer { channel, from, on_link };
        let wait = message.truncated.then(|| self.random.between(REST[0], REST[1]));
        if message.questions.is_empty() {
            return self.collected.go_on(peer, &message.answers, wait, now);
        }
        let mut known = Known::default();
        known.add(&message.answers);
        let mut questions = message.questions.clone();
        for question in &mut questions {
            // What is asked of this host alone is answered to who asks alone (RFC 6762, 5.5).
            question.unicast |= !datagram.to_group;
        }
        let asked = Asked::new(peer, questions, known, wait.unwrap_or_default(), now);
        let ready = if wait.is_some() { self.collected.begin(asked) } else { Some(asked) };
        if let Some(asked) = ready {
            let probed = message.authorities.iter().map(|said| &said.record.name).collect();
            self.answer(&asked, wait.is_some(), &probed, now);
        }
    }

    /// Meets another host that probes for a name at the same time (RFC 6762, 8.2).
    fn meet(&mut self, message: &Message, from: IpAddr, now: Boottime) {
        let mut met: BTreeMap<String, BTreeMap<&Name, Vec<&Record>>> = BTreeMap::new();
        for Said { record, .. } in &message.authorities {
            if let Some(key) = self.owners.get(&record.name) {
                met.entry(key.clone()).or_default().entry(&record.name).or_default().push(record);
            }
        }
        for (key, mut names) in met {
            let Some(claim) = self.claims.get(&key) else { continue };
            let Phase::Probing { held: false, .. } = claim.phase else { continue };
            // Part of one's own records is what a reflector makes of one's own probe.
            names.retain(|name, theirs| {
                let own = theirs.iter().all(|record| self.is_own(claim, record));
                !own && !claim.is_own(from, name, message.records())
            });
            // Where the host's name is in question, it alone decides. Two hosts of which each loses one of their names
            // would both wait.
            let host = claim.host();
            let decides = |name: &Name| *name == host || !names.contains_key(&host);
            let mut contested = names.iter().filter(|(name, _)| decides(name));
            if contested.any(|(name, theirs)| claim.loses_to(name, theirs)) {
                self.retreat(&key, from, Some(DEFER), now);
            }
        }
    }

    fn is_own(&self, claim: &Claim, record: &Record) -> bool {
        claim.agrees(record) || self.remembered.iter().any(|(there, _)| there == record)
    }

    /// Hears what another host says of names.
    fn told(&mut self, message: &Message, datagram: &Datagram<'_>, now: Boottime) {
        let from = datagram.from.ip();
        let mut contested = BTreeSet::new();
        for said in message.records() {
            self.zone.hear(&said.record, said.ttl, datagram.channel, now);
            // A goodbye leaves the name to others.
            let Some(key) = self.owners.get(&said.record.name).filter(|_| said.ttl > 0) else { continue };
            let Some(claim) = self.claims.get(key).filter(|claim| claim.has_asked()) else { continue };
            if claim.is_contested_by(&said.record) && !self.is_own(claim, &said.record) {
                contested.insert((key.clone(), said.record.name.clone()));
            }
        }
        let foreign = |(key, name): &(String, Name)| {
            self.claims.get(key).is_some_and(|claim| !claim.is_own(from, name, message.records()))
        };
        let keys: BTreeSet<String> = contested.into_iter().filter(foreign).map(|(key, _)| key).collect();
        for key in keys {
            self.retreat(&key, from, None, now);
        }
    }

    /// Another host has a name (RFC 6762, 9), or wins it and so defers this one (8.2). Which of both keeps a published name,
    /// is found by probing; a name that is being probed for is lost to a host that has it. After too many conflicts a name
    /// goes back to the wanted label and waits longer and longer: a host that contests every label must not change what
    /// users type, nor have this one probe without end.
    fn retreat(&mut self, key: &str, by: IpAddr, deferred: Option<Duration>, now: Boottime) {
        let pause = self.pause(now);
        let Some(claim) = self.claims.get_mut(key) else { return };
        let (label, wanted, announced) =
            (claim.label.clone(), claim.wanted.label.clone(), claim.is_announced());
        let next = claim.next_label();
        let tired = claim.count_conflict(now);
        self.note(key, label.clone(), Some(by), now);
        // Without a goodbye: it would be said of what the other host has under the same names.
        self.withdraw(key, now);
        if tired.is_some() {
            self.relabel(key, wanted);
        } else if !announced && deferred.is_none() {
            self.relabel(key, next);
        }
        let wait = [pause, deferred, tired].into_iter().flatten().max();
        self.begin(key, wait.unwrap_or_default(), wait.is_some(), now);
    }

    /// Counts a conflict of any name. Returns how long the next attempt must wait if there were too many (RFC 6762, 8.1).
    fn pause(&mut self, now: Boottime) -> Option<Duration> {
        self.conflicts.push_back(now);
        while self.conflicts.len() > MOST_CONFLICTS
            || self.conflicts.front().is_some_and(|first| now - *first > CONFLICTS_WITHIN)
        {
            self.conflicts.pop_front();
        }
        (self.conflicts.len() == MOST_CONFLICTS).then_some(AFTER_CONFLICTS)
    }
}
