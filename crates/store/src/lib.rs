//! The state on disk, and its export format.

mod document;
mod store;

pub use document::{DocumentError, SCHEMA};
pub use store::{Store, StoreError};
