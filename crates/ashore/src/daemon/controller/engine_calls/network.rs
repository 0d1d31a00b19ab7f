//! The engine creates and removes its networks.

use ashore_core::api::engine_call::Owner;
use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::model::lease::Addressing;
use ashore_core::model::network::{EngineNetwork, Network};
use ashore_core::model::pool::{ANY_SUBNET, Pool};
use ashore_core::model::state::Change;
use ashore_core::rules::create::NetworkSpec;

use super::super::{Controller, Inner};
use super::done;
use crate::unlocked::Unlocked;

impl Controller {
    pub(super) fn create_engine_network(
        &self,
        unlocked: &mut Unlocked,
        mut spec: NetworkSpec,
    ) -> Result<Reply, Refusal> {
        let pools: Vec<Pool> = {
            let mut inner = self.lock(unlocked);
            if let Some(there) = spec.engine.as_ref().and_then(|e| inner.state().network_of_engine(&e.id)) {
                return Ok(Reply::Network(there.clone()));
            }
            let pools: Vec<Pool> =
                spec.subnets.iter().filter_map(|net| inner.state().pool_for(net)).cloned().collect();
            inner.strangers.are_own(pools.iter().map(|pool| &pool.key));
            spec.gateways.retain(|ip| !pools.iter().any(|pool| pool.stands_for_unknown_router(*ip)));
            pools
        };
        spec.ranges.extend(pools.iter().filter_map(|pool| pool.key.range));
        if spec.subnets == [ANY_SUBNET] && !pools.is_empty() {
            spec.subnets = pools.iter().map(|pool| pool.key.net).collect();
        }
        if let Some(pool) = pools.iter().find(|pool| pool.key.addressing == Addressing::Dhcp) {
            (spec.addressing, spec.leasing) = (Addressing::Dhcp, pool.leasing.clone());
        }
        if spec.parent.is_none() {
            spec.parent = pools.iter().find_map(|pool| pool.parent.clone());
        }
        // An engine has no place for warnings. They are in the log and in the status.
        let (network, _) = self.make_network(unlocked, &spec, &pools)?;
        Ok(Reply::Network(network))
    }

    pub(super) fn remove_engine_network(&self, unlocked: &mut Unlocked, id: &str) -> Result<Reply, Refusal> {
        let name = self.lock(unlocked).state().network_of_engine(id).map(|network| network.name.clone());
        match name {
            None => Ok(done()),
            Some(name) => self.remove_network(unlocked, &name),
        }
    }
}

impl Inner {
    /// Notes the names that come with a container. The engine tells a driver only a network's id, so the
    /// network's name is learned from its containers, and so is the name that earlier versions gave a
    /// container.
    pub(in crate::daemon::controller) fn learn_name(
        &mut self,
        network: Network,
        owner: Option<&Owner>,
    ) -> Result<Network, Refusal> {
        let told =
            owner.filter(|owner| network.engine.as_ref().is_some_and(|there| there.id == owner.network));
        let Some(owner) = told else { return Ok(network) };
        let mut changes = Vec::new();
        let network = match &owner.network_name {
            Some(name) if network.label() != name => {
                let engine =
                    network.engine.clone().map(|there| EngineNetwork { name: Some(name.clone()), ..there });
                let network = Network { engine, ..network };
                changes.push(Change::PutNetwork(network.clone()));
                network
            }
            _ => network,
        };
        if let (Some(name), Some(formerly)) = (&owner.name, &owner.formerly) {
            let inventory = self.engines.inventory_of(&network);
            changes.extend(self.state().inherits(&network, name, formerly, inventory));
        }
        self.commit(changes)?;
        Ok(network)
    }
}
