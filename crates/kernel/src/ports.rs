//! Which servers run in a namespace.

use std::io::{self, Read};

use crate::netns::Namespace;

/// The DHCP server port (RFC 2131, 4.1).
const DHCP_SERVER: u16 = 67;
/// At most this many bytes are read. No host has more sockets than fit, and the rest is ignored.
const LONGEST: u64 = 1 << 20;

/// Returns whether a program in a namespace listens on the DHCP server port, on any interface. Returns `false`
/// if this cannot be read.
pub fn has_dhcp_server(namespace: &Namespace) -> bool {
    let read = || -> io::Result<bool> {
        let mut sockets = String::new();
        let file = std::fs::File::open("/proc/thread-self/net/udp")?;
        file.take(LONGEST).read_to_string(&mut sockets)?;
        Ok(is_bound(&sockets, DHCP_SERVER))
    };
    namespace.run(read).and_then(|read| read).unwrap_or(false)
}

/// Returns whether a line of `/proc/net/udp` has this port as its local port: the second word, in hexadecimal
/// (`proc_net_udp`).
fn is_bound(sockets: &str, port: u16) -> bool {
    let own = |line: &str| {
        let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
        u16::from_str_radix(port, 16).ok()
    };
    sockets.lines().any(|line| own(line) == Some(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_counts_where_it_is_a_sockets_own() {
        let head = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        let line = |local: &str, other: &str| {
            format!(
                "{head}\n  329: {local} {other} 07 00000000:00000000 00:00000000 00000000     0        0 20154 2 0 0"
            )
        };
        assert!(is_bound(&line("00000000:0043", "00000000:0000"), 67));
        assert!(is_bound(&line("0958A8C0:0043", "00000000:0000"), 67));
        assert!(!is_bound(&line("00000000:0044", "0158A8C0:0043"), 67));
        assert!(!is_bound(head, 67));
        assert!(!is_bound("", 67));
    }
}
