//! What is in containers' namespaces, kept between looks until the kernel notifies of a change there.
//!
//! To look into a namespace takes a thread and half a dozen dumps. That is little for a few containers, and
//! much for a thousand, of which most have not changed since the last look. A socket in the host's namespace
//! hears of all namespaces that have an nsid there (`NETLINK_LISTEN_ALL_NSID`, Linux 4.2). The kernel notifies
//! before the request that made the change ends. So a namespace of which nothing was heard is as it was.
//!
//! Not everything is notified of: some sysctls are not, nor some changes of a link that is down, nor what an ipvlan
//! changes of its siblings in other namespaces. So a namespace with an ipvlan is not kept, each look enters a few of
//! those that were not entered for a while, and those in which steps were done are entered again.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use ashore_core::net::link::Netns;
use ashore_core::net::observed::{Link, View};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use crate::bytes::{Attributes, Messages, i32_at};
use crate::netns::Namespace;
use crate::nsfs;

/// So many namespaces are looked into each time, which costs little.
pub(crate) const FEW: usize = 64;

/// Of the namespaces that were not entered for this long, [`FEW`] are entered by each look, the longest ones first.
const AGE: Duration = Duration::from_secs(60);
/// What is more than this many links, addresses and routes is read each time: whoever is in a container decides how
/// much there is.
const LARGE: usize = 256;
/// How many notifications are received in a row. If there are more, everything is looked into again: whoever is in a
/// container can cause them as fast as they are received.
const MOST_NEWS: usize = 10_000;

/// Receive buffer of the socket, in bytes. A container that starts causes some ten notifications. If more come than
/// there is room for, everything is looked into again.
const RECEIVE_BUFFER: usize = 8 << 20;

const RTNLGRP_NSID: u32 = 28;
/// Links, addresses, routes, and the settings that the kernel notifies of. Only ipvlans need neighbours.
const GROUPS: [u32; 9] = [
    1,  // RTNLGRP_LINK
    5,  // RTNLGRP_IPV4_IFADDR
    7,  // RTNLGRP_IPV4_ROUTE
    9,  // RTNLGRP_IPV6_IFADDR
    11, // RTNLGRP_IPV6_ROUTE
    12, // RTNLGRP_IPV6_IFINFO
    24, // RTNLGRP_IPV4_NETCONF
    25, // RTNLGRP_IPV6_NETCONF
    RTNLGRP_NSID,
];
/// Since Linux 5.3. Before, there are no next-hop objects.
const RTNLGRP_NEXTHOP: u32 = 32;

/// Device and inode of a namespace's file. No other namespace has them before the kernel has notified that the
/// nsid of the first one is free.
type FileNumbers = (u64, u64);

/// The views that are known, and a socket that hears of changes.
#[derive(Default)]
pub(crate) struct KnownViews {
    hearing: Hearing,
    known: Known,
}

/// The views, and by which nsid the kernel notifies of each.
#[derive(Default)]
struct Known {
    views: HashMap<FileNumbers, Seen>,
    files: HashMap<i32, FileNumbers>,
}

#[derive(Default)]
enum Hearing {
    #[default]
    Unasked,
    By(Socket),
    /// The process lacks `CAP_NET_BROADCAST`, without which the kernel is silent of other namespaces.
    Forbidden,
}

/// What was seen in a namespace.
struct Seen {
    netns: Netns,
    at: Instant,
    view: View,
}

/// What a notification is about.
enum About {
    Namespace(i32),
    Host,
}

impl KnownViews {
    /// Takes over what has been notified since, before a look into these namespaces. `host` is the host's namespace.
    pub(crate) fn catch_up(&mut self, host: &Namespace, netns: &[Netns]) {
        self.hear(host);
        self.known.retain(netns);
        self.known.forget_oldest();
    }

    /// Takes over what has been notified since, if the socket is open: it has to be read from time to time.
    pub(crate) fn catch_up_if_open(&mut self, host: &Namespace) {
        if matches!(self.hearing, Hearing::By(_)) {
            self.hear(host);
        }
    }

    fn hear(&mut self, host: &Namespace) {
        let KnownViews { hearing, known } = self;
        if matches!(hearing, Hearing::Unasked) {
            // Whatever happened before is not heard of.
            known.forget_all();
            *hearing = match open(host) {
                Ok(Some(socket)) => Hearing::By(socket),
                Ok(None) => {
                    tracing::info!(
                        "all containers are entered each time: to hear of changes takes CAP_NET_BROADCAST"
                    );
                    Hearing::Forbidden
                }
                Err(error) => return tracing::debug!("cannot hear of changes in containers: {error}"),
            };
        }
        let Hearing::By(socket) = hearing else { return };
        let mut buffer = [0; 512];
        for _ in 0..MOST_NEWS {
            match receive(socket, &mut buffer) {
                Ok((About::Namespace(number), _)) => known.forget(number),
                Ok((About::Host, message)) => freed(message).for_each(|number| known.forget(number)),
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                // Notifications were lost.
                Err(Errno::ENOBUFS) => known.forget_all(),
                Err(_) => break,
            }
        }
        known.forget_all();
        *hearing = Hearing::Unasked;
    }

