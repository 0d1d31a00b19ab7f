//! The desired kernel state, and the steps that lead to it.

pub mod desired;
pub mod diff;
pub mod nic_move;
