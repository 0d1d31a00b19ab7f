//! Deferred work, which no request waits for: records that the kernel would make up for, leases of containers
//! that are gone, links that an engine has given back, and what came to be wanted while a request was carried
//! out. It is done once there has been no request for a moment, so that one run serves a series of requests,
//! and a container that starts again finds its link.

use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use super::{Cause, Controller};
use crate::unlocked::Unlocked;

/// A series of requests is over when there was none for this long.
const QUIET: Duration = Duration::from_millis(50);
/// The deferred work does not wait longer than this.
const MOST: Duration = Duration::from_secs(1);

/// Wakes threads that have something to do now and then. They end only with the daemon.
pub(crate) struct Wakers {
    /// The thread that does the deferred work.
    pub(crate) deferred: Sender<()>,
    /// The thread that takes links off that engines have given up.
    pub(crate) leaving: Sender<()>,
    /// The thread that searches for namespaces.
    pub(crate) search: Sender<()>,
}

impl Controller {
    /// Schedules the deferred work.
    pub(super) fn schedule_deferred(&self) {
        let _ = self.wakers.deferred.send(());
    }

    /// Does the deferred work forever.
    pub(crate) fn run_deferred(&self, unlocked: &mut Unlocked, words: &Receiver<()>) {
        while words.recv().is_ok() {
            let end = Instant::now() + MOST;
            while Instant::now() < end && words.recv_timeout(QUIET).is_ok() {}
            self.catch_up(unlocked);
        }
    }

    fn catch_up(&self, unlocked: &mut Unlocked) {
        let mut inner = self.lock(unlocked);
        if inner.overtaken.take() {
            let unlocked = inner.release();
            self.reconcile(unlocked, Cause::Overtaken);
            inner = self.lock(unlocked);
        }
        // No request waits for this. The status shows an error.
        let _ = inner.flush();
        let given_back = self.give_back_departed(&mut inner).unwrap_or_else(|refusal| {
            tracing::error!("{refusal}; the next reconciliation tries again");
            false
        });
        inner.clear_containers();
        if inner.still_on_lan().next().is_some() {
            self.search_soon();
        }
        if !inner.leftovers.take() && !given_back {
            return;
        }
        let swept = inner.sweep(&[]).inspect(|(_, errors)| {
            for error in errors {
                tracing::warn!("{error}; it is tried again every minute");
            }
        });
        inner.leftovers.set(false);
        match swept {
            Ok((observed, _)) => self.remove_given_back(inner, &observed),
            Err(refusal) => tracing::error!("{refusal}; the next reconciliation tries again"),
        }
    }

    /// Waits for the request that is in progress, and writes the deferred changes. No other request begins
    /// after it.
    pub(crate) fn finish(&self, unlocked: &mut Unlocked) {
        let mut inner = self.lock(unlocked);
        let _ = inner.flush();
        std::mem::forget(inner);
    }
}
