//! What an engine's list tells: names, what it has forgotten, and the endpoints of adopted networks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::inventory::Inventory;
use ashore_core::model::network::Network;
use ashore_core::model::pool::PoolKey;
use ashore_core::model::state::Change;
use ashore_core::net::name::{EndpointKey, EndpointName, IfName};
use ashore_core::net::observed::Observed;

use super::{Controller, Inner, all_netns};
use crate::clock::now;

/// For how long something has to be missing from the engine's lists before it is given up. A container that is starting
/// has its endpoint before the list shows it, by seconds if a network of another driver is slow.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// What an engine's list lacks, and since when.
#[derive(Debug, Default)]
pub(super) struct Missing {
    since: BTreeMap<Item, Instant>,
    /// Endpoints, by the engine's id, whose links were handed to the engine and that no list has shown since: their
    /// containers are starting, for as long as that takes. An engine that starts anew has forgotten such.
    starting: BTreeSet<String>,
}

/// An adopted network that its engine has removed.
#[derive(Debug)]
pub(super) struct Removed {
    /// The engine.
    of: String,
    network: Network,
}

/// Something that the state has and an engine should have too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    /// With when it came and the engine's id of it: the next one of its name is another.
    Endpoint(EndpointKey, u64, Option<String>),
    Network(ashore_core::net::name::NetworkName),
    Pool(PoolKey),
}

impl Missing {
    /// A link was handed to the engine.
    pub(super) fn starts(&mut self, endpoint: &str) {
        self.starting.insert(endpoint.to_owned());
    }

    /// Whether a container is starting that no list has shown since.
    pub(super) fn awaits_start(&self) -> bool {
        !self.starting.is_empty()
    }

    /// Whether an endpoint's container is starting, as far as lists have shown.
    pub(super) fn is_starting(&self, endpoint: &str) -> bool {
        self.starting.contains(endpoint)
    }

    /// The engine has started anew.
    pub(super) fn none_starts(&mut self) {
        self.starting.clear();
    }

    /// Those that have been missing long enough, of those that are missing now.
    fn given_up(&mut self, missing: &[Item]) -> Vec<Item> {
        let now = Instant::now();
        self.since.retain(|item, _| missing.contains(item));
        let long =
            |item: &&Item| now.duration_since(*self.since.entry((*item).clone()).or_insert(now)) >= GRACE;
        missing.iter().filter(long).cloned().collect()
    }
}

impl Controller {
    /// Takes in what an engine has.
    pub(super) fn take_inventory(&self, inventory: Inventory) -> Result<Reply, Refusal> {
        let mut inner = self.lock();
        // An engine that lists has told what it still has.
        inner.unconfirmed.clear();
        inner.keep_unknown_ones(&inventory);
        inner.unconfirmed_pools.clear();
        let names = inner.state().learnt(&inventory, inner.inventory.as_ref(), now());
        if !names.is_empty() {
            inner.commit(names)?;
            // A container's addresses in advertised prefixes follow from its name.
            self.look_at_routers();
        }
        let before = all_netns(inner.state());
        let followed = inner.follow_adopted(&inventory)?;
        let adopted_again = inner.adopt_again(&inventory);
        if adopted_again {
            // The list tells where its containers' namespaces are, now that it is known as adopted.
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
            self.follow(&inner, &observed);
            for endpoint in followed.iter().flatten() {
                inner.asks_anew(&observed, inner.state(), endpoint);
            }
            self.schedule_deferred();
        }
        let is_free = |parent: &IfName, ip| !self.lan.has_answered(parent, ip);
        let (wrong_identities, postponed) = inner.pick_wrong_identities(&inventory, is_free);
        if postponed {
            // What is in the way may be a link that was left behind.
            self.search_soon();
        }
        let waiting = postponed || !inner.missing.since.is_empty();
        inner.note_strangers(&inventory);
        inner.inventory = Some(inventory);
        if inner.vlans.spare() {
            // The network that it stayed for may be gone.
            inner.leftovers = true;
            self.schedule_deferred();
        }
        Ok(Reply::Inventoried { wrong_identities, waiting })
    }
}

