//! Claims on endpoints' addresses, which are looked into before they are answered: it may be the endpoint itself that
//! speaks, by a MAC that its container has just given its link. To defend its address against it would take it off the LAN.

use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::time::Instant;

use ashore_core::name::IfName;
use ashore_wire::Mac;

use super::{Announcement, Lan};

/// Somebody claims an address that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) ip: IpAddr,
    /// The MAC that claims it.
    pub(crate) by: Mac,
    /// The MAC that has it, as far as is known.
    owner: Mac,
    parent: IfName,
}

/// Who looks into them, once there is somebody.
#[derive(Default)]
pub(super) struct Claims(Option<Sender<Claim>>);

impl Claims {
    /// Has one looked into. Tells whether there is anybody to do so, who will answer.
    pub(super) fn look_into(&self, ip: IpAddr, by: Mac, owner: Mac, parent: &IfName) -> bool {
        let claim = Claim { ip, by, owner, parent: parent.clone() };
        self.0.as_ref().is_some_and(|looking| looking.send(claim).is_ok())
    }
}

impl Lan {
    /// Says where claims are looked into. Each has to be answered by [`Lan::settle_claim`].
    pub(crate) fn tell_claims(&self, looking: Sender<Claim>) {
        self.table().claims = Claims(Some(looking));
    }

    /// Goes on after a claim was looked into: it is the endpoint's own, or another machine's, against which the address is
    /// defended if it still has the same owner.
    pub(crate) fn settle_claim(&self, claim: Claim, own: bool) {
        let Claim { ip, by, owner, parent } = claim;
        let mut table = self.table();
        if own {
            table.conflicts.get_mut(&ip).map(|claims| claims.remove(&by));
        } else if table.defended.get(&ip).is_some_and(|(_, defence)| defence.owner() == owner) {
            tracing::warn!(%ip, mac = %by, "claimed by another machine, and defended");
            table.announcements.push(Announcement { parent, ip, mac: owner, due: Instant::now(), left: 1 });
            table.note_conflict(ip, by);
        }
        drop(table);
        self.shared.waker.wake();
    }
}
