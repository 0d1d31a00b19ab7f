//! The version of the running engine.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// An engine's major and minor version: 28.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

/// The oldest Docker on which Ashore's driver was seen to work.
pub(crate) const OLDEST_DOCKER: Version = Version(20, 10);
/// The oldest Podman whose netavark has plugins: netavark 1.6 came with it.
pub(crate) const OLDEST_PODMAN: Version = Version(4, 5);

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

impl Version {
    /// Reads what an engine's program says of its version: `Docker version 20.10.24+dfsg1, build 297e128`. `None` if it
    /// is another program, as where Podman stands in for Docker.
    pub(crate) fn told_by(program: &str, said: &str) -> Option<Version> {
        let said = said.trim().to_lowercase();
        let rest = said.strip_prefix(program)?.trim_start().strip_prefix("version")?;
        rest.split_whitespace().next()?.parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_too_old_is_older_than_the_oldest_by_numbers() {
        for (program, said, old) in [
            ("docker", "Docker version 19.03.15, build 99e3ed8919\n", Some(true)),
            ("docker", "Docker version 9.1", Some(true)),
            ("docker", "Docker version 20.10.24+dfsg1, build 297e128", Some(false)),
            ("docker", "Docker version 29.0.0-rc.1, build 1234567", Some(false)),
            ("podman", "podman version 3.4.4\n", Some(true)),
            ("podman", "podman version 4.3.1", Some(true)),
            ("podman", "podman version 4.10.0", Some(false)),
            ("podman", "podman version 5.4.2", Some(false)),
            ("docker", "podman version 4.3.1", None),
            ("docker", "", None),
            ("docker", "docker version", None),
        ] {
            let oldest = if program == "docker" { OLDEST_DOCKER } else { OLDEST_PODMAN };
            let is_old = Version::told_by(program, said).map(|version| version < oldest);
            assert_eq!(is_old, old, "{said}");
        }
    }
}
