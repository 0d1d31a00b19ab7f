//! Front ends: each turns its protocol's JSON into a core request and back, and decides nothing.

pub mod docker;
