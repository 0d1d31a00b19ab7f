//! The plugin's socket.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use ashore_core::network::Network;
use ashore_core::request::{Owner, Reply, Request, Reservation, Staged};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};

use super::follow::{Lists, follow};
use super::owner::Asked;
use super::{answer, call, error, owner, version};
use crate::daemon::socket::Socket;

/// More than any call has, in bytes.
const LONGEST: usize = 1024 * 1024;

/// What answers requests: the daemon's engine.
pub(crate) type Handle = Arc<dyn Fn(Request) -> Reply + Send + Sync>;

/// The socket, bound and not yet served.
pub(crate) struct Plugin {
    listener: std::os::unix::net::UnixListener,
    engine: Arc<Engine>,
}

/// Where the engine is.
pub(super) struct Engine {
    /// Its own socket.
    pub(super) socket: PathBuf,
    /// The root of its file system.
    root: PathBuf,
}

impl Plugin {
    /// On the socket by which the engine finds the plugin.
    pub(crate) fn on(plugin: Socket, socket: &Path, root: &Path) -> anyhow::Result<Self> {
        let listener = plugin.listener;
        listener.set_nonblocking(true)?;
        Ok(Plugin { listener, engine: Arc::new(Engine { socket: socket.to_owned(), root: root.to_owned() }) })
    }

    /// Answers for ever, on a thread of its own.
    pub(crate) fn serve(self, handle: Handle, lists: Lists) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("docker".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::spawn(follow(self.engine.clone(), handle.clone(), lists));
                    match UnixListener::from_std(self.listener) {
                        Ok(listener) => accept(&listener, &handle, &self.engine).await,
                        Err(error) => tracing::error!("the plugin's socket: {error}"),
                    }
                });
            })
            .context("a thread")?;
        Ok(())
    }
}

impl Engine {
    /// A path of the engine's as this process reaches it. Its keys begin with `/var/run`, a symbolic link to `/run`
    /// which would lead out of the engine's root.
    pub(super) fn path(&self, key: &Path) -> PathBuf {
        let inside =
            key.strip_prefix("/var/run").map_or_else(|_| key.to_owned(), |rest| Path::new("/run").join(rest));
        self.root.join(inside.strip_prefix("/").unwrap_or(&inside))
    }
}

async fn accept(listener: &UnixListener, handle: &Handle, engine: &Arc<Engine>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve_connection(stream, handle.clone(), engine.clone()));
            }
            // Out of descriptors for a moment.
            Err(error) => {
                tracing::error!("the plugin's socket: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: UnixStream, handle: Handle, engine: Arc<Engine>) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (handle, engine) = (handle.clone(), engine.clone());
        async move { Ok::<_, Infallible>(respond(request, handle, &engine).await) }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!("the engine went away: {error}");
    }
}

async fn respond(
    request: hyper::Request<Incoming>,
    handle: Handle,
    engine: &Engine,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let body = Limited::new(request.into_body(), LONGEST).collect().await;
    let result = match body {
        Ok(body) => answer_call(&path, &body.to_bytes(), handle, engine).await,
        Err(error) => Err(format!("the call does not read: {error}")),
    };
    let value = result.unwrap_or_else(|message| {
        tracing::warn!("{path}: {message}");
        error(&path, &message)
    });
    json(&value)
}

async fn answer_call(path: &str, body: &[u8], handle: Handle, engine: &Engine) -> Result<Value, String> {
    tracing::debug!("{path} {}", String::from_utf8_lossy(body));
    let mut call = call(path, body)?;
    if call.attachment.depends_on_engine()
        && let Some(version) = version::of_engine(&engine.socket).await
    {
        call.attachment.check(version)?;
    }
    let Some(mut stage) = call.stage.take() else { return answer(&call, None) };
    if let Staged::Reserve(wish) = &mut stage
        && !wish.gateway
    {
        wish.owner = find_owner(&handle, &engine.socket, wish).await;
    }
    if let Staged::Join { sandbox: Some(key), .. } = &mut stage {
        *key = engine.path(key);
    }
    let mut reply = ask(&handle, stage.clone()).await?;
    if let (Reply::OwnerWanted(network), Staged::Prepare(wish)) = (&reply, &mut stage) {
        let address = wish.addresses.first().map(IpNet::addr);
        let asked = Asked { v6: address.is_some_and(|ip| ip.is_ipv6()), ip: address };
        let unknown = Owner { network: network.id.clone(), network_name: None, name: None };
        wish.owner = Some(owner::find(&engine.socket, network, asked).await.unwrap_or(unknown));
        reply = ask(&handle, stage).await?;
    }
    answer(&call, Some(reply))
}

/// The daemon's engine blocks on its lock, the kernel and the disk.
async fn ask(handle: &Handle, stage: Staged) -> Result<Reply, String> {
    let handle = handle.clone();
    let reply = tokio::task::spawn_blocking(move || handle(Request::Staged(stage)));
    reply.await.map_err(|error| error.to_string())
}

/// Looks for the container that the engine is starting, on each network that the pool serves.
async fn find_owner(handle: &Handle, engine: &Path, wish: &Reservation) -> Option<Owner> {
    let Reply::Networks(networks) = handle(Request::ListNetworks) else { return None };
    let told = wish.owner.as_ref().and_then(|owner| owner.name.clone());
    let of_pool = |network: &&Network| network.subnets.iter().any(|subnet| wish.pool.is_of(subnet));
    let asked = Asked { v6: wish.pool.net.addr().is_ipv6(), ip: wish.ip };
    let mut found = None;
    for network in networks.iter().filter(of_pool).filter_map(|network| network.engine.as_ref()) {
        let Some(owner) = owner::find(engine, network, asked).await else { continue };
        let known = owner.name.is_some();
        found = Some(Owner { name: told.clone().or(owner.name), ..owner });
        if known {
            break;
        }
    }
    found.or_else(|| wish.owner.clone())
}

fn json(value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/vnd.docker.plugins.v1.1+json"),
    );
    response
}
