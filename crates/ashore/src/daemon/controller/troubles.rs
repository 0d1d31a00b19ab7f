//! When troubles begin and end. Nobody may ask for the status for a year, so the daemon looks by itself: after what it
//! reconciles, and every minute. It looks as a reader does, without the lock.

use std::time::{Duration, Instant};

use ashore_core::api::reply::Reply;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::event::{Happening, Kind};
use ashore_core::model::events::is_same_trouble;

use super::Controller;
use crate::daemon::chronicle::Lacks;
use crate::supervise;
use crate::unlocked::Unlocked;

/// How often the events are written at most.
const WRITE: Duration = Duration::from_secs(60);
/// How often they are written at most if all that is new is how often a claim was made.
const WRITE_COUNTS: Duration = Duration::from_secs(15 * 60);
/// How often the troubles are looked at without a reason.
const LOOK: Duration = Duration::from_secs(60);
/// How long after a look the next one is, if there is a reason. It is twice as long with each look that finds nothing
/// new, since a look may itself be a reason: it may make a link for a moment.
const PACE: Duration = Duration::from_secs(5);
/// The next look is this many times as long away as the last one took, so that containers that change all the time cost
/// little.
const SHARE: u32 = 20;
/// What is seen by two looks that are this far apart has begun, or ended.
const CERTAIN: Duration = Duration::from_secs(1);

impl Controller {
    /// Keeps the chronicle: looks for troubles, and writes it to the disk, forever.
    pub(crate) fn keep_chronicle(&self, unlocked: &mut Unlocked) {
        let began = Instant::now();
        let mut known = Known::of(self.lan.chronicle().open_troubles());
        let (mut written, mut may_look, mut must_look, mut pace) = (None, began, began + LOOK, PACE);
        let mut reasons = (Lacks::Events, true);
        loop {
            let (lacks, stirred) = reasons;
            if write_at(lacks, written).is_some_and(|at| Instant::now() >= at) {
                self.lan.chronicle().write(unlocked);
                written = Some(Instant::now());
            }
            if stirred && Instant::now() >= may_look || Instant::now() >= must_look {
                let began = Instant::now();
                self.lan.chronicle().looks();
                let looked = supervise::contained(|| self.look_for_troubles(unlocked, &mut known));
                let is_new = looked.unwrap_or_else(|fault| {
                    tracing::error!("{fault}");
                    false
                });
                pace = if is_new || !stirred { PACE } else { LOOK.min(2 * pace) };
                let now = Instant::now();
                (may_look, must_look) = (now + pace.max((now - began) * SHARE), now + LOOK);
            }
            reasons = self.lan.chronicle().wait(unlocked, |lacks, stirred| {
                let due = [write_at(lacks, written), stirred.then_some(may_look)];
                due.into_iter().flatten().min().map_or(must_look, |at| at.min(must_look))
            });
        }
    }

    /// Tells what has happened.
    pub(super) fn events(&self, after: Option<u64>, about: Option<&str>) -> Reply {
        let (events, last) = self.lan.chronicle().tell(after.unwrap_or(0), about);
        Reply::Events { events, last }
    }

    /// Enters the troubles that have begun and ended since the last look. Returns whether any has.
    fn look_for_troubles(&self, unlocked: &mut Unlocked, known: &mut Known) -> bool {
        let Some(first) = self.seen_troubles(unlocked) else { return false };
        if first.changes(known).is_none() {
            return false;
        }
        // What comes and goes while a container starts is nothing to tell of.
        unlocked.sleep(CERTAIN);
        let Some(second) = self.seen_troubles(unlocked) else { return false };
        let (begun, ended) = second.changes(known).unwrap_or_default();
        let begun: Vec<Happening> = begun.into_iter().filter(|one| has(&first.all, one)).collect();
        let ended: Vec<Happening> =
            ended.into_iter().filter(|one| first.is_whole && !has(&first.all, one)).collect();
        known.all.retain(|one| !has(&ended, one));
        known.all.extend(begun.iter().cloned());
        let over = ended.into_iter().map(|one| Happening {
            kind: Kind::TroubleEnded,
            text: Happening::new(Kind::TroubleEnded, &format!("no longer: {}", one.text)).text,
            ..one
        });
        let new: Vec<Happening> = over.chain(begun).collect();
        let is_new = !new.is_empty();
        self.lan.chronicle().enter(new);
        is_new
    }

    fn seen_troubles(&self, unlocked: &mut Unlocked) -> Option<Seen> {
        match self.status(unlocked) {
            Ok(Reply::Status(status)) => Some(Seen::of(&status.troubles)),
            Ok(_) => None,
            Err(refusal) => {
                tracing::debug!("no look for troubles: {refusal}");
                None
            }
        }
    }
}

