//! What the kernel should hold, and the steps that lead there.

pub mod desired;
pub mod diff;
pub mod nic_move;
