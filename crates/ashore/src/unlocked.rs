//! The proof that a thread does not hold the controller's lock.
//!
//! Nothing slow may happen under that lock, because every request that changes something waits for it. So
//! whatever may take long takes an [`Unlocked`]: to wait for the LAN, an engine, a router or a link, to sleep,
//! to read files, to enter the namespaces of other containers than those that a request is about. A thread has
//! one of these, and the lock borrows it for as long as it is held.

use std::marker::PhantomData;
use std::time::Duration;

/// The thread that has this does not hold the controller's lock.
#[derive(Debug)]
pub(crate) struct Unlocked(
    /// It stays with its thread.
    PhantomData<*const ()>,
);

/// Marks in a trace of system calls that the lock is taken, or is about to be released: by a call that does
/// nothing, in debug builds only. `tests/under_the_lock.rs` looks for what is in between.
pub(crate) fn mark(taken: bool) {
    #[cfg(debug_assertions)]
    {
        let mark = if taken { "ashore: the lock is taken" } else { "ashore: the lock is released" };
        let _ = std::fs::metadata(mark);
    }
    #[cfg(not(debug_assertions))]
    let _ = taken;
}

impl Unlocked {
    /// The proof of the calling thread. Called where a thread begins, or enters the controller, and nowhere else: with
    /// a second one, a thread could hold the lock and still wait.
    pub(crate) fn of_this_thread() -> Self {
        Unlocked(PhantomData)
    }

    /// Sleeps. Nothing under the lock does.
    #[expect(clippy::unused_self, reason = "it is the proof")]
    pub(crate) fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}
