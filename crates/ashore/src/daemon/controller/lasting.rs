//! Which differences between the kernel and the state are no work of the request that is being carried out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ashore_core::api::about::About;
use ashore_core::api::trouble::{Code, Trouble};

/// Two looks that are this many turns of the lock apart did not both meet the same holder of the lock.
const TURNS: u64 = 2;
/// How long a look counts. Requests some of which take a minute are no reason to forget what was so before.
const COUNTS: Duration = Duration::from_secs(5 * 60);

/// The differences that the last looks have all seen. A container that has the daemon reconcile all the time,
/// and for a long time, leaves no moment at which no request is being carried out. So a look remembers what
/// earlier ones have seen.
#[derive(Default)]
pub(super) struct Lasting(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// When the last look was, and at which turn of the lock.
    last: Option<(Instant, u64)>,
    /// What was seen, each with the turn at which it was first seen.
    since: Vec<(u64, What)>,
}

/// What a difference is and what it concerns. Its message is not part of it: a container that changes its MAC all
/// the time has the same difference all the time.
type What = (Code, About);

fn what(one: &Trouble) -> What {
    (one.code, one.about.clone())
}

impl Lasting {
    /// Notes that no request was being carried out while the last look saw these. So no later request explains
    /// them.
    pub(super) fn hold(&self, differences: &[Trouble]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.since = differences.iter().map(|one| (0, what(one))).collect();
    }

    /// Notes the differences that were seen at a turn of the lock. Returns those that are not the work of a
    /// single request.
    pub(super) fn sees(&self, turn: u64, differences: &[Trouble]) -> Vec<Trouble> {
        self.sees_at(Instant::now(), turn, differences)
    }

    fn sees_at(&self, now: Instant, turn: u64, differences: &[Trouble]) -> Vec<Trouble> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.last.is_none_or(|(last, _)| now.saturating_duration_since(last) >= COUNTS) {
            *seen = Seen::default();
        }
        let known = |one: &Trouble| seen.since.iter().find(|(_, known)| *known == what(one));
        let all = differences.iter().map(|one| (known(one).map_or(turn, |(since, _)| *since), one));
        let all: Vec<(u64, &Trouble)> = all.collect();
        // Several look at once. One that began earlier and took longer knows less.
        if seen.last.is_none_or(|(_, last)| turn >= last) {
            seen.since = all.iter().map(|(since, one)| (*since, what(one))).collect();
            seen.last = Some((now, turn));
        }
        let lasts = all.into_iter().filter(|(since, _)| turn.saturating_sub(*since) >= TURNS);
        lasts.map(|(_, one)| one.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_lasts_that_no_single_request_explains() {
        let lasting = Lasting::default();
        let one = |code, message: &str| Trouble::new(code, About::default(), message, None);
        let (web, db) = (one(Code::MacChanged, "web"), one(Code::LinkRenamed, "db"));
        let start = Instant::now();
        let sees = |seconds, turn, seen: &[&Trouble]| -> Vec<String> {
            let seen: Vec<Trouble> = seen.iter().copied().cloned().collect();
            let told = lasting.sees_at(start + Duration::from_secs(seconds), turn, &seen);
            told.into_iter().map(|one| one.message).collect()
        };
        let none: [&str; 0] = [];
        assert_eq!(sees(0, 7, &[&web]), none);
        assert_eq!(sees(1, 8, &[&web, &db]), none, "one request was at work all the time");
        let other = one(Code::MacChanged, "another MAC");
        assert_eq!(sees(60, 9, &[&other, &db]), ["another MAC"]);
        assert_eq!(sees(60, 8, &[&db]), none, "a look that began earlier changes nothing");
        assert_eq!(sees(61, 10, &[&db]), ["db"]);
        assert_eq!(sees(62, 11, &[&web, &db]), ["db"], "it was gone meanwhile");
        lasting.hold(std::slice::from_ref(&web));
        assert_eq!(sees(63, 12, &[&web, &db]), ["web"]);
        assert_eq!(sees(63 + 300, 14, &[&web, &db]), none, "nobody has looked for long");
    }
}
