//! An engine that starts up accepts connections but answers no requests. No call of its own may wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::api::Api;

/// How long to wait. The engine answers within milliseconds, or, while it starts up, not at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether the engine is known not to answer. Then it only gets a ping, and other questions are asked again
/// once it has answered that.
#[derive(Default)]
pub(crate) struct Silence(Arc<AtomicBool>);

impl Silence {
    /// Returns the engine's answer to a question, or `None` if it does not answer at once.
    pub(crate) async fn unless_it_lasts<T>(
        &self,
        api: &Api,
        question: impl Future<Output = anyhow::Result<T>>,
    ) -> Option<T> {
        if self.0.load(Ordering::Relaxed) {
            return None;
        }
        match tokio::time::timeout(PATIENCE, question).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::warn!("asking the engine failed: {error:#}");
                None
            }
            Err(_) => {
                self.begin(api.clone());
                None
            }
        }
    }

    fn begin(&self, api: Api) {
        if self.0.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::info!("the engine does not answer yet, so containers' names are not known");
        let silent = self.0.clone();
        tokio::spawn(async move {
            // An engine that has ended is not silent either.
            let _ = api.ping().await;
            silent.store(false, Ordering::Relaxed);
        });
    }
}
