//! The engine's lists of networks and containers, as an inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ashore_core::model::inventory::{Inventory, ListedContainer, ListedNetwork, ListedSubnet, Membership};
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::name::EndpointName;
use ipnet::IpNet;
use serde::Deserialize;

use super::api::{Api, or_null};
use super::engine::Engine;
use super::owner::Chosen;

/// How long to wait for a container's details. A container that is starting is shown only once it has
/// started.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    id: String,
    name: String,
    driver: String,
    #[serde(default)]
    internal: bool,
    /// Whether the network is only a template for networks of any driver.
    #[serde(default)]
    config_only: bool,
    #[serde(default)]
    options: Option<BTreeMap<String, String>>,
    #[serde(rename = "IPAM", default)]
    ipam: Ipam,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Ipam {
    driver: String,
    config: Option<Vec<Subnet>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Subnet {
    #[serde(rename = "Subnet")]
    net: String,
    #[serde(rename = "IPRange")]
    range: String,
    gateway: String,
    auxiliary_addresses: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default, deserialize_with = "or_null")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    network_settings: Networks,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Networks {
    networks: Option<BTreeMap<String, Option<Place>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Place {
    #[serde(rename = "NetworkID")]
    network: String,
    #[serde(rename = "EndpointID")]
    endpoint: String,
    #[serde(rename = "IPAddress")]
    ip: String,
    #[serde(rename = "IPPrefixLen")]
    prefix: u8,
    #[serde(rename = "GlobalIPv6Address")]
    ip6: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    prefix6: u8,
    #[serde(rename = "MacAddress")]
    mac: String,
    #[serde(rename = "IPAMConfig")]
    chosen: Option<Chosen>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    network_settings: Sandbox,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sandbox {
    #[serde(default)]
    sandbox_key: String,
}

/// The id of the engine.
pub(crate) async fn engine_id(api: &Api) -> anyhow::Result<String> {
    Ok(api.get::<Info>("/info").await?.id)
}

/// Networks that the daemon knows, by the engine's ids.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) own: BTreeSet<String>,
    pub(crate) adopted: BTreeSet<String>,
}

/// Lists what the engine has. For containers on adopted networks, also asks where their namespaces are.
pub(crate) async fn inventory(
    api: &Api,
    id: String,
    engine: &Engine,
    Known { own, adopted }: &Known,
) -> anyhow::Result<Inventory> {
    let networks: Vec<Network> = api.get("/networks").await?;
    let drivers = Drivers::of(engine, networks.iter().filter(|network| own.contains(&network.id)));
    let listed: Vec<Container> = api.get("/containers/json?all=1").await?;
    let mut containers = Vec::with_capacity(listed.len());
    for container in listed {
        let Some(mut entry) = entry(container) else { continue };
        let inside =
            |there: &Membership| there.endpoint.is_some() && adopted.contains(there.network.as_str());
        if entry.memberships.iter().any(inside) {
            let path_of = format!("/containers/{}/json", entry.id);
            if let Ok(Ok(shown)) = tokio::time::timeout(PATIENCE, api.get::<Inspected>(&path_of)).await {
                let key = shown.network_settings.sandbox_key;
                entry.sandbox = Some(key).filter(|key| !key.is_empty()).map(|key| engine.path(key.as_ref()));
            }
        }
        containers.push(entry);
    }
    let networks = networks.into_iter().map(|one| network(one, &drivers)).collect();
    Ok(Inventory { kind: EngineKind::Docker, engine: id, networks, containers })
}

/// The names by which the engine knows Ashore's drivers.
struct Drivers<'a> {
    plain: &'a str,
    /// The drivers of Ashore's networks, because a managed plugin may have any name.
    seen: BTreeSet<String>,
}

impl<'a> Drivers<'a> {
    fn of<'b>(engine: &'a Engine, own: impl Iterator<Item = &'b Network>) -> Self {
        Drivers { plain: &engine.driver, seen: own.map(|network| network.driver.clone()).collect() }
    }

    fn has(&self, name: &str) -> bool {
        let within_registry = name.rsplit('/').next().unwrap_or(name);
        let untagged = within_registry.split(':').next().unwrap_or(within_registry);
        untagged == self.plain || self.seen.contains(name)
    }
}

fn entry(container: Container) -> Option<ListedContainer> {
    let places = container.network_settings.networks.unwrap_or_default();
    // A container has an additional name for each container that is linked to it. Its own name has no second
    // slash.
    let own = container.names.iter().find(|name| !name.trim_start_matches('/').contains('/'))?;
    Some(ListedContainer {
        id: container.id,
        name: EndpointName::of_container(own),
        formerly: EndpointName::formerly_of_container(own),
        memberships: places.into_values().flatten().map(membership).collect(),
        sandbox: None,
    })
}

fn membership(place: Place) -> Membership {
    let address = |ip: &str, prefix| IpNet::new(ip.parse().ok()?, prefix).ok();
    let addresses = [address(&place.ip, place.prefix), address(&place.ip6, place.prefix6)];
    Membership {
        network: place.network,
        endpoint: Some(place.endpoint).filter(|id| !id.is_empty()),
        addresses: addresses.into_iter().flatten().collect(),
        mac: place.mac.parse().ok(),
        chosen: place.chosen.iter().flat_map(Chosen::addresses).collect(),
    }
}

fn network(network: Network, drivers: &Drivers<'_>) -> ListedNetwork {
    let others = !drivers.has(&network.driver) && !network.config_only;
    let misuses_ipam = others && drivers.has(&network.ipam.driver);
    let subnets = network.ipam.config.unwrap_or_default().into_iter().filter_map(|subnet| {
        let aux = subnet.auxiliary_addresses.unwrap_or_default().into_iter();
        Some(ListedSubnet {
            net: subnet.net.parse().ok()?,
            range: subnet.range.parse().ok(),
            gateway: subnet.gateway.split('/').next().and_then(|ip| ip.parse().ok()),
            aux: aux.filter_map(|(name, ip)| Some((name, ip.parse().ok()?))).collect(),
        })
    });
    ListedNetwork {
        id: network.id,
        name: network.name,
        driver: network.driver,
        internal: network.internal,
        misuses_ipam,
        options: network.options.unwrap_or_default(),
        subnets: subnets.collect(),
    }
}
