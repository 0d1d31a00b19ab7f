//! An engine that boots answers nobody, though whoever asks is connected: no call of its own may wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::api::Api;

/// It answers within milliseconds, or, while it boots, not at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether the engine is known to answer nobody. It is then asked one thing alone, and anything else again when it has
/// answered that.
#[derive(Default)]
pub(super) struct Silence(Arc<AtomicBool>);

impl Silence {
    /// What the engine answers to a question, if it does so at once.
    pub(super) async fn unless_it_lasts<T>(
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
                tracing::warn!("asking the engine: {error:#}");
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
            // Also an engine that has ended is not silent.
            let _ = api.ping().await;
            silent.store(false, Ordering::Relaxed);
        });
    }
}
