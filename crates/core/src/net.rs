//! Words of networking: names, links, what can be done to a host and what can be seen of it.

pub mod family;
pub mod kind;
pub mod link;
pub mod name;
pub mod observed;
pub(crate) mod odd_path;
pub mod range;
pub mod step;
pub mod text;
pub mod vlan;
