//! Whose address the engine is asking for. Up to Docker 28 it does not say; its list of containers tells.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ashore_core::EndpointName;
use ashore_core::network::EngineNetwork;
use ashore_core::request::Owner;
use serde::Deserialize;

use super::api::Api;
use super::busy::only_busy;
use super::server::Engine;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
}

/// A container on the engine's list.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    names: Vec<String>,
    network_settings: NetworkSettings,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    networks: std::collections::BTreeMap<String, Membership>,
}

#[derive(Debug, Clone, Deserialize)]
struct Membership {
    #[serde(rename = "EndpointID", default)]
    endpoint: String,
    #[serde(rename = "IPAMConfig", default)]
    chosen: Option<Chosen>,
    /// Of a container that does not run, the one that its user chose.
    #[serde(rename = "MacAddress", default)]
    mac: String,
}

/// The addresses that the user chose, as texts, which are empty where none was.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Chosen {
    #[serde(rename = "IPv4Address")]
    v4: String,
    #[serde(rename = "IPv6Address")]
    v6: String,
}

/// What is known of whom an address is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Whether it is of IPv6.
    pub(super) v6: bool,
    /// The address, if the engine names it.
    pub(super) ip: Option<IpAddr>,
}

impl Container {
    fn on(&self, network: &str) -> Option<&Membership> {
        self.network_settings.networks.get(network)
    }

    /// Whether it is on a network and has no endpoint there. An engine that was killed shows those that its containers had
    /// before (seen on 20.10).
    fn waits_on(&self, network: &str) -> bool {
        self.on(network).is_some_and(|there| there.endpoint.is_empty() || self.state == "exited")
    }

    fn endpoint_name(&self) -> Option<EndpointName> {
        self.names.first().map(|name| endpoint_name(name))
    }

    /// Whether the user chose this address for it on a network, or none if none was named.
    fn wants(&self, network: &str, asked: Asked) -> bool {
        let chosen = self.on(network).and_then(|there| there.chosen.as_ref());
        let text = chosen.map_or("", |chosen| if asked.v6 { &chosen.v6 } else { &chosen.v4 });
        text.parse().ok() == asked.ip
    }
}

/// The containers that an address of a network can be for: those for which it was chosen, or else those for which none was.
fn fitting(containers: Vec<Container>, network: &str, asked: Asked) -> Vec<Container> {
    let chosen = containers.iter().any(|container| container.wants(network, asked));
    let asked = if chosen { asked } else { Asked { ip: None, ..asked } };
    let fits = |one: &Container| one.on(network).is_none() || one.wants(network, asked);
    containers.into_iter().filter(fits).collect()
}

/// A container's name as an endpoint's. Docker's may be longer than Ashore's.
pub(super) fn endpoint_name(name: &str) -> EndpointName {
    let name = name.trim_start_matches('/');
    let short: String = name.chars().take(63).collect();
    short.parse().or_else(|_| "unnamed".parse()).expect("a word is a name")
}

/// Whom the engine is starting on a network, as far as it tells at once.
pub(super) async fn find(engine: &Engine, network: &EngineNetwork, asked: Asked) -> Option<Owner> {
    let api = Api::at(&engine.socket);
    engine.silence.unless_it_lasts(&api, ask(&api, network, asked)).await
}

async fn ask(api: &Api, network: &EngineNetwork, asked: Asked) -> anyhow::Result<Owner> {
    let network_name = match &network.name {
        Some(name) => name.clone(),
        None => api.get::<Named>(&format!("/networks/{}", network.id)).await?.name,
    };
    let began = Instant::now();
    let containers: Vec<Container> = api.get("/containers/json?all=1").await?;
    let containers = fitting(containers, &network_name, asked);
    let one = at_work_on(api, &containers, &network_name, began.elapsed()).await;
    let mac = one.and_then(|one| one.on(&network_name)?.mac.parse().ok());
    let name = one.and_then(Container::endpoint_name);
    Ok(Owner { network: network.id.clone(), network_name: Some(network_name), name, mac })
}

/// The container that the engine is starting or connecting. One that it starts has no endpoint yet, and one that it connects
/// runs and is not listed on the network. Several at once are told apart by nothing.
async fn at_work_on<'a>(
    api: &Api,
    containers: &'a [Container],
    network: &str,
    a_list_takes: Duration,
) -> Option<&'a Container> {
    /// Long enough for any container but the one in question, and added to an attach.
    const LEAST: Duration = Duration::from_millis(20);
    /// What is left of the patience after a list that took long.
    const MOST: Duration = Duration::from_millis(250);
    let may_be =
        |one: &&Container| one.waits_on(network) || (one.on(network).is_none() && one.state == "running");
    let candidates: Vec<&Container> = containers.iter().filter(may_be).collect();
    let is_starting =
        |id: &str| has_shim(id) && candidates.iter().any(|one| one.id == id && one.state != "running");
    match candidates.as_slice() {
        [one] if has_shim(&one.id) => Some(*one),
        several => {
            let ids: Vec<&str> = several.iter().map(|container| container.id.as_str()).collect();
            let id = only_busy(api, &ids, (LEAST + 10 * a_list_takes).min(MOST), is_starting).await?;
            several.iter().find(|container| container.id == id).copied()
        }
    }
}

/// Whether a container has a shim process, the engine's own, which from Docker 28 on runs before its network is made.
fn has_shim(id: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.windows(15).any(|word| word == b"containerd-shim"))
            && words.any(|word| word == id.as_bytes())
    })
}
