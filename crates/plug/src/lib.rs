//! What is said between `ashore-plug`, the small program that Podman's netavark and CNI runtimes execute, and
//! Ashore's daemon. The program encodes requests and decodes replies; the daemon does the reverse.

pub mod wire;
