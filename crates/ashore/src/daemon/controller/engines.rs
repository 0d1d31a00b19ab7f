//! What is known of each container engine. A list or a restart of one engine says nothing about another's
//! containers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::inventory::Inventory;
use ashore_core::model::network::Network;
use ashore_core::model::ownership::{EngineId, EngineKind};
use ashore_core::model::pool::PoolKey;
use ashore_core::net::name::{EndpointName, IfName};

use super::inventory::Missing;

/// The views of all engines.
#[derive(Debug, Clone, Default)]
pub(super) struct Engines {
    listed: BTreeMap<EngineId, Listed>,
    docker: Calls,
    podman: Calls,
    cni: Calls,
}

/// What an engine's lists tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed {
    /// Its last list. `None` while its first one is being processed.
    pub(super) inventory: Option<Inventory>,
    /// What its lists lack.
    pub(super) missing: Missing,
    /// Its adopted networks that it has removed and may create again.
    pub(super) removed: Vec<Network>,
    /// Whether an engine of its kind has restarted since. It may be another one that replaces this one.
    restarted: bool,
}

/// What the calls of a kind of engine have left open. A call does not say from which engine of its kind it
/// is.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    /// Addresses of endpoints that the engine has not reserved again since it restarted.
    pub(super) unconfirmed: BTreeSet<IpAddr>,
    /// Pools with a range that Ashore chose and that the engine has not opened again since it restarted. When
    /// the engine opens such a pool again, it names only the subnet.
    pub(super) unconfirmed_pools: Vec<(PoolKey, IfName)>,
    /// The engine's ids of endpoints that the engine may have been creating when it ended, and that the
    /// restarted engine has not listed.
    pub(super) unknown: BTreeSet<String>,
    /// Endpoints, by the engine's id, whose links were handed to the engine and that no list has shown since.
    /// Their containers are starting, however long that takes. An engine that restarts has forgotten them.
    pub(super) starting: BTreeSet<String>,
    /// The name that the next request on a network is for, by the network's engine id, and until when that
    /// request is expected.
    pub(super) expected: BTreeMap<String, (EndpointName, Instant)>,
    /// Since when some containers wait to be reconnected until no other container is starting.
    pub(super) postponed: Option<Instant>,
}

impl Engines {
    /// The last list of an engine.
    pub(super) fn last_of(&self, engine: &EngineId) -> Option<&Inventory> {
        self.listed.get(engine)?.inventory.as_ref()
    }

    /// The last list of each engine.
    pub(super) fn inventories(&self) -> impl Iterator<Item = &Inventory> + Clone {
        self.listed.values().filter_map(|listed| listed.inventory.as_ref())
    }

    /// The last list of the engine that made a network.
    pub(super) fn inventory_of(&self, network: &Network) -> Option<&Inventory> {
        self.inventories().find(|inventory| inventory.may_have_made(network))
    }

    /// The adopted networks that engines have removed, each with the last list of its engine.
    pub(super) fn removed(&self) -> impl Iterator<Item = (&Network, &Inventory)> {
        let known = self.listed.values().filter_map(|listed| Some((listed, listed.inventory.as_ref()?)));
        known.flat_map(|(listed, inventory)| listed.removed.iter().map(move |network| (network, inventory)))
    }

    /// Forgets a removed network. Returns whether there was one.
    pub(super) fn let_removed_be(&mut self, label: &str) -> bool {
        let mut any = false;
        for listed in self.listed.values_mut() {
            let before = listed.removed.len();
            listed.removed.retain(|gone| gone.label() != label);
            any |= listed.removed.len() < before;
        }
        any
    }

    /// What the calls of a kind of engine have left open.
    pub(super) fn calls(&self, kind: EngineKind) -> &Calls {
        match kind {
            EngineKind::Docker => &self.docker,
            EngineKind::Podman => &self.podman,
            EngineKind::Cni => &self.cni,
        }
    }

    /// The same, to change it.
    pub(super) fn calls_mut(&mut self, kind: EngineKind) -> &mut Calls {
        match kind {
            EngineKind::Docker => &mut self.docker,
            EngineKind::Podman => &mut self.podman,
            EngineKind::Cni => &mut self.cni,
        }
    }

    /// What the calls of an endpoint's engine have left open. `None` if its container belongs to no engine.
    pub(super) fn calls_of(&self, endpoint: &Endpoint) -> Option<&Calls> {
        endpoint.ownership.engine().map(|kind| self.calls(kind))
    }

    /// Notes that an engine of a kind has restarted.
    pub(super) fn restarts(&mut self, kind: EngineKind) {
        let of_kind = self.listed.iter_mut().filter(|(engine, _)| engine.kind == kind);
        of_kind.for_each(|(_, listed)| listed.restarted = true);
        let calls = self.calls_mut(kind);
        calls.starting.clear();
        // The engine has forgotten what it was asked to connect.
        calls.expected.clear();
    }

    /// Keeps a list as the last one of its engine.
    pub(super) fn keep(&mut self, inventory: Inventory) {
        let engine = inventory.engine_id();
        // An engine that has restarted with another id has replaced the one that it was.
        self.listed
            .retain(|other, listed| other.kind != engine.kind || other.id == engine.id || !listed.restarted);
        let listed = self.view(engine);
        listed.restarted = false;
        listed.inventory = Some(inventory);
    }

    /// The view of the lists of an engine, to change it.
    pub(super) fn view(&mut self, engine: EngineId) -> &mut Listed {
        self.listed.entry(engine).or_default()
    }
}
