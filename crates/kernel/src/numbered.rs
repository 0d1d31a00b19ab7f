//! Whether a namespace is there still, by a number that the host's namespace has for it.
//!
//! The kernel forgets such a number with the last who holds the namespace, whoever and whatever that is: a socket that is left of it, a
//! mount that nobody sees, a process that is not shown. So it knows what no look at processes and mounts can tell.

use std::os::fd::AsFd;

use ashore_core::net::link::{Cookie, Netns};

use crate::kernel::Kernel;
use crate::netns::Namespace;

/// From so many on it is looked now and then which are forgotten.
const MANY: usize = 1024;

impl Kernel {
    /// Has the host's namespace know another by a number.
    pub(crate) fn number(&self, namespace: &Namespace) {
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
            Err(error) => tracing::debug!("a namespace has no number: {error}"),
        }
        if numbered.len().is_multiple_of(MANY) {
            numbered.retain(|_, number| route.has_number(*number).unwrap_or(true));
        }
    }

    /// Whether a namespace of this start of the host's is there still.
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

/// What the kernel tells of whether a namespace is there still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lives {
    /// Somebody holds it.
    Yes,
    /// Nobody does.
    No,
    /// Its number, which others chose, leads somewhere. Once it is free, it is given to the next.
    Perhaps,
    /// It has no number, or had none when it went.
    Untold,
}

/// A number that nobody else chooses: the kernel takes the lowest that is free, and people small ones. It follows from what the kernel
/// calls the namespace, and gives to no other, so that the next daemon knows it.
fn own_number(cookie: &Cookie) -> i32 {
    const FIRST: i32 = 1 << 28;
    const COUNT: u64 = 1 << 30;
    FIRST + (cookie.number % COUNT) as i32
}
