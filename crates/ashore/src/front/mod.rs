//! Front ends. Each translates its protocol's JSON to a request of the core and back, and makes no decisions.

pub(crate) mod caller;
mod cni;
pub mod docker;
mod given;
mod name_servers;
pub(crate) mod plug;
mod podman;
pub mod stand_in;
