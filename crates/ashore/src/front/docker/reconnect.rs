//! Containers that are connected anew now that their names are known: each is disconnected, and connected with the same settings.
//!
//! Between the two, the engine has forgotten that the container was on the network. If the daemon, the engine or the host ended then, the
//! container would stay off the network for good. So its settings are written down first. The next daemon, or this one with the next
//! engine, connects the container.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use ashore_core::api::engine_call::EngineCall;
use ashore_core::api::refusal::RefusalKind;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::net::name::EndpointName;
use ashore_core::rules::wrong_identity::WrongIdentity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Api, escaped, is_not_found, is_refusal};
use super::handle::{Handle, ask};
use super::turns::Lists;

/// How often connecting is tried in a row. After that it is tried again with each list.
const TRIES: u32 = 3;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);
/// The engine does not answer for a container that it is starting or connecting until that is done.
const PATIENCE: Duration = Duration::from_secs(10);

/// Containers that were disconnected and are to be connected, each in a file of its own.
pub(super) struct Disconnected(PathBuf);

/// What a container is to be connected with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The engine's ids. The endpoint is the one that it had.
    container: String,
    network: String,
    #[serde(default)]
    endpoint: String,
    /// What its user calls the network.
    label: String,
    name: EndpointName,
    settings: Value,
    /// The engine has said that it could not connect it. It may show it on the network all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    failed: bool,
}

impl Note {
    /// The command by which a person would connect it.
    fn command(&self) -> String {
        let chosen = |option: &str, key: &str| {
            let address = self.settings["IPAMConfig"][key].as_str().filter(|address| !address.is_empty());
            address.map_or_else(String::new, |address| format!("{option} {address} "))
        };
        let (v4, v6) = (chosen("--ip", "IPv4Address"), chosen("--ip6", "IPv6Address"));
        format!("docker network connect {v4}{v6}{} {}", self.label, self.name)
    }
}

/// Where a container is.
enum Place {
    /// It was connected since.
    On,
    /// The engine shows it there, and it has no link: the call that would have made one was lost with a daemon, and so was the engine's
    /// word that it failed.
    Linkless,
    /// It has not been disconnected, or not yet: an engine may take its time.
    Still,
    Off,
    /// There is no such container.
    Nowhere,
}

impl Disconnected {
    /// Kept in this directory.
    pub(super) fn in_directory(directory: PathBuf) -> Self {
        Disconnected(directory)
    }

    fn file(&self, note: &Note) -> PathBuf {
        let short = |id: &str| id.chars().filter(char::is_ascii_alphanumeric).take(32).collect::<String>();
        self.0.join(format!("{}-{}", short(&note.container), short(&note.network)))
    }

    /// Writes one down, so that it outlives a crash of the host.
    fn write(&self, note: &Note) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let (path, text) = (self.file(note), serde_json::to_vec(note)?);
        let unfinished = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(&self.0)?.sync_all()
    }

    /// All that are written down. A file that does not read is left out.
    fn all(&self) -> Vec<Note> {
        let files = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let read = |path: &Path| serde_json::from_slice(&fs::read(path).ok()?).ok();
        files.filter_map(|file| read(&file.path())).filter(|note| self.file(note).exists()).collect()
    }

    fn forget(&self, note: &Note) {
        if let Err(error) = fs::remove_file(self.file(note)) {
            tracing::warn!(container = %note.name, "what it was to be connected with stays written down: {error}");
        }
    }
}

/// Connects a group of containers anew. One of them may have what another is to get, so all are disconnected first.
pub(super) async fn connect_anew(
    api: &Api,
    handle: &Handle,
    lists: &Lists,
    disconnected: &Disconnected,
    group: &[WrongIdentity],
) {
    let mut notes = Vec::new();
    for container in group {
        match disconnect(api, disconnected, container).await {
            Ok(note) => notes.push(note),
            Err(error) => tracing::error!(container = %container.name, "connecting it anew: {error:#}"),
        }
    }
    for note in notes {
        connect(api, handle, lists, disconnected, note, TRIES).await;
    }
}

