//! Whether the host's clock is set: leases and their renewals are written down by it.

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::net::remedy::Remedy;

const CHECK: &str = "clock";
/// The first of January 2025, in seconds since 1970. A clock that shows less was not set since the host started.
const EARLIEST: u64 = 1_735_689_600;

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let now = facts.asked.now;
    vec![if now >= EARLIEST {
        Finding::fine(CHECK, About::default(), "the clock is set")
    } else {
        let message = "the clock of this host is not set: it shows a time before 2025, and leases are written down by it";
        let remedy = Remedy::run("timedatectl set-ntp true");
        Finding::trouble(CHECK, Trouble::new(Code::ClockNotSet, About::default(), message, Some(remedy)))
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::diagnosis::Found;
    use crate::checks::Asked;
    use crate::model::identity::Seed;
    use crate::model::state::State;
    use crate::net::observed::View;

    fn found(now: u64) -> Found {
        let (state, host) = (State::new(Seed([1; 16])), View::default());
        let asked = Asked { now, ..Asked::default() };
        let mut findings = check(&Facts { state: &state, host: &host, asked: &asked });
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.remove(0).result
    }

    /// Here and not in a lab, because no namespace has a clock of its own that can be set (`CLOCK_REALTIME`).
    #[test]
    fn a_clock_that_was_not_set_since_the_host_started_is_told_with_what_sets_it() {
        for now in [0, EARLIEST - 1] {
            let Found::Trouble(trouble) = found(now) else { panic!("{now}") };
            assert_eq!(trouble.code, Code::ClockNotSet);
            assert!(trouble.message.contains("before 2025"), "{}", trouble.message);
            assert_eq!(trouble.remedy.unwrap().to_string(), "timedatectl set-ntp true");
        }
        assert_eq!(found(EARLIEST), Found::Fine("the clock is set".to_owned()));
    }
}
