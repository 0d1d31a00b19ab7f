//! Networking vocabulary: names, links, the changes that can be made to a host, and what can be observed of
//! it.

pub mod choice;
pub mod family;
pub mod kind;
pub mod link;
pub mod name;
pub mod observed;
pub(crate) mod odd_path;
pub mod option;
pub mod published;
pub mod range;
pub mod remedy;
pub mod step;
pub mod text;
pub mod told;
pub mod vlan;
