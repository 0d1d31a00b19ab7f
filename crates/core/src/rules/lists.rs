//! What the state learns from a container engine's lists: the names of networks and containers, and which of
//! them are gone.

use std::collections::BTreeSet;

use crate::model::endpoint::{Chosen, Endpoint};
use crate::model::identity::Identity;
use crate::model::inventory::{Inventory, ListedContainer, Membership};
use crate::model::network::{EngineNetwork, Network};
use crate::model::state::{Change, State};
use crate::net::name::{EndpointName, NetworkName};

/// An endpoint whose container has another name on the list than in the state.
struct Called<'a> {
    endpoint: &'a Endpoint,
    network: &'a Network,
    name: &'a EndpointName,
    /// Whether the user has renamed the container. If not, the container's name was unknown before.
    renamed: bool,
}

impl State {
    /// The changes that give networks and containers, which Ashore knows only by the engine's ids, their
    /// names from the list. `last` is the previous list.
    pub fn learnt(&self, inventory: &Inventory, last: Option<&Inventory>, now: u64) -> Vec<Change> {
        let mut all = self.network_names(inventory);
        all.extend(self.with(&all).inherited(inventory));
        let names = self.with(&all).container_names(inventory, last, now);
        all.extend(names);
        all
    }

    fn network_names(&self, inventory: &Inventory) -> Vec<Change> {
        let of_engine = |network: &Network| {
            let known = network.engine.as_ref().filter(|known| known.kind == inventory.kind)?;
            let listed = inventory.networks.iter().find(|listed| listed.id == known.id)?;
            let engine = EngineNetwork {
                kind: known.kind,
                id: known.id.clone(),
                name: Some(listed.name.clone()),
                of: Some(inventory.engine.clone()),
            };
            (engine != *known).then(|| Network { engine: Some(engine), ..network.clone() })
        };
        self.networks.values().filter_map(of_engine).map(Change::PutNetwork).collect()
    }

    /// Gives endpoints the names of their containers. The links keep their tags. The identity of a renamed
    /// container moves to its new name.
    fn container_names(&self, inventory: &Inventory, last: Option<&Inventory>, now: u64) -> Vec<Change> {
        let called = self.called_otherwise(inventory, last);
        let mut changes = Vec::new();
        // All removals come first, because two containers may have swapped their names.
        for Called { endpoint, network, renamed, .. } in &called {
            changes.push(Change::DelEndpoint((endpoint.network.clone(), endpoint.name.clone())));
            if *renamed && !self.is_called_so_elsewhere(network, &endpoint.name) {
                changes.push(Change::DelIdentity(State::scope(network), endpoint.name.clone()));
            }
        }
        let mut state = self.with(&changes);
        for Called { endpoint, network, name, renamed } in called {
            let tagged_as = endpoint.tagged_as.clone().or_else(|| Some(endpoint.name.clone()));
            let mut named = Endpoint { name: name.clone(), tagged_as, ..endpoint.clone() };
            if !renamed {
                // Its addresses in advertised prefixes follow from its name, so they are generated again.
                named = Endpoint { chosen: Chosen::StandIn, ..named.with_learned(None) };
            }
            let moves = renamed && !self.is_called_so_elsewhere(network, &endpoint.name);
            let mut more = match self.identity_of(network, &endpoint.name).filter(|_| moves) {
                Some(kept) => {
                    let kept = Identity { last_used: now, used: state.next_use(), ..kept.clone() };
                    vec![Change::PutIdentity(State::scope(network), name.clone(), kept)]
                }
                None => state.remember(&named, now),
            };
            if state.with(&more).lack(&named).is_none() {
                named.chosen = Chosen::ForName;
            }
            more.push(Change::PutEndpoint(named));
            state = state.with(&more);
            changes.extend(more);
        }
        changes
    }

    /// The endpoints whose containers have other names on the list, except those whose new name is still in
    /// use.
    fn called_otherwise<'a>(&'a self, inventory: &'a Inventory, last: Option<&Inventory>) -> Vec<Called<'a>> {
        let of = |(container, _, id): (&'a ListedContainer, &Membership, &str)| {
            let endpoint = self.endpoint_of_engine(id).filter(|there| inventory.has(there))?;
            let network = self.network_of(endpoint).filter(|network| !network.adopted)?;
            let is_called_so = endpoint.name == container.name && !endpoint.is_unnamed();
            let renamed = !endpoint.is_unnamed() && !was_mistaken(endpoint, container, inventory, last);
            (!is_called_so).then_some(Called { endpoint, network, name: &container.name, renamed })
        };
        let mut called: Vec<Called<'_>> = inventory.endpoints().filter_map(of).collect();
        // An endpoint that cannot get its new name keeps the old one, which may be the new name of another
        // endpoint.
        loop {
            let stays = |(network, name): (&NetworkName, &EndpointName)| {
                let there = self.endpoints.get(&(network.clone(), name.clone()));
                there.is_some_and(|there| !called.iter().any(|one| std::ptr::eq(one.endpoint, there)))
            };
            let mut taken = BTreeSet::new();
            let free: Vec<bool> = called
                .iter()
                .map(|one| (&one.endpoint.network, one.name))
                .map(|key| !stays(key) && taken.insert(key))
                .collect();
            if free.iter().all(|free| *free) {
                return called;
            }
            let mut free = free.into_iter();
            called.retain(|_| free.next() == Some(true));
        }
    }

    /// Networks of the engine that its list does not have. A network that was never on a list may belong to
    /// another engine, or may be about to be made. It counts as gone only if no endpoint is on it.
    pub fn forgotten_networks(&self, inventory: &Inventory) -> Vec<&Network> {
        let listed: BTreeSet<&str> = inventory.networks.iter().map(|network| network.id.as_str()).collect();
        let forgotten = |network: &&Network| {
            let unused =
                || inventory.may_have_made(network) && self.endpoints_on(&network.name).next().is_none();
            let is_listed =
                || network.engine.as_ref().is_some_and(|engine| listed.contains(engine.id.as_str()));
            (inventory.has_made(network) || unused()) && !is_listed()
        };
        self.networks.values().filter(forgotten).collect()
    }

    /// Endpoints of this engine's networks that none of its containers has. The engine dropped them without
    /// notice.
    pub fn forgotten_endpoints(&self, inventory: &Inventory) -> Vec<&Endpoint> {
        let listed: BTreeSet<&str> = inventory.endpoints().map(|(_, _, id)| id).collect();
        let forgotten = |endpoint: &&Endpoint| {
            self.network_of(endpoint).is_some_and(|network| inventory.has_made(network))
                && inventory.has(endpoint)
                && endpoint.netns().is_none()
                && !endpoint.engine_id().is_some_and(|id| listed.contains(id))
        };
        self.endpoints.values().filter(forgotten).collect()
    }
}

/// Whether an endpoint got a wrong container's name when it was made: another container has that name, and
/// the last list did not show the endpoint under it.
fn was_mistaken(
    endpoint: &Endpoint,
    container: &ListedContainer,
    inventory: &Inventory,
    last: Option<&Inventory>,
) -> bool {
    let mut others = inventory.containers.iter().filter(|other| other.id != container.id);
    let is_listed = |last: &Inventory| {
        last.endpoints().any(|(then, _, id)| endpoint.engine_id() == Some(id) && then.name == endpoint.name)
    };
    others.any(|other| other.name == endpoint.name) && !last.is_some_and(is_listed)
}

#[cfg(test)]
mod tests;
