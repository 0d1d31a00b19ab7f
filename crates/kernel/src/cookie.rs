//! The cookie of a network namespace: a number that the kernel assigns once and never reuses.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

use ashore_core::net::link::Cookie;
use nix::errno::Errno;
use nix::libc;

/// `SO_NETNS_COOKIE` (Linux 5.14).
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Returns the cookie of the calling thread's namespace. Returns `None` if the kernel does not provide it.
pub(crate) fn here() -> io::Result<Option<Box<Cookie>>> {
    // Any socket belongs to the namespace in which it was opened.
    let socket = UnixDatagram::unbound()?;
    let (mut number, mut length) = (0_u64, size_of::<u64>() as libc::socklen_t);
    // SAFETY: both pointers point to values that live during the call, and the length is the size of the
    // first.
    let asked = unsafe {
        let number = (&raw mut number).cast::<libc::c_void>();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE, number, &raw mut length)
    };
    match Errno::result(asked) {
        Ok(_) => Ok(this_boot().map(|boot| Box::new(Cookie { boot: boot.to_owned(), number }))),
        Err(Errno::ENOPROTOOPT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The kernel's ID of the current boot (`boot_id`). Returns `None` if the kernel does not provide it.
pub fn this_boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned()).filter(|boot| !boot.is_empty())
    };
    BOOT.get_or_init(read).as_deref()
}
