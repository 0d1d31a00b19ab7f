//! How the daemon handles panics.
//!
//! Each long-lived thread has a task that no other thread does: one renews leases, one listens to the LAN,
//! one accepts clients. If one of them panics, the process ends. The init system then restarts the daemon,
//! and a start changes nothing that is as it should be. A daemon without one of its threads would still look
//! healthy. A panic during a request affects only that request.

use std::any::Any;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll};
use std::thread::Builder;

use ashore_core::api::refusal::{Code, Refusal};

/// Starts a thread that must run as long as the process. If it ends, the process ends.
pub(crate) fn spawn_needed(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = move || {
        needed(run);
        end_process("has ended")
    };
    Builder::new().name(name.to_owned()).spawn(thread).map(drop)
}

/// Runs a function that the daemon depends on. If it panics, the process ends.
pub(crate) fn needed<T>(run: impl FnOnce() -> T) -> T {
    let done = catch_unwind(AssertUnwindSafe(|| {
        fault(std::thread::current().name().unwrap_or_default());
        run()
    }));
    done.unwrap_or_else(|panic| end_process(&format!("panicked: {}", message(&*panic))))
}

/// Runs the handler of a request, and turns a panic into a refusal. The shared state is as good as after any
/// failed request: memory changes after the disk, and the next reconciliation corrects the kernel.
pub(crate) fn contained<T>(answer: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(answer)).map_err(|panic| {
        Refusal::of(
            Code::Internal,
            format!("internal error of the daemon: {}", message(&*panic)),
            "check the result with `ashore status`, and report it with the daemon's log",
        )
    })
}

/// Does the same for an asynchronous handler.
pub(crate) async fn contained_async<T>(answer: impl Future<Output = T>) -> Result<T, Refusal> {
    let mut answer = pin!(answer);
    let poll = |context: &mut Context<'_>| match contained(|| answer.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(refusal) => Poll::Ready(Err(refusal)),
    };
    poll_fn(poll).await
}

/// Ends the process without cleaning up, because clean-up might wait for the thread that has just failed.
fn end_process(why: &str) -> ! {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    tracing::error!("thread `{name}` {why}; the daemon cannot run without it, and ends");
    std::process::abort()
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

/// Panics where a test asks for it: the first time that `at` is the value of `ASHORE_FAULT`, which names a
/// thread or a request. Only in debug builds.
pub(crate) fn fault(at: &str) {
    #[cfg(debug_assertions)]
    {
        use std::sync::atomic::{AtomicBool, Ordering};
        static HAPPENED: AtomicBool = AtomicBool::new(false);
        let wanted = std::env::var("ASHORE_FAULT").is_ok_and(|wanted| wanted == at);
        assert!(!wanted || HAPPENED.swap(true, Ordering::SeqCst), "ASHORE_FAULT={at}");
    }
    #[cfg(not(debug_assertions))]
    let _ = at;
}
