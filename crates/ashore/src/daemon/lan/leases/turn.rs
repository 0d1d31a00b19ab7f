//! Which client may ask for an address, and when.
//!
//! Servers that probe an address before they offer it (busybox 1.35 for two seconds, dnsmasq 2.90 for three)
//! serve one client after the other, and read no messages meanwhile. If ten clients asked at once, each would
//! be answered too late.

use std::collections::HashMap;
use std::time::Duration;

use ashore_core::net::name::IfName;
use ashore_kernel::boottime;
use ashore_wire::Boottime;
use ashore_wire::dhcp4::State as Phase;

use super::{Leases, Leasing};

/// How many clients may ask at the same time on one parent.
const WINDOW: usize = 3;
/// How long a client without an answer keeps others waiting, which the server may answer sooner.
const TURN: Duration = Duration::from_secs(10);
/// How long a request waits for the turn of its client.
pub(super) const QUEUE: Duration = Duration::from_secs(45);
/// How often the turns are checked.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Leases {
    /// How many clients are asking, by parent.
    pub(super) fn asking(&self) -> HashMap<IfName, usize> {
        let (now, mut asking) = (boottime(), HashMap::new());
        for leasing in self.active.values().filter(|leasing| leasing.is_asking(now)) {
            *asking.entry(leasing.wanted.parent.clone()).or_default() += 1;
        }
        asking
    }
}

impl Leasing {
    /// Whether the client keeps others waiting.
    fn is_asking(&self, now: Boottime) -> bool {
        let begun = self.own.turn.is_some_and(|turn| now.saturating_duration_since(turn) < TURN);
        let unanswered = matches!(self.client.state(), Phase::Init | Phase::Selecting | Phase::Requesting);
        self.own.awaited && begun && unanswered
    }

    /// Whether it is the client's turn. A client that asks for a previous lease is answered at once and need
    /// not wait, nor does a client that no request waits for.
    pub(super) fn may_ask(&mut self, now: Boottime, asking: &mut HashMap<IfName, usize>) -> bool {
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
