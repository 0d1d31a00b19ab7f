//! When a question is asked again.

use std::time::{Duration, Instant};

use crate::dhcp::Loss;
use crate::random::Random;

/// A question, and how often it was asked.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// Its number, which the answer bears.
    pub(super) xid: u32,
    /// The seconds that it tells, where a later question must tell the same.
    pub(super) secs: u16,
    /// When it was asked first under this number; none if it was not.
    pub(super) first: Option<Instant>,
    /// How often.
    pub(super) times: u32,
    /// When it is to be asked next.
    pub(super) next: Instant,
    /// What another server than the lease's own objects. The own server's answer makes it void.
    pub(super) objection: Option<Loss>,
}

impl Exchange {
    pub(super) fn new(random: &mut Random, now: Instant) -> Self {
        Exchange { xid: random.number(), secs: 0, first: None, times: 0, next: now, objection: None }
    }

    /// The question that follows on an answer, and bears its number.
    pub(super) fn follow(&self, now: Instant) -> Self {
        Exchange { first: None, times: 0, next: now, ..self.clone() }
    }

    /// It was asked.
    pub(super) fn sent(&mut self, now: Instant, random: &mut Random) {
        self.first.get_or_insert(now);
        self.times = self.times.saturating_add(1);
        self.next = now + pause(self.times, random);
    }

    /// It was asked of whoever may renew a lease, under a number of its own: attempts are minutes or hours apart, and an
    /// answer must not be taken for one to an earlier attempt. The next comes after half of the time that is left, and no
    /// sooner than in a minute (RFC 2131, 4.4.5).
    pub(super) fn sent_anew(&mut self, now: Instant, until: Instant, random: &mut Random) {
        const LEAST: Duration = Duration::from_secs(60);
        // The first bears the number that the exchange was made with.
        if self.first.is_some() {
            self.xid = random.number();
        }
        self.first = Some(now);
        self.times = self.times.saturating_add(1);
        self.next = now + (until.saturating_duration_since(now) / 2).max(LEAST);
    }
}

/// How long an answer is waited for, the how manieth time: 4, 8, 16, 32, and then 64 s, give or take one (RFC 2131, 4.1).
pub(super) fn pause(times: u32, random: &mut Random) -> Duration {
    let middle = Duration::from_secs(2 << times.clamp(1, 5));
    let second = Duration::from_secs(1);
    random.between(middle.saturating_sub(second), middle + second)
}
