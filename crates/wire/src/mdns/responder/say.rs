//! What is said without being asked, and how records become messages.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Boottime;

use super::super::channel::Channels;
use super::super::claim::{Owned, PROBES, Phase, services_of_the_link};
use super::super::message::{Question, Section, Writer};
use super::super::record::{Record, kind};
use super::super::zone::EVERY;
use super::{ANNOUNCE_INTERVAL, ANNOUNCEMENTS, Action, MOST_PACKETS, PROBE_INTERVAL, Packet, Responder};

/// The most bytes of a message: what fits an Ethernet frame with IPv6 (RFC 6762, 17).
pub(super) const MOST_BYTES: usize = 1440;
/// Bytes of a question, and of a record, beside the name and the data.
const QUESTION: usize = 4;
const RECORD: usize = 10;

/// One name in a probe.
struct Probed {
    question: Question,
    wished: Vec<Owned>,
}

impl Probed {
    /// The most bytes that it takes.
    fn bytes(&self) -> usize {
        let records = self.wished.iter().map(|owned| bytes(&owned.record));
        self.question.name.bytes().len() + QUESTION + records.sum::<usize>()
    }
}

/// The most bytes that a record takes.
pub(super) fn bytes(record: &Record) -> usize {
    record.name.bytes().len() + RECORD + record.data.bytes().len()
}

impl Responder {
    /// Does all that is due.
    pub(super) fn advance(&mut self, now: Boottime) {
        for asked in self.collected.due(now) {
            self.answer(&asked, true, &BTreeSet::new(), now);
        }
        self.retry(now);
        self.probe(now);
        self.announce(now);
        for (records, channels) in self.zone.due(now) {
            self.say(&records, channels, None, now);
        }
        let due: Vec<_> = self.replies.extract_if(.., |reply| reply.due <= now).collect();
        for reply in due {
            self.say(&reply.records, reply.channel.into(), Some(reply.to), now);
        }
    }

    /// Lets names try the wanted label again that have had another one for long: the other host may be gone.
    fn retry(&mut self, now: Boottime) {
        // One after the other: of two names that want the same label, one gets it.
        let due = |responder: &Self| Some(responder.retries().find(|(_, at)| *at <= now)?.0.to_owned());
        while let Some(key) = due(self) {
            let Some(claim) = self.claims.get_mut(&key) else { return };
            claim.note_retry();
            let label = claim.wanted.label.clone();
            let gone = self.withdraw(&key, now);
            self.part(gone);
            self.relabel(&key, label);
            self.begin(&key, Duration::ZERO, false, now);
        }
    }

    /// The names that will try the wanted label again, and when. Not those whose wanted label another name of this
    /// responder or the host has: that would be no attempt, and their only one is still to come.
    pub(super) fn retries(&self) -> impl Iterator<Item = (&str, Boottime)> {
        self.claims.iter().filter_map(|(key, claim)| {
            let at = claim.retry()?;
            (!self.is_taken(&claim.wanted, &claim.wanted.label)).then_some((key.as_str(), at))
        })
    }

    /// Sends the probes that are due. A name whose last probe no host has answered is published, and the caller hears of its
    /// label if that is another one.
    fn probe(&mut self, now: Boottime) {
        let mut probed = Vec::new();
        for (key, claim) in &mut self.claims {
            let Phase::Probing { sent, next, .. } = claim.phase else { continue };
            if next > now {
                continue;
            }
            if sent == PROBES {
                claim.records().iter().for_each(|owned| self.zone.add(owned));
                claim.enter(Phase::Announced { left: ANNOUNCEMENTS, next: now }, now);
                let to = claim.label.clone();
                let from = std::mem::replace(&mut claim.reported, to.clone());
                if from != to {
                    let by = claim.conflict.as_ref().and_then(|conflict| conflict.by);
                    self.out.push_back(Action::Renamed { key: key.clone(), from, to, by });
                }
                continue;
            }
            claim.enter(Phase::Probing { sent: sent + 1, next: now + PROBE_INTERVAL, held: false }, now);
            for name in claim.names() {
                let (question, wished) = claim.probe(&name);
                let wished = wished.into_iter().cloned().collect();
                probed.push(Probed { question, wished });
            }
        }
        let mut rest = &probed[..];
        while !rest.is_empty() {
            let mut room = MOST_BYTES - super::super::message::HEADER;
            let fits = rest.iter().take_while(|probed| {
                let left = room.checked_sub(probed.bytes());
                room = left.unwrap_or(0);
                left.is_some()
            });
            // All records of one name are in one message: they are compared together.
            let (these, after) = rest.split_at(fits.count().max(1));
            self.send_probe(these);
            rest = after;
        }
    }