impl Inner {
    /// The endpoints of adopted networks are those that the engine has, and a network that it removed is let go. If something
    /// changed, gives the endpoints that are new or have something else.
    fn follow_adopted(&mut self, inventory: &Inventory) -> Result<Option<Vec<Endpoint>>, Refusal> {
        let adopted: Vec<Network> =
            self.state().networks.values().filter(|network| network.adopted).cloned().collect();
        let mut changes = Vec::new();
        for network in &adopted {
            let removed = self.state().forgotten_networks(inventory).contains(&network);
            changes.extend(match &network.engine {
                Some(engine) if removed => self.state().unadopting(&engine.id).unwrap_or_default(),
                _ => self.state().followed(inventory, network, now()),
            });
        }
        self.removed.retain(|gone| inventory.engine == gone.of);
        for network in adopted {
            if !self.state().with(&changes).networks.contains_key(&network.name) {
                tracing::info!(
                    network = network.label(),
                    "Docker has removed it; it is adopted again if it is made anew"
                );
                self.removed.retain(|gone| gone.network.label() != network.label());
                self.removed.push(Removed { of: inventory.engine.clone(), network });
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

    /// Adopts networks again that an engine has made anew: `docker compose down` removes them, and `up` makes others of their names.
    fn adopt_again(&mut self, inventory: &Inventory) -> bool {
        if self.removed.is_empty() {
            return false;
        }
        // The next list will do.
        let Ok(Observed { host, .. }) = self.observe(&[]) else { return false };
        let mut any = false;
        for gone in std::mem::take(&mut self.removed) {
            let network = &gone.network;
            let Some(listed) = self.state().made_anew(inventory, network, &host) else {
                self.removed.push(gone);
                continue;
            };
            let adopted = self.adopting_of(inventory, &listed.id, network.host_access);
            match adopted.and_then(|(_, changes)| self.commit(changes)) {
                Ok(()) => tracing::info!(network = network.label(), "was made anew, and is adopted again"),
                Err(refusal) => {
                    tracing::warn!(
                        network = network.label(),
                        "was made anew, and cannot be adopted again: {refusal}"
                    );
                    self.removed.push(gone);
                    continue;
                }
            }
            any = true;
        }
        any
    }

    /// Networks that were adopted and that Docker has made anew otherwise.
    pub(super) fn removed_troubles(&self) -> Vec<String> {
        let Some(inventory) = &self.inventory else { return Vec::new() };
        let told = self.removed.iter().map(|gone| gone.network.label()).filter(|label| {
            let there = inventory.networks.iter().find(|listed| listed.name == **label);
            let is_own = |id: &str| self.state().network_of_engine(id).is_some();
            there
                .is_some_and(|listed| ["macvlan", "ipvlan"].contains(&&*listed.driver) && !is_own(&listed.id))
        });
        let told = told.map(|label| {
            format!(
                "network `{label}` was adopted, and Docker has made it anew since: the host does not reach its containers; try: \
                 ashore adopt {label}"
            )
        });
        told.collect()
    }

    /// An adopted network is not to be adopted again.
    pub(super) fn let_removed_be(&mut self, label: &str) -> bool {
        let before = self.removed.len();
        self.removed.retain(|gone| gone.network.label() != label);
        self.removed.len() < before
    }

    /// Gives up what the engine has forgotten: it says nothing when it was killed in between, or restores endpoints
    /// under live-restore.
    fn collect_garbage(&mut self, inventory: &Inventory) -> Result<bool, Refusal> {
        let state = self.store.state();
        let starting = &mut self.missing.starting;
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
        // A pool lasts from the engine's first word of a network to its second.
        missing.extend(state.pools.keys().copied().map(Item::Pool));
        let given_up = self.missing.given_up(&missing);
        for item in &given_up {
            self.give_up(item)?;
        }
        Ok(!given_up.is_empty())
    }

    fn give_up(&mut self, item: &Item) -> Result<(), Refusal> {
        match item {
            Item::Endpoint(key, ..) => {
                let Some(endpoint) = self.state().endpoints.get(key).cloned() else { return Ok(()) };
                tracing::info!(network = %key.0, name = %key.1, "no container of the engine's has it any more");
                self.let_go(&endpoint)
            }
            Item::Network(name) => {
                tracing::info!(network = %name, "the engine does not have it any more");
                let endpoints: Vec<Endpoint> = self.state().endpoints_on(name).cloned().collect();
                for endpoint in &endpoints {
                    self.let_go(endpoint)?;
                }
                self.commit(vec![Change::DelNetwork(name.clone())])
            }
            Item::Pool(key) => {
                tracing::info!(pool = %key, "no network was made of it");
                self.commit(vec![Change::DelPool(*key)])
            }
        }
    }

    /// The endpoint's routes go with the next sweep; its link was the container's.
    fn let_go(&mut self, endpoint: &Endpoint) -> Result<(), Refusal> {
        let going = Endpoint { stage: Stage::Detaching, ..endpoint.clone() };
        let mut changes = vec![Change::PutEndpoint(going)];
        changes.extend(self.state().detached(endpoint, now()));
        self.commit(changes)
    }

    /// Whom the next unnamed request on an engine's network is for.
    pub(super) fn expected_on(&mut self, network: &Network) -> Option<EndpointName> {
        let id = network.engine.as_ref()?.id.clone();
        let (name, until) = self.expected.remove(&id)?;
        (Instant::now() < until).then_some(name)
    }
}
