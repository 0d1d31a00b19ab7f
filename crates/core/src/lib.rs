//! What should be: networks, endpoints, ranges, identities, and the plan that makes the kernel agree.
//!
//! Nothing here touches the kernel or prints. The kernel crate turns the kernel's state into [`Observed`] and runs each
//! [`Step`]; in between, everything is a pure function of values.

pub mod adopt;
pub mod allocate;
pub mod attach;
pub mod bridge;
mod container;
pub mod desired;
pub mod endpoint;
pub mod identity;
pub mod inventory;
pub mod ipv6;
pub mod lease;
pub mod link;
pub mod misplaced;
pub mod name;
pub mod network;
pub mod observed;
mod odd_path;
pub mod owner;
pub mod plan;
pub mod pool;
pub mod range;
mod remember;
pub mod request;
mod resolv;
pub mod router;
pub mod state;
pub mod step;
pub mod store;
pub mod survey;
pub mod text;
pub mod vlan;

pub use link::{IpvlanMode, LinkKind, LinkSpec, LinkType, MacvlanMode, Netns, Place, Tag};
pub use name::{EndpointName, IfName, NameError, NetworkName, PortName};
pub use observed::{Observed, View};
pub use step::{Address, Route, Step};
pub use vlan::{Membership, Vlan, VlanId};
