//! VLAN interfaces that Ashore shares with other users. If one of theirs is gone, Ashore makes it. One of
//! Ashore's own stays as long as they use it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ashore_core::api::refusal::Refusal;
use ashore_core::model::network::Network;
use ashore_core::model::owner::shim_mac;
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::state::Change;
use ashore_core::net::link::{Place, Tag};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Link, Observed, ObservedKind, View};
use ashore_core::net::step::Step;
use ashore_core::plan::diff::Plan;
use ashore_kernel::{Namespace, is_in_users_namespace};
use ashore_wire::Mac;

use super::moved_links::look_everywhere;
use super::{Controller, Inner};
use crate::unlocked::Unlocked;

/// How long an interface that existed may be gone. Whatever configures the host may be making it again.
const GONE: Duration = Duration::from_secs(3);
/// The same for an interface that this daemon has not seen: the host may be starting.
const NOT_YET: Duration = Duration::from_secs(20);
/// How long the answer that something uses an interface stays valid: reading all namespaces takes some
/// milliseconds.
const BELIEVED: Duration = Duration::from_secs(50);
/// The same for the answer that nothing uses it: the next plan depends on it.
const FRESH: Duration = Duration::from_secs(3);

/// When the users of interfaces were searched for, and which user was found, by the interface's index.
type Looked = BTreeMap<u32, (Instant, Option<String>)>;

/// VLAN interfaces that are shared with other users.
#[derive(Debug, Clone, Default)]
pub(super) struct Vlans {
    /// Interfaces of others that existed.
    seen: BTreeSet<IfName>,
    /// Interfaces of others that are gone, and since when.
    gone: BTreeMap<IfName, Instant>,
    /// The results of the searches for other users of Ashore's own interfaces. All copies share them.
    looked: Arc<Mutex<Looked>>,
    /// Interfaces that are spared because nothing has searched for their users yet.
    unlooked: RefCell<BTreeMap<u32, Link>>,
    /// Whether one of Ashore's own interfaces stays only for others.
    spares: Cell<bool>,
}

impl Vlans {
    /// Whether an interface that existed is about to be made again.
    pub(super) fn are_awaited(&self) -> bool {
        self.gone.keys().any(|parent| self.seen.contains(parent))
    }

    /// Whether one of Ashore's own interfaces stays only for others.
    pub(super) fn spare(&self) -> bool {
        self.spares.get()
    }

    /// Whether interfaces are spared because nothing has searched for their users yet.
    pub(super) fn are_unlooked(&self) -> bool {
        !self.unlooked.borrow().is_empty()
    }

    /// Forgets which interfaces nothing else used a moment ago.
    pub(super) fn forget_unused(&self) {
        self.looked().retain(|_, (_, user)| user.is_some());
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the parent of a network exists, if it is not Ashore's own VLAN interface.
    pub(super) fn sees(&mut self, network: &Network) {
        if network.vlan.is_none() {
            self.seen.insert(network.parent.clone());
        }
    }
}

impl Controller {
    /// Searches for the users of those Ashore interfaces that a plan has spared because they were not known.
    /// This takes time, and runs without the lock. Returns whether there were any: then the plan has to be
    /// made again.
    pub(super) fn look_at_vlans(&self, unlocked: &mut Unlocked) -> bool {
        let (vlans, own) = {
            let inner = self.lock(unlocked);
            let vlans = inner.vlans.unlooked.take();
            if vlans.is_empty() {
                return false;
            }
            let own: BTreeSet<Mac> =
                inner.state().identities.values().filter_map(|identity| identity.mac).collect();
            (vlans, own)
        };
        for vlan in vlans.values() {
            let taken_in = self.lock(unlocked).kernel.taken_in(vlan.index).ok().flatten();
            let user = user_elsewhere(unlocked, self.copies.host(), vlan, own.clone(), taken_in.as_ref());
            self.lock(unlocked).vlans.looked().insert(vlan.index, (Instant::now(), user));
        }
        true
    }

