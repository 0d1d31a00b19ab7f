//! When a question is repeated.

use std::time::Duration;

use crate::Boottime;
use crate::dhcp::Loss;
use crate::random::Random;

/// A question, and how often it was sent.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// The transaction number, which the answer repeats.
    pub(super) xid: u32,
    /// The `secs` field of the DISCOVER, which the REQUEST must repeat.
    pub(super) secs: u16,
    /// When the question was first sent under this number. `None` if it was not sent yet.
    pub(super) first: Option<Boottime>,
    /// How often it was sent.
    pub(super) times: u32,
    /// When to send it next.
    pub(super) next: Boottime,
    /// A refusal by a server other than the lease's own. An answer of the lease's own server overrides it.
    pub(super) objection: Option<Loss>,
}

impl Exchange {
    pub(super) fn new(random: &mut Random, now: Boottime) -> Self {
        Exchange { xid: random.number(), secs: 0, first: None, times: 0, next: now, objection: None }
    }

    /// The question that follows an answer, under the same transaction number.
    pub(super) fn follow(&self, now: Boottime) -> Self {
        Exchange { first: None, times: 0, next: now, ..self.clone() }
    }

    /// Records that the question was sent.
    pub(super) fn sent(&mut self, now: Boottime, random: &mut Random) {
        self.first.get_or_insert(now);
        self.times = self.times.saturating_add(1);
        self.next = now + pause(self.times, random);
    }

    /// Records that the question was sent to extend a lease. Each attempt gets a new transaction number:
    /// attempts are minutes or hours apart, and an answer must not be mistaken for one to an earlier attempt.
    /// The next attempt comes after half of the time that is left, but no sooner than after a minute
    /// (RFC 2131, 4.4.5).
    pub(super) fn sent_anew(&mut self, now: Boottime, until: Boottime, random: &mut Random) {
        const LEAST: Duration = Duration::from_secs(60);
        // The first attempt uses the number that the exchange was created with.
        if self.first.is_some() {
            self.xid = random.number();
        }
        self.first = Some(now);
        self.times = self.times.saturating_add(1);
        self.next = now + (until.saturating_duration_since(now) / 2).max(LEAST);
    }
}

/// How long to wait for an answer to attempt number `times`: 4, 8, 16, 32, and then 64 s, randomised by ±1 s
/// (RFC 2131, 4.1).
pub(super) fn pause(times: u32, random: &mut Random) -> Duration {
    let middle = Duration::from_secs(2 << times.clamp(1, 5));
    let second = Duration::from_secs(1);
    random.between(middle.saturating_sub(second), middle + second)
}
