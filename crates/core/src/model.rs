//! The data that Ashore remembers, and the queries on it.

pub mod assigned;
pub mod endpoint;
pub mod event;
pub mod events;
pub mod identity;
pub mod indexed;
pub mod inventory;
pub mod ipv6;
pub mod learned;
pub mod lease;
pub mod machine;
pub mod moment;
pub mod network;
pub mod own_routes;
pub mod owner;
pub mod ownership;
pub mod pool;
pub(crate) mod resolv;
pub mod sorted;
pub mod state;
pub mod survey;
pub mod users;
