//! What an engine's list tells: names, what the engine has forgotten, and the endpoints of adopted networks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ashore_core::api::about::About;
use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::inventory::Inventory;
use ashore_core::model::network::Network;
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::pool::PoolKey;
use ashore_core::model::state::Change;
use ashore_core::net::name::{EndpointKey, EndpointName, IfName};
use ashore_core::net::observed::Observed;
use ashore_core::net::remedy::Remedy;

use super::{Controller, Inner, all_netns};
use crate::clock::now;
use crate::unlocked::Unlocked;

/// How long something has to be missing from the engine's lists before it is given up. A starting container
/// has its endpoint before the list shows it, by seconds if a network of another driver is slow.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// What an engine's list lacks, and since when.
#[derive(Debug, Clone, Default)]
pub(super) struct Missing {
    since: BTreeMap<Item, Instant>,
}

/// Something that the state has and that the engine should have too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    /// With the time at which it was made and the engine's id: the next endpoint of the same name is another
    /// one.
    Endpoint(EndpointKey, u64, Option<String>),
    Network(ashore_core::net::name::NetworkName),
    Pool(PoolKey),
}

impl Missing {
    /// Returns those of the missing items that have been missing for long enough.
    fn given_up(&mut self, missing: &[Item]) -> Vec<Item> {
        let now = Instant::now();
        self.since.retain(|item, _| missing.contains(item));
        let long =
            |item: &&Item| now.duration_since(*self.since.entry((*item).clone()).or_insert(now)) >= GRACE;
        missing.iter().filter(long).cloned().collect()
    }
}

impl Controller {
    /// Takes over what an engine has. The list says nothing about other engines.
    pub(super) fn take_inventory(
        &self,
        unlocked: &mut Unlocked,
        inventory: Inventory,
    ) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let engine = inventory.engine_id();
        // An engine that sends a list has told everything that it still has.
        inner.nothing_is_unconfirmed(&engine);
        inner.keep_unknown_ones(&inventory);
        // Before names are learnt: that may make names forgotten, but none that this list has.
        inner.note_bearers(&inventory, false);
        let names = inner.state().learnt(&inventory, inner.engines.last_of(&engine), now());
        if !names.is_empty() {
            inner.commit(names)?;
            // A container's addresses in advertised prefixes depend on its name.
            self.look_at_routers();
        }
        let before = all_netns(inner.state());
        let followed = inner.follow_adopted(&inventory)?;
        let adopted_again = inner.adopt_again(&inventory);
        if adopted_again {
            // The next list tells where the containers' namespaces are, now that the network is known as
            // adopted.
            self.lists.ask();
        }
        let followed = followed.or_else(|| adopted_again.then(Vec::new));
        let collected = inner.collect_garbage(&inventory)?;
        if followed.is_some() || collected {
            let mut netns = all_netns(inner.state());
            netns.extend(before);
            let (observed, errors) = inner.sweep(&netns)?;
            for error in &errors {
                tracing::warn!("{error}");
            }
            for endpoint in followed.iter().flatten() {
                inner.asks_anew(&observed, inner.state(), endpoint);
            }
            self.schedule_deferred();
        }
        let is_free = |parent: &IfName, ip| !self.lan.has_answered(parent, ip);
        let (wrong_identities, postponed) = inner.pick_wrong_identities(&inventory, is_free);
        if postponed {
            // A link that was left behind may be in the way.
            self.search_soon();
        }
        let waiting = postponed || !inner.engines.view(engine).missing.since.is_empty();
        inner.note_strangers(&inventory);
        inner.note_bearers(&inventory, false);
        inner.engines.keep(inventory);
        if inner.vlans.spare() {
            // The network for which the interface stayed may be gone.
            inner.leftovers.set(true);
            self.schedule_deferred();
        }
        Ok(Reply::Inventoried { wrong_identities, waiting })
    }
}

