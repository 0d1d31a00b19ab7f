//! The way of a request through the daemon: check, reserve, plan, write down, apply, look again, record, reply.
//!
//! One lock holds the state and the kernel's sockets, because what one request reads the next must not change. Nothing
//! slow happens under it: conflict detection runs outside, and what it found is asked again inside.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::endpoint::{Endpoint, Placement};
use ashore_core::model::inventory::Inventory;
use ashore_core::model::pool::PoolKey;
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::{Netns, Place};
use ashore_core::net::name::{EndpointKey, EndpointName, IfName};
use ashore_core::net::observed::Observed;
use ashore_core::net::step::Step;
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::{Blocked, Plan, plan};
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_kernel::{Kernel, Namespace, OnError, Outcome, StepError};
use ashore_store::Store;
use ashore_wire::Mac;

use super::lan::Lan;
use super::refusal;
use super::resolv::Resolv;
use crate::clock::now;
use crate::front::docker::turns::Lists;
use crate::supervise;
use crate::trial::TrialFile;

mod adopt;
mod announce;
mod ask;
mod attach;
mod bridge;
mod claims;
mod deferred;
mod detach;
mod engine_calls;
mod firewall;
mod foreign_drivers;
mod forget;
mod inventory;
mod leases;
mod left_links;
mod lookalikes;
mod lost_namespaces;
mod missing_links;
mod moved_links;
mod moved_networks;
mod network;
mod plans;
mod pool;
mod reconcile;
mod restarted;
mod routers;
mod status;
mod unknown_links;
mod vlans;
mod wrong_identity;

pub(crate) use deferred::Wakers;
use foreign_drivers::Strangers;
use inventory::{Missing, Removed};
use leases::Departed;
use lost_namespaces::Lost;
use missing_links::Unlinked;
pub(crate) use reconcile::Cause;
use vlans::Vlans;
use wrong_identity::Attempts;

/// Owner of state, kernel and conflict detection.
pub(crate) struct Controller {
    inner: Mutex<Inner>,
    lan: Lan,
    lists: Lists,
    /// A NIC's move on trial, if there is one.
    trial: TrialFile,
    /// The files with endpoints' name servers.
    resolv: Resolv,
    wakers: Wakers,
}

/// The lock, held. Containers' namespaces stay open for as long.
struct Locked<'a>(MutexGuard<'a, Inner>);

/// What the lock holds.
struct Inner {
    store: Store,
    kernel: Kernel,
    /// Whether something that nobody asks for any more may still be in the kernel, or the next candidates have changed.
    leftovers: bool,
    /// Addresses that an attach is probing outside the lock.
    held: BTreeSet<IpAddr>,
    /// Addresses of endpoints that an engine has not spoken of since it started anew.
    unconfirmed: BTreeSet<IpAddr>,
    /// Endpoints whose links were missing and made anew: the first may be in another namespace, where its container has moved it.
    remade: BTreeSet<EndpointKey>,
    /// Endpoints, by the engine's ids, that an engine which ended may have been making, and that its successor has not shown.
    unknown_to_engine: BTreeSet<String>,
    /// Pools whose range was Ashore's choice, that an engine has not opened since it started anew. It then names the
    /// subnet alone.
    unconfirmed_pools: Vec<(PoolKey, IfName)>,
    /// The last endpoint that was looked into in its turn.
    looked_into: Option<EndpointKey>,
    /// The steps that failed when the kernel was last reconciled.
    failed: Vec<StepError>,
    /// What was not done of the last request, though the rest was.
    left_out: RefCell<Vec<String>>,
    /// Whether something could not be brought in line since.
    unfinished: Cell<bool>,
    /// Why the last reconciliation did not come to its end.
    unreconciled: Option<Refusal>,
    /// Why the state could not be written when that was last tried.
    unwritten: Option<Refusal>,
    /// What the container engine had when it was last asked.
    inventory: Option<Inventory>,
    /// What its lists lack.
    missing: Missing,
    /// Adopted networks that it has removed, and may make anew.
    removed: Vec<Removed>,
    /// What is asked for networks of other drivers.
    strangers: Strangers,
    /// How often its containers were connected anew.
    attempts: Attempts,
    /// Endpoints that an engine has had leave their containers, as they were in there.
    left: Vec<Endpoint>,
    /// Whether it is known what an earlier daemon has left whole.
    recovered: bool,
    /// Since when names are gone whose leases are to be given back.
    departed: Departed,
    /// Endpoints whose namespaces are looked for.
    lost: Lost,
    /// Interfaces of VLANs that others share.
    vlans: Vlans,
    /// The numbers of the interfaces that networks stand on.
    parents_seen: BTreeMap<IfName, u32>,
    /// Engines' endpoints whose links have gone with their parents.
    unlinked: Unlinked,
    /// Containers in which there was a link with a tag at the start.
    unowned: Vec<Netns>,
    /// Children of parents, by their MACs, and when the kernel last told for certain that they are up.
    children: RefCell<BTreeMap<(IfName, Mac), Instant>>,
    /// The MACs that parents were last seen with whose endpoints share them.
    shared_macs: BTreeMap<IfName, Mac>,
    /// Whom the next request on a network of an engine's is for, and until when that is to be expected.
    expected: BTreeMap<String, (EndpointName, Instant)>,
}

