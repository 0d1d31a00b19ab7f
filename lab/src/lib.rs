//! A home LAN in namespaces: a switch, a router, a laptop and NAS hosts, built by code and gone with the process.
//!
//! The tests and `ashore lab` build the same worlds. Nothing here touches the namespace of whoever builds one: every
//! machine is a network namespace of its own, held open by a descriptor, so that a killed process leaves nothing.

mod daemon;
mod docker;
mod echo;
mod engines;
mod nas;
mod ran;
mod wifi;
mod world;

pub use daemon::{Beside, Daemon};
pub use docker::Docker;
pub use echo::{Counted, Pings, ping};
pub use engines::{Engines, cannot_run, plugin_tree};
pub use nas::Nas;
pub use ran::Ran;
pub use wifi::Wifi;
pub use world::{Machine, World, WorldError};

/// Shows the last lines of a log: what a test saw fail, whoever wrote it may have seen coming.
fn show_end_of(what: &str, log: &str) {
    let last = log.lines().count().saturating_sub(60);
    eprintln!("{what} ends so:");
    log.lines().skip(last).for_each(|line| eprintln!("  {line}"));
}
