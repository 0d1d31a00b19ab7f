//! What can be asked of the daemon, and what it answers.

pub mod document;
pub mod engine_call;
pub mod refusal;
pub mod reply;
pub mod request;
