//! What is said between `ashore-plug`, the small program that Podman's netavark and CNI runtimes execute, and
//! Ashore's daemon. The program encodes requests and decodes replies; the daemon does the reverse.

pub mod wire;

/// The versions of CNI that a network may be of, the newest last.
pub const CNI_VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
