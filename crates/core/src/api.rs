//! The requests to the daemon, and its replies, with the troubles that it reports.

pub mod about;
pub mod diagnosis;
pub mod document;
pub mod engine_call;
pub mod envelope;
pub mod explained;
pub mod map;
pub mod open_vlans;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod standing;
pub mod trouble;
