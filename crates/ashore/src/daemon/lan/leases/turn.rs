//! Whose turn it is to ask for an address.
//!
//! Servers that look for an address before they offer it (busybox 1.35 for two seconds, dnsmasq 2.90 for three) do so for one
//! client after the other, and hear nobody meanwhile. If ten asked at once, each would be answered too late.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ashore_core::net::name::IfName;
use ashore_kernel::boottime;
use ashore_wire::dhcp4::State as Phase;

use super::{Leases, Leasing};

/// How many may ask at a time, by one parent.
const WINDOW: usize = 3;
/// For how long one who is not answered keeps others waiting, who may be better known to the server.
const TURN: Duration = Duration::from_secs(10);
/// For how long somebody waits for his turn.
pub(super) const QUEUE: Duration = Duration::from_secs(45);
/// How often it is seen whose turn it is.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Leases {
    /// How many are asking, by parent.
    pub(super) fn asking(&self) -> HashMap<IfName, usize> {
        let (now, mut asking) = (boottime(), HashMap::new());
        for leasing in self.active.values().filter(|leasing| leasing.is_asking(now)) {
            *asking.entry(leasing.wanted.parent.clone()).or_default() += 1;
        }
        asking
    }
}

impl Leasing {
    /// Whether it keeps others waiting.
    fn is_asking(&self, now: Instant) -> bool {
        let begun = self.own.turn.is_some_and(|turn| now.saturating_duration_since(turn) < TURN);
        let unanswered = matches!(self.client.state(), Phase::Init | Phase::Selecting | Phase::Requesting);
        self.own.awaited && begun && unanswered
    }

    /// Whether it is its turn. Who asks for a lease from before is answered at once, and whom nobody waits for has time.
    pub(super) fn may_ask(&mut self, now: Instant, asking: &mut HashMap<IfName, usize>) -> bool {
        if self.own.awaited && self.own.turn.is_none() && self.client.state() == Phase::Init {
            let others = asking.entry(self.wanted.parent.clone()).or_default();
            if *others >= WINDOW {
                return false;
            }
            *others += 1;
        }
        self.own.turn.get_or_insert(now);
        true
    }
}
