//! The rules of the state. Each rule takes the state and returns changes, or the reason why there are none.

pub mod addresses_in_use;
pub mod adopt;
pub mod allocate;
pub mod attach;
pub mod attachments;
pub mod create;
pub mod default_route;
pub mod facing;
pub mod happened;
pub mod inherit;
pub mod learn;
pub mod leases;
pub mod lend;
pub mod lists;
pub mod machine;
pub mod moved;
pub mod pools;
pub mod readdress;
#[cfg(test)]
pub(crate) mod remedies;
pub mod remember;
pub mod set_up;
mod shares;
pub mod spare;
pub mod users;
pub mod wishes;
pub mod wrong_identity;
