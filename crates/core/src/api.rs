//! The requests to the daemon, and its replies.

pub mod document;
pub mod engine_call;
pub mod envelope;
pub mod refusal;
pub mod reply;
pub mod request;
