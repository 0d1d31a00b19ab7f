//! The responder: which names there are, and what each of them does next.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::Boottime;
use crate::random::Random;

use super::asked::Collected;
use super::channel::{Channel, Channels};
use super::claim::{Claim, Conflict, Phase, State, Wanted, unique_names};
use super::label::Label;
use super::name::Name;
use super::record::Record;
use super::service::Service;
use super::zone::Zone;

mod answer;
mod receive;
mod say;

use answer::{Allowance, Reply};

/// The longest wait before the first probe, and the pause between two (RFC 6762, 8.1).
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// The pause between two announcements (RFC 6762, 8.3).
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1);
/// The number of announcements (RFC 6762, 8.3).
const ANNOUNCEMENTS: u8 = 2;
/// How long a name that has lost a simultaneous probe waits (RFC 6762, 8.2).
const DEFER: Duration = Duration::from_secs(1);
/// So many conflicts within that time make each further attempt wait (RFC 6762, 8.1).
const MOST_CONFLICTS: usize = 15;
const CONFLICTS_WITHIN: Duration = Duration::from_secs(10);
const AFTER_CONFLICTS: Duration = Duration::from_secs(5);
/// How long a record that is no longer published is still known as one's own. So long may a packet be under way through a
/// reflector.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How many such records are remembered.
const MOST_REMEMBERED: usize = 1024;
/// The most packets that wait for the caller. It polls after each message, so more are a storm of queries.
const MOST_PACKETS: usize = 256;

/// A datagram of UDP that was received at port 5353.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Where it was received.
    pub channel: Channel,
    /// Who sent it.
    pub from: SocketAddr,
    /// Whether it was sent to the group. Only then is it always of this link (RFC 6762, 11), and may it speak against a name.
    pub to_group: bool,
    /// The prefixes of the link. Link-local addresses need not be among them.
    pub prefixes: &'a [IpNet],
    /// Its content.
    pub payload: &'a [u8],
}

/// A message to be sent from port 5353, with 255 as its hop limit (RFC 6762, 11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The channels on which it is sent.
    pub channels: Channels,
    /// To whom; `None` is the group.
    pub to: Option<SocketAddr>,
    /// The message.
    pub payload: Vec<u8>,
}

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this, and poll again. What cannot be sent is treated as lost.
    Send(Packet),
    /// A name is announced with another label than the caller knows: remember it as [`Wanted::last`].
    Renamed {
        /// The caller's word for the name.
        key: String,
        /// The label that the caller knows.
        from: Label,
        /// The label from now on. It may be the wanted one again.
        to: Label,
        /// Who had the last conflict about it. `None` if it is another name of this responder, or the host's own.
        by: Option<IpAddr>,
    },
    /// Do nothing until this moment, or without limit if `None`, unless something is heard.
    Wait(Option<Boottime>),
}

/// A name, as it is listed.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// The caller's word for the name.
    pub key: &'a str,
    /// The label that the caller wanted.
    pub wanted: &'a Label,
    /// The label that it has.
    pub label: &'a Label,
    /// The published addresses.
    pub addresses: &'a [IpAddr],
    /// The published services.
    pub services: &'a [Service],
    /// How far it has come.
    pub state: State,
    /// Since when.
    pub since: Boottime,
    /// The last conflict that it had.
    pub conflict: Option<&'a Conflict>,
}

/// A responder for one LAN. The caller carries out what [`Responder::poll`] returns until that is [`Action::Wait`], passes
/// in what it receives, and polls again. The times that are passed in must never go back.
#[derive(Debug, Clone)]
pub struct Responder {
    channels: Channels,
    random: Random,
    /// Labels that are never published: the host's own.
    forbidden: Vec<Label>,
    claims: BTreeMap<String, Claim>,
    /// Which claim has a unique name.
    owners: BTreeMap<Name, String>,
    zone: Zone,
    /// Records that were published until a moment ago.
    remembered: VecDeque<(Record, Boottime)>,
    /// When the last conflicts of all names were.
    conflicts: VecDeque<Boottime>,
    collected: Collected,
    /// Unicast answers that wait.
    replies: Vec<Reply>,
    /// How many unicast answers there may be now.
    allowance: Allowance,
    /// What the caller has still to do.
    out: VecDeque<Action>,
}

