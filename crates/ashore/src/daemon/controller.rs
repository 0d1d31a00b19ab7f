//! The steps of a request: check, reserve, plan, write to disk, apply, observe again, record, reply.
//!
//! One lock holds the state and the kernel's sockets, because no other request may change what a request has
//! read. Nothing slow runs under the lock: conflict detection runs outside it, and its results are checked
//! again under it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ashore_core::api::refusal::Refusal;
use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::machine::Machine;
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::{Netns, Place};
use ashore_core::net::name::{EndpointKey, IfName};
use ashore_core::net::observed::Observed;
use ashore_core::net::step::Step;
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::{Blocked, Plan, plan};
use ashore_kernel::{Kernel, OnError, Outcome, StepError};
use ashore_store::Store;
use ashore_wire::Mac;

use super::follower::Follower;
use super::hosts::{Claims, Local};
use super::lan::Lan;
use super::machine::this_machine;
use super::refusal;
use crate::engines::turns::Lists;
use crate::trial::TrialFile;
use crate::unlocked::{self, Unlocked};

mod adopt;
mod announce;
mod attach;
mod attachments;
mod away;
mod bridge;
mod claims;
mod deferred;
mod demand;
mod detach;
mod doctor;
mod engine_calls;
mod engines;
mod firewall;
mod foreign_drivers;
mod forget;
mod given_back;
mod inventory;
mod lasting;
mod leases;
mod left_links;
mod lend;
mod lookalikes;
mod lost_namespaces;
mod machine;
mod map;
mod missing_links;
mod moved_links;
mod moved_networks;
mod namespaces;
mod network;
mod observe;
mod plans;
mod podman_networks;
mod pool;
mod publish;
mod read;
mod readdress;
mod reconcile;
mod requests;
mod reserve;
mod restarted;
mod returning;
mod routers;
mod set_up;
mod status;
mod troubles;
mod unknown_links;
mod users;
mod vlans;
mod wrong_identity;

pub(crate) use deferred::Wakers;
use doctor::Doctor;
use engines::Engines;
use foreign_drivers::Strangers;
use lasting::Lasting;
use leases::Departed;
use lost_namespaces::Lost;
use missing_links::Unlinked;
use namespaces::{all_netns, netns_by_all_paths, netns_of};
pub(crate) use podman_networks::Gone;
use publish::Publication;
use read::Copies;
pub(crate) use reconcile::Cause;
use returning::Returns;
use vlans::Vlans;
use wrong_identity::Attempts;

/// The owner of the state, the kernel sockets and conflict detection.
pub(crate) struct Controller {
    inner: Mutex<Inner>,
    /// What requests read that change nothing.
    copies: Copies,
    lasting: Lasting,
    lan: Lan,
    claims: Box<dyn Claims>,
    lists: Lists,
    /// The file of a NIC move that is on trial, if any.
    trial: TrialFile,
    /// How many moves of a NIC have begun.
    moves: AtomicU64,
    followers: Vec<Box<dyn Follower>>,
    wakers: Wakers,
    /// Whether users other than root can call.
    users: AtomicBool,
    doctor: Doctor,
    returns: Returns,
    machine: Machine,
}

/// The held lock. It borrows the thread's proof that the lock is not held.
struct Locked<'a> {
    guard: Guard<'a>,
    unlocked: &'a mut Unlocked,
}

/// What the lock gives access to. Containers' namespaces stay open while it is held, and when it is released,
/// what has changed is published.
struct Guard<'a> {
    inner: MutexGuard<'a, Inner>,
    /// Whether memory may have changed.
    changed: bool,
    /// Is dropped after the lock was released.
    after: AfterLock<'a>,
}

/// What is done after the lock was released.
struct AfterLock<'a>(&'a Controller);

/// What the lock protects.
struct Inner {
    store: Store,
    kernel: Kernel,
    /// What the followers of the state know.
    publication: Publication,
    memory: Memory,
}

/// Child links of parents by MAC: when the kernel was last asked whether they are up, and what it said.
type Children = BTreeMap<(IfName, Mac), (Instant, bool)>;

