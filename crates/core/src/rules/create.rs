//! How a network is made: the request, what is completed from the host, and the checks beforehand.

mod beside;
mod check;
mod complete;
mod error;
mod join;
mod sources;
mod spec;
mod vlan;

pub use error::NetworkError;
pub(crate) use error::loose_reverse_path;
pub use sources::{Ipv6Error, LeaseError};
pub use spec::{NetworkSpec, PoolQuestion};
