//! A home LAN in namespaces: a switch, a router, a laptop and NAS hosts, built by code and gone with the process.
//!
//! The tests and `ashore lab` build the same worlds. Nothing here touches the namespace of whoever builds one: every
//! machine is a network namespace of its own, held open by a descriptor, so that a killed process leaves nothing.

mod daemon;
mod docker;
mod echo;
mod engines;
mod nas;
mod wifi;
mod world;

pub use daemon::{Beside, Daemon, Ran};
pub use docker::Docker;
pub use echo::{Counted, Pings, ping};
pub use engines::{Engines, cannot_run, plugin_tree};
pub use nas::Nas;
pub use wifi::Wifi;
pub use world::{Machine, World, WorldError};
