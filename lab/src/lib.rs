//! A home LAN in network namespaces: a switch, a router, a laptop and NAS hosts. Code builds it, and it
//! disappears with the process.
//!
//! The tests and `ashore lab` build the same worlds. Nothing here changes the caller's own namespace. Every
//! machine is a network namespace of its own, held open by a descriptor, so a killed process leaves nothing
//! behind.

mod containerd;
mod daemon;
mod docker;
mod echo;
mod engines;
mod nas;
mod podman;
mod ran;
mod rootless;
mod wifi;
mod world;

pub use containerd::Containerd;
pub use daemon::{Beside, Daemon};
pub use docker::Docker;
pub use echo::{Counted, Pings, ping};
pub use engines::{Engines, cannot_run, packages, plugin_tree};
pub use nas::Nas;
pub use podman::Podman;
pub use ran::Ran;
pub use rootless::Rootless;
pub use wifi::Wifi;
pub use world::{Machine, World, WorldError};

/// Prints the last lines of a log. They may explain why a test failed.
fn show_end_of(what: &str, log: &str) {
    let last = log.lines().count().saturating_sub(60);
    eprintln!("the end of {what}:");
    log.lines().skip(last).for_each(|line| eprintln!("  {line}"));
}
