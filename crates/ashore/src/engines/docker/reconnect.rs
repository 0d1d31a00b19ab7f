//! Reconnects containers once their names are known. Each is disconnected and connected again with the same
//! settings.
//!
//! In between, the engine has forgotten that the container was on the network. If the daemon, the engine or
//! the host stopped then, the container would stay off the network for good. So its settings are written to
//! disk first. The next daemon, or this one with the next engine, connects the container.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use ashore_core::api::about::About;
use ashore_core::api::engine_call::EngineCall;
use ashore_core::api::refusal::RefusalKind;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::name::EndpointName;
use ashore_core::net::remedy::Remedy;
use ashore_core::net::text::Word;
use ashore_core::rules::wrong_identity::WrongIdentity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Api, escaped, is_not_found, is_refusal};
use crate::engines::turns::Lists;
use crate::handle::{Handle, ask};

/// How many times in a row to try to connect. After that, each list causes another attempt.
const TRIES: u32 = 3;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_secs(2);
/// How long to wait for a container's details. The engine does not answer for a container that it is starting
/// or connecting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Containers that were disconnected and must be connected again, each in a file.
pub(crate) struct Disconnected(PathBuf);

/// The settings with which to connect a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The engine's ids. The endpoint is the one that the container had before.
    container: String,
    network: String,
    #[serde(default)]
    endpoint: String,
    /// The user's name for the network.
    label: String,
    name: EndpointName,
    settings: Value,
    /// Whether the engine has reported that it could not connect the container. It may show it on the network
    /// all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    failed: bool,
}

impl Note {
    /// The command by which a user would connect the container.
    fn command(&self) -> String {
        let chosen = |option: &str, key: &str| {
            let address = self.settings["IPAMConfig"][key].as_str().filter(|address| !address.is_empty());
            address.map_or_else(String::new, |address| format!("{option} {} ", Word::of(address)))
        };
        let (v4, v6) = (chosen("--ip", "IPv4Address"), chosen("--ip6", "IPv6Address"));
        format!("docker network connect {v4}{v6}{} {}", Word::of(&self.label), self.name)
    }
}

/// Whether a container is on its network.
enum Place {
    /// It has been connected since.
    On,
    /// The engine shows it on the network, but it has no link. The call that would have made the link was
    /// lost with a daemon, and so was the engine's error.
    Linkless,
    /// It has not been disconnected yet. An engine may take its time.
    Still,
    Off,
    /// There is no such container.
    Nowhere,
}

impl Disconnected {
    /// Stores them in a directory.
    pub(crate) fn in_directory(directory: PathBuf) -> Self {
        Disconnected(directory)
    }

    fn file(&self, note: &Note) -> PathBuf {
        let short = |id: &str| id.chars().filter(char::is_ascii_alphanumeric).take(32).collect::<String>();
        self.0.join(format!("{}-{}", short(&note.container), short(&note.network)))
    }

    /// Writes a note to disk, so that it survives a crash of the host.
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

    /// All notes on disk. A file that cannot be parsed is left out.
    fn all(&self) -> Vec<Note> {
        let files = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let read = |path: &Path| serde_json::from_slice(&fs::read(path).ok()?).ok();
        files.filter_map(|file| read(&file.path())).filter(|note| self.file(note).exists()).collect()
    }

    fn forget(&self, note: &Note) {
        if let Err(error) = fs::remove_file(self.file(note)) {
            tracing::warn!(container = %note.name, "cannot remove its note: {error}");
        }
    }
}

/// Reconnects a group of containers. One of them may have what another is to get, so all are disconnected
/// first.
pub(crate) async fn connect_anew(
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
            Err(error) => tracing::error!(container = %container.name, "cannot reconnect it: {error:#}"),
        }
    }
    for note in notes {
        connect(api, handle, lists, disconnected, note, TRIES).await;
    }
}

/// Connects the containers that were disconnected before and have not been connected since.
pub(crate) async fn resume(api: &Api, handle: &Handle, lists: &Lists, disconnected: &Disconnected) {
    for note in disconnected.all() {
        connect(api, handle, lists, disconnected, note, 1).await;
    }
}

async fn disconnect(
    api: &Api,
    disconnected: &Disconnected,
    container: &WrongIdentity,
) -> anyhow::Result<Note> {
    /// The settings that the engine adds while the container runs.
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
    anyhow::ensure!(place["EndpointID"] == container.endpoint.as_str(), "it has been restarted meanwhile");
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
    disconnected.write(&note).context("writing its settings to disk")?;
    tracing::info!(container = %note.name, "reconnecting it, to give it what its name had before");
    if let Err(error) = disconnect_from(api, &note).await {
        // `connect` checks whether the container is off the network.
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
                tracing::warn!(container = %note.name, "cannot record the failure in its note: {error}");
            }
        }
        let message = format!(
            "`{}` is off network `{}`, because it could not be reconnected: {error:#}; this is tried again every minute",
            note.name, note.label,
        );
        let about = About {
            network: Some(note.label.clone()),
            endpoint: Some(note.name.clone()),
            engine: Some(EngineKind::Docker),
            ..About::default()
        };
        let remedy = Remedy::run(note.command());
        let trouble = Trouble::new(Code::NotReconnected, about, message, Some(remedy));
        if left == 0 {
            tracing::error!("{trouble}");
            lists.settle(&note.container, &note.network, Some(trouble));
            return;
        }
        tracing::warn!(container = %note.name, "{error:#}; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Connects a container. Also succeeds if it is connected already, or if it or its network is gone.
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
                        tracing::warn!(container = %note.name, "it stays connected as before: {error:#}");
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
            tracing::info!(container = %note.name, "is not reconnected: {error:#}");
            Ok(())
        }
        other => other,
    }
}

/// Where a container is. The engine does not show a container while it is starting or connecting it.
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
        // A running container without an endpoint was to be connected, and was not.
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
        // A note that was being written when the host lost power, and a file that is not a note.
        fs::write(disconnected.0.join("aa03-0123abcd.new"), serde_json::to_vec(&note("aa03")).unwrap())
            .unwrap();
        fs::write(disconnected.0.join("torn"), b"{\"container\":").unwrap();
        let mut all = disconnected.all();
        all.sort_by(|one, other| one.container.cmp(&other.container));
        assert_eq!(all, [other.clone(), web.clone()]);
        assert_eq!(web.command(), "docker network connect --ip 192.168.88.200 lan web");
        // Docker takes nearly any name for a network.
        let odd = Note { label: "$(id) it's".into(), ..web.clone() };
        assert_eq!(odd.command(), r"docker network connect --ip 192.168.88.200 '$(id) it'\''s' web");
        disconnected.forget(&web);
        assert_eq!(disconnected.all(), [other]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is written elsewhere");
    }
}
