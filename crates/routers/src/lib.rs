//! What the LAN's router and switch need for a network: the VLAN, if it has one, and a DHCP pool that stays
//! clear of the range that Ashore hands out. The crate makes a plan, checks it once, and renders it for each
//! system, without I/O. Only a person at the router carries it out.
//!
//! A renderer knows only the plan, which is plain data. `build` turns a network into a plan, or refuses it.

mod around;
mod boxes;
mod build;
mod controllers;
mod error;
mod kea;
mod lan_pool;
mod linux;
mod menus;
mod names;
mod openwrt;
mod page;
mod plan;
mod render;
mod routeros;
mod switch;
mod system;
#[cfg(test)]
mod tests;
mod vyos;

pub use build::{HostAddress, RouterRequest};
pub use error::RouterError;
pub use plan::{Policy, Present, RouterPlan, RouterSubnet};
pub use system::System;