impl Controller {
    pub(crate) fn new(
        store: Store,
        kernel: Kernel,
        lan: Lan,
        lists: Lists,
        trial: TrialFile,
        resolv: Resolv,
        wakers: Wakers,
    ) -> Self {
        let mut inner = Inner {
            store,
            kernel,
            leftovers: false,
            held: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            remade: BTreeSet::new(),
            unknown_to_engine: BTreeSet::new(),
            unconfirmed_pools: Vec::new(),
            looked_into: None,
            failed: Vec::new(),
            left_out: RefCell::default(),
            unfinished: Cell::new(false),
            unreconciled: None,
            unwritten: None,
            inventory: None,
            missing: Missing::default(),
            removed: Vec::new(),
            strangers: Strangers::default(),
            attempts: Attempts::default(),
            left: Vec::new(),
            recovered: false,
            departed: Departed::default(),
            lost: Lost::default(),
            vlans: Vlans::default(),
            parents_seen: BTreeMap::new(),
            unlinked: Unlinked::default(),
            unowned: Vec::new(),
            children: RefCell::default(),
            shared_macs: BTreeMap::new(),
            expected: BTreeMap::new(),
        };
        // An engine may be in the middle of its start, in which the last daemon was killed.
        inner.begin();
        Controller { inner: Mutex::new(inner), lan, lists, trial, resolv, wakers }
    }

    /// Answers one request. This is the only way in.
    pub(crate) fn handle(&self, request: Request) -> Reply {
        let answer = supervise::contained(|| self.answer(request)).and_then(|answer| answer);
        // What was taken back may have left an interface for want of a look.
        if self.look_at_vlans() {
            self.reconcile(Cause::Search);
        }
        answer.unwrap_or_else(|refusal| {
            tracing::info!(kind = ?refusal.kind, "refused: {refusal}");
            Reply::Refused(refusal)
        })
    }

