//! The daemon: one process that owns networks, addresses and state.
//!
//! At its start it checks its privileges, takes the lock on its network namespace, opens the state, brings
//! the kernel in line with it, and only then answers. Earlier callers wait on a socket that the init system
//! holds, if it holds one. When the daemon stops, or is killed, nothing on the LAN changes: links and routes
//! belong to the kernel.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::model::identity::Seed;
use ashore_core::net::remedy::Remedy;
use ashore_kernel::{
    Alarm, EndSignals, Kernel, LockError, NamespaceError, NamespaceLock, PacketSocket, Watch, asleep,
    wait_readable,
};
use ashore_store::{Store, StoreError};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{getegid, geteuid};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::DaemonArgs;
use crate::client::{self, Failure};
use crate::engines::turns::Lists;
use crate::files;
use crate::front::docker::server::Plugin;
use crate::out::Log;
use crate::sockets::{self, ListenFds};
use crate::supervise::spawn_needed;
use crate::trial::TrialFile;
use crate::unlocked::Unlocked;

mod chronicle;
mod clients;
mod control;
mod controller;
mod door;
mod follower;
mod guard;
mod host_checks;
mod hosts;
mod lan;
mod machine;
mod plug;
mod refusal;
mod resolv;
mod subids;
mod turns;
mod witness;

use chronicle::Chronicle;
use control::Control;
use controller::{Cause, Controller, Gone, Wakers};
use follower::Follower;
pub(crate) use guard::run as guard;
use lan::Lan;
use plug::Plug;
use resolv::Resolv;

