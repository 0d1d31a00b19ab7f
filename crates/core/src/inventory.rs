//! What a container engine has, as its own lists tell, and what Ashore learns from it: names that the engine told no
//! driver, and what it has forgotten without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::name::EndpointName;
use crate::network::{EngineNetwork, Network};
use crate::state::{Change, EndpointKey, State};

/// An engine's networks and containers at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The engine's own id, which it keeps over its restarts.
    pub engine: String,
    /// Its networks, of every driver.
    pub networks: Vec<ListedNetwork>,
    /// Its containers, running or not.
    pub containers: Vec<ListedContainer>,
}

/// A network on an engine's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedNetwork {
    /// The engine's id of it.
    pub id: String,
    /// What its user calls it.
    pub name: String,
    /// The driver's name.
    pub driver: String,
    /// Without a way out of the LAN.
    pub internal: bool,
    /// Whether it has its addresses from Ashore, though its driver is another.
    #[serde(default)]
    pub misuses_ipam: bool,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Its subnets.
    pub subnets: Vec<ListedSubnet>,
}

/// A subnet of a network on an engine's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSubnet {
    /// The subnet.
    pub net: IpNet,
    /// What the engine hands out of it.
    pub range: Option<IpNet>,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// Auxiliary addresses.
    pub aux: BTreeMap<String, IpAddr>,
}

/// A container on an engine's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedContainer {
    /// The engine's id of it.
    pub id: String,
    /// Its name.
    pub name: EndpointName,
    /// The name under which earlier versions knew it, if its own is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formerly: Option<EndpointName>,
    /// The networks that it is on, or will be on when it runs.
    pub memberships: Vec<Membership>,
    /// A path that opens its namespace, where that was asked for.
    pub sandbox: Option<PathBuf>,
}

/// A container's place on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The engine's id of the network; empty with a container that never ran.
    pub network: String,
    /// The engine's id of the endpoint; none while the container does not run.
    pub endpoint: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Its MAC.
    pub mac: Option<Mac>,
}

/// A container that got an address other than its own, because the engine did not say who it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misplaced {
    /// The engine's id of the network.
    pub network: String,
    /// The engine's id of the container.
    pub container: String,
    /// Its name on the network.
    pub name: EndpointName,
    /// The MAC that its user chose, which it has.
    pub mac: Option<Mac>,
}

impl Inventory {
    /// The engine's endpoints, with the containers that have them.
    pub fn endpoints(&self) -> impl Iterator<Item = (&ListedContainer, &Membership, &str)> {
        self.containers.iter().flat_map(|container| {
            let placed = container.memberships.iter();
            placed.filter_map(move |there| Some((container, there, there.endpoint.as_deref()?)))
        })
    }

    /// A network of the engine's by its user's name, its id, or the beginning of its id.
    pub fn network_called(&self, name: &str) -> Option<&ListedNetwork> {
        let begins = || {
            let mut found = self.networks.iter().filter(|network| network.id.starts_with(name));
            found.next().filter(|_| name.len() >= 4 && found.next().is_none())
        };
        self.networks.iter().find(|network| network.name == name || network.id == name).or_else(begins)
    }
}

impl State {
    /// What a list tells of networks and containers that Ashore knows by the engine's ids alone: what people call them.
    pub fn learnt(&self, inventory: &Inventory, now: u64) -> Vec<Change> {
        let mut all = self.network_names(inventory);
        all.extend(self.with(&all).inherited(inventory));
        let mut state = self.with(&all);
        // A name that one endpoint gives up may be another's.
        loop {
            let changes = state.container_names(inventory, now);
            if changes.is_empty() {
                return all;
            }
            state = state.with(&changes);
            all.extend(changes);
        }
    }

    fn network_names(&self, inventory: &Inventory) -> Vec<Change> {
        let of_engine = |network: &Network| {
            let known = network.engine.as_ref()?;
            let listed = inventory.networks.iter().find(|listed| listed.id == known.id)?;
            let engine = EngineNetwork {
                id: known.id.clone(),
                name: Some(listed.name.clone()),
                of: Some(inventory.engine.clone()),
            };
            (engine != *known).then(|| Network { engine: Some(engine), ..network.clone() })
        };
        self.networks.values().filter_map(of_engine).map(Change::PutNetwork).collect()
    }

