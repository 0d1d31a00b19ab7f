//! How a network is made: what was asked for, what the host adds to it, and all that is checked before.

mod beside;
mod check;
mod complete;
mod error;
mod sources;
mod spec;
mod vlan;

pub use error::NetworkError;
pub use sources::{Ipv6Error, LeaseError};
pub use spec::{NetworkSpec, PoolQuestion};
