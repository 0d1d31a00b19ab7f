//! What should be: networks, endpoints, ranges, identities, and the plan that makes the kernel agree.
//!
//! Nothing here touches the kernel or prints. The kernel crate turns the kernel's state into [`Observed`] and runs each
//! [`Step`]; in between, everything is a pure function of values.

pub mod adopt;
pub mod allocate;
pub mod attach;
pub mod create;
pub mod desired;
pub mod diff;
pub mod document;
pub mod endpoint;
pub mod family;
pub mod identity;
pub mod inherit;
pub mod inventory;
pub mod ipv6;
pub mod kind;
pub mod known;
pub mod learn;
pub mod learned;
pub mod lease;
pub mod leases;
pub mod link;
pub mod lists;
pub mod misplaced;
pub mod moment;
pub mod moved;
pub mod name;
pub mod network;
pub mod nic_move;
pub mod observed;
pub(crate) mod odd_path;
pub mod owner;
pub mod pool;
pub mod pools;
pub mod range;
pub mod refusal;
pub mod remember;
pub mod reply;
pub mod request;
pub(crate) mod resolv;
pub mod router;
pub mod staged;
pub mod standing;
pub mod state;
pub mod step;
pub mod store;
pub mod survey;
pub mod text;
pub mod vlan;

pub use kind::{IpvlanMode, LinkKind, MacvlanMode};
pub use link::{LinkSpec, LinkType, Netns, Place, Tag};
pub use name::{EndpointName, IfName, NameError, NetworkName, PortName};
pub use observed::{Observed, View};
pub use step::{Address, Route, Step};
pub use vlan::{Membership, Vlan, VlanId};
