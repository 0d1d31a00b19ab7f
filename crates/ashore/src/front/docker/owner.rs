//! Whose address the engine is asking for. Up to Docker 28 it does not say; its list of containers tells.

use std::time::Duration;

use ashore_core::EndpointName;
use ashore_core::request::Owner;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

/// The engine answers within milliseconds, or, while it boots, not at all.
const PATIENCE: Duration = Duration::from_millis(500);
/// A list of a thousand containers has about a megabyte.
const LONGEST: usize = 16 * 1024 * 1024;

/// A container on the engine's list.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
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
    #[serde(rename = "NetworkID", default)]
    network: String,
    #[serde(rename = "EndpointID", default)]
    endpoint: String,
}

/// The container of a network that is starting now: the only one without an endpoint, or the only such one of which a
/// process runs already. Several at once are told apart by nothing.
pub(super) fn starting(
    containers: &[Container],
    network: &str,
    runs: impl Fn(&str) -> bool,
) -> Option<Owner> {
    let waiting: Vec<(&Container, &String)> = containers
        .iter()
        .filter_map(|container| {
            let mut networks = container.network_settings.networks.iter();
            let (name, _) = networks.find(|(_, m)| m.network == network && m.endpoint.is_empty())?;
            Some((container, name))
        })
        .collect();
    let network_name = waiting.first().map(|(_, name)| (*name).clone());
    let mut running = waiting.iter().filter(|(container, _)| runs(&container.id));
    let one = match (waiting.as_slice(), running.next(), running.next()) {
        ([one], _, _) | (_, Some(one), None) => Some(one.0),
        _ => None,
    };
    let name = one.and_then(|container| container.names.first()).map(|name| endpoint_name(name));
    network_name.is_some().then(|| Owner { network: network.to_owned(), network_name, name })
}

/// A container's name as an endpoint's. Docker's may be longer than Ashore's.
pub(super) fn endpoint_name(name: &str) -> EndpointName {
    let name = name.trim_start_matches('/');
    let short: String = name.chars().take(63).collect();
    short.parse().or_else(|_| "unnamed".parse()).expect("a word is a name")
}

/// Asks the engine for the containers of a network; none if it does not answer at once.
pub(super) async fn containers(socket: &std::path::Path, network: &str) -> Vec<Container> {
    match tokio::time::timeout(PATIENCE, ask(socket, network)).await {
        Ok(Ok(containers)) => containers,
        Ok(Err(error)) => {
            tracing::warn!("the engine's list of containers: {error:#}");
            Vec::new()
        }
        Err(_) => {
            tracing::info!("the engine does not answer yet, so the container's name is not known");
            Vec::new()
        }
    }
}

async fn ask(socket: &std::path::Path, network: &str) -> anyhow::Result<Vec<Container>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    // {"network":["ID"]}, with what a URI does not allow escaped; an id is hexadecimal.
    let path = format!("/containers/json?all=1&filters=%7B%22network%22%3A%5B%22{network}%22%5D%7D");
    let request = Request::get(path).header("Host", "docker").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    anyhow::ensure!(response.status().is_success(), "it answers {}", response.status());
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    driver.abort();
    let bytes = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    Ok(serde_json::from_slice(&bytes)?)
}

/// Whether a container has a shim process, the engine's own, which runs from before its network is made.
pub(super) fn has_shim(id: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.windows(15).any(|word| word == b"containerd-shim"))
            && words.any(|word| word == id.as_bytes())
    })
}
