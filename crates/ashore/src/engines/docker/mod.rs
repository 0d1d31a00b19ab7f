//! Docker's API, version 1.24 and later: lists and events, the container for which Docker asks, and
//! reconnecting a container that has the wrong identity.

mod api;
mod busy;
pub(crate) mod engine;
pub(crate) mod follow;
pub(crate) mod labels;
mod lists;
pub(crate) mod owner;
pub(crate) mod reconnect;
pub(crate) mod silence;
pub(crate) mod version;