    fn answer(&self, mut request: Request) -> Result<Reply, Refusal> {
        #[cfg(debug_assertions)]
        {
            let _under_the_lock = self.lock();
            supervise::fault("request");
        }
        if let Some(name) = request.network_mut()
            && let Some(network) = self.lock().state().network_called(name)
        {
            *name = network.name.clone();
        }
        if !only_looks(&request) {
            self.finish_what_was_cut_short();
        }
        match request {
            Request::CreateNetwork(spec) => self.create_network(&spec),
            Request::RemoveNetwork { network } => self.remove_own_network(&network),
            Request::MoveNetwork { network, parent } => self.move_network(&network, &parent),
            Request::ListNetworks => {
                let inner = self.lock();
                let networks = inner.state().networks.values();
                Ok(Reply::Networks(networks.map(|network| inner.state().as_leased(network)).collect()))
            }
            Request::InspectNetwork { network } => self.inspect_network(&network),
            Request::Attach(spec) => self.attach(&spec),
            Request::Detach { network, name } => self.detach(&network, &name),
            Request::Adopt(spec) => self.adopt(&spec),
            Request::Unadopt { network } => self.unadopt(&network),
            Request::Forget { network, name } => self.forget(network.as_deref(), &name),
            Request::EngineCall(call) => self.engine_call(call),
            Request::TakeInventory(inventory) => self.take_inventory(inventory),
            Request::MoveNic(spec) => self.move_nic(&spec),
            Request::KeepMove => self.keep_move(),
            Request::Plan(change) => self.with_vlans_looked_at(|| self.plan(change.as_deref().cloned())),
            Request::CheckPool(question) => self.check_pool(&question),
            Request::Status => self.with_vlans_looked_at(|| self.status()),
            Request::ExportState => Ok(Reply::State(self.lock().store.export())),
            Request::ImportState(document) => self.import(document),
        }
    }

    /// A thread that panicked under the lock has left the kernel and the disk as the next reconciliation will find
    /// them; memory was only changed after the disk.
    fn lock(&self) -> Locked<'_> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.kernel.stay();
        Locked(inner)
    }

    /// Tells conflict detection what is ours now, and which addresses will be wanted next.
    fn follow(&self, inner: &Inner, observed: &Observed) {
        self.lan.follow(inner.state(), &observed.host);
        self.resolv.follow(inner.state());
        self.lan.look_ahead(self.next_candidates(inner, observed));
    }

    /// The addresses that the next attaches will get, for conflict detection to look at ahead: three of each subnet for
    /// new names, and those of the names that left last, leased ones included.
    fn next_candidates(&self, inner: &Inner, observed: &Observed) -> Vec<super::lan::Prefetch> {
        const AHEAD: usize = 3;
        const LEFT_LAST: usize = 8;
        /// A name that is new, or one of those that left last.
        const NEXT: [usize; 2] = [1, 2];
        /// A host's containers come back together, when it starts.
        const LEASED: usize = 32;
        let (state, none) = (inner.state(), BTreeMap::new());
        let mut ahead = Vec::new();
        for network in state.networks.values() {
            let hearsay = self.lan.hearsay(&network.parent);
            let known =
                AddressesInUse { host: &observed.host, heard: &hearsay, answered: &none, held: &inner.held };
            let mut say = |ips: Vec<IpAddr>, next: Vec<IpAddr>| {
                let (parent, profile) = (network.parent.clone(), network.conflict);
                ahead.push(super::lan::Prefetch { parent, profile, ips, next });
            };
            let names = state.left_last(network).take(LEFT_LAST).collect::<Vec<_>>();
            for subnet in network.handed_out() {
                let candidates = |name| state.candidates(network, subnet, name, &known);
                let new: Vec<IpAddr> = candidates(None).take(AHEAD).collect();
                let returning: Vec<IpAddr> =
                    names.iter().filter_map(|name| candidates(Some(*name)).next()).collect();
                let [of_new, of_returning] = NEXT;
                let next = new.iter().take(of_new).chain(returning.iter().take(of_returning));
                let next = next.copied().collect();
                say([new, returning].concat(), next);
            }
            say(state.still_leased(network, now()).take(LEASED).map(IpAddr::from).collect(), Vec::new());
            say(self.likely(state, network, names.into_iter()), Vec::new());
        }
        ahead
    }
}

impl Deref for Locked<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.0
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.kernel.leave();
    }
}

impl Inner {
    fn state(&self) -> &State {
        self.store.state()
    }