/// Connects the containers that were disconnected before and not connected since.
pub(super) async fn resume(api: &Api, handle: &Handle, lists: &Lists, disconnected: &Disconnected) {
    for note in disconnected.all() {
        connect(api, handle, lists, disconnected, note, 1).await;
    }
}

async fn disconnect(
    api: &Api,
    disconnected: &Disconnected,
    container: &WrongIdentity,
) -> anyhow::Result<Note> {
    /// What the engine adds to the settings while the container runs.
    const RUNNING: [&str; 10] = [
        "EndpointID",
        "Gateway",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "MacAddress",
        "NetworkID",
        "DNSNames",
    ];
    let shown = show(api, &container.container).await?;
    let places = shown["NetworkSettings"]["Networks"].as_object().context("it is on no network")?;
    let place = places.iter().find(|(_, place)| place["NetworkID"] == container.network.as_str());
    let (label, place) = place.context("it has left the network")?;
    anyhow::ensure!(place["EndpointID"] == container.endpoint.as_str(), "it has started anew meanwhile");
    let mut settings = place.clone();
    if let Some(settings) = settings.as_object_mut() {
        settings.retain(|key, _| !RUNNING.contains(&key.as_str()));
        settings.extend(container.mac.map(|mac| ("MacAddress".to_owned(), json!(mac))));
    }
    let note = Note {
        container: container.container.clone(),
        network: container.network.clone(),
        endpoint: container.endpoint.clone(),
        label: label.clone(),
        name: container.name.clone(),
        settings,
        failed: false,
    };
    disconnected.write(&note).context("writing down how it is connected")?;
    tracing::info!(container = %note.name, "connecting it anew, for what its name had before");
    if let Err(error) = disconnect_from(api, &note).await {
        // Whether the container is off the network is looked at before it is connected.
        tracing::warn!(container = %note.name, "{error:#}");
    }
    Ok(note)
}

