//! The state on disk, and the form in which it is exported.

mod document;
mod store;

pub use document::{DocumentError, SCHEMA};
pub use store::{Store, StoreError};
