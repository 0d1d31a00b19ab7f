//! Answers to questions (RFC 6762, 6).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Boottime;

use super::super::asked::Asked;
use super::super::channel::Channel;
use super::super::message::{Message, Question, Section, Writer};
use super::super::record::Record;
use super::super::zone::{EVERY, EVERY_DEFENCE};
use super::say::MOST_BYTES;
use super::{Action, MOST_PACKETS, Packet, Responder};

/// How long an answer of which others may have parts waits (RFC 6762, 6).
const SHARED_DELAY: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(120)];
/// The longest lifetime in an answer to an ordinary resolver (RFC 6762, 6.7).
const LEGACY_TTL: u32 = 10;
/// The most questions of one message that are answered.
const MOST_QUESTIONS: usize = 256;
/// The most unicast answers that wait at a time.
const MOST_REPLIES: usize = 64;

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
    /// Answers questions. An answer of which others may have parts waits a random moment, unless it has `waited`. A
    /// `defence` against a probe may be repeated sooner.
    pub(super) fn answer(&mut self, asked: &Asked, waited: bool, defence: bool, now: Boottime) {
        let Asked { peer, questions, known, .. } = asked;
        let (mut multicast, mut unicast, mut shared) = (Vec::new(), Vec::new(), false);
        for question in once(questions) {
            for (record, served) in self.zone.answers(&question.name, question.kind) {
                if known.has(record, served.ttl) {
                    continue;
                }
                shared |= !served.unique;
                // Who has not heard a record for long hears it with the one who asks (RFC 6762, 5.4). A defence must reach
                // who probes, whose host may have several programs at the port (15.1).
                let quarter = Duration::from_secs(u64::from(served.ttl / 4));
                let fresh = || self.zone.was_sent_within(record, peer.channel, quarter, now);
                if question.unicast && !defence && peer.on_link && fresh() {
                    unicast.push(record.clone());
                } else {
                    multicast.push(record.clone());
                }
            }
        }
        let delays = shared && !waited && !defence;
        let delay =
            if delays { self.random.between(SHARED_DELAY[0], SHARED_DELAY[1]) } else { Duration::ZERO };
        let every = if defence { EVERY_DEFENCE } else { EVERY };
        for record in multicast {
            self.zone.want(&record, peer.channel, now + delay, every);
        }
        unicast.sort();
        unicast.dedup();
        if !unicast.is_empty() && self.replies.len() < MOST_REPLIES {
            let (channel, to) = (peer.channel, peer.from);
            self.replies.push(Reply { due: now + delay, channel, to, records: unicast });
        }
    }

    /// Answers an ordinary resolver, which knows nothing of multicast DNS (RFC 6762, 6.7): at once, to itself, with its
    /// number and questions.
    pub(super) fn answer_legacy(&mut self, message: &Message, channel: Channel, from: SocketAddr) {
        let mut answers = Vec::new();
        for question in once(&message.questions) {
            for (record, _) in self.zone.answers(&question.name, question.kind) {
                if !answers.contains(record) {
                    answers.push(record.clone());
                }
            }
        }
        if answers.is_empty() || self.out.len() >= MOST_PACKETS {
            return;
        }
        let mut writer = Writer::legacy(message.id, MOST_BYTES);
        let mut whole = true;
        for question in once(&message.questions) {
            whole &= writer.all(|writer| writer.question(&Question { unicast: false, ..question.clone() }));
        }
        let additionals =
            self.zone.additionals(&answers).into_iter().map(|(record, _)| (Section::Additionals, record));
        let answers = answers.iter().map(|record| (Section::Answers, record));
        for (section, record) in answers.chain(additionals) {
            let ttl = self.zone.get(record).map_or(LEGACY_TTL, |served| served.ttl.min(LEGACY_TTL));
            let fits = writer.all(|writer| writer.record(section, record, ttl, false));
            if !fits {
                whole &= section == Section::Additionals;
                break;
            }
        }
        let payload = writer.finish(!whole);
        self.out.push_back(Action::Send(Packet { channels: channel.into(), to: Some(from), payload }));
    }
}
