//! Packet sockets: whole Ethernet frames of one link, filtered in the kernel.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use ashore_wire::Mac;
use ashore_wire::filter::Instruction;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::netns::Namespace;

/// Size of the receive queue, in bytes. A small frame takes about 800 bytes.
const ROOM: usize = 2 << 20;

/// A socket for those frames of one link that pass a filter. It stays in the namespace where it was opened.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    link: u32,
    /// The MACs other than the link's own for which the NIC accepts frames.
    taken_in: BTreeSet<Mac>,
}

impl PacketSocket {
    /// Opens a socket on a link. It does not receive frames that this host itself sends on the link.
    ///
    /// Fails with `ENODEV` if there is no such link, and with `EPERM` without `CAP_NET_RAW`.
    pub fn open(namespace: &Namespace, link: u32, filter: &[Instruction]) -> io::Result<Self> {
        Self::open_on(namespace, link, filter, false)
    }

    /// Opens a socket on a link. It receives the frames that this host itself sends on the link too: those of its own
    /// programs, and those of the containers whose link goes out by this one. What is sent by this very socket it does
    /// not receive.
    pub fn open_with_sent(namespace: &Namespace, link: u32, filter: &[Instruction]) -> io::Result<Self> {
        Self::open_on(namespace, link, filter, true)
    }

    fn open_on(namespace: &Namespace, link: u32, filter: &[Instruction], sent: bool) -> io::Result<Self> {
        let socket = unbound(namespace)?;
        let filter: Vec<socket2::SockFilter> =
            filter.iter().map(|i| socket2::SockFilter::new(i.code, i.jt, i.jf, i.k)).collect();
        socket.attach_filter(&filter)?;
        if !sent {
            ignore_outgoing(&socket)?;
        }
        // Without CAP_NET_ADMIN the queue keeps the default size.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &ROOM);
        socket.bind(&address_of(link))?;
        Ok(PacketSocket { socket, link, taken_in: BTreeSet::new() })
    }

