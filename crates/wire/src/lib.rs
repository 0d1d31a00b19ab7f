//! Bytes and meaning for a host on a LAN: MAC addresses, Ethernet, ARP, neighbour discovery, conflict detection.
//!
//! Nothing here does I/O, reads a clock or allocates a thread: frames come in as slices, time is an argument, and
//! what should happen on the wire goes out as a value. That is what makes every transition testable.

mod mac;

pub use mac::{Mac, MacParseError};