impl Responder {
    /// A responder without names. `random` is any number; it spreads what hosts that start together say.
    pub fn new(channels: Channels, random: u64) -> Self {
        Responder {
            channels,
            random: Random(random),
            forbidden: Vec::new(),
            claims: BTreeMap::new(),
            owners: BTreeMap::new(),
            zone: Zone::default(),
            remembered: VecDeque::new(),
            conflicts: VecDeque::new(),
            collected: Collected::default(),
            replies: Vec::new(),
            allowance: Allowance::default(),
            out: VecDeque::new(),
        }
    }

    /// Publishes a name, or changes what is published of it. `key` is the caller's word for it. A name that was renamed
    /// keeps its new label for as long as the same label is wanted.
    pub fn publish(&mut self, key: &str, wanted: Wanted, now: Boottime) {
        let mut wanted = wanted.bounded();
        let last = wanted.last.take();
        if let Some(claim) = self.claims.get(key) {
            if claim.wanted.label == wanted.label || claim.label == wanted.label {
                return self.amend(key, wanted, now);
            }
            self.remove(key, now);
        }
        let from = last.unwrap_or_else(|| wanted.label.clone());
        let label = self.free(&wanted, from.clone());
        let claim = Claim::new(wanted, from.clone(), label.clone(), now);
        self.own(key, &claim);
        self.claims.insert(key.to_owned(), claim);
        if from != label {
            self.note(key, from, None, now);
        }
        self.begin(key, Duration::ZERO, false, now);
    }

    /// Publishes other addresses or services under the label that there is. That is announced at once; only names of new
    /// services must be probed for (RFC 6762, 8.4).
    fn amend(&mut self, key: &str, wanted: Wanted, now: Boottime) {
        if self.claims.get(key).is_some_and(|claim| claim.wanted == wanted) {
            return;
        }
        let Some(mut claim) = self.claims.remove(key) else { return };
        self.disown(key, &claim);
        let (published, names) = (claim.is_announced(), claim.names());
        let old: Vec<Record> = claim.records().iter().map(|owned| owned.record.clone()).collect();
        let label = self.free(&wanted, claim.label.clone());
        if claim.wanted.label != wanted.label {
            claim.reported = wanted.label.clone();
        }
        claim.change(wanted, label);
        self.own(key, &claim);
        let probed = claim.names().iter().all(|name| names.contains(name));
        let began = claim.phase;
        if claim.wanted.addresses.is_empty() {
            claim.enter(Phase::Waiting, now);
        } else if let Phase::Announced { next, .. } = began
            && probed
        {
            claim.enter(Phase::Announced { left: ANNOUNCEMENTS, next: next.max(now) }, now);
        }
        // What stays is added before it is taken away, and so keeps when it was sent last.
        if published && probed {
            claim.records().iter().for_each(|owned| self.zone.add(owned));
        }
        let parting: Vec<Record> = old.iter().filter(|record| !claim.agrees(record)).cloned().collect();
        let begins = claim.phase == Phase::Waiting || !probed;
        self.claims.insert(key.to_owned(), claim);
        if published {
            let gone = self.release(old, now);
            self.part(gone.into_iter().filter(|record| parting.contains(record)).collect());
        } else {
            self.remember(&parting, now);
        }
        if begins {
            self.begin(key, Duration::ZERO, false, now);
        }
    }