async fn connect(
    api: &Api,
    handle: &Handle,
    lists: &Lists,
    disconnected: &Disconnected,
    mut note: Note,
    tries: u32,
) {
    for left in (0..tries).rev() {
        let error = match try_to_connect(api, handle, &note).await {
            Ok(()) => {
                disconnected.forget(&note);
                lists.settle(&note.container, &note.network, None);
                return;
            }
            Err(error) => error,
        };
        if !note.failed && is_refusal(&error) {
            note.failed = true;
            if let Err(error) = disconnected.write(&note) {
                tracing::warn!(container = %note.name, "that it could not be connected is not written down: {error}");
            }
        }
        let trouble = format!(
            "`{}` is off network `{}`, since it was to be connected anew: {error:#}; this is tried again every minute, and can be by: {}",
            note.name,
            note.label,
            note.command(),
        );
        if left == 0 {
            tracing::error!("{trouble}");
            lists.settle(&note.container, &note.network, Some(trouble));
            return;
        }
        tracing::warn!(container = %note.name, "{error:#}; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Connects a container. Succeeds as well if it is connected already, or if it or its network is gone.
async fn try_to_connect(api: &Api, handle: &Handle, note: &Note) -> anyhow::Result<()> {
    let place = match place_of(api, handle, note).await? {
        Place::Still if note.failed => Place::Linkless,
        other => other,
    };
    match place {
        Place::Nowhere | Place::On => return Ok(()),
        Place::Linkless => {
            let body = json!({ "Container": note.container, "Force": true });
            if let Err(error) = api.post(&path(note, "disconnect"), &body).await {
                tracing::warn!(container = %note.name, "{error:#}");
            }
        }
        Place::Off => {}
        Place::Still => {
            let disconnected = disconnect_from(api, note).await;
            if matches!(place_of(api, handle, note).await?, Place::Still) {
                return match disconnected {
                    Err(error) if is_refusal(&error) => {
                        tracing::warn!(container = %note.name, "it stays connected as it is: {error:#}");
                        Ok(())
                    }
                    Err(error) => Err(error),
                    Ok(()) => Err(anyhow::anyhow!("the engine has not disconnected it")),
                };
            }
        }
    }
    let (network, name) = (note.network.clone(), note.name.clone());
    ask(handle, Request::EngineCall(EngineCall::Expect { network, name })).await?;
    let body = json!({ "Container": note.container, "EndpointConfig": note.settings });
    match api.post(&path(note, "connect"), &body).await {
        Err(error) if is_not_found(&error) => {
            tracing::info!(container = %note.name, "is not connected anew: {error:#}");
            Ok(())
        }
        other => other,
    }
}

/// The engine shows no container for as long as it is starting or connecting it.
async fn place_of(api: &Api, handle: &Handle, note: &Note) -> anyhow::Result<Place> {
    let shown = match show(api, &note.container).await {
        Err(error) if is_not_found(&error) => return Ok(Place::Nowhere),
        other => other?,
    };
    let places = shown["NetworkSettings"]["Networks"].as_object();
    let mut places = places.into_iter().flatten();
    let there =
        places.find(|(label, place)| **label == note.label || place["NetworkID"] == note.network.as_str());
    let endpoint = match there.map(|(_, place)| place["EndpointID"].as_str().unwrap_or_default()) {
        None => return Ok(Place::Off),
        // One that runs was to be connected, and was not.
        Some("") if shown["State"]["Running"] == true => return Ok(Place::Linkless),
        Some("") => return Ok(Place::On),
        Some(endpoint) if endpoint == note.endpoint => return Ok(Place::Still),
        Some(endpoint) => endpoint.to_owned(),
    };
    match ask(handle, Request::EngineCall(EngineCall::HasLink { id: endpoint })).await? {
        Reply::Refused(refusal) if refusal.kind == RefusalKind::NotFound => Ok(Place::Linkless),
        Reply::Refused(refusal) => Err(anyhow::anyhow!("{refusal}")),
        _ => Ok(Place::On),
    }
}

async fn disconnect_from(api: &Api, note: &Note) -> anyhow::Result<()> {
    api.post(&path(note, "disconnect"), &json!({ "Container": note.container })).await
}

async fn show(api: &Api, container: &str) -> anyhow::Result<Value> {
    let path = format!("/containers/{}/json", escaped(container));
    tokio::time::timeout(PATIENCE, api.get(&path)).await.context("the engine does not show it")?
}

fn path(note: &Note, verb: &str) -> String {
    format!("/networks/{}/{verb}", escaped(&note.network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_there_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let disconnected = Disconnected::in_directory(directory.path().join("disconnected"));
        assert_eq!(disconnected.all(), []);
        let note = |container: &str| Note {
            container: container.into(),
            network: "0123abcd".into(),
            endpoint: "4567".into(),
            label: "lan".into(),
            name: "web".parse().unwrap(),
            settings: json!({ "IPAMConfig": { "IPv4Address": "192.168.88.200" } }),
            failed: false,
        };
        let (web, other) = (note("aa01"), note("../aa02"));
        disconnected.write(&web).unwrap();
        disconnected.write(&other).unwrap();
        disconnected.write(&web).unwrap();
        // What was being written when the host lost power, and what is no note at all.
        fs::write(disconnected.0.join("aa03-0123abcd.new"), serde_json::to_vec(&note("aa03")).unwrap())
            .unwrap();
        fs::write(disconnected.0.join("torn"), b"{\"container\":").unwrap();
        let mut all = disconnected.all();
        all.sort_by(|one, other| one.container.cmp(&other.container));
        assert_eq!(all, [other.clone(), web.clone()]);
        assert_eq!(web.command(), "docker network connect --ip 192.168.88.200 lan web");
        disconnected.forget(&web);
        assert_eq!(disconnected.all(), [other]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is written elsewhere");
    }
}