    /// An endpoint that was called after its address gets its container's name, and one that was renamed the new one. Its
    /// link keeps the tag that it has. A name that had an address before keeps that one, for the next time.
    fn container_names(&self, inventory: &Inventory, now: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut taken: BTreeSet<EndpointKey> = self.endpoints.keys().cloned().collect();
        for (container, _, id) in inventory.endpoints() {
            let Some(endpoint) = self.endpoint_of_engine(id) else { continue };
            let adopted = self.network_of(endpoint).is_none_or(|network| network.adopted);
            let key = (endpoint.network.clone(), container.name.clone());
            if adopted || endpoint.name == container.name || !taken.insert(key) {
                continue;
            }
            let tagged_as = endpoint.tagged_as.clone().or_else(|| Some(endpoint.name.clone()));
            // An address in place of the old name's own does not stand in for the new name's.
            let (name, stand_ins) = (container.name.clone(), Vec::new());
            let named = Endpoint { name, stand_ins, tagged_as, ..endpoint.clone() };
            changes.push(Change::DelEndpoint((endpoint.network.clone(), endpoint.name.clone())));
            changes.push(Change::PutEndpoint(named.clone()));
            changes.extend(self.remember(&named, now));
        }
        changes
    }

    /// Containers that the last start gave another address than their own, which is free, or another MAC.
    pub fn misplaced(&self, inventory: &Inventory, is_free: impl Fn(IpAddr) -> bool) -> Vec<Misplaced> {
        let mut misplaced = Vec::new();
        for (container, _, id) in inventory.endpoints() {
            let Some(endpoint) = self.endpoint_of_engine(id) else { continue };
            let Some(network) = self.network_of(endpoint) else { continue };
            let Some(own) = self.identities.get(&(State::scope(network), endpoint.name.clone())) else {
                continue;
            };
            let own_addresses = own.own_beside(endpoint);
            let elsewhere = own_addresses.iter().any(|ip| !endpoint.holds(*ip));
            let held = |ip: &IpAddr| endpoint.holds(*ip) || (self.holder(*ip).is_none() && is_free(*ip));
            let other_address = endpoint.source.is_choosing() && elsewhere && own_addresses.iter().all(held);
            let made_up = self.has_placeholders_mac(network, endpoint);
            let other_mac = made_up && own.mac.is_some() && own.mac != endpoint.mac;
            if endpoint.was_unnamed() && (other_address || other_mac) {
                misplaced.push(Misplaced {
                    network: network.engine.as_ref().map(|engine| engine.id.clone()).unwrap_or_default(),
                    container: container.id.clone(),
                    name: endpoint.name.clone(),
                    mac: endpoint.mac.filter(|_| !made_up && own.mac != endpoint.mac),
                });
            }
        }
        misplaced
    }

    /// Whether an endpoint's MAC follows from the name that it had for want of its own.
    pub(crate) fn has_placeholders_mac(&self, network: &Network, endpoint: &Endpoint) -> bool {
        if let Some(record) = endpoint.lease.as_ref().filter(|_| endpoint.was_unnamed()) {
            return endpoint.mac == Some(record.mac);
        }
        let scope = State::scope(network);
        let derived = |name| (0..=u8::MAX).map(move |attempt| self.seed.mac(&scope, name, attempt));
        match (&endpoint.tagged_as, endpoint.mac) {
            (Some(name), Some(mac)) if endpoint.was_unnamed() => {
                derived(name).take(4).any(|derived| derived == mac)
            }
            _ => false,
        }
    }

    /// Networks of the engine's that it does not have. One that was never seen on a list may be of another engine, or
    /// about to be made: it is only then given up when nothing is on it.
    pub fn forgotten_networks(&self, inventory: &Inventory) -> Vec<&Network> {
        let listed: BTreeSet<&str> = inventory.networks.iter().map(|network| network.id.as_str()).collect();
        let forgotten = |network: &&Network| {
            network.engine.as_ref().is_some_and(|engine| {
                let its_own = match &engine.of {
                    Some(of) => *of == inventory.engine,
                    None => self.endpoints_on(&network.name).next().is_none(),
                };
                its_own && !listed.contains(engine.id.as_str())
            })
        };
        self.networks.values().filter(forgotten).collect()
    }

    /// Endpoints of this engine's networks that no container of its has: the engine dropped them without a word.
    pub fn forgotten_endpoints(&self, inventory: &Inventory) -> Vec<&Endpoint> {
        let listed: BTreeSet<&str> = inventory.endpoints().map(|(_, _, id)| id).collect();
        let forgotten = |endpoint: &&Endpoint| {
            let engine = self.network_of(endpoint).and_then(|network| network.engine.as_ref());
            engine.is_some_and(|engine| engine.of.as_ref() == Some(&inventory.engine))
                && endpoint.netns().is_none()
                && !endpoint.engine_id().is_some_and(|id| listed.contains(id))
        };
        self.endpoints.values().filter(forgotten).collect()
    }
}
