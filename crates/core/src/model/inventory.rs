//! What a container engine has, as its lists tell.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::net::name::EndpointName;

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
    /// The addresses that its user chose, which it has or will ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<IpAddr>,
}

impl Inventory {
    /// The engine's endpoints, with the containers that have them.
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

    /// A network of the engine's by its user's name, its id, or the beginning of its id.
    pub fn network_called(&self, name: &str) -> Option<&ListedNetwork> {
        let begins = || {
            let mut found = self.networks.iter().filter(|network| network.id.starts_with(name));
            found.next().filter(|_| name.len() >= 4 && found.next().is_none())
        };
        self.networks.iter().find(|network| network.name == name || network.id == name).or_else(begins)
    }
}
