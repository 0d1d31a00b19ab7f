//! The commands. Most build a request, send it, and print the reply.

pub(crate) mod adopt;
pub(crate) mod attach;
mod backup;
pub(crate) mod bridge;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod explain;
mod find;
pub(crate) mod forget;
pub(crate) mod inspect;
pub(crate) mod install;
pub(crate) mod lab;
mod makers;
pub(crate) mod map;
pub(crate) mod network;
pub(crate) mod plan;
pub(crate) mod pool_check;
pub(crate) mod report;
pub(crate) mod router_config;
pub(crate) mod setup;
pub(crate) mod state;
pub(crate) mod status;
mod table;
