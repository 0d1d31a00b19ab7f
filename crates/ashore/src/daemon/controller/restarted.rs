//! An engine that starts anew: what it forgot, and what it tells again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{Endpoint, Placement, Stage};
use ashore_core::model::inventory::Inventory;
use ashore_core::model::network::Network;
use ashore_core::model::pool::{ANY_SUBNET, PoolKey};
use ashore_core::net::name::{IfName, NetworkName};
use ipnet::IpNet;

use super::engine_calls::done;
use super::{Controller, Inner};
use crate::clock::now;

impl Controller {
    /// An engine that ended before it heard of an address, or before it made an endpoint on it, does not have it.
    pub(super) fn free_unheard(&self, ip: IpAddr) -> Result<Reply, Refusal> {
        let mut inner = self.lock();
        let only_reserved = |endpoint: &&Endpoint| {
            endpoint.stage == Stage::Reserved
                && matches!(endpoint.placement, Placement::Engine { id: None, .. })
        };
        if let Some(endpoint) = inner.state().holder(ip).filter(only_reserved) {
            let changes = inner.state().detached(endpoint, now());
            inner.commit(changes)?;
            inner.leftovers = true;
            self.schedule_deferred();
        }
        Ok(done())
    }
}

impl Inner {
    /// An engine that starts anew tells what it still has, before it answers anybody.
    pub(super) fn begin(&mut self) {
        let of_engine = self.state().endpoints.values().filter(|there| there.engine_id().is_some());
        let addresses = of_engine.flat_map(|there| there.addresses.iter().chain(&there.lost));
        self.unconfirmed = addresses.map(IpNet::addr).collect();
        self.unconfirmed_pools = self.state().chosen_pools();
        self.missing.none_starts();
        // The engine has forgotten what it was asked to connect.
        self.expected.clear();
    }

    /// An engine that ended while it made an endpoint, and had not yet written that down, does not know of it.
    pub(super) fn note_unfinished_ones(&mut self) {
        let reserved = self.state().endpoints.values().filter(|there| there.stage == Stage::Reserved);
        self.unknown_to_engine = reserved.filter_map(|there| there.engine_id().map(str::to_owned)).collect();
    }

    /// What the engine shows it does know. What it began before it started anew, and does not show, it will not finish.
    pub(super) fn keep_unknown_ones(&mut self, inventory: &Inventory) {
        let listed: BTreeSet<&str> = inventory.endpoints().map(|(_, _, id)| id).collect();
        let state = self.store.state();
        let is_known = |id: &str| listed.contains(id) || state.endpoint_of_engine(id).is_none();
        self.unknown_to_engine.retain(|id| !is_known(id));
    }

    fn is_unknown_to_engine(&self, endpoint: &Endpoint) -> bool {
        endpoint.stage == Stage::Reserved
            && endpoint.engine_id().is_some_and(|id| self.unknown_to_engine.contains(id))
    }

    /// Whether an address is there for an endpoint that is made now, on this network: no other has it, or one that its engine knows nothing of.
    pub(super) fn is_there_for_one(&self, holder: &Endpoint, network: &Network) -> bool {
        if holder.engine_id().is_some() {
            return holder.network == network.name && self.is_unknown_to_engine(holder);
        }
        holder.stage == Stage::Reserved
    }

    /// Endpoints of a network that their engine knows nothing of go, where they are in the way of one that it asks for now.
    pub(super) fn give_way(
        &mut self,
        network: &NetworkName,
        is_in_the_way: impl Fn(&Endpoint) -> bool,
    ) -> Result<(), Refusal> {
        let unknown = |there: &&Endpoint| self.is_unknown_to_engine(there) && is_in_the_way(there);
        let going: Vec<Endpoint> = self.state().endpoints_on(network).filter(unknown).cloned().collect();
        for endpoint in going {
            tracing::info!(name = %endpoint.name, "gives way: its engine started anew before it had made it");
            let changes = self.state().detached(&endpoint, now());
            self.commit(changes)?;
            self.leftovers = true;
        }
        Ok(())
    }

    /// The pool with a range of Ashore's choice that an engine means when it names the subnet alone after its restart.
    pub(super) fn take_unconfirmed_pool(&mut self, net: &IpNet, parent: Option<&IfName>) -> Option<PoolKey> {
        let meant = |(key, on): &(PoolKey, IfName)| {
            (key.net == *net || *net == ANY_SUBNET) && parent.is_none_or(|parent| parent == on)
        };
        let mut at = self.unconfirmed_pools.iter().position(meant);
        if at.is_none() && parent.is_some_and(|parent| self.is_gone(parent)) {
            // The engine has the name that it was given. The network may be on another interface since.
            at = self.unconfirmed_pools.iter().position(|(key, _)| key.net == *net);
        }
        let at = at?;
        Some(self.unconfirmed_pools.swap_remove(at).0)
    }

    /// After its own restart an engine reserves again what its containers have.
    pub(super) fn is_told_again(&mut self, network: &Network, ip: IpAddr) -> bool {
        let had = |there: &Endpoint| there.holds(ip) || there.lost.iter().any(|net| net.addr() == ip);
        let held = self.state().endpoints_on(&network.name).any(had);
        held && self.unconfirmed.remove(&ip)
    }
}