/// Notifications of changes come in bursts. One burst is one reason to reconcile.
const SETTLE: Duration = Duration::from_millis(100);
/// A reconciliation holds the lock. Where it has many containers to enter, as those in which something happens all the
/// time, a change waits for this many times as long as the last one took, and requests come first: an attach is a
/// change too.
const PAUSE: u32 = 3;
/// No change waits longer, however many containers there are.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Runs until the daemon is asked to end, or killed. The two differ only in what is left of the control
/// socket.
pub(crate) fn run(args: &DaemonArgs) -> Result<(), Failure> {
    log();
    // A file without an explicit mode is accessible to the daemon alone, at every moment.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    // Each request has a thread of its own, but only one at a time does much work.
    ashore_kernel::share_memory();
    // Callers, leases that are being renewed and containers that are being read take one or two descriptors
    // each.
    if let Err(error) = ashore_kernel::raise_descriptor_limit() {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
    // Before there is a second thread, because that thread would not block these signals.
    let asked_to_end = EndSignals::hold().context("signals")?;
    check_run_directory(&args.run)?;
    let [control_path, read_path, plug_path] =
        [sockets::CONTROL, client::READ, sockets::PLUG].map(|name| args.run.join(name));
    let users_path = args.users_socket();
    let own = [&control_path, &read_path, &plug_path, &args.docker_plugin];
    let mut handed =
        ListenFds::take(&own.into_iter().chain(&users_path).map(PathBuf::as_path).collect::<Vec<_>>())?;
    let kernel = Kernel::here().map_err(|error| match error {
        NamespaceError::System { ref source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            Failure::Privilege("the daemon may not enter network namespaces: CAP_SYS_ADMIN is missing".into())
        }
        other => Failure::Internal(anyhow::Error::new(other).context("the kernel's network state")),
    })?;
    check_privilege(&kernel)?;
    let _lock = take_lock()?;
    let store = open_store(args)?;
    let unlocked = &mut Unlocked::of_this_thread();
    let host = kernel.host().clone();
    let lists = Lists::default();
    let chronicle = Chronicle::of(&args.state, store.snapshot());
    let lan = Lan::start(host.clone(), lists.clone(), chronicle.clone()).context("listening to the LAN")?;
    let watch = Watch::of(&host).context("watching links and addresses")?;
    let trial = TrialFile::of(&args.run);
    // Whoever tells the chronicle of an address knows no later state than the chronicle.
    let followers: Vec<Box<dyn Follower>> =
        vec![Box::new(chronicle.clone()), Box::new(lan.clone()), Box::new(Resolv::of(&args.run))];
    let (deferred, words) = std::sync::mpsc::channel();
    let (search, lost) = std::sync::mpsc::channel();
    let (torn_down, ends) = std::sync::mpsc::channel();
    let wakers = Wakers { deferred, leaving: torn_down, search };
    let controller = Arc::new(Controller::new(store, kernel, lan, lists.clone(), trial, followers, wakers));
    controller.note_machine(unlocked);
    controller.resume_trial(unlocked);
    let (tell, leases) = std::sync::mpsc::channel();
    controller.hear_of_leases(tell);
    controller.recover(unlocked);
    let (tell, routers) = std::sync::mpsc::channel();
    controller.reconcile(unlocked, Cause::Start);
    controller.hear_of_routers(tell);
    let reading = Control::for_reading(read_path, &control_path, &mut handed)?;
    let control = Control::at(control_path, &mut handed)?;
    let plugs = Plug::all(plug_path, users_path, args.users_socket.is_some(), &mut handed, &controller)?;
    let plugin = Plugin::of(args, &mut handed)?;
    let docker = controller.clone();
    controller.has_plugin_at(args.docker_plugin.clone());
    plugin.serve(Arc::new(move |request| docker.handle(request)), lists)?;

    let leasing = controller.clone();
    spawn_needed("leases", move || leasing.follow_leases(&mut Unlocked::of_this_thread(), &leases))
        .context("a thread")?;
    let following = controller.clone();
    spawn_needed("routers", move || following.follow_routers(&mut Unlocked::of_this_thread(), &routers))
        .context("a thread")?;
    let (tell, claims) = std::sync::mpsc::channel();
    controller.hear_of_claims(tell);
    let looking = controller.clone();
    spawn_needed("claims", move || looking.look_into_claims(&mut Unlocked::of_this_thread(), &claims))
        .context("a thread")?;
    let deferring = controller.clone();
    spawn_needed("deferred", move || deferring.run_deferred(&mut Unlocked::of_this_thread(), &words))
        .context("a thread")?;
    let ending = controller.clone();
    spawn_needed("leaving", move || ending.end_leaving(&mut Unlocked::of_this_thread(), &ends))
        .context("a thread")?;
    let searching = controller.clone();
    spawn_needed("search", move || searching.search(&mut Unlocked::of_this_thread(), &lost))
        .context("a thread")?;
    let keeping = controller.clone();
    spawn_needed("chronicle", move || keeping.keep_chronicle(&mut Unlocked::of_this_thread()))
        .context("a thread")?;
    let (watcher, period) = (controller.clone(), Duration::from_secs(args.reconcile));
    let podmans = args.podman_networks.clone();
    spawn_needed("watch", move || follow_changes(&watcher, &watch, period, &podmans)).context("a thread")?;
    // Without systemd there is nothing to notify. This is not an error.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), run = %args.run.display(), "ready");
    control.serve(&controller).context("the control socket")?;
    for plug in &plugs {
        plug.serve(&controller).context("a socket of ashore-plug")?;
    }
    reading.serve(&controller).context("the read socket")?;
    asked_to_end.wait().context("signals")?;
    controller.finish(unlocked);
    chronicle.close(unlocked);
    tracing::info!("asked to end");
    Ok(())
}

/// Opens the state.
fn open_store(args: &DaemonArgs) -> Result<Store, Failure> {
    let backlog =
        files::backlog(&args.run).with_context(|| format!("the backlog in {}", args.run.display()))?;
    let store = Store::open_with(&args.state, seed()?, backlog).map_err(unreadable)?;
    if let Some(kept) = store.kept() {
        tracing::info!(
            "the state was brought up to date for this version; that of before is kept in {}",
            kept.display()
        );
    }
    Ok(store)
}

/// Takes the lock on this network namespace, which a daemon holds as long as it runs.
pub(crate) fn take_lock() -> Result<NamespaceLock, Failure> {
    NamespaceLock::take().map_err(|error| match error {
        LockError::Held(_) => {
            Failure::Refused(Refusal::of(Code::OtherDaemon, error.to_string(), "stop that one first"))
        }
        LockError::Permission => Failure::Privilege(error.to_string()),
        LockError::System(_) => Failure::Internal(error.into()),
    })
}

/// The failure of a state that cannot be opened.
pub(crate) fn unreadable(error: StoreError) -> Failure {
    match error {
        StoreError::Directory { ref source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Failure::Privilege(error.to_string())
        }
        StoreError::Directory { .. } => Failure::Internal(error.into()),
        _ => Failure::Refused(Refusal::new(
            Code::StateUnreadable,
            About::default(),
            error.to_string(),
            error.hint().map(Remedy::from),
        )),
    }
}

/// Reconciles when something has changed, and every period in case a notification was lost.
fn follow_changes(controller: &Controller, watch: &Watch, period: Duration, podmans: &Path) {
    let unlocked = &mut Unlocked::of_this_thread();
    let (mut soon, mut gone, mut looked) = (false, Gone::default(), Instant::now());
    let mut took = Duration::ZERO;
    let (alarm, mut sleep) = (Alarm::new(), Sleep::of(asleep()));
    if let Err(error) = &alarm {
        tracing::warn!("after a sleep of this host everything is looked at late: {error}");
    }
    controller.bring_back_in_time(unlocked);
    loop {
        let wait = if soon { SETTLE } else { period };
        let alarm = alarm.as_ref().ok().filter(|alarm| alarm.set(wait).is_ok());
        let both: Vec<BorrowedFd<'_>> =
            std::iter::once(watch.as_fd()).chain(alarm.map(AsFd::as_fd)).collect();
        let heard = wait_readable(&both, Some(wait)).is_ok_and(|ready| ready[0]);
        let slept = sleep.has_slept(asleep());
        if heard {
            unlocked.sleep(SETTLE.max(took * PAUSE).min(LONGEST_PAUSE));
            if let Err(error) = watch.take() {
                tracing::error!("watching links and addresses: {error}");
            }
        }
        if let Some(slept) = slept {
            tracing::info!(seconds = slept.as_secs(), "this host was asleep; everything is looked at again");
            controller.wakes();
        }
        if slept.is_some() || !heard && !soon {
            controller.look_at_leases();
            controller.look_at_routers();
        }
        if slept.is_some() || looked.elapsed() >= period {
            controller.look_at_podmans_networks(unlocked, podmans, &mut gone);
            // Not after every change: an attach that fails makes some itself.
            controller.bring_back_in_time(unlocked);
            looked = Instant::now();
        }
        let began = Instant::now();
        let why = match slept {
            Some(_) => Cause::Woken,
            None if heard => Cause::Change,
            None => Cause::Time,
        };
        soon = controller.reconcile(unlocked, why);
        took = if controller.has_many_containers() { began.elapsed() } else { Duration::ZERO };
    }
}

/// Notices that this host was asleep.
struct Sleep(Duration);

impl Sleep {
    fn of(asleep: Duration) -> Self {
        Sleep(asleep)
    }

    /// How long it has slept since the last call, if it has. `asleep` is how long it has slept since it was started.
    fn has_slept(&mut self, asleep: Duration) -> Option<Duration> {
        /// Both clocks are not read at the same moment.
        const LEAST: Duration = Duration::from_secs(1);
        let slept = asleep.saturating_sub(std::mem::replace(&mut self.0, asleep));
        (slept >= LEAST).then_some(slept)
    }
}

/// Refuses a run directory that other users may write. The daemon trusts its files: a NIC move that is to be
/// undone, and calls that were not answered.
fn check_run_directory(run: &Path) -> Result<(), Failure> {
    let Ok(there) = std::fs::metadata(run) else { return Ok(()) };
    let by_every_user = there.mode() & 0o002 != 0;
    let by_a_group = there.mode() & 0o020 != 0 && ![0, getegid().as_raw()].contains(&there.gid());
    let others = match [0, geteuid().as_raw()].contains(&there.uid()) {
        _ if by_every_user => "every user".to_owned(),
        false => format!("user {}", there.uid()),
        true if by_a_group => format!("the group {}", there.gid()),
        true => return Ok(()),
    };
    Err(Failure::Refused(Refusal::of(
        Code::PlaceUnfit,
        format!("the run directory {} is writable by {others}", run.display()),
        "choose one with --run that only root may write; the daemon creates it if it is missing",
    )))
}

/// Checks the daemon's capabilities. A daemon that may change nothing must say so at its start, not at the
/// first attach.
fn check_privilege(kernel: &Kernel) -> Result<(), Failure> {
    let missing = if !kernel.may_administer() {
        "the daemon may not change this network namespace: CAP_NET_ADMIN is missing"
    } else if !PacketSocket::may_open(kernel.host()) {
        "the daemon may not look for addresses on the LAN: CAP_NET_RAW is missing"
    } else {
        return Ok(());
    };
    Err(Failure::Privilege(missing.into()))
}

/// A seed that no other host has.
fn seed() -> anyhow::Result<Seed> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    Ok(Seed(bytes))
}

/// A number that another daemon, or this one a moment ago, is very unlikely to have drawn. It is not for
/// security.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

fn log() {
    let said = std::env::var("ASHORE_LOG").ok().filter(|said| !said.trim().is_empty());
    let said = said.and_then(|said| said.parse().ok());
    // An `EnvFilter` would bring a whole engine of regular expressions.
    let filter = said.unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Log(std::io::stderr()))
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(filter).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_noticed_once_and_clocks_that_differ_are_none() {
        let seconds = Duration::from_secs;
        let mut sleep = Sleep::of(seconds(100));
        assert_eq!(sleep.has_slept(seconds(100) + Duration::from_millis(3)), None);
        assert_eq!(sleep.has_slept(seconds(100)), None);
        assert_eq!(sleep.has_slept(seconds(400)), Some(seconds(300)));
        assert_eq!(sleep.has_slept(seconds(400)), None);
    }
}
