//! Requests that change nothing: they read a copy of what is known, with kernel sockets of their own. So they
//! answer while another request holds the lock, and no request waits for them.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ashore_core::api::about::About;
use ashore_core::api::refusal::Refusal;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::state::State;
use ashore_kernel::{Kernel, Namespace};
use ashore_store::Store;

use super::publish::Publication;
use super::{Controller, Inner, Memory};
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// How long a reader looks again because a request was changing what it looked at.
const PATIENCE: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(10);
/// How many requests read at the same time. Each has kernel sockets of its own. Further ones wait, so that
/// clients cannot use up the descriptors.
const READERS: usize = 4;

/// What readers read.
pub(super) struct Copies {
    /// What was so when the lock was last released.
    last: Mutex<(Store, Memory)>,
    turns: Turns,
    host: Namespace,
    kernels: Mutex<Kernels>,
    /// Signalled when a reader has ended.
    ended: Condvar,
}

/// How often the lock was taken and released: an odd number while it is held.
#[derive(Default)]
struct Turns(AtomicU64);

/// The readers' kernel sockets.
struct Kernels {
    /// One set that no reader uses is kept for the next one.
    idle: Option<Kernel>,
    /// How many readers there are.
    readers: usize,
}

impl Copies {
    pub(super) fn of(inner: &Inner) -> Self {
        // To open sockets takes a thread, which the system may refuse later.
        let idle = Kernel::of(inner.kernel.host()).ok();
        Copies {
            last: Mutex::new((inner.store.copy(), inner.memory.clone())),
            turns: Turns::default(),
            host: inner.kernel.host().clone(),
            kernels: Mutex::new(Kernels { idle, readers: 0 }),
            ended: Condvar::new(),
        }
    }

    fn last(&self) -> MutexGuard<'_, (Store, Memory)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespace that holds the parents.
    pub(super) fn host(&self) -> &Namespace {
        &self.host
    }

    /// The state as it was when the lock was last released.
    pub(super) fn state(&self) -> Arc<State> {
        self.last().0.snapshot()
    }

    /// The same as a store to be read.
    pub(super) fn store(&self) -> Store {
        self.last().0.copy()
    }

    /// Notes that the lock is taken.
    pub(super) fn is_taken(&self) {
        self.turns.begin();
    }

    /// Notes that the lock is released.
    pub(super) fn is_released(&self) {
        self.turns.end();
    }

    /// Takes over what is so as the lock is released. `changed` says whether memory may have changed.
    pub(super) fn take_over(&self, inner: &Inner, changed: bool) {
        let memory = changed.then(|| inner.memory.clone());
        let mut last = self.last();
        last.0 = inner.store.copy();
        if let Some(memory) = memory {
            last.1 = memory;
        }
    }

    fn kernels(&self) -> MutexGuard<'_, Kernels> {
        self.kernels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a copy to read, once there are few enough readers.
    pub(super) fn reader(&self, _: &Unlocked) -> Result<Reader<'_>, Refusal> {
        let mut kernels = self
            .ended
            .wait_while(self.kernels(), |kernels| kernels.readers >= READERS)
            .unwrap_or_else(PoisonError::into_inner);
        kernels.readers += 1;
        let idle = kernels.idle.take();
        drop(kernels);
        let mut reader = Reader { inner: None, since: 0, of: self };
        let kernel = match idle {
            Some(kernel) => kernel,
            None => Kernel::of(&self.host).map_err(|error| refusal::namespace(&error))?,
        };
        reader.since = self.turns.now();
        let (store, memory) = {
            let last = self.last();
            (last.0.copy(), last.1.clone())
        };
        reader.inner = Some(Inner { store, kernel, publication: Publication::default(), memory });
        Ok(reader)
    }
}

impl Turns {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// To be called under the lock. A panic may have kept the last turn from its end.
    fn begin(&self) {
        self.0.store((self.now() + 1) | 1, Ordering::SeqCst);
    }

    /// To be called under the lock.
    fn end(&self) {
        self.0.store(self.now() | 1, Ordering::SeqCst);
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A copy of what is known. Nothing in it can be changed.
pub(super) struct Reader<'a> {
    /// `None` only while the reader is made and dropped.
    inner: Option<Inner>,
    /// The turn of the lock at which it was copied.
    since: u64,
    of: &'a Copies,
}

impl Reader<'_> {
    /// How often the lock was taken and released before the copy was made.
    pub(super) fn turn(&self) -> u64 {
        self.since
    }
}

impl Deref for Reader<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        self.inner.as_ref().expect("it is there until the reader is dropped")
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut kernels = self.of.kernels();
        kernels.readers -= 1;
        // After a panic, a socket may be in the middle of an answer.
        if kernels.idle.is_none() && !std::thread::panicking() {
            kernels.idle = self.inner.take().map(|inner| inner.kernel);
        }
        drop(kernels);
        self.of.ended.notify_one();
    }
}

impl Controller {
    /// Answers from a copy of what is known, without the lock. Also returns whether the kernel and the copy
    /// belong together. They do not if a request was changing both. Then the answer is looked for again, at
    /// least once, but not for long: a request may take its time.
    pub(super) fn read<T>(
        &self,
        unlocked: &mut Unlocked,
        ask: impl Fn(&mut Unlocked, &Reader<'_>) -> Result<T, Refusal>,
    ) -> Result<(T, bool), Refusal> {
        let end = Instant::now() + PATIENCE;
        let mut again = false;
        loop {
            let reader = self.copies.reader(unlocked)?;
            let mut answer = ask(unlocked, &reader);
            if reader.look_at_vlans(unlocked) {
                answer = ask(unlocked, &reader);
            }
            let settled = reader.since.is_multiple_of(2) && self.copies.turns.now() == reader.since;
            if settled || (again && Instant::now() >= end) {
                return Ok((answer?, settled));
            }
            again = true;
            drop(reader);
            unlocked.sleep(AGAIN);
        }
    }
}

/// Says that requests are being carried out, and what follows for the answer.
pub(super) fn busy(so: &str) -> Trouble {
    let message = format!("requests are being carried out right now: {so}");
    Trouble::new(Code::Busy, About::default(), message, Some("try again in a moment".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_a_panic_has_cut_short_does_not_turn_the_others_around() {
        let turns = Turns::default();
        let mut seen = vec![turns.now()];
        let mut step = |is_free: bool, change: fn(&Turns)| {
            change(&turns);
            assert_eq!(turns.now().is_multiple_of(2), is_free);
            assert!(!seen.contains(&turns.now()), "a reader would not notice");
            seen.push(turns.now());
        };
        step(false, Turns::begin);
        step(true, Turns::end);
        step(false, Turns::begin);
        step(false, Turns::begin);
        step(true, Turns::end);
    }
}
