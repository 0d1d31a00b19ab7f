//! Endpoints that an engine has had leave their containers.
//!
//! An engine looks for the link that it takes away by its name, which the container may have changed. If it does not find the
//! link, that dies with the container a moment later than the engine thinks, or stays in a container that runs on.

use std::time::{Duration, Instant};

use ashore_core::endpoint::{Endpoint, Stage};
use ashore_core::state::State;
use ashore_kernel::{Namespace, OnError};

use super::Inner;

/// How long a link may take to die with its namespace.
const DYING: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Inner {
    /// The links of those that their engine has done with are taken from where they still are. Those that are off the LAN are
    /// forgotten.
    pub(super) fn clear_containers(&mut self) {
        let mut left = std::mem::take(&mut self.left);
        for endpoint in left.iter().filter(|left| is_done_with(self.state(), left)) {
            self.clear_container(endpoint);
        }
        left.retain(|left| !is_done_with(self.state(), left) || self.has_stayed(left));
        self.left = left;
    }

    /// Those that their engine has done with, and that are on the LAN all the same.
    pub(super) fn still_on_lan(&self) -> impl Iterator<Item = &Endpoint> {
        self.left.iter().filter(|left| is_done_with(self.state(), left) && self.has_stayed(left))
    }

    /// Before a container gets a link again: the kernel brings none up whose MAC another one has, be it the last one's own.
    pub(super) fn await_last_link(&mut self, endpoint: &Endpoint) {
        let end = Instant::now() + DYING;
        loop {
            self.clear_containers();
            let last = |left: &&Endpoint| left.mac.is_some() && left.mac == endpoint.mac;
            if !self.left.iter().any(|left| last(&left)) || Instant::now() > end {
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn clear_container(&self, endpoint: &Endpoint) {
        // Most often the container has ended.
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

    /// Whether a MAC of an endpoint's that has left is still up on the parent.
    fn has_stayed(&self, left: &Endpoint) -> bool {
        let Some(network) = self.state().network_of(left) else { return false };
        let up = match self.kernel.macs_on(&network.parent) {
            Ok(up) => up.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(parent = %network.parent, "it cannot be asked for its children: {error}");
                return true;
            }
        };
        let others = self.state().endpoints.values().filter(|other| other.is_wanted());
        let others: Vec<_> = others.flat_map(Endpoint::macs).collect();
        self.state().macs_of(left).any(|mac| up.contains(&mac) && !others.contains(&mac))
    }
}

/// Whether an engine has said its last word of an endpoint that has left.
fn is_done_with(state: &State, left: &Endpoint) -> bool {
    let known = left.engine_id().and_then(|id| state.endpoint_of_engine(id));
    known.is_none_or(|known| known.stage != Stage::Reserved)
}
