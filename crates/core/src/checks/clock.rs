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
