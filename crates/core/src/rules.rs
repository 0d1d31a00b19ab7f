//! What becomes of the state: each rule takes it, and gives changes or says why not.

pub mod addresses_in_use;
pub mod adopt;
pub mod allocate;
pub mod attach;
pub mod create;
pub mod inherit;
pub mod learn;
pub mod leases;
pub mod lists;
pub mod moved;
pub mod pools;
pub mod remember;
pub mod standing;
pub mod wrong_identity;
