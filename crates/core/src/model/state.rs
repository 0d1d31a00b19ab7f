//! Everything that Ashore remembers, and the only ways in which it changes.
//!
//! The store first writes a [`Change`] to disk and then applies the same change here, so that disk and memory
//! cannot differ.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_wire::Mac;
use serde::{Deserialize, Serialize};

use crate::model::endpoint::{Endpoint, Mark};
use crate::model::identity::{self, Identity, Scope, Seed};
use crate::model::indexed::Indexed;
use crate::model::machine::Fingerprint;
use crate::model::network::Network;
use crate::model::pool::{Pool, PoolKey};
use crate::net::link::Netns;
use crate::net::name::{EndpointKey, EndpointName, IfName, NetworkName};

/// Networks, endpoints, identities and pools. A copy shares with the original what it has in common with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The seed from which MACs are derived.
    pub seed: Seed,
    /// All networks.
    pub networks: BTreeMap<NetworkName, Network>,
    /// All endpoints.
    pub endpoints: Indexed<EndpointKey, Endpoint>,
    /// All remembered names. A name is forgotten once other names have taken over what it remembered.
    pub identities: Indexed<(Scope, EndpointName), Identity>,
    /// The open pools of engines.
    pub pools: BTreeMap<PoolKey, Pool>,
    /// Endpoints that were taken off to be attached again, as they were. Nobody else would attach them, so they are
    /// here until they are back.
    pub returning: BTreeMap<EndpointKey, Endpoint>,
    /// The machine that has the state. `None` if an earlier version wrote it.
    pub machine: Option<Fingerprint>,
}

/// One change to the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A network is new or has changed.
    PutNetwork(Network),
    /// A network is gone.
    DelNetwork(NetworkName),
    /// An endpoint is new or has changed.
    PutEndpoint(Endpoint),
    /// An endpoint is gone.
    DelEndpoint(EndpointKey),
    /// An identity is new or has changed.
    PutIdentity(Scope, EndpointName, Identity),
    /// An identity is forgotten.
    DelIdentity(Scope, EndpointName),
    /// A pool was opened, or its reservations have changed.
    PutPool(Pool),
    /// A pool was closed, or became a network.
    DelPool(PoolKey),
    /// An endpoint is taken off, and is to come back.
    PutReturning(Endpoint),
    /// It is back, or is not to come back.
    DelReturning(EndpointKey),
    /// This machine has the state from now on.
    PutMachine(Fingerprint),
}

impl State {
    /// Returns an empty state.
    pub fn new(seed: Seed) -> Self {
        State {
            seed,
            networks: BTreeMap::new(),
            endpoints: Indexed::new(),
            identities: Indexed::new(),
            pools: BTreeMap::new(),
            returning: BTreeMap::new(),
            machine: None,
        }
    }

