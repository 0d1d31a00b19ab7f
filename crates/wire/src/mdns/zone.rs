//! The records that are answered with: when each was sent last on each channel, and when it is due next.

use std::collections::btree_map::{BTreeMap, Entry};
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::Boottime;

use super::channel::{CHANNELS, Channel, Channels};
use super::claim::Owned;
use super::name::Name;
use super::record::{Data, Record, kind};

/// The shortest time between two multicasts of a record (RFC 6762, 6).
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// The same where a name is defended against a probe.
pub(super) const EVERY_DEFENCE: Duration = Duration::from_millis(250);

/// What is known of a record that is published.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub ttl: u32,
    pub unique: bool,
    /// How many names have it. Pointers to types of services belong to several.
    names: u32,
    /// When it was multicast last.
    sent: [Option<Boottime>; CHANNELS],
}

/// All records that are answered with.
#[derive(Debug, Clone, Default)]
pub(super) struct Zone {
    records: BTreeMap<Record, Served>,
    /// Multicasts that are due at a time.
    due: BTreeMap<Record, [Option<Boottime>; CHANNELS]>,
}

/// A record and what it is published with.
pub(super) type Found<'a> = (&'a Record, &'a Served);

impl Zone {
    /// Adds a record for one name.
    pub(super) fn add(&mut self, owned: &Owned) {
        let Owned { record, ttl, unique } = owned.clone();
        match self.records.entry(record) {
            Entry::Occupied(mut there) => there.get_mut().names += 1,
            Entry::Vacant(place) => {
                place.insert(Served { ttl, unique, names: 1, sent: [None; CHANNELS] });
            }
        }
    }

    /// Takes a record away from one name. Returns whether no other has it.
    pub(super) fn release(&mut self, record: &Record) -> bool {
        let Some(served) = self.records.get_mut(record) else { return false };
        served.names -= 1;
        let gone = served.names == 0;
        if gone {
            self.records.remove(record);
            self.due.remove(record);
        }
        gone
    }