/// What the daemon knows besides the state, and loses when it ends. Requests that change nothing read a copy.
#[derive(Debug, Clone, Default)]
struct Memory {
    /// Whether the kernel may still have something that the state no longer asks for, or the next candidates
    /// have changed.
    leftovers: Cell<bool>,
    /// Whether something else was wanted when a plan was carried out than when it was made.
    overtaken: Cell<bool>,
    /// The host's links that are being deleted without the lock. They count as gone.
    removing: BTreeSet<IfName>,
    /// Addresses that an attach is probing outside the lock.
    held: BTreeSet<IpAddr>,
    /// Endpoints whose links were missing and were made again. The first link may be in another namespace,
    /// where its container has moved it.
    remade: BTreeSet<EndpointKey>,
    /// The last endpoint whose container was observed in turn.
    looked_into: Option<EndpointKey>,
    /// The steps that failed in the last reconciliation.
    failed: Vec<StepError>,
    /// What the last request left out, although it did the rest.
    left_out: RefCell<Vec<String>>,
    /// Whether a sweep has failed, in whole or in part, since the last reconciliation.
    unfinished: Cell<bool>,
    /// Why the last reconciliation did not finish.
    unreconciled: Option<Refusal>,
    /// Why the last write of the state failed.
    unwritten: Option<Refusal>,
    /// What is known of each container engine.
    engines: Engines,
    /// Pools that may turn out to belong to networks of other drivers.
    strangers: Strangers,
    /// How often the engine's containers were reconnected.
    attempts: Attempts,
    /// Endpoints that an engine has made leave their containers, as they were inside the container.
    left: Vec<Endpoint>,
    /// Whether the endpoints that an earlier daemon left complete are recorded as such.
    recovered: bool,
    /// Names that are gone and whose leases are to be released, and since when they are gone.
    departed: Departed,
    /// Endpoints whose namespaces are being searched for.
    lost: Lost,
    /// VLAN interfaces that Ashore shares with other users.
    vlans: Vlans,
    /// The interfaces that networks stand on, by name, with their indexes.
    parents_seen: BTreeMap<IfName, u32>,
    /// Engine endpoints whose links are gone together with their parents.
    unlinked: Unlinked,
    /// Containers that had a link with a tag when the daemon started.
    unowned: Vec<Netns>,
    /// Whether child links of parents are up, by MAC, and when the kernel last said so. All copies share it.
    children: Arc<Mutex<Children>>,
    /// The last MACs of those parents whose endpoints share the parent's MAC.
    shared_macs: BTreeMap<IfName, Mac>,
}

impl Controller {
    pub(crate) fn new(
        store: Store,
        kernel: Kernel,
        lan: Lan,
        lists: Lists,
        trial: TrialFile,
        followers: Vec<Box<dyn Follower>>,
        wakers: Wakers,
    ) -> Self {
        let (publication, memory) = (Publication::default(), Memory::default());
        let mut inner = Inner { store, kernel, publication, memory };
        // An engine may be in the middle of a start during which the last daemon was killed.
        for kind in EngineKind::ALL {
            inner.begin(kind);
        }
        let (copies, inner) = (Copies::of(&inner), Mutex::new(inner));
        let (lasting, moves) = (Lasting::default(), AtomicU64::new(0));
        let (claims, users, doctor) = (Box::new(Local), AtomicBool::new(false), Doctor::default());
        Controller {
            inner,
            copies,
            lasting,
            lan,
            claims,
            lists,
            trial,
            moves,
            followers,
            wakers,
            users,
            doctor,
            returns: Returns::default(),
            machine: this_machine(),
        }
    }

    /// Takes the lock, also after a panic: a thread that panicked under the lock has left the kernel and the
    /// disk as the next reconciliation finds them, and memory is changed only after the disk.
    fn lock<'a>(&'a self, unlocked: &'a mut Unlocked) -> Locked<'a> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        unlocked::mark(true);
        inner.kernel.stay();
        self.copies.is_taken();
        Locked { guard: Guard { inner, changed: false, after: AfterLock(self) }, unlocked }
    }
}

impl<'a> Locked<'a> {
    /// Releases the lock.
    fn release(self) -> &'a mut Unlocked {
        let Locked { guard, unlocked } = self;
        drop(guard);
        unlocked
    }
}

