//! How the plugin asks the daemon.

use std::sync::Arc;

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;

/// The function that answers requests: the daemon's Controller.
pub(crate) type Handle = Arc<dyn Fn(Request) -> Reply + Send + Sync>;

/// Asks the Controller, which blocks on its lock, the kernel and the disk.
pub(super) async fn ask(handle: &Handle, request: Request) -> anyhow::Result<Reply> {
    let handle = handle.clone();
    Ok(tokio::task::spawn_blocking(move || handle(request)).await?)
}
