//! Answers to questions (RFC 6762, 6).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::Boottime;

use super::super::asked::Asked;
use super::super::channel::Channel;
use super::super::message::{HEADER, Message, Question, Section, Writer};
use super::super::name::Name;
use super::super::record::Record;
use super::super::zone::{EVERY, EVERY_DEFENCE, Served};
use super::say::{MOST_BYTES, bytes};
use super::{Action, MOST_PACKETS, Packet, Responder};

/// How long an answer of which others may have parts waits (RFC 6762, 6).
const SHARED_DELAY: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(120)];
/// The longest lifetime in an answer to an ordinary resolver (RFC 6762, 6.7).
const LEGACY_TTL: u32 = 10;
/// The most questions of one message that are answered.
const MOST_QUESTIONS: usize = 32;
/// How many unicast answers there may be at once, and after how long there may be one more. A query can have a forged source,
/// and each answer is a burden to whom it is sent.
const MOST_AT_ONCE: u32 = 32;
const ONE_MORE: Duration = Duration::from_millis(50);

/// How many unicast answers there may be.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowance {
    used: u32,
    /// Since when the used ones come back.
    since: Option<Boottime>,
}

impl Allowance {
    /// Takes one, if there is one.
    fn take(&mut self, now: Boottime) -> bool {
        let since = self.since.unwrap_or(now);
        let back = (now - since).as_millis() / ONE_MORE.as_millis();
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        if back >= self.used {
            (self.used, self.since) = (0, Some(now));
        } else {
            (self.used, self.since) = (self.used - back, Some(since + ONE_MORE * back));
        }
        let is_there = self.used < MOST_AT_ONCE;
        self.used += u32::from(is_there);
        is_there
    }
}

/// A unicast answer that waits.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub due: Boottime,
    pub channel: Channel,
    pub to: SocketAddr,
    pub records: Vec<Record>,
}

/// The questions of a message, each once and so many.
fn once(questions: &[Question]) -> impl Iterator<Item = &Question> {
    let mut seen = BTreeSet::new();
    let new =
        move |question: &&Question| seen.insert((question.name.clone(), question.kind, question.unicast));
    questions.iter().take(MOST_QUESTIONS).filter(new)
}

impl Responder {
    /// Answers questions. An answer of which others may have parts waits a random moment, unless it has `waited`. A defence
    /// of a name that is `probed` for may be repeated sooner.
    pub(super) fn answer(&mut self, asked: &Asked, waited: bool, probed: &BTreeSet<&Name>, now: Boottime) {
        let Asked { peer, questions, known, .. } = asked;
        // With each record that is multicast, whether it is a defence.
        let mut multicast: BTreeMap<&Record, bool> = BTreeMap::new();
        let (mut unicast, mut room, mut shared) = (BTreeSet::new(), MOST_BYTES - HEADER, false);
        for question in once(questions) {
            let defence = probed.contains(&question.name);
            for (record, served) in self.zone.answers(&question.name, question.kind) {
                if known.has(record, served.ttl) || unicast.contains(record) && !defence {
                    continue;
                }
                shared |= !served.unique;
                // Who has not heard a record for long hears it with the one who asks (RFC 6762, 5.4). A defence must reach
                // who probes, whose host may have several programs at the port (15.1). What does not fit one packet goes
                // to all, once a second.
                let quarter = Duration::from_secs(u64::from(served.ttl / 4));
                let fresh = || self.zone.was_sent_within(record, peer.channel, quarter, now);
                let alone = question.unicast && !defence && peer.on_link && fresh();
                if let Some(left) = room.checked_sub(bytes(record)).filter(|_| alone) {
                    room = left;
                    unicast.insert(record);
                } else {
                    *multicast.entry(record).or_default() |= defence;
                }
            }
        }
        // So does what may not be sent to one host now.
        if !unicast.is_empty() && !self.allowance.take(now) {
            for record in std::mem::take(&mut unicast) {
                multicast.entry(record).or_default();
            }
        }
        let multicast: Vec<_> =
            multicast.into_iter().map(|(record, defence)| (record.clone(), defence)).collect();
        let records: Vec<Record> = unicast.into_iter().cloned().collect();
        let delay = if shared && !waited {
            self.random.between(SHARED_DELAY[0], SHARED_DELAY[1])
        } else {
            Duration::ZERO
        };
        for (record, defence) in multicast {
            let (after, every) = if defence { (Duration::ZERO, EVERY_DEFENCE) } else { (delay, EVERY) };
            self.zone.want(&record, peer.channel, now + after, every);
        }
        if !records.is_empty() {
            self.replies.push(Reply { due: now + delay, channel: peer.channel, to: peer.from, records });
        }
    }

    /// Answers an ordinary resolver, which knows nothing of multicast DNS (RFC 6762, 6.7): at once, to itself, with its
    /// number and questions, as far as one packet has room.
    pub(super) fn answer_legacy(
        &mut self,
        message: &Message,
        channel: Channel,
        from: SocketAddr,
        now: Boottime,
    ) {
        let questions: Vec<&Question> = once(&message.questions).collect();
        let mut answers = BTreeSet::new();
        let all = questions.iter().flat_map(|question| self.zone.answers(&question.name, question.kind));
        let found: Vec<_> = all.filter(|(record, _)| answers.insert(*record)).collect();
        // Most questions are not for this host, and to write one takes longer than to look for an answer.
        if found.is_empty() || self.out.len() >= MOST_PACKETS || !self.allowance.take(now) {
            return;
        }
        let mut writer = Writer::legacy(message.id, MOST_BYTES);
        let ttl = |served: &Served| served.ttl.min(LEGACY_TTL);
        let mut whole = questions.into_iter().all(|question| {
            writer.all(|writer| writer.question(&Question { unicast: false, ..question.clone() }))
        });
        whole &= found.into_iter().all(|(record, served)| {
            writer.all(|writer| writer.record(Section::Answers, record, ttl(served), false))
        });
        // Additional records come only after all answers.
        if whole {
            let answers: Vec<Record> = answers.into_iter().cloned().collect();
            for (record, served) in self.zone.additionals(&answers) {
                if !writer.all(|writer| writer.record(Section::Additionals, record, ttl(served), false)) {
                    break;
                }
            }
        }
        let payload = writer.finish(!whole);
        self.out.push_back(Action::Send(Packet { channels: channel.into(), to: Some(from), payload }));
    }
}