    /// Writes changes down. That it failed is shown until a write succeeds.
    fn commit(&mut self, changes: Vec<Change>) -> Result<(), Refusal> {
        if changes.is_empty() {
            return Ok(());
        }
        let written = self.store.commit(changes).map_err(|error| refusal::state(&error));
        self.unwritten = written.as_ref().err().cloned();
        written
    }

    /// Writes what was put off. What cannot be written is tried again with the next change, and at every reconciliation.
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

    /// Containers' namespaces that cannot be read are told of in what is observed, and left alone.
    fn observe(&self, netns: &[Netns]) -> Result<Observed, Refusal> {
        let mut observed = self.kernel.observe(netns).map_err(|error| refusal::kernel(&error))?;
        self.ask_parents(&mut observed);
        observed.unlinked = self.unlinked.lasting();
        Ok(observed)
    }

    /// The same for a request about these very namespaces: nothing is decided on one that cannot be read.
    fn observe_these(&self, netns: &[Netns]) -> Result<Observed, Refusal> {
        let mut observed = self.kernel.observe_closely(netns).map_err(|error| refusal::kernel(&error))?;
        self.ask_parents(&mut observed);
        observed.unlinked = self.unlinked.lasting();
        match observed.unreadable.first_key_value() {
            Some((netns, why)) => Err(refusal::unreadable(&netns.path, why)),
            None => Ok(observed),
        }
    }

    /// Parents tell whether links that are not in their containers are on the LAN all the same.
    fn ask_parents(&self, observed: &mut Observed) {
        if observed.netns.is_empty() {
            return;
        }
        for (parent, missing) in self.state().parents_to_ask(observed) {
            let Some(index) = observed.host.link(&parent).map(|link| link.index) else { continue };
            let children = self.kernel.taken_in(index).unwrap_or_else(|error| {
                tracing::warn!(%parent, "it cannot be asked for its children: {error}");
                // What is not known to have gone is still there.
                Some(self.state().macs_on(&parent).collect())
            });
            let Some(mut children) = children else { continue };
            children.retain(|mac| !missing.contains(mac) || self.is_child(&parent, *mac));
            observed.children.insert(parent, children);
        }
    }

    /// What the state asks for and the kernel does not have.
    fn plan(&self, observed: &Observed) -> Plan {
        self.plan_for(self.state(), observed)
    }

    /// What leads to a state.
    fn plan_for(&self, wanted: &State, observed: &Observed) -> Plan {
        let mut plan = plan(&desired(wanted, observed), observed);
        self.spare_others(&mut plan, observed);
        plan
    }

    /// Brings the kernel to what the state asks for, in the places that were observed: all of it, or nothing.
    fn carry_out(&self, observed: &Observed, netns: &[Netns]) -> Result<Observed, Refusal> {
        let plan = self.unblocked_plan(observed)?;
        self.carried_out(&plan, &self.kernel.apply(&plan.steps, OnError::Undo), netns)
    }

    /// The same, but `may` is asked before the containers' links come up. If the answer is no, all is taken back, and this is `None`.
    fn carry_out_if(
        &self,
        may: impl FnOnce() -> bool,
        observed: &Observed,
        netns: &[Netns],
    ) -> Result<Option<Observed>, Refusal> {
        let comes_up = |step: &Step| matches!(step, Step::SetUp { place: Place::Netns(_), up: true, .. });
        let plan = self.unblocked_plan(observed)?;
        let outcome = self.kernel.apply_if(&plan.steps, comes_up, may);
        outcome.map(|outcome| self.carried_out(&plan, &outcome, netns)).transpose()
    }

