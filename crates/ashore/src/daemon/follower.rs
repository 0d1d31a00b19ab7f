//! Who follows the state: conflict detection, the name server files, and whoever comes later.
//!
//! The controller publishes to all of them in one place (`controller/publish.rs`). A request need not know who
//! follows.

use std::sync::Arc;

use ashore_core::model::state::State;
use ashore_core::net::observed::View;

/// The state, and the host as it was seen last, without its routes and neighbours.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) state: Arc<State>,
    pub(crate) host: Arc<View>,
}

/// Something that follows the state.
pub(crate) trait Follower: Send + Sync {
    /// Takes over what is so now. This runs under the controller's lock, before anything that follows from
    /// it, and in the order of the changes. So nothing slow may be done here, and no request may be made.
    fn follow(&self, now: &Published);

    /// Does what takes time, such as to write files. This runs before the request is answered, without the
    /// lock, and perhaps by several threads at once.
    fn catch_up(&self) {}
}
