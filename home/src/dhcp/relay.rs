//! A DHCP relay (RFC 1542): ISC's dhcrelay.

use std::net::Ipv4Addr;
use std::process::{Child, Stdio};

use ashore_lab::{Engines, Machine};

/// A relay between the LAN on a router's `eth0` and a server behind its `eth1`. Runs until it is dropped.
pub struct Relay(Child);

impl Relay {
    pub fn start(engines: &Engines, on: &Machine, server: Ipv4Addr) -> Relay {
        let mut command = on.command(engines.path("usr/sbin/dhcrelay")).unwrap();
        command.args(["-4", "-d", "--no-pid", "-id", "eth0", "-iu", "eth1", &server.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        crate::eventually("the relay listens", || super::has_server_port(on));
        Relay(child)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