    /// Returns whether the caller may open such a socket in a namespace. Without `CAP_NET_RAW` over the
    /// namespace, the LAN cannot be observed.
    pub fn may_open(namespace: &Namespace) -> bool {
        !unbound(namespace).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Makes the link accept frames for these multicast and unicast MACs too, for as long as the socket is
    /// open, and stop accepting frames for MACs of earlier calls. A NIC drops frames for all other MACs.
    ///
    /// Fails with `ENODEV` if the link is gone. The MACs that could be set stay set.
    pub fn take_in(&mut self, wanted: &BTreeSet<Mac>) -> io::Result<()> {
        let mut result = Ok(());
        for mac in wanted.symmetric_difference(&self.taken_in.clone()) {
            let on = wanted.contains(mac);
            match set_membership(&self.socket, self.link, *mac, on) {
                Ok(()) if on => drop(self.taken_in.insert(*mac)),
                Ok(()) => drop(self.taken_in.remove(mac)),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Sends a whole frame, including the link-layer header.
    ///
    /// Fails with `ENETDOWN` while the link is down, and with `ENOBUFS` while a queue on the way is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // The socket reports a past error once, such as that the link was down. A full queue is not a past
        // error.
        let sent = self.socket.send(frame).or_else(|error| match error.raw_os_error() {
            Some(nix::libc::ENOBUFS) => Err(error),
            _ => self.socket.send(frame),
        });
        sent.map(|_| ())
    }

    /// How many frames were lost since the last call because the receive queue was full.
    pub fn lost(&self) -> io::Result<u32> {
        // `struct tpacket_stats`: the frames that passed the filter, and how many of those were dropped.
        let mut counts = [0_u32; 2];
        let mut length = size_of_val(&counts) as nix::libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to the counts, which are borrowed for the call.
        let result = unsafe {
            nix::libc::getsockopt(
                self.socket.as_raw_fd(),
                nix::libc::SOL_PACKET,
                nix::libc::PACKET_STATISTICS,
                counts.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == 0 { Ok(counts[1]) } else { Err(io::Error::last_os_error()) }
    }

    /// Receives the next frame. Returns `None` if none has arrived. A longer frame is truncated to the
    /// buffer.
    ///
    /// Fails with `ENETDOWN` once after the link went down.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match (&self.socket).read(buffer) {
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Opens an unbound socket. With protocol 0 it receives nothing until it is bound, so no frame bypasses the
/// filter.
fn unbound(namespace: &Namespace) -> io::Result<Socket> {
    namespace
        .run(|| Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0))))?
}

/// `PACKET_IGNORE_OUTGOING` (Linux 4.20).
fn ignore_outgoing(socket: &Socket) -> io::Result<()> {
    let on: nix::libc::c_int = 1;
    // SAFETY: the option takes an int, and its address and size are those of one that lives during the call.
    let result = unsafe {
        nix::libc::setsockopt(
            socket.as_raw_fd(),
            nix::libc::SOL_PACKET,
            nix::libc::PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of_val(&on) as nix::libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets `PACKET_ADD_MEMBERSHIP` or `PACKET_DROP_MEMBERSHIP`. The kernel counts how many sockets want a MAC on
/// a link.
fn set_membership(socket: &Socket, link: u32, mac: Mac, on: bool) -> io::Result<()> {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&mac.0);
    let is_group = mac.0[0] & 1 != 0;
    // `PACKET_MR_MULTICAST` and `PACKET_MR_UNICAST` of `linux/if_packet.h`.
    let kind = if is_group { 0 } else { 3 };
    let request = nix::libc::packet_mreq {
        mr_ifindex: link.cast_signed(),
        mr_type: kind,
        mr_alen: 6,
        mr_address: address,
    };
    let option = if on { nix::libc::PACKET_ADD_MEMBERSHIP } else { nix::libc::PACKET_DROP_MEMBERSHIP };
    // SAFETY: the option takes a packet_mreq, and its address and size are those of one that lives during the
    // call.
    let result = unsafe {
        nix::libc::setsockopt(
            socket.as_raw_fd(),
            nix::libc::SOL_PACKET,
            option,
            (&raw const request).cast(),
            size_of_val(&request) as nix::libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn address_of(link: u32) -> SockAddr {
    // SAFETY: sockaddr_ll fits into the storage, which is zeroed. The length says how much of the storage is
    // used.
    let made = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<nix::libc::sockaddr_ll>();
            (*address).sll_family = nix::libc::AF_PACKET as u16;
            (*address).sll_protocol = (nix::libc::ETH_P_ALL as u16).to_be();
            (*address).sll_ifindex = link as i32;
            *length = size_of::<nix::libc::sockaddr_ll>() as nix::libc::socklen_t;
            Ok(())
        })
    };
    made.expect("the initialiser never fails").1
}

/// Wakes a thread that waits in [`wait_readable`].
#[derive(Debug)]
pub struct Waker(EventFd);

impl Waker {
    /// Creates a waker.
    pub fn new() -> io::Result<Self> {
        Ok(Waker(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// Wakes the waiting thread, or makes the next wait return at once.
    pub fn wake(&self) {
        // The counter is full only if a wake-up is already pending.
        let _ = self.0.write(1);
    }

    /// Clears pending wake-ups.
    pub fn clear(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until a descriptor is readable or has failed, or until the time is up. Returns for each descriptor
/// whether it is readable or has failed.
pub fn wait_readable(fds: &[BorrowedFd<'_>], most: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // Rounded up. A wait that ends early would make the caller spin until the deadline.
    let timeout = match most {
        None => PollTimeout::NONE,
        Some(most) => PollTimeout::try_from(most.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX),
    };
    match poll(&mut polled, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(polled.iter().map(|fd| fd.any().unwrap_or(false)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_once() {
        let Ok(namespace) = Namespace::new() else {
            return eprintln!("cannot-run: a namespace: this needs root");
        };
        let up =
            namespace.run(|| std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status());
        if !up.unwrap().is_ok_and(|status| status.success()) {
            return eprintln!("cannot-run: a link that is up: there is no `ip` here");
        }
        let all = [Instruction { code: 6, jt: 0, jf: 0, k: u32::MAX }];
        let (sender, ear) = (unbound(&namespace).unwrap(), PacketSocket::open(&namespace, 1, &all).unwrap());
        sender.bind(&address_of(1)).unwrap();
        let frame = [0; 60];
        assert_eq!(ear.lost().unwrap(), 0);
        for _ in 0..20_000 {
            sender.send(&frame).unwrap();
        }
        assert!(ear.lost().unwrap() > 0);
        assert_eq!(ear.lost().unwrap(), 0);
    }
}