    /// What is to be done, on its way into the log.
    fn unblocked_plan(&self, observed: &Observed) -> Result<Plan, Refusal> {
        let plan = self.plan(observed);
        let (extra, blocked): (Vec<&Blocked>, Vec<&Blocked>) =
            plan.blocked.iter().partition(|blocked| blocked.is_of_extra());
        if let Some(blocked) = blocked.first() {
            return Err(refusal::blocked(blocked));
        }
        self.leave_out(extra.iter().map(ToString::to_string));
        log_steps(&plan);
        Ok(plan)
    }

    /// Keeps in mind what is not done.
    fn leave_out(&self, what: impl Iterator<Item = String>) {
        self.left_out.replace(what.inspect(|what| tracing::warn!("{what}")).collect());
    }

    fn carried_out(&self, plan: &Plan, outcome: &Outcome, netns: &[Netns]) -> Result<Observed, Refusal> {
        let before = self.left_out.take();
        self.leave_out(before.into_iter().chain(outcome.refused.iter().map(ToString::to_string)));
        match outcome.errors.first() {
            Some(error) => Err(refusal::step(error)),
            None => self.verify(plan, netns),
        }
    }

    /// The second witness: after a plan was carried out, looking again must leave nothing to plan. What an engine has
    /// given back to the host meanwhile, another container's link, is the next reconciliation's.
    fn verify(&self, done: &Plan, netns: &[Netns]) -> Result<Observed, Refusal> {
        let observed = self.observe_these(netns)?;
        let left = self.plan(&observed);
        let given_back = |step: &&Step| matches!(step, Step::DelLink { .. }) && !done.steps.contains(step);
        match left.steps.iter().find(|step| !given_back(step) && !step.is_extra()) {
            None => Ok(observed),
            Some(step) => Err(refusal::not_as_planned(step)),
        }
    }

    /// Takes away what the state does not ask for any more. Goes on after an error, because what is left over is worse
    /// than what failed; the errors come back.
    fn sweep(&self, netns: &[Netns]) -> Result<(Observed, Vec<StepError>), Refusal> {
        self.sweep_to(self.state(), netns)
    }

    /// The same for a state that may not be written down: nothing stays in the kernel because a disk is full.
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
        let plan = self.plan_for(wanted, &observed);
        if plan.steps.is_empty() {
            return Ok((observed, Vec::new()));
        }
        log_steps(&plan);
        let outcome = self.kernel.apply(&plan.steps, OnError::GoOn);
        Ok((self.observe(netns)?, outcome.errors))
    }
}

fn only_looks(request: &Request) -> bool {
    use Request::{CheckPool, ExportState, InspectNetwork, ListNetworks, Plan, Status};
    matches!(request, ListNetworks | InspectNetwork { .. } | Plan(_) | CheckPool(_) | Status | ExportState)
}

fn log_steps(plan: &Plan) {
    for step in &plan.steps {
        tracing::info!(target: "ashore::step", "{step}");
    }
}

/// The namespaces of all endpoints, by every path: one of several may lead nowhere.
fn all_netns(state: &State) -> Vec<Netns> {
    netns_of(state.endpoints.values()).collect()
}

/// The namespace that an endpoint was attached in, by every path that is known: its own may lead nowhere any more.
fn netns_by_all_paths(state: &State, endpoint: &Endpoint) -> Vec<Netns> {
    let here = |other: &&Endpoint| other.netns().is_some() && other.netns() == endpoint.netns();
    endpoint
        .netns()
        .into_iter()
        .chain(state.endpoints.values().filter(here).filter_map(Endpoint::netns))
        .cloned()
        .collect()
}

/// The namespaces of some endpoints. An engine's that cannot be opened is not among them; nothing follows from that.
fn netns_of<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> impl Iterator<Item = Netns> {
    let netns = |endpoint: &Endpoint| match &endpoint.placement {
        Placement::Netns { netns, .. } => Some(netns.clone()),
        Placement::Engine { sandbox, .. } => {
            Namespace::open(sandbox.as_ref()?).ok().map(|found| found.identity())
        }
    };
    endpoints.filter_map(netns)
}
