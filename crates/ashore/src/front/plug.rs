//! What `ashore-plug` carries: the call of netavark or of a CNI runtime, in its words, to a request and back.

use ashore_plug::wire;

use super::caller::{Caller, Handle};
use super::{cni, podman};

/// Answers a call.
pub(crate) fn answer(call: &wire::Request, caller: &Caller, handle: Handle<'_>) -> wire::Reply {
    // netavark says by its arguments what it wants, whatever the environment has.
    let is_cni = call.arguments.is_empty() && call.variable("CNI_COMMAND").is_some();
    if is_cni { cni::answer(call, caller, handle) } else { podman::answer(call, caller, handle) }
}
