//! Queries whose known answers come in several messages, and answers that wait for their time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Boottime;

use super::channel::{Channel, Channels};
use super::message::{Question, Said};
use super::record::Record;

/// How long known answers are collected in all, whatever is said.
const LONGEST: Duration = Duration::from_secs(2);
/// The most queries that wait at a time. A further one is answered at once: more than it needs.
const MOST: usize = 16;
/// The most known answers of one.
const MOST_KNOWN: usize = 2048;

/// The answers that a querier has already, with their lifetimes.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(BTreeMap<Record, u32>);

impl Known {
    /// Adds what a message says.
    pub(super) fn add(&mut self, answers: &[Said]) {
        for said in answers {
            if self.0.len() < MOST_KNOWN {
                let ttl = self.0.entry(said.record.clone()).or_default();
                *ttl = said.ttl.max(*ttl);
            }
        }
    }

    /// Whether a record need not be sent: it is known, and for at least half of its time (RFC 6762, 7.1).
    pub(super) fn has(&self, record: &Record, ttl: u32) -> bool {
        self.0.get(record).is_some_and(|known| *known >= ttl / 2)
    }
}

/// Who asks, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub channel: Channel,
    pub from: SocketAddr,
    /// Whether it may get a unicast answer.
    pub on_link: bool,
}

/// A query that waits for the rest of its known answers (RFC 6762, 7.2).
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub peer: Peer,
    pub questions: Vec<Question>,
    pub known: Known,
    since: Boottime,
    until: Boottime,
}

impl Asked {
    /// A query that was begun now, and waits so long.
    pub(super) fn new(
        peer: Peer,
        questions: Vec<Question>,
        known: Known,
        wait: Duration,
        now: Boottime,
    ) -> Self {
        Asked { peer, questions, known, since: now, until: now + wait }
    }
}

/// All queries that wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Collected(Vec<Asked>);

impl Collected {
    /// Takes the first message of a query. Gives it back if too many wait.
    pub(super) fn begin(&mut self, asked: Asked) -> Option<Asked> {
        if self.0.len() >= MOST {
            return Some(asked);
        }
        self.0.push(asked);
        None
    }

    /// Takes a further message, whose answers belong to the last query from there. If it is not the last, it is waited anew.
    pub(super) fn go_on(&mut self, peer: Peer, answers: &[Said], more: Option<Duration>, now: Boottime) {
        if let Some(asked) = self.0.iter_mut().rev().find(|asked| asked.peer == peer) {
            asked.known.add(answers);
            if let Some(wait) = more {
                asked.until = (now + wait).min(asked.since + LONGEST).max(asked.until);
            }
        }
    }

    /// Forgets what was asked on channels that are no more.
    pub(super) fn keep(&mut self, channels: Channels) {
        self.0.retain(|asked| channels.contains(asked.peer.channel));
    }

    /// The queries whose time has come.
    pub(super) fn due(&mut self, now: Boottime) -> Vec<Asked> {
        self.0.extract_if(.., |asked| asked.until <= now).collect()
    }

    /// When the next one has.
    pub(super) fn next(&self) -> Option<Boottime> {
        self.0.iter().map(|asked| asked.until).min()
    }
}
