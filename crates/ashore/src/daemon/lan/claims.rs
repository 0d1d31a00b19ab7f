//! Claims on endpoints' addresses. A claim is examined before it is answered, because the sender may be the
//! endpoint itself, with a MAC that its container has just given its link. Defending the address against it
//! would take it off the LAN.

use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::time::Instant;

use ashore_core::net::name::IfName;
use ashore_wire::Mac;

use ashore_wire::Heard;
use ashore_wire::conflict::Response;

use super::{Announcement, Defended, Lan, MOST_CLAIMS, OnLan, Send, Table, said_or_waits, seconds};

/// A claim on an address that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) ip: IpAddr,
    /// The MAC that claims the address.
    pub(crate) by: Mac,
    /// The MAC that has the address, as far as is known.
    owner: Mac,
    parent: IfName,
}

/// The receiver that examines claims, once there is one.
#[derive(Default)]
pub(super) struct Claims(Option<Sender<Claim>>);

impl Claims {
    /// Passes a claim to the receiver. Returns false if there is none.
    pub(super) fn look_into(&self, ip: IpAddr, by: Mac, owner: Mac, parent: &IfName) -> bool {
        let claim = Claim { ip, by, owner, parent: parent.clone() };
        self.0.as_ref().is_some_and(|looking| looking.send(claim).is_ok())
    }
}

impl Lan {
    /// Sets the receiver of claims. It must answer each one with [`Lan::settle_claim`].
    pub(crate) fn tell_claims(&self, looking: Sender<Claim>) {
        self.table().claims = Claims(Some(looking));
    }

    /// Finishes a claim after it was examined. `own` tells that the endpoint itself has made it. Otherwise
    /// the address is defended, if it still has the same owner.
    pub(crate) fn settle_claim(&self, claim: Claim, own: bool) {
        let Claim { ip, by, owner, parent } = claim;
        let mut table = self.table();
        let key = (parent, ip);
        if own {
            table.conflicts.get_mut(&key).map(|claims| claims.remove(&by));
        } else if table.defended.get(&key).is_some_and(|there| there.defence.owner() == owner) {
            tracing::warn!(%ip, mac = %by, "claimed by another machine; defending it");
            let (parent, due) = (key.0.clone(), Instant::now());
            table.announcements.push(Announcement { parent, ip, mac: owner, due, left: 1 });
            table.note_conflict(key, by);
        }
        drop(table);
        self.shared.waker.wake();
    }
}

impl Table {
    /// Answers a claim on an address that is in use on a parent, and records it.
    pub(super) fn defend(&mut self, parent: &IfName, heard: &Heard, now: Instant, send: &Send) {
        let key = (parent.clone(), heard.ip);
        let Some(Defended { defence, .. }) = self.defended.get_mut(&key) else { return };
        match defence.observe(heard, now) {
            Response::None => {}
            Response::Silent => self.note_conflict(key, heard.sender),
            Response::Defend(frame) => {
                if self.claims.look_into(heard.ip, heard.sender, defence.owner(), parent) {
                    return;
                }
                tracing::warn!(ip = %heard.ip, mac = %heard.sender, "claimed by another machine; defending it");
                let defended = self.send_queue.get_mut().send(parent, &frame, now, send);
                said_or_waits(&mut self.unreachable, parent, defended);
                self.note_conflict(key, heard.sender);
            }
        }
    }

    /// Defends addresses against the claims that an engine's list has not explained. Returns when to look
    /// again.
    pub(super) fn settle_doubts(&mut self, now: Instant, send: &Send) -> Option<Instant> {
        let Table { doubts, defended, .. } = self;
        let is_owner =
            |key: &OnLan, mac| defended.get(key).is_some_and(|there: &Defended| there.defence.owner() == mac);
        let (settled, again) = doubts.settled(is_owner, now);
        for (parent, heard) in settled {
            self.defend(&parent, &heard, now, send);
        }
        again
    }

    /// Records a claim, once a second for each machine: it may send frames as fast as the LAN carries them.
    fn note_conflict(&mut self, key: OnLan, mac: Mac) {
        let now = seconds();
        let before = self.conflicts.get(&key).and_then(|claims| claims.get(&mac));
        if before == Some(&now) {
            return;
        }
        if let Some(chronicle) = &self.chronicle {
            chronicle.claimed(&key.0, key.1, mac);
        }
        let claims = self.conflicts.entry(key).or_default();
        claims.insert(mac, now);
        if claims.len() > MOST_CLAIMS
            && let Some(oldest) = claims.iter().min_by_key(|(_, at)| **at).map(|(mac, _)| *mac)
        {
            claims.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ashore_core::model::identity::Seed;
    use ashore_core::model::state::State;

    use super::*;
    use crate::daemon::chronicle::Chronicle;

    #[test]
    fn a_machine_that_claims_all_the_time_is_told_of_once_a_second() {
        let directory = tempfile::tempdir().unwrap();
        let chronicle = Chronicle::of(directory.path(), Arc::new(State::new(Seed([0; 16]))));
        let mut table = Table { chronicle: Some(chronicle.clone()), ..Table::default() };
        let key: OnLan = ("eth0".parse().unwrap(), "192.168.88.7".parse().unwrap());
        let began = Instant::now();
        for _ in 0..10_000 {
            table.note_conflict(key.clone(), Mac([2, 0, 0, 0, 0, 1]));
        }
        table.note_conflict(key, Mac([2, 0, 0, 0, 0, 2]));
        let most = began.elapsed().as_secs() + 2;
        let (events, _) = chronicle.tell(0, Some("192.168.88.7"));
        assert_eq!(events.len(), 2, "{events:#?}");
        assert!(events.iter().all(|event| event.times <= most), "{events:#?}");
    }
}
