//! Which engine this is, where an answer depends on it.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::api::Api;
use super::server::Engine;

/// An engine's version, as far as it matters: 28.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

#[derive(Debug, Deserialize)]
struct Told {
    #[serde(rename = "Version")]
    version: String,
}

/// The version of the engine that runs, once it has told it.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Option<Version>>);

impl Running {
    fn get(&self) -> Option<Version> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, version: Option<Version>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }
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

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    /// Reads `28.5.2+dfsg4`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split('.').map(str::parse);
        let mut next = || numbers.next().unwrap_or(Ok(0));
        Ok(Version(next()?, next()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            0 => write!(f, "{}", self.0),
            minor => write!(f, "{}.{minor}", self.0),
        }
    }
}
