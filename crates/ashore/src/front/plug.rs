//! What `ashore-plug` carries: the call of netavark, in its words, to a request and back.

use std::path::{Path, PathBuf};

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_kernel::Namespace;
use ashore_plug::wire;

use super::podman;

/// Who called, as the kernel knows it, and what came with the call.
pub(crate) struct Caller {
    /// The user id.
    pub(crate) uid: u32,
    /// The network namespace that the caller has opened, or why what it passed is none.
    pub(crate) netns: Result<Option<Namespace>, String>,
}

/// Carries out a request.
pub(crate) type Handle<'a> = &'a dyn Fn(Request) -> Reply;

/// Answers a call.
pub(crate) fn answer(call: &wire::Request, caller: &Caller, handle: Handle<'_>) -> wire::Reply {
    podman::answer(call, caller, handle)
}

impl Caller {
    /// Checks that a path leads this process to the namespace that the caller has opened by it.
    pub(crate) fn opened(&self, path: &Path, unopened: Option<&str>) -> Result<PathBuf, String> {
        let shown = path.display();
        if let Some(why) = unopened {
            return Err(format!("the network namespace {shown} cannot be opened: {why}"));
        }
        let passed = self.netns.as_ref().map_err(Clone::clone)?;
        let passed =
            passed.as_ref().ok_or_else(|| format!("the network namespace {shown} was not passed"))?;
        match Namespace::open(path) {
            Ok(found) if found == *passed => Ok(path.to_owned()),
            Ok(_) => Err(format!("{shown} leads the daemon to another network namespace than its caller")),
            Err(error) => Err(format!("the daemon does not reach the network namespace: {error}")),
        }
    }
}
