//! Which container an engine is at work on. It holds a container's lock from before it starts or connects it until that is
//! done, and does not answer for this one meanwhile (moby, `daemon/start.go` and `container_operations.go`; seen on Docker
//! 20.10 and 28.5), while the others are answered for within milliseconds.

use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use tokio::task::JoinSet;

use super::api::Api;

/// The only one of these containers, by id, for which the engine does not answer within a time that it needs for no other.
/// Once it has answered for all others, how long that took tells how quick it is, and a few times as long is enough.
pub(super) async fn only_busy<'a>(api: &Api, ids: &[&'a str], patience: Duration) -> Option<&'a str> {
    let begun = Instant::now();
    let mut asked = JoinSet::new();
    for (at, id) in ids.iter().enumerate() {
        let (api, path) = (api.clone(), format!("/containers/{id}/json"));
        asked.spawn(async move {
            // Also one that is gone has been answered for.
            let _ = api.get::<IgnoredAny>(&path).await;
            at
        });
    }
    let mut busy: Vec<bool> = vec![true; ids.len()];
    let mut wait = patience;
    while let Ok(Some(answered)) = tokio::time::timeout(wait, asked.join_next()).await {
        busy[answered.ok()?] = false;
        if asked.len() == 1 {
            wait = (patience / 4).max(3 * begun.elapsed()).min(patience);
        }
    }
    // An engine that finds nobody to answer any more complains in its log.
    asked.detach_all();
    let mut left = ids.iter().zip(busy).filter(|(_, busy)| *busy);
    match (left.next(), left.next()) {
        (Some((id, _)), None) => Some(id),
        _ => None,
    }
}
