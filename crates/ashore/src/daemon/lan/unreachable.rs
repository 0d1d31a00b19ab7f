//! Parents through which nothing can be sent to the LAN.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use ashore_core::net::name::IfName;

/// Why nothing can be sent through a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreachable {
    pub(crate) parent: IfName,
    pub(crate) why: String,
    /// The kernel's error number, if the error comes from the kernel.
    pub(crate) errno: Option<i32>,
}

/// Records whether a frame was sent through a parent, and returns it. If sending fails only because the
/// parent cannot be listened on, the recorded reason for that is kept.
pub(super) fn said(
    unreachable: &mut BTreeMap<IfName, (Unreachable, Instant)>,
    parent: &IfName,
    sent: io::Result<()>,
) -> bool {
    match sent {
        Ok(()) => {
            unreachable.remove(parent);
            true
        }
        Err(error) => {
            let errno = error.raw_os_error();
            let now = Unreachable { parent: parent.clone(), why: error.to_string(), errno };
            let known = unreachable.get(parent).is_some_and(|(known, _)| *known == now || errno.is_none());
            if !known {
                tracing::warn!(%parent, "the LAN cannot be asked: {error}");
                unreachable.insert(parent.clone(), (now, Instant::now()));
            } else if let Some((_, since)) = unreachable.get_mut(parent) {
                *since = Instant::now();
            }
            false
        }
    }
}

/// Does the same for a frame that may have been queued (`Ok(false)`), in which case nothing is known yet.
pub(super) fn said_or_waits(
    unreachable: &mut BTreeMap<IfName, (Unreachable, Instant)>,
    parent: &IfName,
    sent: io::Result<bool>,
) {
    if !matches!(sent, Ok(false)) {
        said(unreachable, parent, sent.map(drop));
    }
}