impl Deref for Locked<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.guard.inner
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        self.guard.changed = true;
        &mut self.guard.inner
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // After a panic, whoever has the lock next publishes.
        if !std::thread::panicking() {
            self.after.0.publish(&self.inner);
            self.after.0.copies.take_over(&self.inner, self.changed);
        }
        if self.inner.leftovers.get() || self.inner.overtaken.get() {
            self.after.0.schedule_deferred();
        }
        self.after.0.copies.is_released();
        self.inner.kernel.leave();
        unlocked::mark(false);
    }
}

impl Drop for AfterLock<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.followers.iter().for_each(|follower| follower.catch_up());
        }
    }
}

impl Deref for Inner {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}

impl DerefMut for Inner {
    fn deref_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }
}

impl Inner {
    fn state(&self) -> &State {
        self.store.state()
    }

    /// Writes changes to disk. A failure is shown in the status until a write succeeds.
    fn commit(&mut self, changes: Vec<Change>) -> Result<(), Refusal> {
        if changes.is_empty() {
            return Ok(());
        }
        let written = self.store.commit(changes).map_err(|error| refusal::state(&error));
        self.unwritten = written.as_ref().err().cloned();
        written
    }

    /// Makes changes that outlive the daemon, and not a power failure right after. They reach the disk with the
    /// next commit, or with the deferred work.
    fn record(&mut self, changes: Vec<Change>) -> Result<(), Refusal> {
        self.store.record(changes).map_err(|error| {
            let refusal = refusal::state(&error);
            self.memory.unwritten = Some(refusal.clone());
            refusal
        })
    }

    /// Writes the deferred changes. What cannot be written is tried again with the next change and in every
    /// reconciliation.
    fn flush(&mut self) -> Result<(), Refusal> {
        let failed = self.unwritten.is_some();
        let written = if failed { self.store.write_anew() } else { self.store.flush() };
        let written = written.map_err(|error| refusal::state(&error));
        if let Err(refusal) = &written {
            tracing::error!("{refusal}");
        }
        self.unwritten = written.as_ref().err().cloned();
        written
    }

    /// Plans the steps for what the state asks for and the kernel does not have.
    fn plan(&self, observed: &Observed) -> Plan {
        self.plan_for(self.state(), observed)
    }

    /// Plans the steps that lead to a state.
    fn plan_for(&self, wanted: &State, observed: &Observed) -> Plan {
        let mut plan = plan(&desired(wanted, observed), observed);
        self.spare_others(&mut plan, observed);
        plan
    }

    /// Brings the kernel to what the state asks for in the observed places. Does all steps or none.
    fn carry_out(&self, observed: &Observed, netns: &[Netns]) -> Result<Observed, Refusal> {
        let plan = self.unblocked_plan(observed)?;
        let outcome = self.kernel.apply(&plan.steps, OnError::Undo);
        self.carried_out(&plan, &outcome, observed, netns)
    }

    /// Like `carry_out`, but calls `may` before the containers' links come up. If `may` returns false, all
    /// steps are undone and the result is `None`.
    fn carry_out_if(
        &self,
        may: impl FnOnce() -> bool,
        observed: &Observed,
        netns: &[Netns],
    ) -> Result<Option<Observed>, Refusal> {
        let comes_up = |step: &Step| matches!(step, Step::SetUp { place: Place::Netns(_), up: true, .. });
        let plan = self.unblocked_plan(observed)?;
        let outcome = self.kernel.apply_if(&plan.steps, comes_up, may);
        outcome.map(|outcome| self.carried_out(&plan, &outcome, observed, netns)).transpose()
    }

    /// Plans the steps and logs them. Fails if a step is blocked. Blocked extras are left out instead.
    fn unblocked_plan(&self, observed: &Observed) -> Result<Plan, Refusal> {
        let mut plan = self.plan(observed);
        self.leave_given_back(&mut plan, self.state(), observed);
        let (extra, blocked): (Vec<&Blocked>, Vec<&Blocked>) =
            plan.blocked.iter().partition(|blocked| blocked.is_of_extra());
        if let Some(blocked) = blocked.first() {
            return Err(refusal::blocked(blocked));
        }
        self.leave_out(extra.iter().map(ToString::to_string));
        log_steps(&plan);
        Ok(plan)
    }

