//! A descriptor that a process passes over a Unix socket (`SCM_RIGHTS`, `unix(7)`), and who that process is.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixAddr, getsockopt, recv, recvmsg, sockopt::PeerCredentials,
};

use crate::netns::{Namespace, NamespaceError};

/// The maximum number of descriptors that come with a message (`SCM_MAX_FD`, Linux 2.6.38).
const MOST: usize = 253;

/// Has the kernel refuse to pass descriptors over a listening socket or a stream (`SO_PASSRIGHTS`, Linux 6.16). Earlier
/// ones cannot, and what was passed before is there still: see [`read_bare`] and [`end`].
pub fn take_no_descriptors(socket: &impl AsFd) {
    const SO_PASSRIGHTS: libc::c_int = 83;
    let no: libc::c_int = 0;
    // SAFETY: the kernel reads one number, which lives during the call.
    unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const no).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// Reads bytes from a stream, and takes no descriptor. Bytes that come with one are an error, and stay where they are:
/// whoever drops a descriptor closes it, which can take as long as the one who passed it likes.
pub fn read_bare(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<usize> {
    let (length, is_cut) = {
        let mut into = [IoSliceMut::new(bytes)];
        let seen = recvmsg::<()>(stream.as_raw_fd(), &mut into, None, MsgFlags::MSG_PEEK)?;
        (seen.bytes, seen.flags.contains(MsgFlags::MSG_CTRUNC))
    };
    if is_cut {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a descriptor was passed"));
    }
    // Nothing else reads, so these are the same bytes.
    Ok(recv(stream.as_raw_fd(), &mut bytes[..length], MsgFlags::empty())?)
}

/// Closes a stream on which somebody may have passed descriptors that nobody has taken, without waiting for what closing
/// these takes. A socket that lingers (`SO_LINGER`), for one, makes whoever closes it last wait for as long as it says,
/// except a process or a thread that ends. So a thread with a table of descriptors of its own has the last one of the
/// stream, and ends.
pub fn end(stream: UnixStream) {
    let _ = stream.shutdown(Shutdown::Both);
    // Nothing more can come. Bytes alone keep nobody waiting, and are most of what is left anywhere.
    let mut bytes = [0; 16 << 10];
    for _ in 0..64 {
        match read_bare(&stream, &mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    // Threads, memory or descriptors may be short for a moment.
    let closed = loop {
        match last_holder() {
            Ok(closed) => break closed,
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    drop(stream);
    drop(closed);
}

/// Starts a thread that has all descriptors of this process in a table of its own by now, and that ends when what is
/// returned is dropped.
fn last_holder() -> io::Result<SyncSender<()>> {
    let (ready, is_ready) = sync_channel(1);
    let (closed, is_closed) = sync_channel(0);
    std::thread::Builder::new().name("ends".into()).stack_size(64 * 1024).spawn(move || {
        let has_own = unshare(CloneFlags::CLONE_FILES);
        if has_own.is_ok() && ready.send(has_own).is_ok() {
            // This ends with the other end of it.
            let _: Result<(), _> = is_closed.recv();
        }
    })?;
    is_ready.recv().map_err(io::Error::other)??;
    Ok(closed)
}

/// Reads bytes from a stream, and a descriptor that comes with them, if there is one. Further descriptors are closed.
pub fn receive(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MOST]);
    let mut into = [IoSliceMut::new(bytes)];
    let received =
        recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut into, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut passed = None;
    for message in received.cmsgs()? {
        let ControlMessageOwned::ScmRights(descriptors) = message else { continue };
        for descriptor in descriptors {
            // SAFETY: the kernel has just made this descriptor for this process, and nothing else owns it.
            passed = Some(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }
    Ok((received.bytes, passed))
}

/// The user id of the process that connected to a stream, as it was then.
pub fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(getsockopt(stream, PeerCredentials)?.uid())
}

/// The groups of the process that connected to a stream, as they were then: its own, and the supplementary ones
/// (`SO_PEERGROUPS`, Linux 4.13).
pub fn peer_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut length =
            libc::socklen_t::try_from(size_of_val(groups.as_slice())).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `length` bytes to the vector, which has that many, and the length itself.
        let read = Errno::result(unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        });
        let count = length as usize / size_of::<libc::gid_t>();
        match read {
            Ok(_) => {
                groups.truncate(count);
                break;
            }
            // There are more, and the kernel has said how many. They do not change any more.
            Err(Errno::ERANGE) if count > groups.len() => groups.resize(count, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
    groups.push(getsockopt(stream, PeerCredentials)?.gid());
    Ok(groups)
}

impl Namespace {
    /// The namespace of a descriptor that another process has opened by a path.
    pub fn passed(descriptor: OwnedFd, path: PathBuf) -> Result<Self, NamespaceError> {
        Self::of_file(File::from(descriptor), path)
    }
}