/// When to write, if the file lacks something and was last written then.
fn write_at(lacks: Lacks, written: Option<Instant>) -> Option<Instant> {
    let pause = match lacks {
        Lacks::Nothing => return None,
        Lacks::Counts => WRITE_COUNTS,
        Lacks::Events => WRITE,
    };
    Some(written.map_or_else(Instant::now, |at| at + pause))
}

/// What one look has seen.
struct Seen {
    all: Vec<Happening>,
    /// Whether what is not in it is not so. While requests are being carried out, only what lasts is in it.
    is_whole: bool,
}

impl Seen {
    fn of(troubles: &[Trouble]) -> Self {
        let is_whole = troubles.iter().all(|trouble| trouble.code != Code::Busy);
        let mut all: Vec<Happening> = Vec::new();
        for trouble in troubles.iter().filter(|trouble| trouble.code != Code::Busy) {
            let about = &trouble.about;
            let code = serde_json::to_value(trouble.code).ok();
            let what = Happening {
                network: about.network.clone(),
                name: about.endpoint.clone(),
                address: about.address,
                parent: about.parent.clone(),
                trouble: code.and_then(|code| code.as_str().map(str::to_owned)),
                ..Happening::new(Kind::TroubleBegun, &trouble.message)
            };
            if !has(&all, &what) {
                all.push(what);
            }
        }
        Seen { all, is_whole }
    }

    /// What has begun and what has ended, if anything has.
    fn changes(&self, known: &Known) -> Option<(Vec<Happening>, Vec<Happening>)> {
        let begun: Vec<_> = self.all.iter().filter(|one| !has(&known.all, one)).cloned().collect();
        let is_over = |one: &&Happening| self.is_whole && !has(&self.all, one) && known.may_end(one);
        let ended: Vec<_> = known.all.iter().filter(is_over).cloned().collect();
        (!begun.is_empty() || !ended.is_empty()).then_some((begun, ended))
    }
}

/// The troubles that there are.
struct Known {
    all: Vec<Happening>,
    /// Those that there were when the daemon started, and when that was. It has to hear of the LAN and of engines before
    /// it knows that they are over.
    inherited: (Vec<Happening>, Instant),
}

impl Known {
    fn of(all: Vec<Happening>) -> Self {
        Known { inherited: (all.clone(), Instant::now()), all }
    }

    fn may_end(&self, one: &Happening) -> bool {
        let (inherited, since) = &self.inherited;
        since.elapsed() >= LOOK || !has(inherited, one)
    }
}

fn has(all: &[Happening], one: &Happening) -> bool {
    all.iter().any(|there| is_same_trouble(there, one))
}

#[cfg(test)]
mod tests {
    use ashore_core::api::about::About;
    use ashore_core::model::event::ADDRESS_CLAIMED;

    use super::*;

    #[test]
    fn counts_are_written_less_often_than_events() {
        let written = Instant::now();
        assert_eq!(write_at(Lacks::Nothing, Some(written)), None);
        assert_eq!(write_at(Lacks::Events, Some(written)), Some(written + WRITE));
        assert_eq!(write_at(Lacks::Counts, Some(written)), Some(written + WRITE_COUNTS));
        assert!(write_at(Lacks::Events, None).is_some_and(|at| at <= Instant::now()));
    }

    #[test]
    fn claims_as_troubles_are_known_by_their_code() {
        let claimed = trouble(Code::AddressClaimed, "web", "");
        assert_eq!(Seen::of(&[claimed]).all[0].trouble.as_deref(), Some(ADDRESS_CLAIMED));
    }

    fn trouble(code: Code, name: &str, message: &str) -> Trouble {
        Trouble::new(code, About { endpoint: Some(name.parse().unwrap()), ..About::default() }, message, None)
    }

    fn names(all: &[Happening]) -> Vec<String> {
        all.iter().map(|one| one.name.as_ref().unwrap().to_string()).collect()
    }

    #[test]
    fn a_trouble_is_the_same_whatever_it_says_and_while_requests_are_carried_out_none_ends() {
        let (web, db) =
            (trouble(Code::NoLease, "web", "it has none"), trouble(Code::MacChanged, "db", "to 1"));
        let mut known = Known::of(Vec::new());
        known.all = Seen::of(&[web.clone(), db]).all;
        let changed = trouble(Code::MacChanged, "db", "to 2");
        assert!(Seen::of(&[web.clone(), changed.clone()]).changes(&known).is_none());
        let (begun, ended) = Seen::of(&[changed, trouble(Code::NoLease, "x", "")]).changes(&known).unwrap();
        assert_eq!((names(&begun), names(&ended)), (vec!["x".to_owned()], vec!["web".to_owned()]));
        let busy = Trouble::new(Code::Busy, About::default(), "busy", None);
        assert!(Seen::of(&[web, busy]).changes(&known).is_none());
        let inherited = Known::of(known.all);
        assert!(Seen::of(&[]).changes(&inherited).is_none(), "a daemon that has just started knows little");
    }
}
