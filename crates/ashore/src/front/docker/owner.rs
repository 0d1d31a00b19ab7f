//! Whose address the engine is asking for. Up to Docker 28 it does not say; its list of containers tells.

use std::path::Path;
use std::time::Duration;

use ashore_core::EndpointName;
use ashore_core::network::EngineNetwork;
use ashore_core::request::Owner;
use serde::Deserialize;

use super::api::{Api, escaped};

/// The engine answers within milliseconds, or, while it boots, not at all.
const PATIENCE: Duration = Duration::from_millis(500);

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
}

/// The container of a network that is starting now. Several at once are told apart by nothing.
async fn starting(api: &Api, containers: Vec<Container>, network: &str) -> Option<EndpointName> {
    let waits = |container: &Container| {
        container.network_settings.networks.get(network).is_some_and(|there| there.endpoint.is_empty())
    };
    let waiting: Vec<Container> = containers.into_iter().filter(waits).collect();
    let with_shim: Vec<&Container> = waiting.iter().filter(|container| has_shim(&container.id)).collect();
    // Docker 20.10 makes the network before the process.
    let busy = if with_shim.is_empty() { busy(api, &waiting).await } else { with_shim };
    let [one] = busy.as_slice() else { return None };
    one.names.first().map(|name| endpoint_name(name))
}

/// The containers that the engine is at work on: it answers for them when it has done.
async fn busy<'a>(api: &Api, waiting: &'a [Container]) -> Vec<&'a Container> {
    /// A container at rest is shown within a few milliseconds.
    const AT_REST: Duration = Duration::from_millis(60);
    let ask = |container: &Container| {
        let (api, path) = (api.clone(), format!("/containers/{}/json", container.id));
        tokio::spawn(async move {
            tokio::time::timeout(AT_REST, api.get::<serde_json::Value>(&path)).await.is_err()
        })
    };
    let asked: Vec<_> = waiting.iter().map(ask).collect();
    let mut busy = Vec::new();
    for (container, answer) in waiting.iter().zip(asked) {
        if answer.await.unwrap_or(false) {
            busy.push(container);
        }
    }
    busy
}

/// A container's name as an endpoint's. Docker's may be longer than Ashore's.
pub(super) fn endpoint_name(name: &str) -> EndpointName {
    let name = name.trim_start_matches('/');
    let short: String = name.chars().take(63).collect();
    short.parse().or_else(|_| "unnamed".parse()).expect("a word is a name")
}

/// Whom the engine is starting on a network, as far as it tells at once.
pub(super) async fn find(socket: &Path, network: &EngineNetwork) -> Option<Owner> {
    match tokio::time::timeout(PATIENCE, ask(socket, network)).await {
        Ok(Ok(owner)) => Some(owner),
        Ok(Err(error)) => {
            tracing::warn!("the engine's list of containers: {error:#}");
            None
        }
        Err(_) => {
            tracing::info!("the engine does not answer yet, so the container's name is not known");
            None
        }
    }
}

async fn ask(socket: &Path, network: &EngineNetwork) -> anyhow::Result<Owner> {
    let api = Api::at(socket);
    let network_name = match &network.name {
        Some(name) => name.clone(),
        None => api.get::<Named>(&format!("/networks/{}", network.id)).await?.name,
    };
    // A container that never ran is listed by the network's name alone.
    let filter = escaped(&serde_json::json!({ "network": [network_name] }).to_string());
    let containers: Vec<Container> = api.get(&format!("/containers/json?all=1&filters={filter}")).await?;
    let name = starting(&api, containers, &network_name).await;
    Ok(Owner { network: network.id.clone(), network_name: Some(network_name), name })
}

/// Whether a container has a shim process, the engine's own, which runs from before its network is made.
fn has_shim(id: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.windows(15).any(|word| word == b"containerd-shim"))
            && words.any(|word| word == id.as_bytes())
    })
}
