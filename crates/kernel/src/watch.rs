//! Notifications that links or addresses of a namespace have changed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::netns::Namespace;

/// A socket that receives notifications about changed links and addresses.
pub struct Watch {
    socket: Socket,
}

const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV6_IFADDR: u32 = 9;

impl Watch {
    /// Starts to listen in a namespace.
    pub fn of(namespace: &Namespace) -> io::Result<Self> {
        let socket = namespace.run(|| {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            for group in [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR] {
                socket.add_membership(group)?;
            }
            socket.set_non_blocking(true)?;
            io::Result::Ok(socket)
        })??;
        Ok(Watch { socket })
    }

    /// Discards all pending notifications and returns whether there were any. The caller must read what
    /// changed. Notifications may have been lost (`ENOBUFS`), so they only say that it is time to look.
    pub fn take(&self) -> io::Result<bool> {
        let mut any = false;
        let mut buffer = Vec::with_capacity(64 * 1024);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => any = true,
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => any = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as the socket, and the borrow does not outlive the
        // socket.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}