    /// Logs what is left out, and remembers it for the request's answer.
    fn leave_out(&self, what: impl Iterator<Item = String>) {
        self.left_out.replace(what.inspect(|what| tracing::warn!("{what}")).collect());
    }

    fn carried_out(
        &self,
        plan: &Plan,
        outcome: &Outcome,
        seen: &Observed,
        netns: &[Netns],
    ) -> Result<Observed, Refusal> {
        let before = self.left_out.take();
        self.leave_out(before.into_iter().chain(outcome.refused.iter().map(ToString::to_string)));
        match outcome.errors.first() {
            Some(error) => Err(refusal::step(error)),
            None => self.verify(plan, seen, netns),
        }
    }

    /// Observes again after a plan was carried out: nothing that it did may be left to do. What is wanted may have
    /// changed meanwhile, as when the host got another address, and is left to a reconciliation that comes soon.
    fn verify(&self, done: &Plan, before: &Observed, netns: &[Netns]) -> Result<Observed, Refusal> {
        let observed = match &before.about {
            Some(about) => self.observe_these_about(netns, about.clone())?,
            None => self.observe_these(netns)?,
        };
        let mut left = self.plan(&observed);
        self.leave_given_back(&mut left, self.state(), &observed);
        left.steps.retain(|step| !step.is_extra());
        let is_undone = |step: &&Step| done.steps.iter().any(|did| did.makes_the_same(step));
        if let Some(step) = left.steps.iter().find(is_undone) {
            return Err(refusal::not_as_planned(step));
        }
        for step in &left.steps {
            tracing::debug!(target: "ashore::step", "is wanted by now, and is left for later: {step}");
        }
        self.overtaken.set(self.overtaken.get() || !left.steps.is_empty());
        Ok(observed)
    }

    /// Brings the kernel in line with the state, and so removes what the state no longer asks for. Continues
    /// after an error, because leftovers are worse than a failed step. Returns all errors.
    fn sweep(&self, netns: &[Netns]) -> Result<(Observed, Vec<StepError>), Refusal> {
        self.sweep_to(self.state(), netns)
    }

    /// Like `sweep`, for a state that may not be on disk: nothing stays in the kernel because a disk is full.
    fn sweep_to(&self, wanted: &State, netns: &[Netns]) -> Result<(Observed, Vec<StepError>), Refusal> {
        let swept = self.try_sweep_to(wanted, netns);
        self.note_unfinished(&swept);
        swept
    }

    fn note_unfinished(&self, swept: &Result<(Observed, Vec<StepError>), Refusal>) {
        let is_whole = swept.as_ref().is_ok_and(|(_, errors)| errors.is_empty());
        self.unfinished.set(self.unfinished.get() || !is_whole);
    }

    fn try_sweep_to(&self, wanted: &State, netns: &[Netns]) -> Result<(Observed, Vec<StepError>), Refusal> {
        self.sweep_from(self.observe(netns)?, wanted, netns)
    }

    fn sweep_from(
        &self,
        observed: Observed,
        wanted: &State,
        netns: &[Netns],
    ) -> Result<(Observed, Vec<StepError>), Refusal> {
        let mut plan = self.plan_for(wanted, &observed);
        self.leave_given_back(&mut plan, wanted, &observed);
        if plan.steps.is_empty() {
            return Ok((observed, Vec::new()));
        }
        log_steps(&plan);
        let outcome = self.kernel.apply(&plan.steps, OnError::GoOn);
        let after = match observed.about {
            Some(about) => self.observe_about(netns, about)?,
            None => self.observe(netns)?,
        };
        Ok((after, outcome.errors))
    }
}

/// The addresses of an endpoint, and of those that may be in the same namespaces.
fn addresses_in<'a>(
    state: &'a State,
    netns: &'a [Netns],
    endpoint: Option<&'a Endpoint>,
) -> BTreeSet<IpAddr> {
    let here = netns.iter().flat_map(|netns| state.endpoints_in(netns)).chain(endpoint);
    here.flat_map(Endpoint::ever_assigned).collect()
}

fn log_steps(plan: &Plan) {
    for step in &plan.steps {
        tracing::info!(target: "ashore::step", "{step}");
    }
}