impl Inner {
    /// Makes the endpoints of adopted networks those that the engine has, and releases networks that the
    /// engine has removed. If something changed, returns the endpoints that are new or have changed.
    fn follow_adopted(&mut self, inventory: &Inventory) -> Result<Option<Vec<Endpoint>>, Refusal> {
        let its = |network: &&Network| network.adopted && inventory.has_made(network);
        let adopted: Vec<Network> = self.state().networks.values().filter(its).cloned().collect();
        let mut changes = Vec::new();
        for network in &adopted {
            let removed = self.state().forgotten_networks(inventory).contains(&network);
            changes.extend(match &network.engine {
                Some(engine) if removed => self.state().unadopting(&engine.id).unwrap_or_default(),
                _ => self.state().followed(inventory, network, now()),
            });
        }
        for network in adopted {
            if !self.state().with(&changes).networks.contains_key(&network.name) {
                tracing::info!(
                    network = network.label(),
                    "{engine} has removed it; it is adopted again if {engine} creates it again",
                    engine = inventory.kind
                );
                let removed = &mut self.engines.view(inventory.engine_id()).removed;
                removed.retain(|gone| gone.label() != network.label());
                removed.push(network);
            }
        }
        let put = |change: &Change| match change {
            Change::PutEndpoint(endpoint) if endpoint.is_wanted() => Some(endpoint.clone()),
            _ => None,
        };
        let followed = (!changes.is_empty()).then(|| changes.iter().filter_map(put).collect());
        self.commit(changes)?;
        Ok(followed)
    }

    /// Adopts networks again that an engine has created again: `docker compose down` removes them, and `up`
    /// creates new ones with the same names.
    fn adopt_again(&mut self, inventory: &Inventory) -> bool {
        if self.engines.view(inventory.engine_id()).removed.is_empty() {
            return false;
        }
        // The next list is early enough.
        let Ok(Observed { host, .. }) = self.observe(&[]) else { return false };
        let mut any = false;
        let mut still_removed = Vec::new();
        for network in std::mem::take(&mut self.engines.view(inventory.engine_id()).removed) {
            let Some(listed) = self.state().made_anew(inventory, &network, &host) else {
                still_removed.push(network);
                continue;
            };
            let adopted = self.adopting_of(inventory, &listed.id, network.host_access);
            match adopted.and_then(|(_, changes)| self.commit(changes)) {
                Ok(()) => tracing::info!(network = network.label(), "was created again and is adopted again"),
                Err(refusal) => {
                    tracing::warn!(
                        network = network.label(),
                        "was created again, but cannot be adopted again: {refusal}"
                    );
                    still_removed.push(network);
                    continue;
                }
            }
            any = true;
        }
        self.engines.view(inventory.engine_id()).removed = still_removed;
        any
    }

    /// Reports adopted networks that their engine has removed and created again in another form.
    pub(super) fn removed_troubles(&self) -> Vec<Trouble> {
        let told = self.engines.removed().filter(|(gone, inventory)| {
            let there = inventory.networks.iter().find(|listed| listed.name == gone.label());
            let is_own = |id: &str| self.state().network_of_engine(id).is_some();
            there
                .is_some_and(|listed| ["macvlan", "ipvlan"].contains(&&*listed.driver) && !is_own(&listed.id))
        });
        let told = told.map(|(gone, Inventory { kind, .. })| {
            let label = gone.label();
            let message = format!(
                "network `{label}` was adopted, and {kind} has created it again since: the host does not reach its containers"
            );
            let remedy = Remedy::run(format!("ashore adopt {}", gone.word()));
            Trouble::new(Code::AdoptionLost, About::network(gone), message, Some(remedy))
        });
        told.collect()
    }

    /// Records which of the remembered names the engine has containers of. This needs no write of its own: what is
    /// lost by a power failure follows from the next list. `anew` says whether the previous list tells nothing about
    /// what is remembered now.
    pub(super) fn note_bearers(&mut self, inventory: &Inventory, anew: bool) {
        let engine = inventory.engine_id();
        let last = self.engines.last_of(&engine).filter(|_| !anew);
        let others = self.engines.inventories().filter(|other| other.engine_id() != engine);
        let lists: Vec<&Inventory> = others.chain([inventory]).collect();
        let changes = self.state().bearers(inventory, last, &lists);
        if !changes.is_empty() {
            self.store.defer(changes);
        }
    }

