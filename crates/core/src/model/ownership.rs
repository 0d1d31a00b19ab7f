//! Whose a container is: the engine that runs it, or the user of the command line.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::net::remedy::Front;

/// A kind of container engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Docker. Earlier versions knew no other engine.
    #[default]
    Docker,
    /// Podman.
    Podman,
    /// A CNI runtime: containerd, nerdctl, CRI-O, Podman before 4.5. Its calls do not say which one it is.
    Cni,
}

/// An engine: its kind, and its own id, which survives its restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineId {
    /// Its kind.
    pub kind: EngineKind,
    /// Its id.
    pub id: String,
}

/// Whom an endpoint's container belongs to. Where its link is and who moves it there is its placement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// Docker. Earlier versions do not say so. Their endpoints in namespaces are the command line's, which is
    /// decided where a whole endpoint is read.
    #[default]
    Docker,
    /// Podman.
    Podman,
    /// A CNI runtime.
    Cni,
    /// The user of the command line.
    Cli,
}

impl EngineKind {
    /// All kinds.
    pub const ALL: [EngineKind; 3] = [EngineKind::Docker, EngineKind::Podman, EngineKind::Cni];

    /// The front by which its users ask.
    pub fn front(self) -> Front {
        match self {
            EngineKind::Docker => Front::Docker,
            EngineKind::Podman => Front::Podman,
            EngineKind::Cni => Front::Cni,
        }
    }

    /// Whether Ashore reads its list of containers.
    pub fn is_listed(self) -> bool {
        match self {
            EngineKind::Docker => true,
            EngineKind::Podman | EngineKind::Cni => false,
        }
    }

    /// The program by which its users change its networks. A CNI runtime has none for that.
    pub fn program(self) -> &'static str {
        match self {
            EngineKind::Docker => "docker",
            EngineKind::Podman => "podman",
            EngineKind::Cni => "ashore",
        }
    }

    /// The command that takes a container off a network, without the names of both.
    pub fn takes_off(self) -> &'static str {
        match self {
            EngineKind::Docker => "docker network disconnect",
            EngineKind::Podman => "podman network disconnect",
            EngineKind::Cni => "ashore detach",
        }
    }

    /// Whether it is the default, which is not serialised.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_docker(&self) -> bool {
        *self == EngineKind::Docker
    }
}

impl Ownership {
    /// The kind of the engine. `None` if the container belongs to none.
    pub fn engine(self) -> Option<EngineKind> {
        match self {
            Ownership::Docker => Some(EngineKind::Docker),
            Ownership::Podman => Some(EngineKind::Podman),
            Ownership::Cni => Some(EngineKind::Cni),
            Ownership::Cli => None,
        }
    }

    /// Whether it is the default, which is not serialised.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_docker(&self) -> bool {
        *self == Ownership::Docker
    }
}

impl From<EngineKind> for Ownership {
    fn from(kind: EngineKind) -> Self {
        match kind {
            EngineKind::Docker => Ownership::Docker,
            EngineKind::Podman => Ownership::Podman,
            EngineKind::Cni => Ownership::Cni,
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineKind::Docker => "Docker",
            EngineKind::Podman => "Podman",
            EngineKind::Cni => "CNI",
        })
    }
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ownership::Docker => "docker",
            Ownership::Podman => "podman",
            Ownership::Cni => "cni",
            Ownership::Cli => "cli",
        })
    }
}