    /// The records of a name.
    pub(super) fn of(&self, name: &Name) -> impl Iterator<Item = Found<'_>> {
        // An address is the first kind of data, in their order here.
        let first = Record { name: name.clone(), data: Data::A(Ipv4Addr::UNSPECIFIED) };
        let name = name.clone();
        self.records.range(first..).take_while(move |(record, _)| record.name == name)
    }

    /// The records that answer a question: those of its type. A name that is ours alone and has none of that type is
    /// answered with its NSEC record, which says so (RFC 6762, 6.1).
    pub(super) fn answers(&self, name: &Name, kind: u16) -> Vec<Found<'_>> {
        let fits = |record: &Record| match kind {
            kind::ANY => record.kind() != kind::NSEC,
            kind => record.kind() == kind,
        };
        let found: Vec<Found> = self.of(name).filter(|(record, _)| fits(record)).collect();
        if found.is_empty() {
            self.of(name).filter(|(record, _)| record.kind() == kind::NSEC).collect()
        } else {
            found
        }
    }

    /// What may be asked next by who gets these answers (RFC 6763, 12; RFC 6762, 6.1 and 6.2): where a service is, and all
    /// addresses of a host, or that there are none of one family.
    pub(super) fn additionals(&self, answers: &[Record]) -> Vec<Found<'_>> {
        let mut all: Vec<Found> = Vec::new();
        let mut names: Vec<&Name> = Vec::new();
        for answer in answers {
            names.extend(answer.data.target());
            if answer.data.ip().is_some() {
                names.push(&answer.name);
            }
        }
        let mut at = 0;
        while let Some(name) = names.get(at).copied() {
            at += 1;
            if names[..at - 1].contains(&name) {
                continue;
            }
            // Pointers lead further only when they are asked for.
            for found in self.of(name).filter(|(record, _)| record.kind() != kind::PTR) {
                names.extend(found.0.data.target());
                if !answers.contains(found.0) {
                    all.push(found);
                }
            }
        }
        // Nothing is missing where both families are.
        all.retain(|(record, _)| record.kind() != kind::NSEC || self.lacks_an_address(&record.name));
        all
    }

    fn lacks_an_address(&self, name: &Name) -> bool {
        let has = |kind: u16| self.of(name).any(|(record, _)| record.kind() == kind);
        has(kind::A) != has(kind::AAAA)
    }

    /// What is known of a record.
    pub(super) fn get(&self, record: &Record) -> Option<&Served> {
        self.records.get(record)
    }

    /// Makes a record due on a channel at the earliest at that time, and not too soon after the last time that it was
    /// multicast there.
    pub(super) fn want(&mut self, record: &Record, channel: Channel, at: Boottime, every: Duration) {
        let Some(served) = self.records.get(record) else { return };
        let at = served.sent[channel.number()].map_or(at, |sent| at.max(sent + every));
        let due = &mut self.due.entry(record.clone()).or_default()[channel.number()];
        *due = Some(due.map_or(at, |due| due.min(at)));
    }

    /// Notes that a record is multicast now.
    pub(super) fn note_sent(&mut self, record: &Record, channels: Channels, now: Boottime) {
        if let Some(served) = self.records.get_mut(record) {
            channels.iter().for_each(|channel| served.sent[channel.number()] = Some(now));
        }
        if let Some(due) = self.due.get_mut(record) {
            channels.iter().for_each(|channel| due[channel.number()] = None);
            if due.iter().all(Option::is_none) {
                self.due.remove(record);
            }
        }
    }

    /// Whether a record was multicast within this time.
    pub(super) fn was_sent_within(
        &self,
        record: &Record,
        channel: Channel,
        time: Duration,
        now: Boottime,
    ) -> bool {
        let sent = self.records.get(record).and_then(|served| served.sent[channel.number()]);
        sent.is_some_and(|sent| now - sent < time)
    }

    /// Hears a record from another host. If it is one of these, it need not be sent too (RFC 6762, 7.4), or, if it is
    /// about to end there, must be (6.6).
    pub(super) fn hear(&mut self, record: &Record, ttl: u32, channel: Channel, now: Boottime) {
        let Some(served) = self.records.get(record) else { return };
        if ttl < served.ttl / 2 {
            self.want(record, channel, now, EVERY);
        } else if ttl >= served.ttl
            && let Some(due) = self.due.get_mut(record)
        {
            due[channel.number()] = None;
            if due.iter().all(Option::is_none) {
                self.due.remove(record);
            }
        }
    }

    /// The records that are due, with the channels on which the same ones are.
    pub(super) fn due(&self, now: Boottime) -> Vec<(Vec<Record>, Channels)> {
        let mut all: Vec<(Vec<Record>, Channels)> = Vec::new();
        for channel in Channel::ALL {
            let is_due =
                |due: &[Option<Boottime>; CHANNELS]| due[channel.number()].is_some_and(|due| due <= now);
            let records: Vec<Record> =
                self.due.iter().filter(|(_, due)| is_due(due)).map(|(record, _)| record.clone()).collect();
            if records.is_empty() {
                continue;
            }
            match all.iter_mut().find(|(there, _)| *there == records) {
                Some((_, channels)) => *channels = *channels | channel.into(),
                None => all.push((records, channel.into())),
            }
        }
        all
    }

    /// When the next record is due.
    pub(super) fn next(&self) -> Option<Boottime> {
        self.due.values().flatten().flatten().min().copied()
    }

    /// Forgets what is due on channels that are no more.
    pub(super) fn keep(&mut self, channels: Channels) {
        for due in self.due.values_mut() {
            for channel in Channel::ALL.into_iter().filter(|channel| !channels.contains(*channel)) {
                due[channel.number()] = None;
            }
        }
        self.due.retain(|_, due| due.iter().any(Option::is_some));
    }
}
