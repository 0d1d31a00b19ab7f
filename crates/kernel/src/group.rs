//! A member of a multicast group that speaks to the other members on this host alone.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use nix::libc::IPPROTO_RAW;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::netns::Namespace;

/// A raw socket that is a member of a group on one link. While it is open, the kernel answers those who ask on the link who
/// listens to the group (IGMP, MLD): else a switch that looks into these messages would not pass the group on.
///
/// It receives nothing. A packet that is sent to the group with a TTL of 0 reaches the programs of this host that are
/// members on the link, whatever its source address, and does not leave the host. Linux copies it to them before it looks at
/// the TTL, but only where the host is a member itself (6.18, `ip_mc_output`, `ip6_finish_output2`).
#[derive(Debug)]
pub struct GroupSocket {
    socket: Socket,
    group: SocketAddr,
}

impl GroupSocket {
    /// Opens a socket, and joins a group with it. `link` is the link's name and index.
    ///
    /// Fails with `ENODEV` if there is no such link, and with `EPERM` without `CAP_NET_RAW`.
    pub fn join(namespace: &Namespace, (name, link): (&str, u32), group: IpAddr) -> io::Result<Self> {
        let domain = if group.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = namespace.run(|| Socket::new(domain, kind, Some(Protocol::from(IPPROTO_RAW))))??;
        socket.bind_device(Some(name.as_bytes()))?;
        let group = match group {
            IpAddr::V4(group) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(link))?;
                SocketAddr::from((group, 0))
            }
            IpAddr::V6(group) => {
                socket.join_multicast_v6(&group, link)?;
                SocketAddrV6::new(group, 0, 0, link).into()
            }
        };
        Ok(GroupSocket { socket, group })
    }

    /// Sends an IP packet, header included, to the group.
    ///
    /// Fails with `EPERM` where the service manager or a firewall does not allow it.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.socket.send_to(packet, &self.group.into()).map(drop)
    }
}
