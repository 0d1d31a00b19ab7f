//! The version of the engine that runs.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// An engine's version, as far as it matters: 28.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

/// The version of the engine that runs, once it has told it.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Option<Version>>);

impl Running {
    pub(super) fn get(&self) -> Option<Version> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, version: Option<Version>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }
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
