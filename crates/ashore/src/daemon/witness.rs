//! Asks whether a machine on the LAN answers now, by ARP or neighbour discovery, which no firewall in between
//! answers.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ashore_core::net::observed::Link;
use ashore_kernel::{Namespace, PacketSocket, wait_readable};
use ashore_wire::conflict::probe_frame;
use ashore_wire::{filter, heard};

use crate::unlocked::Unlocked;

/// The time between two probes.
const AGAIN: Duration = Duration::from_millis(200);

/// Returns whether the machine with an address answers on a link within `patience`. The probe is one of a
/// host without an address, so that no machine's cache changes.
pub(super) fn answers(
    _: &Unlocked,
    namespace: &Namespace,
    link: &Link,
    ip: IpAddr,
    patience: Duration,
) -> io::Result<bool> {
    let mac = link.mac.ok_or(io::ErrorKind::Unsupported)?;
    let socket = PacketSocket::open(namespace, link.index, &filter::arp_and_ndp())?;
    let end = Instant::now() + patience;
    let mut buffer = [0; 2048];
    while Instant::now() < end {
        // A link that has just come up may not send yet.
        if let Err(error) = socket.send(&probe_frame(mac, ip)) {
            tracing::debug!("could not ask for {ip}: {error}");
        }
        let again = Instant::now() + AGAIN;
        while Instant::now() < again {
            wait_readable(&[socket.as_fd()], Some(again.saturating_duration_since(Instant::now())))?;
            while let Ok(Some(frame)) = socket.receive(&mut buffer) {
                if heard(frame).is_some_and(|heard| heard.claims && heard.ip == ip) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