    /// Applies a change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::PutNetwork(network) => {
                self.networks.insert(network.name.clone(), network);
            }
            Change::DelNetwork(name) => {
                self.networks.remove(&name);
            }
            Change::PutEndpoint(endpoint) => {
                self.endpoints.insert((endpoint.network.clone(), endpoint.name.clone()), endpoint);
            }
            Change::DelEndpoint(key) => {
                self.endpoints.remove(&key);
            }
            Change::PutIdentity(scope, name, identity) => {
                self.identities.insert((scope, name), identity);
            }
            Change::DelIdentity(scope, name) => {
                self.identities.remove(&(scope, name));
            }
            Change::PutPool(pool) => {
                self.pools.insert(pool.key, pool);
            }
            Change::DelPool(key) => {
                self.pools.remove(&key);
            }
            Change::PutReturning(endpoint) => {
                self.returning.insert(endpoint.key(), endpoint);
            }
            Change::DelReturning(key) => {
                self.returning.remove(&key);
            }
            Change::PutMachine(machine) => self.machine = Some(machine),
        }
    }

    /// Returns the state as it would be with the changes, without changing this one.
    #[must_use]
    pub fn with(&self, changes: &[Change]) -> State {
        let mut state = self.clone();
        changes.iter().cloned().for_each(|change| state.apply(change));
        state
    }

    /// The network of an endpoint. A stored state whose endpoints name a missing network is refused when it
    /// is read.
    pub fn network_of(&self, endpoint: &Endpoint) -> Option<&Network> {
        self.networks.get(&endpoint.network)
    }

    /// The endpoints of a network.
    pub fn endpoints_on<'a>(&'a self, network: &'a NetworkName) -> impl Iterator<Item = &'a Endpoint> {
        let from = self.endpoints.from(|(of, _)| of.cmp(network));
        from.take_while(move |((of, _), _)| of == network).map(|(_, endpoint)| endpoint)
    }

    /// Returns the name for the tags of an endpoint's links if the endpoint's own name is in use: a container
    /// that had the name before still has links under it. Returns `None` if the endpoint's own name is free.
    pub fn tag_beside(&self, network: &NetworkName, name: &EndpointName) -> Option<EndpointName> {
        let has = |tag: &EndpointName| {
            self.endpoints_on(network).any(|other| other.name != *name && other.tag_name() == tag)
        };
        has(name).then(|| (2..=u32::MAX).map(|n| name.numbered(n)).find(|tag| !has(tag)))?
    }

    /// The endpoint with this id of the engine.
    pub fn endpoint_of_engine(&self, wanted: &str) -> Option<&Endpoint> {
        self.first_with(Mark::EngineId(wanted.to_owned()))
    }

    /// The network with this name. The name may also be the one that the engine's user chose.
    pub fn network_called(&self, name: &NetworkName) -> Option<&Network> {
        let labelled = || self.networks.values().find(|network| network.label() == name.as_str());
        self.networks.get(name).or_else(labelled)
    }

    /// The network with this id of the engine.
    pub fn network_of_engine(&self, wanted: &str) -> Option<&Network> {
        self.networks
            .values()
            .find(|network| network.engine.as_ref().is_some_and(|engine| engine.id == wanted))
    }

    /// The remembered names of a network that are not on it now. The name that left last comes first.
    pub fn left_last<'a>(&'a self, network: &Network) -> impl Iterator<Item = &'a EndpointName> + use<'a> {
        let (scope, on) = (State::scope(network), network.name.clone());
        let from = self.identities.from(|(of, _)| of.cmp(&scope));
        let here = from.take_while(|((of, _), _)| *of == scope);
        let away = here.filter(|((_, name), _)| !self.endpoints.contains_key(&(on.clone(), name.clone())));
        let mut names: Vec<_> = away.map(|((_, name), identity)| (identity.last_use(), name)).collect();
        names.sort_by_key(|(last_use, _)| std::cmp::Reverse(*last_use));
        names.into_iter().map(|(_, name)| name)
    }

    /// The place of the next use of a name in the order of all uses.
    pub(crate) fn next_use(&self) -> u64 {
        match self.identities.last_mark() {
            Some(identity::Mark::Used(last)) => last.saturating_add(1),
            _ => 1,
        }
    }

    /// Whether an endpoint has a name of a scope.
    pub(crate) fn is_attached(&self, scope: &Scope, name: &EndpointName) -> bool {
        let mut networks = self.networks.values().filter(|network| State::scope(network) == *scope);
        networks.any(|network| self.endpoints.contains_key(&(network.name.clone(), name.clone())))
    }

    /// The endpoint that holds an address, on any network, because networks may share the LAN's subnet.
    pub fn holder(&self, ip: IpAddr) -> Option<&Endpoint> {
        self.first_with(Mark::Ip(ip))
    }

    /// The endpoint with this MAC.
    pub fn mac_holder(&self, mac: Mac) -> Option<&Endpoint> {
        self.first_with(Mark::Mac(mac))
    }

    /// The endpoints whose links Ashore itself makes in a namespace.
    pub fn endpoints_in(&self, netns: &Netns) -> impl Iterator<Item = &Endpoint> + use<'_> {
        let (by_file, netns) = (self.endpoints.with(Mark::Netns(netns.dev, netns.ino)), netns.clone());
        by_file.map(|(_, endpoint)| endpoint).filter(move |endpoint| endpoint.netns() == Some(&netns))
    }

    /// Whether an endpoint's link has a MAC, or had it when it was last seen.
    pub fn has_mac(&self, mac: Mac) -> bool {
        let mut with = self.endpoints.with(Mark::Mac(mac)).chain(self.endpoints.with(Mark::SeenMac(mac)));
        with.next().is_some()
    }

    fn first_with(&self, mark: Mark) -> Option<&Endpoint> {
        self.endpoints.with(mark).next().map(|(_, endpoint)| endpoint)
    }

    /// The MACs that an endpoint's link may have outside its namespace: its own MAC, and the MAC that was
    /// last seen on the link unless that is another endpoint's own MAC.
    pub fn macs_of<'a>(&'a self, endpoint: &'a Endpoint) -> impl Iterator<Item = Mac> + 'a {
        let is_others = |mac: Mac| self.endpoints.with(Mark::Mac(mac)).any(|(key, _)| *key != endpoint.key());
        endpoint.macs().filter(move |mac| endpoint.mac == Some(*mac) || !is_others(*mac))
    }

    /// The MACs that the endpoints on a parent may have.
    pub fn macs_on<'a>(&'a self, parent: &'a IfName) -> impl Iterator<Item = Mac> + 'a {
        let on_it =
            |endpoint: &&Endpoint| self.network_of(endpoint).is_some_and(|network| network.parent == *parent);
        self.endpoints.values().filter(on_it).flat_map(Endpoint::macs)
    }

    /// Whether a name is on another network that users call the same: that of another engine.
    pub(crate) fn is_called_so_elsewhere(&self, network: &Network, name: &EndpointName) -> bool {
        let scope = State::scope(network);
        let others = self.networks.values().filter(|other| other.name != network.name);
        let mut others = others.filter(|other| State::scope(other) == scope);
        others.any(|other| self.endpoints.contains_key(&(other.name.clone(), name.clone())))
    }

    /// The scope of the identities of a network's names.
    pub fn scope(network: &Network) -> Scope {
        Scope(network.label().to_owned())
    }

    /// The identity that is remembered for a name on a network.
    pub fn identity_of(&self, network: &Network, name: &EndpointName) -> Option<&Identity> {
        self.identities.get(&(State::scope(network), name.clone()))
    }
}
