//! What IPv6 routers advertise on each parent of a network that follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::mpsc::Sender;
use std::time::Duration;

use ashore_core::model::moment::Moment;
use ashore_core::model::state::State;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_kernel::boottime;
use ashore_wire::Boottime;
use ashore_wire::ndp::{RouterAdvertisement, router_solicitation};
use ashore_wire::slaac::{Action, Link, Offer};

use super::{Lan, Send, Tap, seconds};
use crate::daemon::random;
use crate::unlocked::Unlocked;

/// How long to wait for a router after the first solicitation. A router answers within half a second (RFC
/// 4861, 6.2.6), and a later advertisement is followed as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// All links whose routers are followed.
#[derive(Default)]
pub(super) struct Routers {
    links: BTreeMap<IfName, Followed>,
    /// The channel for parents whose offer has changed. The receiver must look up the current offer.
    changed: Option<Sender<IfName>>,
}

struct Followed {
    link: Link,
    /// When routers were first solicited, or solicited again because the link came back.
    since: Boottime,
    /// Whether frames can pass.
    up: bool,
}

/// The current time, by both clocks.
pub(crate) fn moment() -> Moment {
    Moment { now: boottime(), today: seconds() }
}

impl Lan {
    /// Sets the channel for parents whose routers offer something else.
    pub(crate) fn tell_of_routers(&self, changed: Sender<IfName>) {
        self.table().routers.changed = Some(changed);
    }

    /// Reports a parent, or all parents, as if its routers had offered something else.
    pub(crate) fn look_at_routers(&self, parent: Option<&IfName>) {
        let table = self.table();
        let all = table.routers.links.keys().filter(|there| parent.is_none_or(|parent| parent == *there));
        all.for_each(|parent| table.routers.say_changed(parent));
    }

    /// What the routers on a parent's LAN offer, together with what DHCPv6 servers tell there.
    pub(crate) fn offer(&self, parent: &IfName) -> Offer {
        let table = self.table();
        table.inquiries.add_to(parent, table.routers.offer(parent))
    }

    /// Waits until a router has advertised on a parent, for as long as one is to be expected.
    pub(crate) fn await_router(&self, _: &Unlocked, parent: &IfName) {
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
    /// What the routers on a parent's LAN offer.
    pub(super) fn offer(&self, parent: &IfName) -> Offer {
        self.links.get(parent).map(|followed| followed.link.offer(boottime())).unwrap_or_default()
    }

    pub(super) fn say_changed(&self, parent: &IfName) {
        if let Some(changed) = &self.changed {
            // The LAN thread lives as long as the daemon, so an error can be ignored.
            let _ = changed.send(parent.clone());
        }
    }

    /// Updates the parents on which routers are followed. What endpoints had learned before a restart of the
    /// daemon is kept until it expires.
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

    /// Solicits routers again on a parent where none has been heard.
    pub(super) fn ask_again(&mut self, parent: &IfName) {
        if let Some(followed) = self.links.get_mut(parent).filter(|followed| !followed.link.has_heard()) {
            followed.since = boottime();
            followed.link.link_up(followed.since);
        }
    }

    /// Does what is due. Returns the time until the next action.
    pub(super) fn turn(&mut self, parents: &BTreeMap<IfName, Tap>, send: &Send) -> Option<Duration> {
        let (now, mut wait, mut news): (Boottime, Option<Duration>, Vec<IfName>) =
            (boottime(), None, Vec::new());
        for (parent, followed) in &mut self.links {
            let until = loop {
                match followed.link.poll(now) {
                    Action::Wait(until) => break until,
                    Action::News => news.push(parent.clone()),
                    // A solicitation that cannot be sent is treated like one that is lost.
                    Action::Solicit => {
                        let mac = parents.get(parent).filter(|_| followed.up).map(|tap| tap.mac);
                        if let Some(Err(error)) = mac.map(|mac| send(parent, &router_solicitation(mac))) {
                            tracing::debug!(%parent, "cannot send a router solicitation: {error}");
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

    /// Handles a frame that a parent received. Returns whether it was a router advertisement.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8]) -> bool {
        let Some(followed) = self.links.get_mut(parent) else { return false };
        let Some(said) = RouterAdvertisement::parse(frame) else { return false };
        tracing::debug!(%parent, router = %said.router, lifetime = said.lifetime, prefixes = said.prefixes.len(), "router advertisement received");
        followed.link.receive(&said, boottime());
        true
    }
}
