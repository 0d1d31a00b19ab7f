//! The refusal of a request.

use serde::{Deserialize, Serialize};

use crate::net::remedy::Remedy;

/// The refusal of a request. The fields are in the order in which a user needs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind of refusal. The exit code depends on it.
    pub kind: RefusalKind,
    /// What was wrong, where, and why.
    pub message: String,
    /// The command or option that solves the problem. The front that was asked spells it.
    pub hint: Option<Remedy>,
}

/// The kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The request itself is invalid or does not fit the host.
    Invalid,
    /// The request names something that does not exist.
    NotFound,
    /// The request needs something that is already in use: a name, an address, a parent.
    Taken,
    /// The kernel refused a step. What was done is undone.
    Kernel,
    /// The state could not be written. What was done is undone.
    State,
    /// The daemon had an internal error. The next reconciliation finishes or undoes what the request began.
    Internal,
}
