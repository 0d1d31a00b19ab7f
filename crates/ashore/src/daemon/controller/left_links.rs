//! Endpoints that an engine has made leave their containers.
//!
//! An engine finds the link that it takes out of a container by its name, which the container may have
//! changed. If the engine does not find the link, the link ends with the container a moment later than the
//! engine thinks, or stays in a container that goes on running.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::state::State;
use ashore_kernel::{Namespace, OnError};
use ashore_wire::Mac;

use super::{Controller, Inner, Locked};
use crate::unlocked::Unlocked;

/// How long a link may take to end with its namespace.
const DYING: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Controller {
    /// Takes the lock once a container may get a link again: its last one may be about to be deleted, and the
    /// kernel brings up no link with a MAC that another link has, even if that is the container's own last link.
    /// The MAC may have gone to another container for good, so the wait is limited. Other requests are served
    /// meanwhile.
    pub(super) fn lock_after_last_link<'a>(&'a self, mut unlocked: &'a mut Unlocked, id: &str) -> Locked<'a> {
        let end = Instant::now() + DYING;
        loop {
            let mut inner = self.lock(unlocked);
            inner.clear_containers();
            let has_last_link = |endpoint: &Endpoint| {
                inner.removing.contains(endpoint.link().1)
                    || inner.left.iter().any(|left| left.mac.is_some() && left.mac == endpoint.mac)
            };
            if !inner.state().endpoint_of_engine(id).is_some_and(has_last_link) || Instant::now() > end {
                return inner;
            }
            unlocked = inner.release();
            unlocked.sleep(LOOK_AGAIN);
        }
    }
}

impl Inner {
    /// Removes the links of the endpoints that their engine has finished with, wherever these links still
    /// are. Endpoints that are off the LAN are forgotten.
    pub(super) fn clear_containers(&mut self) {
        let mut left = std::mem::take(&mut self.left);
        for endpoint in left.iter().filter(|left| is_done_with(self.state(), left)) {
            self.clear_container(endpoint);
        }
        left.retain(|left| !is_done_with(self.state(), left) || self.has_any_up(left));
        self.left = left;
    }

    /// Notes that an endpoint leaves its container.
    pub(super) fn leaves(&mut self, endpoint: Endpoint) {
        self.left.retain(|left| left.key() != endpoint.key());
        self.left.push(endpoint);
    }

    /// The endpoints that their engine has finished with and that are still on the LAN.
    pub(super) fn still_on_lan(&self) -> impl Iterator<Item = &Endpoint> {
        self.left.iter().filter(|left| is_done_with(self.state(), left) && self.has_stayed(left))
    }

    /// The MACs of the endpoints that have left.
    pub(super) fn left_macs(&self) -> BTreeSet<Mac> {
        self.left.iter().flat_map(|left| self.state().macs_of(left)).collect()
    }

    fn clear_container(&self, endpoint: &Endpoint) {
        // In most cases the container has ended.
        let sandbox = endpoint.sandbox().and_then(|path| Namespace::open(path).ok());
        let Some(netns) = sandbox.map(|sandbox| sandbox.identity()) else { return };
        let steps = match self.observe(std::slice::from_ref(&netns)) {
            Ok(observed) => self.state().clearing(endpoint, &netns, &observed),
            Err(refusal) => return tracing::warn!(name = %endpoint.name, "{refusal}"),
        };
        for step in &steps {
            tracing::info!(target: "ashore::step", "{step}");
        }
        for error in self.kernel.apply(&steps, OnError::GoOn).errors {
            tracing::warn!("{error}");
        }
    }

    /// Whether an endpoint that has left is still on the LAN. A MAC that an endpoint of the state has does
    /// not count: the link that is up may be that endpoint's.
    fn has_stayed(&self, left: &Endpoint) -> bool {
        let others = self.state().endpoints.values().filter(|other| other.is_wanted());
        let others: BTreeSet<Mac> = others.flat_map(Endpoint::macs).collect();
        self.has_up(left, |mac| !others.contains(&mac))
    }

    /// Whether a MAC of an endpoint that has left is up on the parent, even if it is that of its container's
    /// next link.
    fn has_any_up(&self, left: &Endpoint) -> bool {
        self.has_up(left, |_| true)
    }

    fn has_up(&self, left: &Endpoint, counts: impl Fn(Mac) -> bool) -> bool {
        let Some(network) = self.state().network_of(left) else { return false };
        match self.kernel.macs_on(&network.parent) {
            Ok(up) => {
                let up = up.unwrap_or_default();
                self.state().macs_of(left).any(|mac| up.contains(&mac) && counts(mac))
            }
            Err(error) => {
                tracing::warn!(parent = %network.parent, "cannot read the parent's children: {error}");
                true
            }
        }
    }
}

/// Whether an engine makes no more calls about an endpoint that has left.
fn is_done_with(state: &State, left: &Endpoint) -> bool {
    let known = left.engine_id().and_then(|id| state.endpoint_of_engine(id));
    known.is_none_or(|known| known.stage != Stage::Reserved)
}
