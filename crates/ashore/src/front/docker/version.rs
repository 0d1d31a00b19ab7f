//! Which engine this is, where an answer depends on it.

use serde::Deserialize;

use super::api::Api;
use super::engine::Engine;
use super::running::Version;

#[derive(Debug, Deserialize)]
struct Told {
    #[serde(rename = "Version")]
    version: String,
}

/// Learns the version of an engine that has begun to run.
pub(super) async fn learn(engine: &Engine, api: &Api) -> anyhow::Result<()> {
    let told: Told = api.get("/version").await?;
    engine.version.set(told.version.parse().ok());
    Ok(())
}

/// The engine has ended, and the next one may be another.
pub(super) fn forget(engine: &Engine) {
    engine.version.set(None);
}

/// The version of an engine, if it answers and its version reads.
pub(super) async fn of_engine(engine: &Engine) -> Option<Version> {
    match engine.version.get() {
        Some(known) => Some(known),
        None => answered_now(engine).await,
    }
}

/// The version of an engine that answers at this moment. An engine that is still starting does not: it serves nobody
/// before it has its networks back. What one before it has told says nothing about that.
pub(super) async fn answered_now(engine: &Engine) -> Option<Version> {
    let api = Api::at(&engine.socket);
    let told = engine.silence.unless_it_lasts(&api, api.get::<Told>("/version")).await?;
    told.version.parse().ok()
}