    fn send_probe(&mut self, probed: &[Probed]) {
        let mut writer = Writer::query(super::super::LONGEST);
        for probed in probed {
            writer.question(&probed.question);
        }
        for owned in probed.iter().flat_map(|probed| &probed.wished) {
            writer.record(Section::Authorities, &owned.record, owned.ttl, false);
        }
        let payload = writer.finish(false);
        self.out.push_back(Action::Send(Packet { channels: self.channels, to: None, payload }));
    }

    /// Makes the announcements that are due. What was sent a moment ago follows when its second is over.
    fn announce(&mut self, now: Boottime) {
        for claim in self.claims.values_mut() {
            let Phase::Announced { left: left @ 1.., next } = claim.phase else { continue };
            if next > now {
                continue;
            }
            claim.phase = Phase::Announced { left: left - 1, next: now + ANNOUNCE_INTERVAL };
            for owned in claim.records().iter().filter(|owned| owned.record.kind() != kind::NSEC) {
                self.channels.iter().for_each(|channel| self.zone.want(&owned.record, channel, now, EVERY));
            }
        }
    }

    /// Sends records as answers, with what may be asked next as far as there is room.
    fn say(&mut self, records: &[Record], channels: Channels, to: Option<SocketAddr>, now: Boottime) {
        let mut rest = records;
        while !rest.is_empty() && self.out.len() < MOST_PACKETS {
            let mut writer = Writer::response(MOST_BYTES);
            let mut fits = 0;
            for record in rest {
                if !self.write(&mut writer, Section::Answers, record) {
                    break;
                }
                fits += 1;
            }
            // A record is much shorter than a message, so there is progress.
            let (these, after) = rest.split_at(fits.max(1));
            rest = after;
            let more: Vec<Record> =
                self.zone.additionals(these).into_iter().map(|(record, _)| record.clone()).collect();
            for record in these {
                self.note_sent(record, channels, to, now);
            }
            for record in more {
                if !self.is_fresh(&record, channels, to, now)
                    && self.write(&mut writer, Section::Additionals, &record)
                {
                    self.note_sent(&record, channels, to, now);
                }
            }
            if !writer.has_none(Section::Answers) {
                let payload = writer.finish(false);
                self.out.push_back(Action::Send(Packet { channels, to, payload }));
            }
        }
    }

    /// Writes a record, if it is still published. Returns `false` if there is no room.
    fn write(&self, writer: &mut Writer, section: Section, record: &Record) -> bool {
        let Some(served) = self.zone.get(record) else { return true };
        writer.all(|writer| writer.record(section, record, served.ttl, served.unique))
    }

    fn note_sent(&mut self, record: &Record, channels: Channels, to: Option<SocketAddr>, now: Boottime) {
        if to.is_none() {
            self.zone.note_sent(record, channels, now);
        }
    }

    /// Whether a record went to the group so recently that it must not go there again.
    fn is_fresh(&self, record: &Record, channels: Channels, to: Option<SocketAddr>, now: Boottime) -> bool {
        let fresh = |time: Duration| {
            channels.iter().any(|channel| self.zone.was_sent_within(record, channel, time, now))
        };
        to.is_none() && fresh(EVERY)
    }

    /// Says goodbye to records that are gone (RFC 6762, 10.1). Not with the cache-flush bit: it would end what stays of the
    /// same name and type too. Types of services are left to time, because others may have them.
    pub(super) fn part(&mut self, mut gone: Vec<Record>) {
        let services = services_of_the_link();
        gone.retain(|record| record.kind() != kind::NSEC && record.name != services);
        let mut rest = gone.iter().peekable();
        while rest.peek().is_some() && !self.channels.is_empty() {
            let mut writer = Writer::response(MOST_BYTES);
            let mut fits =
                |record: &Record| writer.all(|writer| writer.record(Section::Answers, record, 0, false));
            while rest.next_if(|record| fits(record)).is_some() {}
            let payload = writer.finish(false);
            self.out.push_back(Action::Send(Packet { channels: self.channels, to: None, payload }));
        }
    }
}
