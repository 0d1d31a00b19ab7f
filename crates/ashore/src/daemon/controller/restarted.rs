//! An engine that restarts: what it has forgotten, and what it reserves again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{Endpoint, Placement, Stage};
use ashore_core::model::inventory::Inventory;
use ashore_core::model::network::Network;
use ashore_core::model::ownership::{EngineId, EngineKind};
use ashore_core::model::pool::{ANY_SUBNET, PoolKey};
use ashore_core::net::name::{IfName, NetworkName};
use ipnet::IpNet;

use super::engine_calls::done;
use super::{Controller, Inner};
use crate::clock::now;
use crate::unlocked::Unlocked;

impl Controller {
    /// Frees an address for an engine that ended before it heard of the address, or before it made an
    /// endpoint with it.
    pub(super) fn free_unheard(&self, unlocked: &mut Unlocked, ip: IpAddr) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let only_reserved = |endpoint: &&Endpoint| {
            endpoint.stage == Stage::Reserved
                && matches!(endpoint.placement, Placement::Engine { id: None, .. })
        };
        if let Some(endpoint) = inner.state().holder(ip).filter(only_reserved) {
            let changes = inner.state().detached(endpoint, now());
            inner.commit(changes)?;
            inner.leftovers.set(true);
            self.schedule_deferred();
        }
        Ok(done())
    }
}

impl Inner {
    /// Notes that an engine starts. It reserves again what it still has before it answers any other caller.
    pub(super) fn begin(&mut self, kind: EngineKind) {
        let its = |there: &&Endpoint| there.engine_id().is_some() && there.ownership == kind.into();
        let of_engine = self.state().endpoints.values().filter(its);
        let unconfirmed = of_engine.flat_map(Endpoint::ever_assigned).collect();
        let pools = self.state().chosen_pools(kind);
        self.engines.restarts(kind);
        let calls = self.engines.calls_mut(kind);
        (calls.unconfirmed, calls.unconfirmed_pools) = (unconfirmed, pools);
    }

    /// Notes that an engine has told everything that it still has.
    pub(super) fn nothing_is_unconfirmed(&mut self, engine: &EngineId) {
        let calls = self.engines.calls_mut(engine.kind);
        calls.unconfirmed.clear();
        calls.unconfirmed_pools.clear();
    }

    /// Notes the endpoints that an engine does not know of, because it ended while it made them and had not
    /// yet written them down.
    pub(super) fn note_unfinished_ones(&mut self, kind: EngineKind) {
        let its = |there: &&Endpoint| there.stage == Stage::Reserved && there.ownership == kind.into();
        let reserved = self.state().endpoints.values().filter(its);
        let ids = reserved.filter_map(|there| there.engine_id().map(str::to_owned)).collect();
        self.engines.calls_mut(kind).unknown = ids;
    }

    /// Removes the endpoints that the engine lists from those that it does not know. What it began before it
    /// restarted and does not list, it will not finish.
    pub(super) fn keep_unknown_ones(&mut self, inventory: &Inventory) {
        let listed: BTreeSet<&str> = inventory.endpoints().map(|(_, _, id)| id).collect();
        let state = self.store.state();
        let is_known = |id: &str| listed.contains(id) || state.endpoint_of_engine(id).is_none();
        self.memory.engines.calls_mut(inventory.kind).unknown.retain(|id| !is_known(id));
    }

    fn is_unknown_to_engine(&self, endpoint: &Endpoint) -> bool {
        let unknown = self.engines.calls_of(endpoint).map(|calls| &calls.unknown);
        endpoint.stage == Stage::Reserved
            && endpoint.engine_id().is_some_and(|id| unknown.is_some_and(|unknown| unknown.contains(id)))
    }

    /// Whether an endpoint that is now made on this network may take over the holder of its address. It may
    /// if the holder is only reserved, or if the holder is an endpoint of this network that its engine does
    /// not know.
    pub(super) fn is_there_for_one(&self, holder: &Endpoint, network: &Network) -> bool {
        if holder.ownership != network.ownership() {
            return false;
        }
        if holder.engine_id().is_some() {
            return holder.network == network.name && self.is_unknown_to_engine(holder);
        }
        holder.stage == Stage::Reserved
    }

    /// Removes endpoints of a network that their engine does not know, where they are in the way of one that
    /// it asks for now.
    pub(super) fn give_way(
        &mut self,
        network: &NetworkName,
        is_in_the_way: impl Fn(&Endpoint) -> bool,
    ) -> Result<(), Refusal> {
        let unknown = |there: &&Endpoint| self.is_unknown_to_engine(there) && is_in_the_way(there);
        let going: Vec<Endpoint> = self.state().endpoints_on(network).filter(unknown).cloned().collect();
        for endpoint in going {
            tracing::info!(name = %endpoint.name, "gives way: its engine restarted before it had made this endpoint");
            let changes = self.state().detached(&endpoint, now());
            self.commit(changes)?;
            self.leftovers.set(true);
        }
        Ok(())
    }

    /// Returns the pool with a range of Ashore's choice that a restarted engine means when it names only the
    /// subnet. Of all engines, only Docker opens pools.
    pub(super) fn take_unconfirmed_pool(&mut self, net: &IpNet, parent: Option<&IfName>) -> Option<PoolKey> {
        let meant = |(key, on): &(PoolKey, IfName)| {
            (key.net == *net || *net == ANY_SUBNET) && parent.is_none_or(|parent| parent == on)
        };
        let pools = &self.engines.calls(EngineKind::Docker).unconfirmed_pools;
        let mut at = pools.iter().position(meant);
        if at.is_none() && parent.is_some_and(|parent| self.is_gone(parent)) {
            // The engine uses the name that it was given. The network may be on another interface since.
            at = pools.iter().position(|(key, _)| key.net == *net);
        }
        let at = at?;
        Some(self.engines.calls_mut(EngineKind::Docker).unconfirmed_pools.swap_remove(at).0)
    }

    /// Whether a restarted engine reserves an address again that its containers have. Each address counts
    /// once.
    pub(super) fn is_told_again(&mut self, network: &Network, ip: IpAddr) -> bool {
        let had = |there: &Endpoint| there.ever_assigned().any(|its| its == ip);
        let held = self.state().endpoints_on(&network.name).any(had);
        let kind = network.engine.as_ref().map(|engine| engine.kind);
        held && kind.is_some_and(|kind| self.engines.calls_mut(kind).unconfirmed.remove(&ip))
    }
}
