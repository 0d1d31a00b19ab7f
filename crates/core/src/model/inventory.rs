//! The networks and containers of a container engine, as its lists report them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::endpoint::Endpoint;
use crate::model::network::Network;
use crate::model::ownership::{EngineId, EngineKind};
use crate::net::name::EndpointName;

/// An engine's networks and containers at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The kind of the engine.
    #[serde(default)]
    pub kind: EngineKind,
    /// The engine's own id, which survives its restarts.
    pub engine: String,
    /// Its networks, of every driver.
    pub networks: Vec<ListedNetwork>,
    /// Its containers, running or not.
    pub containers: Vec<ListedContainer>,
}

/// A network on an engine's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedNetwork {
    /// The engine's id of the network.
    pub id: String,
    /// The name that the user gave it.
    pub name: String,
    /// The driver's name.
    pub driver: String,
    /// Whether it has no route out of the LAN.
    pub internal: bool,
    /// Whether Ashore is its IPAM driver although its network driver is another one.
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
    /// The range from which the engine hands out addresses.
    pub range: Option<IpNet>,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// Auxiliary addresses.
    pub aux: BTreeMap<String, IpAddr>,
}

/// A container on an engine's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedContainer {
    /// The engine's id of the container.
    pub id: String,
    /// Its name.
    pub name: EndpointName,
    /// The name under which earlier versions knew the container, if its own name is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formerly: Option<EndpointName>,
    /// The networks that it is on, or will be on when it runs.
    pub memberships: Vec<Membership>,
    /// A path that opens its namespace, if that was requested.
    pub sandbox: Option<PathBuf>,
}

/// A container's connection to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The engine's id of the network. Empty for a container that has never run.
    pub network: String,
    /// The engine's id of the endpoint. `None` while the container is not running.
    pub endpoint: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Its MAC.
    pub mac: Option<Mac>,
    /// The addresses that the user chose for the container. It has them or will request them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<IpAddr>,
}

impl Inventory {
    /// The engine whose list it is.
    pub fn engine_id(&self) -> EngineId {
        EngineId { kind: self.kind, id: self.engine.clone() }
    }

    /// Whether a network is known to be this engine's.
    pub fn has_made(&self, network: &Network) -> bool {
        let engine = network.engine.as_ref();
        engine.is_some_and(|engine| engine.kind == self.kind && engine.of.as_ref() == Some(&self.engine))
    }

    /// Whether a network may be this engine's. A network that was never on a list may be any engine's of its
    /// kind.
    pub fn may_have_made(&self, network: &Network) -> bool {
        let engine = network.engine.as_ref();
        engine.is_some_and(|engine| {
            engine.kind == self.kind && engine.of.as_ref().is_none_or(|of| *of == self.engine)
        })
    }

    /// Whether an endpoint's container belongs to an engine of this kind.
    pub fn has(&self, endpoint: &Endpoint) -> bool {
        endpoint.ownership == self.kind.into()
    }

    /// The engine's endpoints, with their containers.
    pub fn endpoints(&self) -> impl Iterator<Item = (&ListedContainer, &Membership, &str)> {
        self.containers.iter().flat_map(|container| {
            let placed = container.memberships.iter();
            placed.filter_map(move |there| Some((container, there, there.endpoint.as_deref()?)))
        })
    }

    /// The addresses that users chose for containers.
    pub fn chosen(&self) -> impl Iterator<Item = IpAddr> {
        let memberships = self.containers.iter().flat_map(|container| &container.memberships);
        memberships.flat_map(|there| there.chosen.iter().copied())
    }

    /// Finds a network of the engine by its name, its id, or a prefix of its id. A prefix needs at least 4
    /// characters and must match only one network.
    pub fn network_called(&self, name: &str) -> Option<&ListedNetwork> {
        let begins = || {
            let mut found = self.networks.iter().filter(|network| network.id.starts_with(name));
            found.next().filter(|_| name.len() >= 4 && found.next().is_none())
        };
        self.networks.iter().find(|network| network.name == name || network.id == name).or_else(begins)
    }
}
