//! Why a request was refused.

use serde::{Deserialize, Serialize};

/// Why a request was refused, in the order in which a person needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal, from which the exit code follows.
    pub kind: RefusalKind,
    /// What was wrong, where, and why.
    pub message: String,
    /// The command or option that helps.
    pub hint: Option<String>,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The request is wrong in itself or does not fit the host.
    Invalid,
    /// It names something that does not exist.
    NotFound,
    /// It needs something that another holds: a name, an address, a parent.
    Taken,
    /// The kernel refused a step; what was done was undone.
    Kernel,
    /// The state could not be written; what was done was undone.
    State,
    /// The daemon met a fault of its own. What the request had begun is finished or undone by the next reconciliation.
    Internal,
}
