//! What an engine has: its lists, the container for which it asks, and what only it can do. The fronts read
//! an engine's calls; these modules ask the engine itself.

pub(crate) mod docker;
pub(crate) mod podman;
pub(crate) mod running;
pub(crate) mod turns;
