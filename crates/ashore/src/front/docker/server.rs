//! The plugin's socket.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use ashore_core::api::engine_call::{EngineCall, Owner, Reservation};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::network::{EngineNetwork, Network};
use ashore_core::net::family::Family;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::creations::Creations;
use super::reserved::{Process, Reserved};
use super::unanswered::{Note, Unanswered};
use super::{answer, call, error};
use crate::cli::DaemonArgs;
use crate::engines::docker::engine::Engine;
use crate::engines::docker::follow::follow;
use crate::engines::docker::labels::Images;
use crate::engines::docker::owner::{Asked, Found};
use crate::engines::docker::reconnect::Disconnected;
use crate::engines::docker::silence::Silence;
use crate::engines::docker::{owner, version};
use crate::engines::running::Running;
use crate::engines::turns::Lists;
use crate::handle::{Handle, ask};
use crate::sockets::{Access, ListenFds, Socket};
use crate::supervise::{contained_async, fault, spawn_needed};

/// The maximum length of a call in bytes: more than any call has.
const LONGEST: usize = 1024 * 1024;
/// How long to wait for a call's body. An engine writes it at once.
const READ: Duration = Duration::from_secs(10);
/// More calls than an engine has in progress at once. Further calls wait in the socket.
const MOST: usize = 512;

/// How long a lost call may be repeated. The engine retries a plugin for at most 30 s.
const REPEATS: Duration = Duration::from_secs(60);
/// The same for a socket that outlives the daemon, in which the repeated call waits until there is a daemon.
const REPEATS_AT_HANDED: Duration = Duration::from_secs(10 * 60);

/// The socket, bound but not served yet.
pub(crate) struct Plugin {
    socket: Socket,
    engine: Arc<Engine>,
    unanswered: Arc<Unanswered>,
}

/// What is needed to answer a call.
#[derive(Clone)]
struct Answering {
    handle: Handle,
    engine: Arc<Engine>,
    unanswered: Arc<Unanswered>,
    creations: Arc<Creations>,
    reserved: Arc<Reserved>,
}

/// What a call holds until it is answered: the permit to be read, and its note.
///
/// If the socket outlives the daemon, one call at a time is read. The others wait in the socket and reach the
/// next daemon complete. Of those that were read, at most one of a kind is interrupted.
struct Visit {
    turn: Mutex<Option<OwnedSemaphorePermit>>,
    note: Mutex<Option<Note>>,
}

impl Visit {
    /// After this time, the next call is read as well.
    const LONGEST: Duration = Duration::from_secs(2);

    fn next_please(&self) {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn keep(&self, note: Note) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(note);
    }
}

impl Plugin {
    /// Creates the plugin on the socket by which the engine finds it. The notes of calls are next to the
    /// control socket. What must survive a reboot is next to the state.
    pub(crate) fn of(args: &DaemonArgs, handed: &mut ListenFds) -> anyhow::Result<Self> {
        let socket = handed.socket(&args.docker_plugin, Access::Owner)?;
        socket.listener.set_nonblocking(true)?;
        let patience = if socket.handed { REPEATS_AT_HANDED } else { REPEATS };
        let unanswered = Arc::new(Unanswered::in_directory(args.run.join("calls"), patience));
        let driver = args.docker_plugin.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (socket_of_engine, root) = (args.docker_host.clone(), args.docker_root.clone());
        let disconnected = Disconnected::in_directory(args.state.join("disconnected"));
        let engine = Arc::new(Engine {
            socket: socket_of_engine,
            root,
            driver,
            silence: Silence::default(),
            images: Images::default(),
            version: Running::default(),
            disconnected,
        });
        Ok(Plugin { socket, engine, unanswered })
    }

    /// Answers calls for ever, on a thread of its own.
    pub(crate) fn serve(self, handle: Handle, lists: Lists) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Plugin { socket: Socket { listener, handed }, engine, unanswered } = self;
        let creations = Arc::new(Creations::new(unanswered.clone()));
        let serve = async move {
            tokio::spawn(go_on_following(engine.clone(), handle.clone(), lists));
            match UnixListener::from_std(listener) {
                Ok(listener) => {
                    let reserved = Arc::default();
                    let answering = Answering { handle, engine, unanswered, creations, reserved };
                    accept(&listener, handed, &answering).await;
                }
                Err(error) => tracing::error!("the plugin's socket: {error}"),
            }
        };
        spawn_needed("docker", move || runtime.block_on(serve)).context("a thread")
    }
}