    /// Removes a name, and says goodbye if it was published. An unknown name changes nothing.
    pub fn remove(&mut self, key: &str, now: Boottime) {
        let Some(claim) = self.claims.remove(key) else { return };
        self.disown(key, &claim);
        if claim.is_announced() {
            let gone = self.release(claim.into_records(), now);
            self.part(gone);
        }
    }

    /// Removes all names. The caller goes on polling for the goodbyes.
    pub fn stop(&mut self, now: Boottime) {
        let claims = std::mem::take(&mut self.claims);
        let published = claims.into_values().filter(Claim::is_announced);
        let records: Vec<Record> = published.flat_map(Claim::into_records).collect();
        let gone = self.release(records, now);
        self.part(gone);
        self.owners.clear();
        self.replies.clear();
        self.collected = Collected::default();
    }

    /// Says which names are the host's own, instead of those said before. What follows a dot does not count: `nas` and
    /// `nas.home.arpa` are `nas.local`. A name of this responder that is among them gets another label, without a goodbye:
    /// that would be said of the host.
    pub fn forbid<'a>(&mut self, names: impl IntoIterator<Item = &'a str>, now: Boottime) {
        let first = |name: &str| name.split('.').next().unwrap_or_default().parse().ok();
        self.forbidden = names.into_iter().filter_map(first).collect();
        let forbidden = |claim: &Claim| self.forbidden.contains(&claim.label);
        let keys: Vec<String> =
            self.claims.iter().filter(|(_, claim)| forbidden(claim)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.withdraw(&key, now);
            let from = self.claims[&key].label.clone();
            self.note(&key, from.clone(), None, now);
            self.relabel(&key, from.next());
            self.begin(&key, Duration::ZERO, false, now);
        }
    }

    /// Says on which channels it speaks from now on. On new ones all that is published is announced. Without any, nothing
    /// goes on.
    pub fn set_channels(&mut self, channels: Channels, now: Boottime) {
        let more = channels.iter().any(|channel| !self.channels.contains(channel));
        self.channels = channels;
        self.zone.keep(channels);
        self.collected.keep(channels);
        self.replies.retain(|reply| channels.contains(reply.channel));
        for claim in self.claims.values_mut().filter(|_| more) {
            if let Phase::Announced { next, .. } = claim.phase {
                claim.phase = Phase::Announced { left: ANNOUNCEMENTS, next: next.max(now) };
            }
        }
    }

    /// Reports that the link has a carrier again, or that the machine has slept: it may be another LAN, and all names are
    /// probed for (RFC 6762, 8). A name that has had too many conflicts need wait no longer, and one with another label than
    /// the wanted one tries that again in an hour.
    pub fn link_up(&mut self, now: Boottime) {
        let keys: Vec<String> = self.claims.keys().cloned().collect();
        for key in keys {
            self.withdraw(&key, now);
            if let Some(claim) = self.claims.get_mut(&key) {
                claim.forget_conflicts();
            }
            self.begin(&key, Duration::ZERO, false, now);
        }
    }

    /// All names, in the order of their keys.
    pub fn names(&self) -> impl Iterator<Item = Listed<'_>> {
        self.claims.iter().map(|(key, claim)| Listed {
            key,
            wanted: &claim.wanted.label,
            label: &claim.label,
            addresses: &claim.wanted.addresses,
            services: &claim.wanted.services,
            state: claim.state(),
            since: claim.since,
            conflict: claim.conflict.as_ref(),
        })
    }

    /// Returns what to do at time `now`.
    pub fn poll(&mut self, now: Boottime) -> Action {
        if self.out.is_empty() && !self.channels.is_empty() {
            self.advance(now);
        }
        self.out.pop_front().unwrap_or_else(|| Action::Wait(self.next()))
    }

    /// When something is to be done next.
    fn next(&self) -> Option<Boottime> {
        if self.channels.is_empty() {
            return None;
        }
        let of_claim = |claim: &Claim| match claim.phase {
            Phase::Probing { next, .. } | Phase::Announced { left: 1.., next } => Some(next),
            Phase::Waiting | Phase::Announced { .. } => None,
        };
        let claims = self.claims.values().filter_map(of_claim).min();
        let replies = self.replies.iter().map(|reply| reply.due).min();
        let retries = self.retries().map(|(_, at)| at).min();
        [claims, retries, replies, self.collected.next(), self.zone.next()].into_iter().flatten().min()
    }

    /// The first label from this one on that gives no name which the host or another claim of this responder has.
    fn free(&self, wanted: &Wanted, mut label: Label) -> Label {
        while self.is_taken(wanted, &label) {
            label = label.next();
        }
        label
    }

    /// Whether the host or another claim of this responder has a name that a label gives.
    fn is_taken(&self, wanted: &Wanted, label: &Label) -> bool {
        let owned = unique_names(wanted, label).iter().any(|name| self.owners.contains_key(name));
        owned || self.forbidden.contains(label)
    }

    fn own(&mut self, key: &str, claim: &Claim) {
        for name in claim.names() {
            self.owners.entry(name).or_insert_with(|| key.to_owned());
        }
    }

    fn disown(&mut self, key: &str, claim: &Claim) {
        for name in claim.names() {
            if self.owners.get(&name).is_some_and(|owner| owner == key) {
                self.owners.remove(&name);
            }
        }
    }

    /// Begins to probe for a name after this time and a random one. Names that begin together share their probes.
    fn begin(&mut self, key: &str, after: Duration, held: bool, now: Boottime) {
        let about_to = |claim: &Claim| match claim.phase {
            Phase::Probing { sent: 0, next, held: false } => Some(next).filter(|next| *next > now),
            _ => None,
        };
        let shared = self.claims.values().find_map(about_to).filter(|_| after.is_zero());
        let random = self.random.between(Duration::ZERO, PROBE_INTERVAL);
        let next = shared.unwrap_or(now + after + random);
        let Some(claim) = self.claims.get_mut(key) else { return };
        if claim.wanted.addresses.is_empty() {
            claim.enter(Phase::Waiting, now);
        } else {
            claim.enter(Phase::Probing { sent: 0, next, held }, now);
        }
    }

    /// Takes a name's records back, without saying goodbye. Returns those that no other name has.
    fn withdraw(&mut self, key: &str, now: Boottime) -> Vec<Record> {
        let published = self.claims.get(key).filter(|claim| claim.is_announced());
        let records =
            published.map(|claim| claim.records().iter().map(|owned| owned.record.clone()).collect());
        self.release(records.unwrap_or_default(), now)
    }

    /// Takes records of one name back. Returns those that no other name has.
    fn release(&mut self, records: Vec<Record>, now: Boottime) -> Vec<Record> {
        let gone: Vec<Record> = records.into_iter().filter(|record| self.zone.release(record)).collect();
        self.remember(&gone, now);
        gone
    }

    fn remember(&mut self, records: &[Record], now: Boottime) {
        self.remembered.extend(records.iter().map(|record| (record.clone(), now + REMEMBERED)));
        let surplus = self.remembered.len().saturating_sub(MOST_REMEMBERED);
        self.remembered.drain(..surplus);
    }

    /// Gives a name this label, or the next one after it that is free. The caller hears of it once it is announced.
    fn relabel(&mut self, key: &str, label: Label) {
        let Some(mut claim) = self.claims.remove(key) else { return };
        self.disown(key, &claim);
        let label = self.free(&claim.wanted, label);
        claim.change(claim.wanted.clone(), label);
        self.own(key, &claim);
        self.claims.insert(key.to_owned(), claim);
    }

    /// Notes a conflict about a label.
    fn note(&mut self, key: &str, label: Label, by: Option<IpAddr>, now: Boottime) {
        if let Some(claim) = self.claims.get_mut(key) {
            claim.conflict = Some(Conflict { label, by, at: now });
        }
    }
}

#[cfg(test)]
mod tests;
