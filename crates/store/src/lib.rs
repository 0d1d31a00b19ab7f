//! The state on disk, and its export format.

mod backlog;
mod document;
mod events;
mod store;

pub use backlog::Backlog;
pub use document::{DocumentError, SCHEMA};
pub use events::{EventsFile, KeptEvents};
pub use store::{Store, StoreError};