    /// Gives up what the engine has forgotten. An engine says nothing about it if it was killed in between,
    /// or if it restores endpoints under live-restore.
    fn collect_garbage(&mut self, inventory: &Inventory) -> Result<bool, Refusal> {
        let state = self.store.state();
        let starting = &mut self.memory.engines.calls_mut(inventory.kind).starting;
        inventory.endpoints().for_each(|(_, _, id)| _ = starting.remove(id));
        starting.retain(|id| state.endpoint_of_engine(id).is_some());
        let endpoints = state.forgotten_endpoints(inventory).into_iter();
        let mut missing: Vec<Item> = endpoints
            .filter(|endpoint| !endpoint.engine_id().is_some_and(|id| starting.contains(id)))
            .map(|endpoint| {
                let key = (endpoint.network.clone(), endpoint.name.clone());
                Item::Endpoint(key, endpoint.since, endpoint.engine_id().map(str::to_owned))
            })
            .collect();
        missing.extend(
            state
                .forgotten_networks(inventory)
                .into_iter()
                .map(|network| Item::Network(network.name.clone())),
        );
        // A pool exists only between Docker's first call about a network and its second.
        let pools = state.pools.keys().filter(|_| inventory.kind == EngineKind::Docker);
        missing.extend(pools.copied().map(Item::Pool));
        let given_up = self.engines.view(inventory.engine_id()).missing.given_up(&missing);
        for item in &given_up {
            self.give_up(item)?;
        }
        Ok(!given_up.is_empty())
    }

    fn give_up(&mut self, item: &Item) -> Result<(), Refusal> {
        match item {
            Item::Endpoint(key, ..) => {
                let Some(endpoint) = self.state().endpoints.get(key).cloned() else { return Ok(()) };
                tracing::info!(network = %key.0, name = %key.1, "no container of the engine has this endpoint any more");
                self.let_go(&endpoint)
            }
            Item::Network(name) => {
                tracing::info!(network = %name, "the engine does not have this network any more");
                let endpoints: Vec<Endpoint> = self.state().endpoints_on(name).cloned().collect();
                for endpoint in &endpoints {
                    self.let_go(endpoint)?;
                }
                self.commit(vec![Change::DelNetwork(name.clone())])
            }
            Item::Pool(key) => {
                tracing::info!(pool = %key, "no network was created from this pool");
                self.commit(vec![Change::DelPool(*key)])
            }
        }
    }

    /// Removes an endpoint from the state. Its routes go with the next sweep, and its link belonged to the
    /// container.
    fn let_go(&mut self, endpoint: &Endpoint) -> Result<(), Refusal> {
        let going = Endpoint { stage: Stage::Detaching, ..endpoint.clone() };
        let mut changes = vec![Change::PutEndpoint(going)];
        changes.extend(self.state().detached(endpoint, now()));
        self.commit(changes)
    }

    /// Returns the name that the next unnamed request on an engine's network is for, if such a request is
    /// expected now. The expectation ends with this call.
    pub(super) fn expected_on(&mut self, network: &Network) -> Option<EndpointName> {
        let engine = network.engine.as_ref()?;
        let (name, until) = self.engines.calls_mut(engine.kind).expected.remove(&engine.id)?;
        (Instant::now() < until).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_list_lacks_is_kept_and_what_comes_back_has_its_time_anew() {
        let network = |n: u32| Item::Network(format!("lan{n}").parse().expect("a name"));
        let all: Vec<Item> = (0..100).map(network).collect();
        let mut missing = Missing::default();
        assert!(missing.given_up(&all).is_empty(), "it may still come");
        assert_eq!(missing.since.len(), all.len());
        missing.given_up(&all[..1]);
        assert_eq!(missing.since.keys().collect::<Vec<_>>(), [&all[0]]);

        let long_ago = Instant::now().checked_sub(GRACE).expect("the machine runs for longer");
        missing.since.insert(all[0].clone(), long_ago);
        assert_eq!(missing.given_up(&all[..2]), &all[..1]);
        missing.given_up(&[]);
        assert!(missing.since.is_empty());
        assert!(missing.given_up(&all[..1]).is_empty(), "it was there meanwhile");
    }
}
