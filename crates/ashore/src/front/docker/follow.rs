//! Follows the engine: listens to its events, lists what it has, and hands the list to the daemon. Events first, then the
//! list, and the list again after every gap, so that nothing is missed.
//!
//! The engine is only spoken to while it runs: its socket may be held by the init system, which would start it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::rules::misplaced::Misplaced;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::api::Api;
use super::lists::{self, Known};
use super::server::{Engine, Handle, ask};
use super::{reconnect, version};

/// How often it is looked whether the engine runs.
const LOOK: Duration = Duration::from_secs(2);
/// Events come in bursts; a burst is one reason to list.
const SETTLE: Duration = Duration::from_millis(50);
/// A burst is listed once more after so long: an engine that has much to do tells of a change before it shows it.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// A list without a reason, in case word of something was lost.
const PERIOD: Duration = Duration::from_secs(60);
/// The same while something is missing.
const SOON: Duration = Duration::from_secs(10);

/// For how long containers that are connected anew are waited for.
const BESIDE: Duration = Duration::from_secs(10);

/// By which others have the lists taken anew.
#[derive(Clone, Default)]
pub(crate) struct Lists {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    turns: Mutex<Turns>,
    ended: Condvar,
    asked: Notify,
    /// Containers that are off their networks until they can be connected, by the engine's ids, and why.
    off: Mutex<BTreeMap<(String, String), String>>,
}

/// Counts that only go up.
#[derive(Default)]
struct Turns {
    asked: u64,
    /// The last turn that was taken, and the last that the engine answered.
    taken: u64,
    answered: u64,
}

impl Lists {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the lists taken once from the beginning, without waiting for it.
    pub(crate) fn ask(&self) -> u64 {
        let mut turns = self.turns();
        turns.asked += 1;
        self.shared.asked.notify_one();
        turns.asked
    }

    /// Whether the engine has answered, once that is known.
    pub(crate) fn outcome(&self, turn: u64) -> Option<bool> {
        let turns = self.turns();
        (turns.taken >= turn).then_some(turns.answered >= turn)
    }

    /// Has the lists taken once from the beginning, and tells whether that was done.
    pub(crate) fn refresh(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mine = self.ask();
        let mut turns = self.turns();
        while turns.taken < mine {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.ended.wait_timeout(turns, left);
            turns = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        turns.answered >= mine
    }

    /// Containers that are off their networks, and why.
    pub(crate) fn troubles(&self) -> Vec<String> {
        self.off().values().cloned().collect()
    }

    /// Says why a container is off its network, or that it is not.
    pub(super) fn settle(&self, container: &str, network: &str, trouble: Option<String>) {
        let key = (container.to_owned(), network.to_owned());
        match trouble {
            Some(trouble) => drop(self.off().insert(key, trouble)),
            None => drop(self.off().remove(&key)),
        }
    }

    fn off(&self) -> MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.shared.off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to take them: for all that have asked until now.
    pub(crate) fn begin(&self) -> u64 {
        self.turns().asked
    }

    /// They were taken, or the engine does not answer.
    pub(crate) fn end(&self, turn: u64, answered: bool) {
        let mut turns = self.turns();
        turns.taken = turn;
        if answered {
            turns.answered = turn;
        }
        self.shared.ended.notify_all();
    }

    async fn asked(&self) {
        self.shared.asked.notified().await;
    }
}

/// Containers that are being connected anew, at most one group at a time.
type Work = Option<JoinHandle<()>>;

/// Follows for ever.
pub(super) async fn follow(engine: Arc<Engine>, handle: Handle, lists: Lists) {
    let mut work = None;
    loop {
        if engine.socket.exists()
            && tokio::task::spawn_blocking(engine_runs).await.unwrap_or(false)
            && let Err(error) = session(&engine, &handle, &lists, &mut work).await
        {
            tracing::debug!("following the engine: {error:#}");
        }
        version::forget(&engine);
        // Whoever waits learns that there is nothing to be had.
        lists.end(lists.begin(), false);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = lists.asked() => {}
        }
    }
}

/// Follows until the engine ends.
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
        let (misplaced, waiting) = list(engine, &id, &api, handle).await?;
        if !misplaced.is_empty() {
            let beside = (api.clone(), handle.clone(), lists.clone(), engine.clone());
            do_beside(work, || async move {
                let (api, handle, lists, engine) = beside;
                for group in &misplaced {
                    reconnect::connect_anew(&api, &handle, &lists, &engine.disconnected, group).await;
                }
            })
            .await;
        }
        lists.end(turn, true);
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

/// Begins to connect containers anew if none are being connected, and waits for the end of that. An engine may take minutes about one
/// container; then the others are followed meanwhile.
async fn do_beside<F: Future<Output = ()> + Send + 'static>(work: &mut Work, begin: impl FnOnce() -> F) {
    let doing = match work.take() {
        Some(before) if !before.is_finished() => work.insert(before),
        _ => work.insert(tokio::spawn(begin())),
    };
    if let Ok(done) = tokio::time::timeout(BESIDE, doing).await {
        if let Err(error) = done {
            tracing::error!("connecting containers anew: {error}");
        }
        *work = None;
    }
}

/// Lists once. Gives the groups of containers that are to be connected anew, and tells whether the next list should come soon.
async fn list(
    engine: &Engine,
    id: &str,
    api: &Api,
    handle: &Handle,
) -> anyhow::Result<(Vec<Vec<Misplaced>>, bool)> {
    let mut known = Known::default();
    if let Reply::Networks(networks) = ask(handle, Request::ListNetworks).await? {
        for network in networks {
            let ids = if network.adopted { &mut known.adopted } else { &mut known.own };
            ids.extend(network.engine.map(|engine| engine.id));
        }
    }
    let inventory = lists::inventory(api, id.to_owned(), engine, &known).await?;
    match ask(handle, Request::TakeInventory(inventory)).await? {
        Reply::Inventoried { misplaced, waiting } => Ok((misplaced, waiting)),
        Reply::Refused(refusal) => anyhow::bail!("{refusal}"),
        other => anyhow::bail!("the daemon gave an answer to another question: {other:?}"),
    }
}

/// Whether a dockerd is among the processes. To look through them takes milliseconds.
fn engine_runs() -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let name = process.file_name();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
            && std::fs::read(process.path().join("comm")).is_ok_and(|comm| comm == b"dockerd\n")
    })
}
