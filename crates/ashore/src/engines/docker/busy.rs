//! Finds the container that an engine is working on. The engine holds a container's lock from before it
//! starts or connects the container until that is done, and does not answer questions about it meanwhile
//! (moby, `daemon/start.go` and `container_operations.go`; seen on Docker 20.10 and 28.5). It answers for the
//! others within milliseconds.

use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use tokio::task::JoinSet;

use super::api::Api;

/// The minimum time to wait, however fast the engine was before.
const LEAST: Duration = Duration::from_millis(5);

/// Returns the only one of these containers, by id, for which the engine does not answer. Once it has
/// answered for all others, the time that it took tells how fast it is, and the wait ends after three times
/// as long. There is no such wait for a container that `starts`, as known from another sign.
pub(crate) async fn only_busy<'a>(
    api: &Api,
    ids: &[&'a str],
    patience: Duration,
    starts: impl Fn(&str) -> bool,
) -> Option<&'a str> {
    let begun = Instant::now();
    let mut asked = JoinSet::new();
    for (at, id) in ids.iter().enumerate() {
        let (api, path) = (api.clone(), format!("/containers/{id}/json"));
        asked.spawn(async move {
            // An error, such as for a container that is gone, is an answer too.
            let _ = api.get::<IgnoredAny>(&path).await;
            at
        });
    }
    let mut busy: Vec<bool> = vec![true; ids.len()];
    let mut wait = patience;
    while let Ok(Some(answered)) = tokio::time::timeout(wait, asked.join_next()).await {
        busy[answered.ok()?] = false;
        if let [last] = left(ids, &busy).as_slice() {
            if starts(last) {
                break;
            }
            wait = (3 * begun.elapsed()).max(LEAST).min(patience);
        }
    }
    // An engine that cannot send its answer would complain in its log.
    asked.detach_all();
    match left(ids, &busy).as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

fn left<'a>(ids: &[&'a str], busy: &[bool]) -> Vec<&'a str> {
    ids.iter().zip(busy).filter(|(_, busy)| **busy).map(|(id, _)| *id).collect()
}
