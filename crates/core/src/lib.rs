//! The model: networks, endpoints, ranges and identities, and the plan that makes the kernel agree with them.
//!
//! Nothing here touches the kernel or prints. The kernel crate reads the kernel's state into [`Observed`] and
//! runs each [`Step`]. Everything in between is a pure function of values.
//!
//! Each module uses only the modules before it, in this order: `net`, `model`, `rules` and `plan`, `api`,
//! `checks`.

pub mod api;
pub mod checks;
pub mod model;
pub mod net;
pub mod plan;
pub mod rules;

pub use net::kind::{IpvlanMode, LinkKind, MacvlanMode};
pub use net::link::{LinkSpec, LinkType, Netns, Place, Tag};
pub use net::name::{EndpointName, IfName, NameError, NetworkName, PortName};
pub use net::observed::{Observed, View};
pub use net::step::{Address, Route, Step};
pub use net::vlan::{Membership, Vlan, VlanId};
