//! The version of the running engine.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// An engine's major and minor version: 28.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

/// The version of the running engine, once it is known.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<Option<Version>>);

impl Running {
    pub(crate) fn get(&self) -> Option<Version> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, version: Option<Version>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    /// Parses a version such as `28.5.2+dfsg4`.
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