/// Follows the engine for ever. A panic, such as over an unexpected list, does not end this, and containers
/// are served meanwhile.
async fn go_on_following(engine: Arc<Engine>, handle: Handle, lists: Lists) {
    loop {
        if let Err(fault) = contained_async(follow(engine.clone(), handle.clone(), lists.clone())).await {
            tracing::error!("following the engine: {fault}");
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

async fn accept(listener: &UnixListener, one_by_one: bool, answering: &Answering) {
    let turns = Arc::new(Semaphore::new(if one_by_one { 1 } else { MOST }));
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let turn = turns.clone().acquire_owned().await.expect("it is never closed");
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let visit = Visit { turn: Mutex::new(Some(turn)), note: Mutex::default() };
                let served = serve_connection(stream, Arc::new(visit), answering.clone());
                tokio::spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            // The process is out of descriptors for a moment.
            Err(error) => {
                tracing::error!("the plugin's socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers one call. The engine opens a new connection for the next call, so this connection ends with the
/// answer, and the call's note is removed with it.
async fn serve_connection(stream: UnixStream, visit: Arc<Visit>, answering: Answering) {
    let caller = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (visit, answering) = (visit.clone(), answering.clone());
        async move { Ok::<_, Infallible>(respond(request, caller, &visit, &answering).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(READ);
    let serving = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = tokio::time::sleep(Visit::LONGEST) => {
            visit.next_please();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("the engine went away: {error}");
    }
}

async fn respond(
    request: hyper::Request<Incoming>,
    caller: Option<i32>,
    visit: &Visit,
    answering: &Answering,
) -> Response<Full<Bytes>> {
    let (path, begun) = (request.uri().path().to_owned(), Instant::now());
    let body = tokio::time::timeout(READ, Limited::new(request.into_body(), LONGEST).collect()).await;
    let result = match body {
        Ok(Ok(body)) => {
            let body = body.to_bytes();
            let answer = answer_call(&path, &body, caller, visit, answering);
            contained_async(answer).await.unwrap_or_else(|fault| Err(fault.to_string()))
        }
        Ok(Err(error)) => Err(format!("cannot read the call: {error}")),
        Err(_) => Err(format!("the call was incomplete after {} s", READ.as_secs())),
    };
    answering.creations.take_in(path.trim_start_matches('/'), result.is_ok());
    let value = result.unwrap_or_else(|message| {
        tracing::warn!("{path}: {message}");
        error(&path, &message)
    });
    tracing::debug!(target: "ashore::call", micros = begun.elapsed().as_micros(), "{path} is answered");
    json(&value)
}

async fn answer_call(
    path: &str,
    body: &[u8],
    caller: Option<i32>,
    visit: &Visit,
    answering: &Answering,
) -> Result<Value, String> {
    tracing::debug!("{path} {}", String::from_utf8_lossy(body));
    fault("call");
    let Answering { handle, engine, unanswered, creations, reserved } = answering;
    let method = path.trim_start_matches('/');
    let read = call(path, body);
    let mut call = if read.is_err() && body.is_empty() {
        let lost = unanswered.repeated(method, caller)?;
        tracing::info!("{method} is repeated: its answer was lost");
        visit.keep(lost.note);
        let mut call = call(path, &lost.body)?;
        call.is_repeated(lost.began);
        call
    } else {
        read?
    };
    // A call that is valid without a body can be repeated without one.
    if !body.is_empty() && super::call(path, &[]).is_err() {
        visit.keep(unanswered.note(method, body, caller));
    }
    if call.attachment.depends_on_engine()
        && let Some(version) = version::of_engine(engine).await
    {
        call.attachment.check(version)?;
    }
    let Some(mut stage) = call.stage.take() else { return answer(&call, None) };
    let process = caller.and_then(Process::of);
    if matches!(stage, EngineCall::Begin(_)) {
        let (handle, of_the_ended) = (handle.clone(), reserved.clone());
        let given_back = tokio::task::spawn_blocking(move || give_back(&handle, &of_the_ended));
        given_back.await.map_err(|error| error.to_string())?;
        if !reserved.greets(process) {
            return answer(&call, None);
        }
    }
    // These calls may ask the LAN.
    if matches!(stage, EngineCall::Reserve(_) | EngineCall::OpenPool(_) | EngineCall::CreateNetwork(_)) {
        visit.next_please();
    }
    match &mut stage {
        EngineCall::OpenPool(requested) => requested.others = creations.is_others(engine).await,
        EngineCall::Reserve(requested) if !requested.gateway => {
            let (beside, foresee) =
                (handle.clone(), EngineCall::Foresee { pool: requested.pool, ip: requested.ip });
            tokio::task::spawn_blocking(move || beside(Request::EngineCall(foresee)));
            (requested.owner, requested.chosen) = find_owner(handle, engine, requested).await;
        }
        _ => {}
    }
    if let EngineCall::Join { sandbox: Some(key), .. } = &mut stage {
        *key = engine.path(key);
    }
    let asked = |stage| async {
        let reply = ask_for_caller(handle, reserved, stage, process).await;
        reply.map_err(|error| error.to_string())
    };
    let mut reply = asked(stage.clone()).await?;
    if let (Reply::OwnerWanted(network), EngineCall::Prepare(requested)) = (&reply, &mut stage) {
        let address = requested.addresses.first().map(IpNet::addr);
        let whom = Asked { v6: address.is_some_and(|ip| ip.is_ipv6()), ip: address, is_sure: true };
        let unknown = Owner { network: network.id.clone(), ..Owner::default() };
        requested.owner = Some(owner::find(engine, network, whom).await.map_or(unknown, |found| found.owner));
        reply = asked(stage.clone()).await?;
    }
    answer(&call, Some(reply))
}

/// Releases an address that an engine has requested and does not know of.
fn unheard(handle: &Handle, ip: IpAddr) {
    if let Reply::Refused(refusal) = handle(Request::EngineCall(EngineCall::Unheard { ip })) {
        tracing::warn!(%ip, "cannot release the address of an engine that has ended: {refusal}");
    }
}

/// Asks the Controller for a caller that may be gone before the reply. What such a caller has reserved, or
/// not released, is held for no container.
async fn ask_for_caller(
    handle: &Handle,
    reserved: &Arc<Reserved>,
    stage: EngineCall,
    process: Option<Process>,
) -> anyhow::Result<Reply> {
    let (to_caller, reply) = tokio::sync::oneshot::channel();
    let (handle, reserved) = (handle.clone(), reserved.clone());
    tokio::task::spawn_blocking(move || {
        let is_address = matches!(&stage, EngineCall::Reserve(requested) if !requested.gateway);
        let reply = handle(Request::EngineCall(stage.clone()));
        reserved.note(&stage, &reply, process);
        let returned = to_caller.send(reply).err();
        if let (true, Some(Reply::Address(net))) = (is_address, returned) {
            tracing::info!(ip = %net.addr(), "the engine was gone before it heard of its address");
            reserved.remove(net.addr());
            unheard(&handle, net.addr());
        }
        give_back(&handle, &reserved);
    });
    Ok(reply.await?)
}

/// Releases what engines that have ended had reserved.
fn give_back(handle: &Handle, reserved: &Reserved) {
    reserved.of_the_ended().into_iter().for_each(|ip| unheard(handle, ip));
}

/// Looks for the container that the engine is starting, on each network that the pool serves. If the engine
/// has named the container, this looks for it only if more than its name matters. If the engine was asked for
/// a list, also returns the addresses that users chose.
async fn find_owner(
    handle: &Handle,
    engine: &Engine,
    requested: &Reservation,
) -> (Option<Owner>, Vec<IpAddr>) {
    let networks = match ask(handle, Request::ListNetworks).await {
        Ok(Reply::Networks(networks)) => networks,
        _ => Vec::new(),
    };
    let of_pool: Vec<&Network> =
        networks.iter().filter(|network| requested.pool.find_in(network).is_some()).collect();
    let known: Vec<&EngineNetwork> = of_pool.iter().filter_map(|network| network.engine.as_ref()).collect();
    let net = requested.pool.net.addr();
    if let Some(told) = &requested.owner {
        // A DHCP server is asked with the container's MAC and told what its labels say, and a name is unique only on a
        // network.
        let asks = |network: &&Network| network.leases(Family::of(net)) || network.may_ask_dhcp6();
        let leases = of_pool.iter().any(asks);
        let owner = match known.as_slice() {
            [EngineNetwork { id, name: Some(label), .. }] if !leases => {
                Some(Owner { network: id.clone(), network_name: Some(label.clone()), ..told.clone() })
            }
            several => owner::called(engine, several, told).await.or_else(|| Some(told.clone())),
        };
        return (owner, Vec::new());
    }
    let is_sure = requested.ip.is_none() && of_pool.len() == 1;
    let asked = Asked { v6: net.is_ipv6(), ip: requested.ip, is_sure };
    let mut found = (None, Vec::new());
    for network in known {
        let Some(Found { owner, chosen }) = owner::find(engine, network, asked).await else { continue };
        let is_known = owner.name.is_some();
        found = (Some(owner), chosen);
        if is_known {
            break;
        }
    }
    found
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
