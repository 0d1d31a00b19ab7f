//! Asks the daemon: one request with the namespace's descriptor, one reply.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ashore_plug::wire::{REPLY_HEAD, Reply, ReplyHead};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};

use crate::call::{Fault, Unanswered};

/// Sends a request to the daemon at the first of these sockets that can be connected to, and returns its reply.
pub(crate) fn ask(
    places: &[PathBuf],
    request: &[u8],
    netns: Option<BorrowedFd<'_>>,
    patience: Duration,
) -> Result<Reply, Fault> {
    let deadline = Deadline { at: Instant::now() + patience, patience };
    let (stream, at) = connect_to_any(places, &deadline)?;
    // No descriptor can be passed there.
    let netns = netns.filter(|_| !is_for_everybody(at));
    let mut connection = Connection { stream, deadline };
    // A daemon that does not read the whole request may have said why.
    let sent = connection.send(request, netns);
    let reply = connection.receive();
    reply.map_err(|why| Fault::Unanswered { at: at.to_owned(), why: sent.err().unwrap_or(why) })
}

fn connect_to_any<'a>(places: &'a [PathBuf], deadline: &Deadline) -> Result<(UnixStream, &'a Path), Fault> {
    let mut failed: Option<(&Path, Unanswered)> = None;
    for place in places {
        let why = match connect_to(place, deadline) {
            Ok(stream) => return Ok((stream, place)),
            Err(why) => why,
        };
        // A socket that is there says more than one that is not.
        if failed.as_ref().is_none_or(|(_, before)| is_missing(before) && !is_missing(&why)) {
            failed = Some((place, why));
        }
    }
    let (at, why) = failed.expect("there is a place to ask at");
    Err(Fault::Unanswered { at: at.to_owned(), why })
}

/// Whether a socket is for everybody, as its mode says.
fn is_for_everybody(place: &Path) -> bool {
    std::fs::metadata(place).is_ok_and(|socket| socket.mode() & 0o002 != 0)
}

fn is_missing(why: &Unanswered) -> bool {
    matches!(why, Unanswered::Io(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Connects, and waits no longer than the deadline for room in the socket's queue.
fn connect_to(place: &Path, deadline: &Deadline) -> Result<UnixStream, Unanswered> {
    let address = UnixAddr::new(place).map_err(|errno| Unanswered::Io(errno.into()))?;
    let stream = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let stream = UnixStream::from(stream.map_err(|errno| Unanswered::Io(errno.into()))?);
    deadline.apply(|left| {
        stream.set_write_timeout(Some(left))?;
        Ok(connect(stream.as_raw_fd(), &address)?)
    })?;
    Ok(stream)
}

/// The moment until which the answer must be there.
struct Deadline {
    at: Instant,
    patience: Duration,
}

impl Deadline {
    /// Tries something that ends by itself after the time that is left.
    fn apply<T>(&self, mut step: impl FnMut(Duration) -> io::Result<T>) -> Result<T, Unanswered> {
        loop {
            let left = self.at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Unanswered::TimedOut(self.patience));
            }
            match step(left) {
                Ok(done) => return Ok(done),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Unanswered::TimedOut(self.patience));
                }
                Err(error) => return Err(Unanswered::Io(error)),
            }
        }
    }
}

struct Connection {
    stream: UnixStream,
    deadline: Deadline,
}

impl Connection {
    fn send(&mut self, request: &[u8], netns: Option<BorrowedFd<'_>>) -> Result<(), Unanswered> {
        let descriptors: Vec<_> = netns.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let message = if descriptors.is_empty() { &rights[..0] } else { &rights[..] };
        let stream = &self.stream;
        // The descriptor goes with the first byte, whatever else does not fit.
        let mut sent = self.deadline.apply(|left| {
            stream.set_write_timeout(Some(left))?;
            let bytes = [IoSlice::new(request)];
            Ok(sendmsg::<()>(stream.as_raw_fd(), &bytes, message, MsgFlags::MSG_NOSIGNAL, None)?)
        })?;
        while sent < request.len() {
            sent += self.deadline.apply(|left| {
                stream.set_write_timeout(Some(left))?;
                (&mut &*stream).write(&request[sent..])
            })?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Reply, Unanswered> {
        let mut head = [0; REPLY_HEAD];
        self.fill(&mut head)?;
        let head = ReplyHead::decode(&head).map_err(Unanswered::Answer)?;
        let mut rest = vec![0; head.rest()];
        self.fill(&mut rest)?;
        Reply::decode(head, rest).map_err(Unanswered::Answer)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Unanswered> {
        let mut filled = 0;
        while filled < buffer.len() {
            let stream = &self.stream;
            let length = self.deadline.apply(|left| {
                stream.set_read_timeout(Some(left))?;
                (&mut &*stream).read(&mut buffer[filled..])
            })?;
            if length == 0 {
                return Err(Unanswered::HungUp);
            }
            filled += length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn why(places: &[PathBuf], request: &[u8]) -> String {
        ask(places, request, None, Duration::from_millis(50)).unwrap_err().to_string()
    }

    #[test]
    fn a_daemon_that_is_silent_is_not_waited_for_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("sock");
        // Nobody accepts, as where the init system holds the socket and the daemon does not start.
        let listener = UnixListener::bind(&place).unwrap();
        let places = [place.clone()];
        let wanted = format!("the daemon does not answer at {}: nothing came in 0 s", place.display());
        assert_eq!(why(&places, b"request"), wanted);
        // Nor does anybody read.
        assert_eq!(why(&places, &vec![0; 4 << 20]), wanted);
        // Nor is there room in the queue, which has the two before.
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        assert_eq!(why(&places, b"request"), wanted);
    }

    #[test]
    fn the_socket_that_is_there_is_the_one_to_name() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        drop(UnixListener::bind(place("dead")).unwrap());
        let (missing, dead) = (place("missing"), place("dead"));
        for order in [[missing.clone(), dead.clone()], [dead.clone(), missing.clone()]] {
            let said = why(&order, b"request");
            assert!(said.contains(dead.to_str().unwrap()) && said.contains("refused"), "{said}");
        }
        let said = why(&[missing.clone(), place("too")], b"request");
        assert!(said.contains(missing.to_str().unwrap()) && said.contains("No such file"), "{said}");
        let long = place(&"x".repeat(200));
        assert!(why(std::slice::from_ref(&long), b"request").contains("too long"));
    }
}
