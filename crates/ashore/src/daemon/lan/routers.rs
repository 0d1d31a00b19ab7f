//! What IPv6 routers advertise, by each parent of a network that follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ashore_core::model::moment::Moment;
use ashore_core::model::state::State;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_kernel::boottime;
use ashore_wire::ndp::{RouterAdvertisement, router_solicitation};
use ashore_wire::slaac::{Action, Link, Offer};

use super::{Lan, Send, Tap, seconds};
use crate::daemon::random;

/// How long somebody waits for a router that was just asked for the first time: one answers within half a second (RFC 4861, 6.2.6), and
/// what comes later is followed all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// All links whose routers are followed.
#[derive(Default)]
pub(super) struct Routers {
    links: BTreeMap<IfName, Followed>,
    /// Where it is said by which parent the offer is another than before. What it is, is to be looked up.
    changed: Option<Sender<IfName>>,
}

struct Followed {
    link: Link,
    /// When it was first asked for routers, or again because it came back.
    since: Instant,
    /// Whether frames can pass.
    up: bool,
}

/// This moment by both clocks.
pub(crate) fn moment() -> Moment {
    Moment { now: boottime(), today: seconds() }
}

impl Lan {
    /// Says where it is told by which parent routers offer something else.
    pub(crate) fn tell_of_routers(&self, changed: Sender<IfName>) {
        self.table().routers.changed = Some(changed);
    }

    /// Tells of a parent, or of all of them, as if its routers had offered something else.
    pub(crate) fn look_at_routers(&self, parent: Option<&IfName>) {
        let table = self.table();
        let all = table.routers.links.keys().filter(|there| parent.is_none_or(|parent| parent == *there));
        all.for_each(|parent| table.routers.say_changed(parent));
    }

    /// What the routers by a parent offer, with what else is told there.
    pub(crate) fn offer(&self, parent: &IfName) -> Offer {
        let table = self.table();
        table.inquiries.add_to(parent, table.routers.offer(parent))
    }

    /// Waits until a router has spoken by a parent, for as long as that is to be expected.
    pub(crate) fn await_router(&self, parent: &IfName) {
        let mut table = self.table();
        loop {
            let Some(followed) = table.routers.links.get(parent) else { return };
            let elapsed = boottime().saturating_duration_since(followed.since);
            let Some(left) = PATIENCE.checked_sub(elapsed) else { return };
            if followed.link.has_heard() || !followed.up {
                return;
            }
            let waited = self.shared.ended.wait_timeout(table, left);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Routers {
    /// What the routers by a parent offer.
    pub(super) fn offer(&self, parent: &IfName) -> Offer {
        self.links.get(parent).map(|followed| followed.link.offer(boottime())).unwrap_or_default()
    }

    pub(super) fn say_changed(&self, parent: &IfName) {
        if let Some(changed) = &self.changed {
            // The thread that listens ends with the daemon alone.
            let _ = changed.send(parent.clone());
        }
    }

    /// Takes in by which parents routers are followed. What endpoints had of them before a start is believed until it ends.
    pub(super) fn follow(&mut self, state: &State, host: &View) {
        let networks = || state.networks.values().filter(|network| network.follows_routers());
        let parents: BTreeSet<&IfName> = networks().map(|network| &network.parent).collect();
        self.links.retain(|parent, _| parents.contains(parent));
        for parent in parents {
            let up = host.link(parent).is_some_and(|parent| parent.up && parent.carrier);
            let at = moment();
            let followed = self.links.entry(parent.clone()).or_insert_with(|| {
                let mut link = Link::new(at.now, random());
                let here = networks().filter(|network| network.parent == *parent);
                let endpoints = here.flat_map(|network| state.endpoints_on(&network.name));
                for learned in endpoints.filter_map(|endpoint| endpoint.learned.as_ref()) {
                    link.recall(learned.recalled(at), at.now);
                }
                Followed { link, since: at.now, up }
            });
            if up && !followed.up {
                followed.link.link_up(at.now);
                followed.since = at.now;
            }
            followed.up = up;
        }
    }

    /// No router has been heard by a parent, and is asked anew.
    pub(super) fn ask_again(&mut self, parent: &IfName) {
        if let Some(followed) = self.links.get_mut(parent).filter(|followed| !followed.link.has_heard()) {
            followed.since = boottime();
            followed.link.link_up(followed.since);
        }
    }

    /// Does what is due. Answers how long nothing will be.
    pub(super) fn turn(&mut self, parents: &BTreeMap<IfName, Tap>, send: &Send) -> Option<Duration> {
        let (now, mut wait, mut news): (Instant, Option<Duration>, Vec<IfName>) =
            (boottime(), None, Vec::new());
        for (parent, followed) in &mut self.links {
            let until = loop {
                match followed.link.poll(now) {
                    Action::Wait(until) => break until,
                    Action::News => news.push(parent.clone()),
                    // A solicitation that cannot be sent is as one that is lost.
                    Action::Solicit => {
                        let mac = parents.get(parent).filter(|_| followed.up).map(|ear| ear.mac);
                        if let Some(Err(error)) = mac.map(|mac| send(parent, &router_solicitation(mac))) {
                            tracing::debug!(%parent, "no router can be asked: {error}");
                        }
                    }
                }
            };
            wait = wait.into_iter().chain(until.map(|until| until.saturating_duration_since(now))).min();
        }
        for parent in news {
            self.say_changed(&parent);
        }
        wait
    }

    /// Takes in a frame that came by a parent. Tells whether a router has spoken.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8]) -> bool {
        let Some(followed) = self.links.get_mut(parent) else { return false };
        let Some(said) = RouterAdvertisement::parse(frame) else { return false };
        tracing::debug!(%parent, router = %said.router, lifetime = said.lifetime, prefixes = said.prefixes.len(), "a router speaks");
        followed.link.receive(&said, boottime());
        true
    }
}