    /// What is in a namespace, if it is known, and if the path still leads there. If it leads there in a way that is
    /// slow to follow, a look has to find that out.
    pub(crate) fn of(&self, netns: &Netns) -> Option<&View> {
        let numbers = (netns.dev, netns.ino);
        let seen = self.known.views.get(&numbers)?;
        let is_it = netns.cookie.is_none() || netns.cookie == seen.netns.cookie;
        (is_it && nsfs::leads_to(&netns.path, numbers)).then_some(&seen.view)
    }

    /// Keeps what was seen in a namespace. `number` is its nsid in the host's namespace, which it had before.
    pub(crate) fn keep(&mut self, netns: &Netns, number: i32, view: &View) {
        let is_large = view.links.len() + view.addresses.len() + view.routes.len() > LARGE;
        if matches!(self.hearing, Hearing::By(_)) && !is_large && !view.links.iter().any(Link::is_ipvlan) {
            let numbers = (netns.dev, netns.ino);
            self.known.forget(number);
            self.known.files.insert(number, numbers);
            let seen = Seen { netns: netns.clone(), at: Instant::now(), view: view.clone() };
            self.known.views.insert(numbers, seen);
        }
    }

    /// Has the next look go into these namespaces.
    pub(crate) fn forget<'a>(&mut self, netns: impl IntoIterator<Item = &'a Netns>) {
        for netns in netns {
            self.known.views.remove(&(netns.dev, netns.ino));
        }
    }
}

impl Known {
    /// Forgets the namespace with this nsid, if it is known.
    fn forget(&mut self, number: i32) {
        if let Some(numbers) = self.files.remove(&number) {
            self.views.remove(&numbers);
        }
    }

    /// Forgets all but these namespaces.
    fn retain(&mut self, netns: &[Netns]) {
        let asked: HashSet<FileNumbers> = netns.iter().map(|netns| (netns.dev, netns.ino)).collect();
        self.views.retain(|numbers, _| asked.contains(numbers));
        self.files.retain(|_, numbers| asked.contains(numbers));
    }

    fn forget_oldest(&mut self) {
        let old = self.views.iter().filter(|(_, seen)| seen.at.elapsed() >= AGE);
        let mut old: Vec<(Instant, FileNumbers)> = old.map(|(numbers, seen)| (seen.at, *numbers)).collect();
        old.sort_unstable();
        for (_, numbers) in old.into_iter().take(FEW) {
            self.views.remove(&numbers);
        }
    }

    fn forget_all(&mut self) {
        self.views.clear();
        self.files.clear();
    }
}

/// Opens the socket. Returns `None` if the process may not hear of other namespaces.
fn open(host: &Namespace) -> io::Result<Option<Socket>> {
    if !may_hear()? {
        return Ok(None);
    }
    host.run(|| {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let on: libc::c_int = 1;
        // SAFETY: the option's value lives during the call, and the length is its size.
        Errno::result(unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_NETLINK,
                libc::NETLINK_LISTEN_ALL_NSID,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        })?;
        // SAFETY: the socket is open during the call.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        let _ = socket.add_membership(RTNLGRP_NEXTHOP);
        socket.set_non_blocking(true)?;
        Ok(Some(socket))
    })?
}

/// Whether this process has `CAP_NET_BROADCAST` (`file_ns_capable` in `do_one_broadcast`).
fn may_hear() -> io::Result<bool> {
    const CAP_NET_BROADCAST: u32 = 11;
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    Ok(effective.is_some_and(|effective| effective & (1 << CAP_NET_BROADCAST) != 0))
}

/// Receives one notification. Returns the beginning of what it says, and of which namespace.
fn receive<'a>(socket: &Socket, buffer: &'a mut [u8]) -> Result<(About, &'a [u8]), Errno> {
    const ROOM: usize = 64;
    /// Aligned as the kernel's `struct cmsghdr` is.
    #[repr(align(8))]
    struct Control([u8; ROOM]);
    let mut control = Control([0; ROOM]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeros are a valid value of this structure.
    let mut header = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
    (header.msg_control, header.msg_controllen) = (control.0.as_mut_ptr().cast(), ROOM as _);
    // SAFETY: the header points to two buffers that live during the call, with their lengths.
    let length = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) })?;
    let mut about = About::Host;
    // SAFETY: the kernel has filled in the header, and the macros stay within its buffer.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(&raw const header);
        while !at.is_null() {
            let is_number = (*at).cmsg_type == libc::NETLINK_LISTEN_ALL_NSID
                && (*at).cmsg_len as usize >= libc::CMSG_LEN(size_of::<i32>() as u32) as usize;
            if is_number {
                about = About::Namespace(libc::CMSG_DATA(at).cast::<i32>().read_unaligned());
            }
            at = libc::CMSG_NXTHDR(&raw const header, at);
        }
    }
    Ok((about, &buffer[..length.cast_unsigned().min(buffer.len())]))
}

/// The nsids of the host's namespace that a notification says are free.
fn freed(message: &[u8]) -> impl Iterator<Item = i32> {
    const RTM_DELNSID: u16 = 89;
    const NETNSA_NSID: u16 = 1;
    /// `struct rtgenmsg` with padding.
    const GENERAL: usize = 4;
    Messages::of(message)
        .filter(|message| message.kind == RTM_DELNSID)
        .filter_map(|message| i32_at(Attributes::after(GENERAL, message.body).get(NETNSA_NSID)?, 0))
}