    /// Asks something that changes nothing, and asks again if the users of an interface had to be searched
    /// for.
    pub(super) fn with_vlans_looked_at<T>(
        &self,
        unlocked: &mut Unlocked,
        ask: impl Fn(&mut Unlocked) -> T,
    ) -> T {
        let answer = ask(unlocked);
        if self.look_at_vlans(unlocked) { ask(unlocked) } else { answer }
    }
}

impl Inner {
    /// Does the same with sockets that no other thread uses.
    pub(super) fn look_at_vlans(&self, unlocked: &mut Unlocked) -> bool {
        let vlans = self.vlans.unlooked.take();
        if vlans.is_empty() {
            return false;
        }
        let own: BTreeSet<Mac> =
            self.state().identities.values().filter_map(|identity| identity.mac).collect();
        for vlan in vlans.values() {
            let taken_in = self.kernel.taken_in(vlan.index).ok().flatten();
            let user = user_elsewhere(unlocked, self.kernel.host(), vlan, own.clone(), taken_in.as_ref());
            self.vlans.looked().insert(vlan.index, (Instant::now(), user));
        }
        true
    }

    /// Gives a network a VLAN interface made by Ashore if its parent was a VLAN interface of others and is
    /// gone for good.
    pub(super) fn take_over_vlans(&mut self, host: &View) -> Result<(), Refusal> {
        let state = self.store.state();
        let vlans = &mut self.memory.vlans;
        for network in state.networks.values().filter(|network| host.link(&network.parent).is_some()) {
            vlans.sees(network);
        }
        let orphans: Vec<Network> =
            state.networks.values().filter_map(|network| state.taking_over(network, host)).collect();
        vlans.gone.retain(|parent, _| orphans.iter().any(|network| network.parent == *parent));
        vlans.seen.retain(|parent| state.networks.values().any(|network| network.parent == *parent));
        let now = Instant::now();
        let is_due = |network: &Network| {
            let patience = if vlans.seen.contains(&network.parent) { GONE } else { NOT_YET };
            now.duration_since(*vlans.gone.entry(network.parent.clone()).or_insert(now)) >= patience
        };
        let due: Vec<Network> = orphans.into_iter().filter(is_due).collect();
        for network in &due {
            let (parent, network) = (&network.parent, network.label());
            tracing::warn!(%parent, %network, "this VLAN interface was deleted by its owner: Ashore makes it again");
        }
        self.commit(due.into_iter().map(Change::PutNetwork).collect())
    }

    /// Removes from a plan the deletion of VLAN interfaces that others use.
    pub(super) fn spare_others(&self, plan: &mut Plan, observed: &Observed) {
        let made_anew: Vec<IfName> = plan.steps.iter().filter_map(|step| added(step).cloned()).collect();
        let before = plan.steps.len();
        plan.steps.retain(|step| {
            let going = removed(step).filter(|name| !made_anew.contains(name));
            let vlan = going.and_then(|name| own_vlan(&observed.host, name));
            vlan.is_none_or(|vlan| self.user_of(vlan).is_none())
        });
        self.vlans.spares.set(plan.steps.len() < before);
    }

    /// The warning when the last network on a VLAN is gone but its interface stays.
    pub(super) fn spared(&self, parent: &IfName, host: &View) -> Option<String> {
        let vlan = own_vlan(host, parent)?;
        if self.state().networks.values().any(|network| network.parent == *parent) {
            return None;
        }
        let user = self.user_of(vlan).unwrap_or_else(|| "another user".to_owned());
        Some(format!("`{parent}` stays for as long as {user} uses it"))
    }

    /// The warning about a network on a VLAN interface of an engine's, which the engine will delete.
    pub(super) fn engines_vlan(&self, network: &Network, host: &View) -> Option<String> {
        let parent = host.link(&network.parent)?;
        if network.vlan.is_some() || parent.tag().is_some() {
            return None;
        }
        let ObservedKind::Vlan { id, .. } = parent.kind else { return None };
        let lower = host.link_at(parent.lower?.index)?;
        let (engine, owner) = self.engines_network_on(&parent.name, network.label())?;
        // An engine makes, and deletes, an interface with such a name.
        (parent.name.as_str() == format!("{}.{id}", lower.name)).then(|| {
            format!(
                "`{}` is also the parent of {engine}'s network `{owner}`: if {engine} has made it, {engine} deletes it with that network; \
                 Ashore then makes it again, and containers are off the LAN for some seconds",
                parent.name
            )
        })
    }

