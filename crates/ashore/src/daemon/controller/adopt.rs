//! Networks of an engine's own macvlan and ipvlan drivers: Ashore gives them host access and watches them.

use std::time::Duration;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::AdoptSpec;
use ashore_core::model::inventory::Inventory;
use ashore_core::model::network::Network;
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::state::Change;
use ashore_core::net::link::Netns;
use ashore_core::net::remedy::Remedy;
use ashore_core::rules::adopt::AdoptError;

use super::{Controller, Inner, all_netns};
use crate::clock::now;
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// How long an engine may take to list what it has.
const PATIENCE: Duration = Duration::from_secs(5);

impl Controller {
    pub(super) fn adopt(&self, unlocked: &mut Unlocked, spec: &AdoptSpec) -> Result<Reply, Refusal> {
        self.relist(unlocked)?;
        let (network, warnings) = {
            let mut inner = self.lock(unlocked);
            let (network, changes) = inner.adopting(spec)?;
            let undo = inner.undoing(&changes);
            let observed = inner.observe(&[])?;
            inner.commit(changes)?;
            match inner.carry_out(&observed, &[]) {
                Ok(_) => {
                    inner.engines.let_removed_be(network.label());
                }
                Err(refusal) => {
                    let (_, errors) = inner.sweep_to(&inner.state().with(&undo), &[])?;
                    for error in &errors {
                        tracing::error!("{error}");
                    }
                    inner.commit(undo)?;
                    return Err(refusal);
                }
            }
            let warnings: Vec<String> =
                inner.vlan_with_others(&network, &observed.host).into_iter().collect();
            (network, warnings)
        };
        // Now that the network is known as adopted, the list tells where its containers' namespaces are.
        self.relist(unlocked)?;
        Ok(Reply::Created { network, warnings })
    }

    pub(super) fn unadopt(&self, unlocked: &mut Unlocked, network: &str) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let netns = all_netns(inner.state());
        let removed = inner.engines.let_removed_be(network);
        let changes = match inner.state().unadopting(network) {
            // Docker has removed the network already.
            Err(AdoptError::NotAdopted(_)) if removed => return Ok(Reply::Done { warnings: Vec::new() }),
            changes => changes.map_err(|error| refusal::adopt(&error))?,
        };
        inner.commit(changes)?;
        let (_, errors) = inner.sweep(&netns)?;
        Ok(Reply::Done { warnings: errors.iter().map(ToString::to_string).collect() })
    }

    /// Returns what an adoption would change, and in which namespaces.
    pub(super) fn planned_adoption(
        &self,
        unlocked: &mut Unlocked,
        spec: &AdoptSpec,
    ) -> Result<(Vec<Change>, Vec<Netns>), Refusal> {
        self.relist(unlocked)?;
        let inner = self.lock(unlocked);
        let (_, changes) = inner.adopting(spec)?;
        let netns = all_netns(&inner.state().with(&changes));
        Ok((changes, netns))
    }

    fn relist(&self, unlocked: &mut Unlocked) -> Result<(), Refusal> {
        if self.lists.refresh(unlocked, PATIENCE) {
            return Ok(());
        }
        let engine = EngineKind::Docker;
        Err(Refusal::of(
            Code::EngineSilent,
            format!("{engine} does not answer, so its networks and containers are unknown"),
            Remedy::from("start it, or tell the daemon where its API listens: ")
                .and_run("ashore daemon --docker-host unix:///PATH"),
        )
        .about(About { engine: Some(engine), ..About::default() }))
    }
}

impl Inner {
    fn adopting(&self, spec: &AdoptSpec) -> Result<(Network, Vec<Change>), Refusal> {
        let none = || refusal::adopt(&AdoptError::NotAdopted(spec.network.clone()));
        let mut lists = self.engines.inventories();
        let has_it = |inventory: &&Inventory| inventory.network_called(&spec.network).is_some();
        let inventory = lists.clone().find(has_it).or_else(|| lists.next()).ok_or_else(none)?;
        self.adopting_of(inventory, &spec.network, spec.host_access)
    }

    /// Like `adopting`, with a given list.
    pub(super) fn adopting_of(
        &self,
        inventory: &Inventory,
        name: &str,
        host_access: bool,
    ) -> Result<(Network, Vec<Change>), Refusal> {
        let adopting = self.state().adopting(inventory, name, host_access, now());
        let (network, mut changes) = adopting.map_err(|error| refusal::adopt(&error))?;
        let host = self.observe(&[])?.host;
        let network = Network { parent: host.resolved(&network.parent), ..network };
        for change in &mut changes {
            if let Change::PutNetwork(of) = change {
                *of = network.clone();
            }
        }
        if !self.state().networks.contains_key(&network.name) {
            self.state().check_beside_others(&network).map_err(|error| refusal::network(&error))?;
            network.check(&host).map_err(|error| refusal::network(&error))?;
        }
        Ok((network, changes))
    }

    /// Returns the changes that undo these changes.
    fn undoing(&self, changes: &[Change]) -> Vec<Change> {
        let undo = changes.iter().rev().filter_map(|change| match change {
            Change::PutNetwork(network) => Some(match self.state().networks.get(&network.name) {
                Some(before) => Change::PutNetwork(before.clone()),
                None => Change::DelNetwork(network.name.clone()),
            }),
            Change::PutEndpoint(endpoint) => {
                let key = (endpoint.network.clone(), endpoint.name.clone());
                Some(match self.state().endpoints.get(&key) {
                    Some(before) => Change::PutEndpoint(before.clone()),
                    None => Change::DelEndpoint(key),
                })
            }
            Change::DelEndpoint(key) => {
                self.state().endpoints.get(key).map(|before| Change::PutEndpoint(before.clone()))
            }
            _ => None,
        });
        undo.collect()
    }
}
