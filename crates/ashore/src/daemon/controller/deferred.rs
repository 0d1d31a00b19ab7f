//! What need not be waited for: records that the kernel would make up for, leases of containers that have gone, and links
//! that an engine has given back. It is
//! done once nobody has asked for anything for a moment, so that what comes in a row is done at once, and a container that
//! starts again finds its link.

use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use super::Controller;

/// A row of requests is over when there was none for so long.
const QUIET: Duration = Duration::from_millis(50);
/// But it is not waited for longer than this.
const MOST: Duration = Duration::from_secs(1);

/// Wakes threads that have something to do now and then. They end with the daemon alone.
pub(crate) struct Wakers {
    /// The one that does what need not be waited for.
    pub(crate) deferred: Sender<()>,
    /// The one that looks for namespaces.
    pub(crate) search: Sender<()>,
}

impl Controller {
    /// Has it done.
    pub(super) fn schedule_deferred(&self) {
        let _ = self.wakers.deferred.send(());
    }

    /// Does it for ever.
    pub(crate) fn run_deferred(&self, words: &Receiver<()>) {
        while words.recv().is_ok() {
            let end = Instant::now() + MOST;
            while Instant::now() < end && words.recv_timeout(QUIET).is_ok() {}
            self.catch_up();
        }
    }

    fn catch_up(&self) {
        let mut inner = self.lock();
        // Nobody waits for it: status tells of an error.
        let _ = inner.flush();
        let given_back = self.give_back_departed(&mut inner).unwrap_or_else(|refusal| {
            tracing::error!("{refusal}; the next reconciliation tries again");
            false
        });
        inner.clear_containers();
        if inner.still_on_lan().next().is_some() {
            self.search_soon();
        }
        if !std::mem::take(&mut inner.leftovers) && !given_back {
            return;
        }
        match inner.sweep(&[]) {
            Ok((observed, errors)) => {
                for error in &errors {
                    tracing::warn!("{error}; it is tried again every minute");
                }
                self.follow(&inner, &observed);
            }
            Err(refusal) => tracing::error!("{refusal}; the next reconciliation tries again"),
        }
    }

    /// Waits for the request that is under way, and writes what was put off. No other request begins after it.
    pub(crate) fn finish(&self) {
        let mut inner = self.lock();
        let _ = inner.flush();
        std::mem::forget(inner);
    }
}
