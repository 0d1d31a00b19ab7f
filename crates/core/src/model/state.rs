//! Everything that Ashore has to remember, and the only ways in which it changes.
//!
//! A [`Change`] is what the store writes to disk and what it then applies here, so that disk and memory cannot differ.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_wire::Mac;
use serde::{Deserialize, Serialize};

use crate::model::endpoint::Endpoint;
use crate::model::identity::{Identity, Scope, Seed};
use crate::model::network::Network;
use crate::model::pool::{Pool, PoolKey};
use crate::net::name::{EndpointKey, EndpointName, IfName, NetworkName};

/// Networks, endpoints, identities and pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What MACs follow from.
    pub seed: Seed,
    /// All networks.
    pub networks: BTreeMap<NetworkName, Network>,
    /// All endpoints.
    pub endpoints: BTreeMap<EndpointKey, Endpoint>,
    /// All names that ever had an address and whose address was not needed since.
    pub identities: BTreeMap<(Scope, EndpointName), Identity>,
    /// An engine's open pools.
    pub pools: BTreeMap<PoolKey, Pool>,
}

/// One change to the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A network is new, or is another than before.
    PutNetwork(Network),
    /// A network is gone.
    DelNetwork(NetworkName),
    /// An endpoint is new, or is another than before.
    PutEndpoint(Endpoint),
    /// An endpoint is gone.
    DelEndpoint(EndpointKey),
    /// An identity is new, or is another than before.
    PutIdentity(Scope, EndpointName, Identity),
    /// An identity is forgotten.
    DelIdentity(Scope, EndpointName),
    /// A pool was opened, or has other reservations than before.
    PutPool(Pool),
    /// A pool was closed, or has become a network.
    DelPool(PoolKey),
}

impl State {
    /// An empty state.
    pub fn new(seed: Seed) -> Self {
        State {
            seed,
            networks: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            identities: BTreeMap::new(),
            pools: BTreeMap::new(),
        }
    }

    /// Makes a change.
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
        }
    }

    /// The state with a change made: what would be, before it is.
    #[must_use]
    pub fn with(&self, changes: &[Change]) -> State {
        let mut state = self.clone();
        changes.iter().cloned().for_each(|change| state.apply(change));
        state
    }

    /// The network an endpoint is on. State that names a network it does not hold is refused when it is read.
    pub fn network_of(&self, endpoint: &Endpoint) -> Option<&Network> {
        self.networks.get(&endpoint.network)
    }

    /// The endpoints of a network.
    pub fn endpoints_on<'a>(&'a self, network: &'a NetworkName) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.values().filter(move |endpoint| endpoint.network == *network)
    }

    /// The name under which the links of an endpoint are made, if that is not its own: a container that had the name before
    /// has links of that name still.
    pub fn tag_beside(&self, network: &NetworkName, name: &EndpointName) -> Option<EndpointName> {
        let has = |tag: &EndpointName| {
            self.endpoints_on(network).any(|other| other.name != *name && other.tag_name() == tag)
        };
        has(name).then(|| (2..=u32::MAX).map(|n| name.numbered(n)).find(|tag| !has(tag)))?
    }

    /// The endpoint that an engine knows by an id.
    pub fn endpoint_of_engine(&self, wanted: &str) -> Option<&Endpoint> {
        self.endpoints.values().find(|endpoint| endpoint.engine_id() == Some(wanted))
    }

    /// The network of a name, which may be the one that the engine's user gave it.
    pub fn network_called(&self, name: &NetworkName) -> Option<&Network> {
        let labelled = || self.networks.values().find(|network| network.label() == name.as_str());
        self.networks.get(name).or_else(labelled)
    }

    /// The network that an engine knows by an id.
    pub fn network_of_engine(&self, wanted: &str) -> Option<&Network> {
        self.networks
            .values()
            .find(|network| network.engine.as_ref().is_some_and(|engine| engine.id == wanted))
    }

    /// The names that were on a network and are not, the one that left last first.
    pub fn left_last<'a>(&'a self, network: &Network) -> impl Iterator<Item = &'a EndpointName> + use<'a> {
        let (scope, on) = (State::scope(network), network.name.clone());
        let away = self.identities.iter().filter(|((of, name), _)| {
            *of == scope && !self.endpoints.contains_key(&(on.clone(), name.clone()))
        });
        let mut names: Vec<_> = away.map(|((_, name), identity)| (identity.last_used, name)).collect();
        names.sort_by_key(|(last_used, _)| std::cmp::Reverse(*last_used));
        names.into_iter().map(|(_, name)| name)
    }

    /// The endpoint that holds an address, on any network: networks may share the LAN's subnet.
    pub fn holder(&self, ip: IpAddr) -> Option<&Endpoint> {
        self.endpoints.values().find(|endpoint| endpoint.holds(ip))
    }

    /// The endpoint that has a MAC.
    pub fn mac_holder(&self, mac: Mac) -> Option<&Endpoint> {
        self.endpoints.values().find(|endpoint| endpoint.mac == Some(mac))
    }

    /// The MACs by which the link of an endpoint may be known outside of its namespace: its own, and the one that was seen
    /// last, unless it is another endpoint's own.
    pub fn macs_of<'a>(&'a self, endpoint: &'a Endpoint) -> impl Iterator<Item = Mac> + 'a {
        let is_others = |mac: Mac| {
            self.endpoints.values().any(|other| other.mac == Some(mac) && other.key() != endpoint.key())
        };
        endpoint.macs().filter(move |mac| endpoint.mac == Some(*mac) || !is_others(*mac))
    }

    /// The MACs that endpoints on a parent may have.
    pub fn macs_on<'a>(&'a self, parent: &'a IfName) -> impl Iterator<Item = Mac> + 'a {
        let on_it =
            |endpoint: &&Endpoint| self.network_of(endpoint).is_some_and(|network| network.parent == *parent);
        self.endpoints.values().filter(on_it).flat_map(Endpoint::macs)
    }

    /// The scope in which a network's names are identities.
    pub fn scope(network: &Network) -> Scope {
        Scope(network.label().to_owned())
    }

    /// What is remembered of a name on a network.
    pub fn identity_of(&self, network: &Network, name: &EndpointName) -> Option<&Identity> {
        self.identities.get(&(State::scope(network), name.clone()))
    }
}
