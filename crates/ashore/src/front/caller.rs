//! Who makes a call that `ashore-plug` carries, and the network namespace that came with it.

use std::path::{Path, PathBuf};

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_kernel::{Holders, Namespace};

/// Who called, as the kernel knows it, and what came with the call.
pub(crate) struct Caller {
    /// The user id.
    pub(crate) uid: u32,
    /// The network namespace that the caller has opened, or why what it passed is none.
    pub(crate) netns: Result<Option<Namespace>, String>,
}

/// Carries out a request.
pub(crate) type Handle<'a> = &'a dyn Fn(Request) -> Reply;

impl Caller {
    /// A path by which this process reaches the namespace that the caller has opened. The caller's own path may lead
    /// elsewhere here, or nowhere: a container engine that runs without privileges has mounts of its own.
    pub(crate) fn opened(&self, path: &Path, unopened: Option<&str>) -> Result<PathBuf, String> {
        let shown = path.display();
        if let Some(why) = unopened {
            return Err(format!("the network namespace {shown} cannot be opened: {why}"));
        }
        let passed = self.netns.as_ref().map_err(Clone::clone)?;
        let passed =
            passed.as_ref().ok_or_else(|| format!("the network namespace {shown} was not passed"))?;
        let leads = |path: &&Path| Namespace::open(path).is_ok_and(|found| found == *passed);
        if leads(&path) {
            return Ok(path.to_owned());
        }
        let holders = Holders::look();
        let netns = passed.identity();
        // The caller's own descriptors end with it.
        let lasts = |path: &&Path| path.parent().is_none_or(|parent| !parent.ends_with("fd"));
        let mut lasting = holders.paths_of(&netns).filter(lasts);
        let found = lasting.find(leads).or_else(|| holders.paths_of(&netns).find(leads));
        found.map(Path::to_owned).ok_or_else(|| {
            let unseen = holders.unseen().map_or_else(String::new, |why| format!(": {why}"));
            format!("the daemon does not reach the network namespace {shown} of its caller{unseen}")
        })
    }
}