    /// The same for a network of an engine's that is adopted and shares its parent with networks of Ashore's
    /// own.
    pub(super) fn vlan_with_others(&self, adopted: &Network, host: &View) -> Option<String> {
        let own = |network: &&Network| !network.adopted && network.parent == adopted.parent;
        self.state().networks.values().filter(own).find_map(|network| self.engines_vlan(network, host))
    }

    /// Returns another network of an engine's own drivers on a parent.
    fn engines_network_on(&self, parent: &IfName, but: &str) -> Option<(EngineKind, String)> {
        let networks = self
            .engines
            .inventories()
            .flat_map(|inventory| inventory.networks.iter().map(|network| (inventory.kind, network)));
        let mut on_it = networks.filter(|(_, network)| {
            ["macvlan", "ipvlan"].contains(&network.driver.as_str())
                && network.options.get("parent").is_some_and(|name| name == parent.as_str())
        });
        on_it.find(|(_, network)| network.name != but).map(|(engine, network)| (engine, network.name.clone()))
    }

    /// Returns the other user of an interface of Ashore's, if there is one or if it is not known.
    fn user_of(&self, vlan: &Link) -> Option<String> {
        if let Some((engine, name)) = self.engines_network_on(&vlan.name, "") {
            return Some(format!("{engine}'s network `{name}`"));
        }
        let mut looked = self.vlans.looked();
        let age = |user: &Option<String>| if user.is_some() { BELIEVED } else { FRESH };
        looked.retain(|_, (at, user)| at.elapsed() < age(user));
        if let Some((_, user)) = looked.get(&vlan.index) {
            return user.clone();
        }
        self.vlans.unlooked.borrow_mut().insert(vlan.index, vlan.clone());
        Some("another user".to_owned())
    }
}

/// Returns a user of a VLAN interface: a child in some namespace that Ashore did not make, given the MACs
/// that the interface receives frames for. `own` has the MACs of Ashore's children.
fn user_elsewhere(
    unlocked: &mut Unlocked,
    host: &Namespace,
    vlan: &Link,
    mut own: BTreeSet<Mac>,
    taken_in: Option<&BTreeSet<Mac>>,
) -> Option<String> {
    own.extend(shim_mac(vlan));
    let mut user = None;
    let looked = look_everywhere(unlocked, host, &vlan.name, |_, netns, view, _| {
        let place = Place::Netns(netns.clone());
        for child in view.links.iter().filter(|link| link.is_child_of(vlan, &place)) {
            // A child with Ashore's tag is left over from an endpoint that is no longer known.
            if child.tag().is_none() && !child.mac.is_some_and(|mac| own.contains(&mac)) {
                user.get_or_insert_with(|| format!("`{}` in {}", child.name, netns.path.display()));
            }
            own.extend(child.mac);
        }
        Ok(())
    });
    let unread = match looked {
        Ok(unread) => unread,
        Err(refusal) => return Some(format!("a user that cannot be seen ({refusal})")),
    };
    // The kernel knows every link with a MAC of its own that is up on the interface, whichever namespaces can
    // be read.
    let unknown = taken_in.into_iter().flatten().find(|mac| !own.contains(mac));
    let unknown = unknown.map(|mac| format!("a link with the MAC {mac}"));
    // A namespace that cannot be read may have a child. This does not count in a user namespace, such as the
    // lab's, where the namespaces outside of it cannot be read.
    let unread = unread.first().filter(|_| taken_in.is_none() || !is_in_users_namespace());
    let unread = unread.map(|why| format!("a container that cannot be read ({why})"));
    user.or(unknown).or(unread)
}

/// Returns a VLAN interface that Ashore has made.
fn own_vlan<'a>(host: &'a View, name: &IfName) -> Option<&'a Link> {
    let link = host.tagged(&Tag::Vlan(name.clone()))?;
    matches!(link.kind, ObservedKind::Vlan { .. }).then_some(link)
}

fn removed(step: &Step) -> Option<&IfName> {
    match step {
        Step::DelLink { place: Place::Host, link } => Some(link),
        _ => None,
    }
}

fn added(step: &Step) -> Option<&IfName> {
    match step {
        Step::AddLink { place: Place::Host, link } => Some(&link.name),
        _ => None,
    }
}
