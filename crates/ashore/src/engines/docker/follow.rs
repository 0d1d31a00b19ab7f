//! Follows the engine: subscribes to its events, lists its networks and containers, and passes the list to
//! the daemon. The list is taken after the subscription, and again after every gap, so that nothing is
//! missed.
//!
//! The engine is asked only while it runs, because the init system may hold its socket and would start it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::rules::wrong_identity::WrongIdentity;
use serde_json::json;
use tokio::task::JoinHandle;

use super::api::Api;
use super::engine::Engine;
use super::lists::{self, Known};
use super::{reconnect, version};
use crate::engines::turns::{Lists, Reach};
use crate::handle::{Handle, ask};

/// How often to check whether the engine runs.
const LOOK: Duration = Duration::from_secs(2);
/// Events come in bursts. A burst causes one list.
const SETTLE: Duration = Duration::from_millis(50);
/// A burst causes another list after this time, because a busy engine reports a change before its list shows
/// it.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// The maximum time between two lists, in case an event was lost.
const PERIOD: Duration = Duration::from_secs(60);
/// The same while something is missing.
const SOON: Duration = Duration::from_secs(10);

/// How long to wait for containers that are being reconnected.
const BESIDE: Duration = Duration::from_secs(10);

/// The task that reconnects a group of containers. There is at most one.
type Work = Option<JoinHandle<()>>;

/// Follows the engine for ever.
pub(crate) async fn follow(engine: Arc<Engine>, handle: Handle, lists: Lists) {
    let mut work = None;
    loop {
        let runs = tokio::task::spawn_blocking(engine_runs).await.unwrap_or(false);
        let why = if !runs {
            None
        } else if !engine.socket.exists() {
            Some(format!("there is no socket {}", engine.socket.display()))
        } else {
            let ended = session(&engine, &handle, &lists, &mut work).await;
            ended.err().map(|error| {
                tracing::debug!("following the engine: {error:#}");
                format!("{}: {error:#}", engine.socket.display())
            })
        };
        // An engine in a container, or a user's own, is none that this host's containers are of.
        let is_hosts = why.is_some() && tokio::task::spawn_blocking(is_hosts_engine).await.unwrap_or(false);
        lists.reach(
            why.filter(|_| is_hosts).map_or(Reach::Absent, |why| Reach::Unreachable(Instant::now(), why)),
        );
        version::forget(&engine);
        // Callers that wait for a list learn that there is none.
        lists.end(lists.begin(), false);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = lists.asked() => {}
        }
    }
}

/// Follows the engine until it ends.
async fn session(
    engine: &Arc<Engine>,
    handle: &Handle,
    lists: &Lists,
    work: &mut Work,
) -> anyhow::Result<()> {
    let api = Api::at(&engine.socket);
    let filters = json!({
        "type": ["network", "container"],
        "event": ["create", "destroy", "remove", "connect", "disconnect", "rename", "start", "die"],
    });
    let mut events = api.events(&filters).await.context("its events")?;
    version::learn(engine, &api).await?;
    let id = lists::engine_id(&api).await?;
    let mut afterwards: Option<Instant> = None;
    loop {
        let turn = lists.begin();
        let beside = (api.clone(), handle.clone(), lists.clone(), engine.clone());
        do_beside(work, || async move {
            let (api, handle, lists, engine) = beside;
            reconnect::resume(&api, &handle, &lists, &engine.disconnected).await;
        })
        .await;
        let (wrong_identities, waiting) = list(engine, &id, &api, handle).await?;
        if !wrong_identities.is_empty() {
            let beside = (api.clone(), handle.clone(), lists.clone(), engine.clone());
            do_beside(work, || async move {
                let (api, handle, lists, engine) = beside;
                for group in &wrong_identities {
                    reconnect::connect_anew(&api, &handle, &lists, &engine.disconnected, group).await;
                }
            })
            .await;
        }
        lists.end(turn, true);
        lists.reach(Reach::Answers(engine.version.get()));
        let period = if waiting { SOON } else { PERIOD };
        let until = afterwards.map(|at| at.saturating_duration_since(Instant::now()));
        tokio::select! {
            more = events.wait(SETTLE) => {
                anyhow::ensure!(more, "the engine has ended");
                afterwards = Some(Instant::now() + AFTERWARDS);
            }
            () = lists.asked() => {}
            () = tokio::time::sleep(until.map_or(period, |until| until.min(period))) => afterwards = None,
        }
    }
}

/// Begins to reconnect containers, unless others are being reconnected, and waits for the end. An engine may
/// take minutes for one container. In that case the wait ends early, so that the other containers are
/// followed.
async fn do_beside<F: Future<Output = ()> + Send + 'static>(work: &mut Work, begin: impl FnOnce() -> F) {
    let doing = match work.take() {
        Some(before) if !before.is_finished() => work.insert(before),
        _ => work.insert(tokio::spawn(begin())),
    };
    if let Ok(done) = tokio::time::timeout(BESIDE, doing).await {
        if let Err(error) = done {
            tracing::error!("reconnecting containers: {error}");
        }
        *work = None;
    }
}

/// Takes one list. Returns the groups of containers that must be reconnected, and whether the next list
/// should follow soon.
async fn list(
    engine: &Engine,
    id: &str,
    api: &Api,
    handle: &Handle,
) -> anyhow::Result<(Vec<Vec<WrongIdentity>>, bool)> {
    let mut known = Known::default();
    if let Reply::Networks(networks) = ask(handle, Request::ListNetworks).await? {
        for network in networks {
            let ids = if network.adopted { &mut known.adopted } else { &mut known.own };
            ids.extend(network.engine.map(|engine| engine.id));
        }
    }
    let inventory = lists::inventory(api, id.to_owned(), engine, &known).await?;
    match ask(handle, Request::TakeInventory(inventory)).await? {
        Reply::Inventoried { wrong_identities, waiting } => Ok((wrong_identities, waiting)),
        Reply::Refused(refusal) => anyhow::bail!("{refusal}"),
        other => anyhow::bail!("the daemon's reply does not match the request: {other:?}"),
    }
}

/// Whether a dockerd process exists. Searching the processes takes milliseconds.
fn engine_runs() -> bool {
    is_running(|_| true)
}

/// Whether it is the one of this host: run by root, and not in a container, as far as that can be seen. The managed plugin
/// lacks the privilege, and is run by the engine that is meant.
fn is_hosts_engine() -> bool {
    let own = std::fs::read_link("/proc/self/ns/pid").ok();
    is_running(|process| {
        let is_roots = std::fs::metadata(process).is_ok_and(|there| there.uid() == 0);
        let is_here = match std::fs::read_link(process.join("ns/pid")) {
            Ok(there) => own.as_ref() == Some(&there),
            Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        };
        is_roots && is_here
    })
}

fn is_running(is_meant: impl Fn(&Path) -> bool) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let (name, path) = (process.file_name(), process.path());
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
            && std::fs::read(path.join("comm")).is_ok_and(|comm| comm == b"dockerd\n")
            && is_meant(&path)
    })
}
