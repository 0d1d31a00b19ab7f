//! The engine's version, for answers that depend on it.

use serde::Deserialize;

use super::api::Api;
use super::engine::Engine;
use crate::engines::running::Version;

#[derive(Debug, Deserialize)]
struct Told {
    #[serde(rename = "Version")]
    version: String,
}

/// Stores the version of an engine that has started.
pub(crate) async fn learn(engine: &Engine, api: &Api) -> anyhow::Result<()> {
    let told: Told = api.get("/version").await?;
    engine.version.set(told.version.parse().ok());
    Ok(())
}

/// Forgets the version of an engine that has ended, because the next one may differ.
pub(crate) fn forget(engine: &Engine) {
    engine.version.set(None);
}

/// The version of the engine. Returns `None` if the engine does not answer or its version cannot be parsed.
pub(crate) async fn of_engine(engine: &Engine) -> Option<Version> {
    match engine.version.get() {
        Some(known) => Some(known),
        None => answered_now(engine).await,
    }
}

/// The version of an engine that answers at this moment. An engine that is still starting does not: it serves
/// no request before it has restored its networks. So a version stored from an earlier engine must not be
/// used here.
pub(crate) async fn answered_now(engine: &Engine) -> Option<Version> {
    let api = Api::at(&engine.socket);
    let told = engine.silence.unless_it_lasts(&api, api.get::<Told>("/version")).await?;
    told.version.parse().ok()
}
