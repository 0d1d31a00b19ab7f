//! What becomes of a panic.
//!
//! Each long-lived thread does something that no other does: one renews leases, one hears the LAN, one accepts clients. If it
//! panics, the process ends. The init system then starts the daemon anew, and a start changes nothing that is as it should be;
//! a daemon without one of its threads would go on to look healthy. A panic while one request is answered stays with that
//! request.

use std::any::Any;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll};
use std::thread::Builder;

use ashore_core::api::refusal::{Refusal, RefusalKind};

/// Starts a thread that ends with the process alone, and the process with it.
pub(crate) fn spawn_needed(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = move || {
        needed(run);
        end_process("has come to its end")
    };
    Builder::new().name(name.to_owned()).spawn(thread).map(drop)
}

/// Does what the daemon cannot do without.
pub(crate) fn needed<T>(run: impl FnOnce() -> T) -> T {
    let done = catch_unwind(AssertUnwindSafe(|| {
        fault(std::thread::current().name().unwrap_or_default());
        run()
    }));
    done.unwrap_or_else(|panic| end_process(&format!("panicked: {}", message(&*panic))))
}

/// Answers a request. What is shared is as good as after any request that failed: memory changes after the disk, and the next
/// reconciliation brings the kernel in line.
pub(crate) fn contained<T>(answer: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(answer)).map_err(|panic| Refusal {
        kind: RefusalKind::Internal,
        message: format!("the daemon met a fault of its own: {}", message(&*panic)),
        hint: Some("see what became of it with `ashore status`, and report it with the daemon's log".into()),
    })
}

/// The same of an answer that waits for others.
pub(crate) async fn contained_async<T>(answer: impl Future<Output = T>) -> Result<T, Refusal> {
    let mut answer = pin!(answer);
    let poll = |context: &mut Context<'_>| match contained(|| answer.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(refusal) => Poll::Ready(Err(refusal)),
    };
    poll_fn(poll).await
}

/// Without cleaning up: that might wait for the thread that has just failed.
fn end_process(why: &str) -> ! {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    tracing::error!("the thread `{name}` {why}; the daemon cannot go on without it, and ends");
    std::process::abort()
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

/// Where a test wants a panic: at the beginning of the thread, or over the first request, that `ASHORE_FAULT` names. In debug
/// builds alone.
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
