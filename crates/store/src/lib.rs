//! The state on disk, and its export format.

mod backlog;
mod document;
mod events;
mod kept;
mod restore;
mod store;

pub use backlog::Backlog;
pub use document::{DocumentError, SCHEMA, state_of};
pub use events::{EventsFile, KeptEvents};
pub use restore::{Restored, restore};
pub use store::{DIRECTORY, Store, StoreError};
