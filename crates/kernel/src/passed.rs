//! A descriptor that a process passes over a Unix socket (`SCM_RIGHTS`, `unix(7)`), and who that process is.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixAddr, getsockopt, recvmsg, sockopt::PeerCredentials,
};

use crate::netns::{Namespace, NamespaceError};

/// The maximum number of descriptors that come with a message (`SCM_MAX_FD`, Linux 2.6.38).
const MOST: usize = 253;

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
