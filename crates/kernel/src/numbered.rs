//! Whether a namespace still exists, according to its nsid in the host's namespace.
//!
//! The kernel drops an nsid when the last holder of the namespace is gone, whatever that holder was: a
//! leftover socket, a mount that no process sees, a process that `/proc` does not show. So the nsid reveals
//! what no look at processes and mounts can.

use std::os::fd::AsFd;

use ashore_core::net::link::{Cookie, Netns};

use crate::kernel::Kernel;
use crate::netns::Namespace;

/// Each time the map reaches a multiple of this size, it is purged of nsids that the kernel has dropped.
const MANY: usize = 1024;

impl Kernel {
    /// Makes the host's namespace assign an nsid to another namespace.
    pub(crate) fn number(&self, namespace: &Namespace) {
        // What the kernel notifies of in the host's own namespace would bear that nsid too.
        if *namespace == self.host {
            return;
        }
        let Some(cookie) = namespace.identity().cookie else { return };
        let mut numbered = self.numbered.borrow_mut();
        if numbered.contains_key(&cookie.number) {
            return;
        }
        let route = self.route.borrow();
        let number = || {
            if let Some(number) = route.number_of(namespace.as_fd())? {
                return Ok(Some(number));
            }
            route.number(namespace.as_fd(), own_number(&cookie))?;
            route.number_of(namespace.as_fd())
        };
        match number() {
            Ok(number) => numbered.extend(number.map(|number| (cookie.number, number))),
            Err(error) => tracing::debug!("cannot give a namespace an nsid: {error}"),
        }
        if numbered.len().is_multiple_of(MANY) {
            numbered.retain(|_, number| route.has_number(*number).unwrap_or(true));
        }
    }

    /// Returns whether a namespace still exists. The namespace must be of the current boot.
    pub fn lives(&self, netns: &Netns) -> Lives {
        let Some(cookie) = &netns.cookie else { return Lives::Untold };
        let (own, known) = (own_number(cookie), self.numbered.borrow().get(&cookie.number).copied());
        match (known, self.on_host(|route| route.has_number(known.unwrap_or(own)))) {
            (Some(_), Ok(false)) => Lives::No,
            (Some(number), Ok(true)) if number != own => Lives::Perhaps,
            (_, Ok(true)) => Lives::Yes,
            (None, Ok(false)) | (_, Err(_)) => Lives::Untold,
        }
    }
}

/// What the kernel reports about whether a namespace still exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lives {
    /// Something holds it.
    Yes,
    /// Nothing holds it.
    No,
    /// Its nsid, which others chose, still belongs to a namespace. But a free nsid is assigned again, so it
    /// may be another namespace.
    Perhaps,
    /// It has no nsid, or had none when it went away.
    Untold,
}

/// An nsid that nobody else chooses: the kernel takes the lowest free one, and people take small ones. It is
/// derived from the namespace's cookie, which the kernel never reuses, so the next daemon computes the same
/// nsid.
fn own_number(cookie: &Cookie) -> i32 {
    const FIRST: i32 = 1 << 28;
    const COUNT: u64 = 1 << 30;
    FIRST + (cookie.number % COUNT) as i32
}
