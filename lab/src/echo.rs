//! ICMP echo, as in ping(8), because a bare machine has no ping.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ashore_kernel::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

/// How long one attempt waits.
const WAIT: Duration = Duration::from_secs(1);

/// The round-trip time to an address from the calling thread's namespace. Returns `None` if no attempt is
/// answered. Each attempt waits one second.
pub fn ping(to: IpAddr, tries: u32) -> Option<Duration> {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed) ^ std::process::id() as u16;
    (1..=tries).find_map(|sequence| try_ping(to, id, sequence as u16).ok().flatten())
}

/// Continuous pings, which are counted at the end: what a user sees who leaves `ping` running.
pub struct Pings {
    stop: Arc<AtomicBool>,
    pinger: JoinHandle<Counted>,
}

/// The result of a series of pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Requests sent.
    pub sent: u32,
    /// Requests without an answer within a second.
    pub lost: u32,
}

/// The pause between two pings.
const PAUSE: Duration = Duration::from_millis(5);

impl Pings {
    /// Starts to ping from a namespace.
    pub fn begin(from: Namespace, to: IpAddr) -> Pings {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut counted) = (stop.clone(), Counted { sent: 0, lost: 0 });
        let pinger = std::thread::spawn(move || {
            let inside = from.run(|| {
                while !stopped.load(Ordering::Relaxed) {
                    counted.sent += 1;
                    counted.lost += u32::from(ping(to, 1).is_none());
                    std::thread::sleep(PAUSE);
                }
                counted
            });
            inside.expect("the lab's namespaces can be entered")
        });
        Pings { stop, pinger }
    }

    /// Stops the pings and returns the counts.
    pub fn end(self) -> Counted {
        self.stop.store(true, Ordering::Relaxed);
        self.pinger.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn try_ping(to: IpAddr, id: u16, sequence: u16) -> std::io::Result<Option<Duration>> {
    let (domain, protocol, request, reply) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let mut socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    let mut packet = [request, 0, 0, 0, 0, 0, 0, 0];
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    if to.is_ipv4() {
        // For ICMPv6 the kernel fills in the checksum, because only the kernel knows the pseudo-header.
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    let start = Instant::now();
    // If the neighbour does not answer, sending fails with EHOSTUNREACH or the request is lost silently.
    socket.send_to(&packet, &SocketAddr::new(to, 0).into())?;
    let mut buffer = [0; 1500];
    loop {
        let left = WAIT.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        // A raw IPv4 socket also returns the IP header.
        let header = if to.is_ipv4() { usize::from(buffer[0] & 0x0f) * 4 } else { 0 };
        let answer = buffer[..length].get(header..header + 8);
        if answer.is_some_and(|answer| answer[0] == reply && answer[4..8] == packet[4..8]) {
            return Ok(Some(start.elapsed()));
        }
    }
}

fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}
