//! Attaches a namespace.

use std::time::{Duration, Instant};

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::{EndpointReport, Reply};
use ashore_core::api::trouble::Trouble;
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::lease::Addressing;
use ashore_core::model::network::Network;
use ashore_core::model::state::{Change, State};
use ashore_core::net::family::Family;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::link::{Netns, Place, Tag, shim_name};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Observed, View};
use ashore_core::net::step::Step;
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::plan;
use ashore_core::rules::attach::{AttachError, AttachSpec, FromLan};
use ashore_kernel::{Namespace, OnError};
use ashore_wire::conflict::Profile;

use super::leases::{Asked, as_v4};
use super::moved_links::check_beside_children_elsewhere;
use super::reserve::{Answers, Drafted, Ground, Obtained, Proposal, Proposed, Seeker, Taken};
use super::{Controller, Inner, Locked, addresses_in};
use crate::clock::now;
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// An attach, as one that seeks addresses.
struct Attaching<'c, 's> {
    spec: &'s AttachSpec,
    netns: &'s Netns,
    ground: &'s mut Ground,
    lease: &'s mut Asked<'c>,
    /// A router was waited for.
    awaited: bool,
}

impl Controller {
    pub(super) fn attach(&self, unlocked: &mut Unlocked, spec: &AttachSpec) -> Result<Reply, Refusal> {
        let network = |_: &State| Some(spec.network.clone());
        self.on_ground(unlocked, network, |unlocked, ground| self.attach_on(unlocked, spec, ground))
    }

    fn attach_on(
        &self,
        unlocked: &mut Unlocked,
        spec: &AttachSpec,
        ground: &mut Ground,
    ) -> Result<Reply, Refusal> {
        self.check_beside_others_children(unlocked, |state| state.networks.get(&spec.network))?;
        let namespace = opened(spec)?;
        // The thread of a lease is asked for other things under the lock. So the lock is released before the
        // lease is.
        let patience = spec.caller.as_ref().and_then(|caller| caller.patience);
        let patience = patience.map(|seconds| Duration::from_secs(seconds.into()));
        let (mut lease, mut answers) = (Asked::default(), Answers::within(patience));
        let mut inner = self.lock(unlocked);
        self.glance(&inner, spec);
        inner.check_not_host(&namespace)?;
        let netns = inner.kernel.identify(&namespace);
        let netns = netns.map_err(|error| refusal::unreadable(&spec.netns, &error.to_string()))?;
        let key = (spec.network.clone(), spec.name.clone());
        if inner.was_left_behind(&key, &netns)? {
            drop(inner);
            self.bring_in_reach(unlocked, &key, false)?;
            inner = self.lock(unlocked);
        }
        if let Some(there) = inner.already_attached(spec, &netns)? {
            return Ok(Reply::Attached(self.report(&inner, &there)));
        }
        let mut seeker = Attaching { spec, netns: &netns, ground, lease: &mut lease, awaited: false };
        loop {
            let reserved;
            (inner, reserved) = self.reserve(inner, &mut seeker, &mut answers)?;
            let Proposal { network, draft: Drafted { observed, endpoint }, .. } = &reserved;
            let keeps = || self.keeps(&reserved);
            let carried_out = inner.carry_out_if(keeps, observed, std::slice::from_ref(&netns));
            if let Ok(Some(observed)) = carried_out {
                answers.keep();
                let endpoint = endpoint.clone();
                let mut attached =
                    self.has_attached(&mut inner, &observed, &netns, (spec, endpoint), seeker.lease);
                drop(inner);
                attached.warnings.extend(
                    self.cut_by_firewall(unlocked, &self.firewall(), [network], &observed.host).warnings(),
                );
                return Ok(Reply::Attached(attached));
            }
            // The endpoint never was on the LAN, so its name remembers nothing.
            inner.take_back(endpoint, Change::DelEndpoint(endpoint.key()));
            answers.give_up();
            if let Err(refusal) = carried_out {
                drop(inner);
                return Err(self.name_lookalike(unlocked, refusal, &network.parent, endpoint.mac));
            }
            // Another machine has taken an address in the meantime, so other addresses are chosen.
            self.lost(&reserved, &mut answers);
        }
    }

    /// Begins to probe the addresses that will most likely be chosen, while the host and the container are
    /// observed.
    fn glance(&self, inner: &Inner, spec: &AttachSpec) {
        let Some(network) = inner.state().networks.get(&spec.network) else { return };
        for subnet in &network.subnets {
            self.lan.glance(&network.parent, &subnet.net, &spec.ips);
        }
    }

    /// Records an endpoint that is on the LAN now, and announces it.
    fn has_attached(
        &self,
        inner: &mut Inner,
        observed: &Observed,
        netns: &Netns,
        (spec, endpoint): (&AttachSpec, Endpoint),
        lease: &mut Asked<'_>,
    ) -> EndpointReport {
        let left_behind = inner.left_behind(&endpoint);
        let inside = observed.netns.get(netns);
        let seen = inside.and_then(|inside| Some(endpoint.seen_as(inside.link(endpoint.link().1)?, inside)));
        let endpoint = Endpoint { seen, ..endpoint };
        let attached = inner.state().attached(&endpoint, now());
        inner.store.defer(attached);
        if let Asked::Got(lease) = std::mem::take(lease) {
            lease.keep(endpoint.name.clone());
        }
        self.schedule_deferred();
        self.announce(inner, observed, inner.state(), &endpoint);
        let endpoint = Endpoint { stage: Stage::Attached, ..endpoint };
        let mut warnings = left_behind;
        warnings.append(&mut inner.left_out.take());
        let network = inner.state().network_of(&endpoint);
        let standing = network.map(|network| self.standing(inner, network, &observed.host));
        warnings.extend(standing.into_iter().flatten().map(|trouble| trouble.to_string()));
        let yielded = |network| spec.yielded_to(inner.state(), network, &endpoint, inside?);
        if let Some((there, network)) = network.and_then(|network| Some((yielded(network)?, network))) {
            let (name, network, there) = (&endpoint.name, network.label(), there.way());
            warnings.push(format!(
                "`{name}` gets no default route by network `{network}`: there is `{there}` in the container already"
            ));
            tracing::info!("{}", warnings.last().expect("it is the last"));
        }
        EndpointReport { warnings, ..self.report(inner, &endpoint) }
    }

    /// What the status says of a network's way to the LAN and to this host, as far as it is known without waiting: who
    /// starts a container does not look at the status.
    fn standing(&self, inner: &Inner, network: &Network, host: &View) -> Vec<Trouble> {
        let of_network = [
            network.trouble_of_parent(host),
            network.trouble_of_subnets(host),
            network.trouble_of_arp(host),
            network.trouble_of_reverse_path(host),
        ];
        of_network.into_iter().flatten().chain(self.dropped_macs(inner, network, host)).collect()
    }

    /// Makes a missing VLAN, or waits for one that has just come, or fails with what is in its way: without
    /// the VLAN no address can be probed. The lock is released while the parent is waited for. Returns whether
    /// it was, so that everything has to be observed again. `in_vain` keeps a request from waiting for ever.
    pub(super) fn brings_parent<'a>(
        &'a self,
        inner: Locked<'a>,
        network: &Network,
        observed: &Observed,
        in_vain: &mut bool,
    ) -> Result<(Locked<'a>, bool), Refusal> {
        let asked = network.conflict != Profile::Off || network.listens();
        if !asked || *in_vain || is_there(network, &observed.host) {
            return Ok((inner, false));
        }
        inner.carry_out(observed, &[])?;
        let unlocked = inner.release();
        *in_vain = !is_there(network, &self.await_parent(unlocked, network)?);
        Ok((self.lock(unlocked), true))
    }

    /// Waits until the LAN can be asked through the parent of a network, if the parent exists: frames that are
    /// sent earlier are lost silently. Returns the host as it is then.
    pub(super) fn await_parent(&self, unlocked: &mut Unlocked, network: &Network) -> Result<View, Refusal> {
        /// The kernel's link watch handles a link whose other end is not the link itself at once, and any
        /// other link once a second.
        const LINK_WATCH: Duration = Duration::from_secs(2);
        let reader = self.copies.reader(unlocked)?;
        let end = Instant::now() + LINK_WATCH;
        loop {
            let host = reader.observe(&[])?.host;
            let comes = host.link(&network.parent).is_some() && !network.is_passing(&host);
            if !comes || Instant::now() >= end {
                return Ok(host);
            }
            unlocked.sleep(Duration::from_millis(1));
        }
    }

    /// The first endpoint of an ipvlan network would switch other children of its parent to its mode. These
    /// may have come since the network was created. Reading all namespaces takes time, and runs without the
    /// lock.
    pub(super) fn check_beside_others_children(
        &self,
        unlocked: &mut Unlocked,
        of: impl FnOnce(&State) -> Option<&Network>,
    ) -> Result<(), Refusal> {
        let network = {
            let inner = self.lock(unlocked);
            let network = of(inner.state()).filter(|network| matches!(network.kind, LinkKind::Ipvlan(_)));
            let Some(network) = network.filter(|network| !inner.has_attached_on(&network.parent)) else {
                return Ok(());
            };
            network.clone()
        };
        check_beside_children_elsewhere(unlocked, self.copies.host(), &network)
    }
}

impl<'c> Seeker<'c> for Attaching<'c, '_> {
    type Draft = Drafted;

    fn propose(&mut self, on: &'c Controller, inner: &mut Inner, answers: &Answers<'_>) -> Proposed<Drafted> {
        let (spec, netns) = (self.spec, self.netns);
        let place = std::slice::from_ref(netns);
        let about = addresses_in(inner.state(), place, None);
        let observed = inner.observe_these_about(place, about)?;
        if !observed.netns.contains_key(netns) {
            return Err(refusal::namespace_gone(&spec.netns));
        }
        let leased = self.lease.outcome();
        Drafted::propose(on, inner, spec, observed, answers, |inner, observed, known| {
            let network = inner.state().networks.get(&spec.network);
            let learned = network.and_then(|network| on.learn(inner, network, &spec.name, known));
            let from_lan = FromLan { leased, learned };
            inner.state().draft(spec, netns, &observed.netns[netns], known, from_lan, now())
        })
    }

    fn obtain<'a>(
        &mut self,
        on: &'c Controller,
        inner: Locked<'a>,
        proposal: &Proposal<Drafted>,
        within: Duration,
    ) -> Obtained<'a>
    where
        'c: 'a,
    {
        let Proposal { network, draft, .. } = proposal;
        let Drafted { observed, endpoint } = draft;
        let (inner, brought) = on.brings(inner, network, draft, self.ground)?;
        if brought || inner.clears_left(endpoint, self.netns, observed)? {
            return Ok((inner, true));
        }
        // Without a router the attach goes on. The endpoint gets its IPv6 addresses when a router speaks.
        if network.follows_routers() && !self.awaited && !self.spec.unaddressed {
            self.awaited = true;
            return Ok((on.await_router(inner, network), true));
        }
        let leases = network.addressing == Addressing::Dhcp && !self.spec.unaddressed;
        if !leases || !matches!(self.lease, Asked::Not) {
            return Ok((inner, false));
        }
        let requested = self.spec.ips.iter().copied().find_map(as_v4);
        let (inner, lease) = on.acquire(inner, network, endpoint, requested, &observed.host, within)?;
        *self.lease = lease;
        Ok((inner, true))
    }

    /// Writes the endpoint to disk before the kernel is changed: from then on the next start finds a crash. The
    /// last look at the addresses goes on meanwhile.
    fn take(&mut self, _: &'c Controller, inner: &mut Inner, proposal: &Proposal<Drafted>) -> Taken {
        let endpoint = &proposal.draft.endpoint;
        inner.check_lease_is_free(&proposal.network, endpoint)?;
        inner.commit(vec![Change::PutEndpoint(endpoint.clone())])?;
        Ok(true)
    }
}

impl Inner {
    /// Whether an endpoint is on the LAN by a parent.
    fn has_attached_on(&self, parent: &IfName) -> bool {
        let is_on = |endpoint: &Endpoint| {
            endpoint.stage == Stage::Attached
                && self.state().network_of(endpoint).is_some_and(|network| network.parent == *parent)
        };
        self.state().endpoints.values().any(is_on)
    }

    /// Makes the shim before the first address of a network is probed: siblings on the parent, which may be
    /// links of other programs, are heard only by the shim. The shim then stays as long as the network.
    /// Returns whether it was made.
    pub(super) fn brings_shim(
        &self,
        network: &Network,
        endpoint: &Endpoint,
        observed: &Observed,
    ) -> Result<bool, Refusal> {
        let there = observed.host.tagged(&Tag::Shim(network.parent.clone())).is_some();
        let asks = network.conflict != Profile::Off || network.listens();
        if there || !network.uses_shim() || !asks {
            return Ok(false);
        }
        let coming = Endpoint { stage: Stage::Attaching, ..endpoint.clone() };
        let (host, about) = (observed.host.clone(), observed.about.clone());
        let host = Observed { host, about, ..Observed::default() };
        let state = self.state().with(&[Change::PutEndpoint(coming)]);
        let steps = of_shim(plan(&desired(&state, &host), &host).steps, &shim_name(&network.parent));
        if steps.is_empty() {
            return Ok(false);
        }
        for step in &steps {
            tracing::info!(target: "ashore::step", "{step}");
        }
        if let Some(error) = self.kernel.apply(&steps, OnError::Undo).errors.first() {
            return Err(refusal::step(error));
        }
        self.observe_host()?;
        Ok(true)
    }

    /// Removes a shim that was made for an endpoint whose attach failed.
    pub(super) fn take_shim_back(&self, made: Option<&IfName>) {
        let Some(parent) = made else { return };
        if self.has_attached_on(parent) {
            return;
        }
        let step = Step::DelLink { place: Place::Host, link: shim_name(parent) };
        tracing::info!(target: "ashore::step", "{step}");
        for error in self.kernel.apply(&[step], OnError::GoOn).errors {
            tracing::warn!("{error}");
        }
        if let Err(refusal) = self.observe_host() {
            tracing::warn!("{refusal}");
        }
    }

    /// Refuses the host's namespace: in the parents' own namespace the shim and its routes would be taken for
    /// leftovers of the endpoint.
    pub(super) fn check_not_host(&self, namespace: &Namespace) -> Result<(), Refusal> {
        if *namespace == *self.kernel.host() {
            return Err(refusal::attach(&AttachError::HostNamespace(namespace.path().to_owned())));
        }
        Ok(())
    }

    /// Returns the endpoint if the very same attach was done before: a caller that lost the answer asks
    /// again. What is missing is repaired first, since a namespace that was made again may have been given
    /// the number of the old one.
    fn already_attached(&mut self, spec: &AttachSpec, netns: &Netns) -> Result<Option<Endpoint>, Refusal> {
        self.make_room(spec, netns)?;
        let key = (spec.network.clone(), spec.name.clone());
        let Some(there) = self.state().endpoints.get(&key).cloned() else { return Ok(None) };
        if !spec.is_of_link(&there, netns) || !spec.is_met_by(&there) || there.stage != Stage::Attached {
            return Ok(None);
        }
        let observed = self.observe_these(std::slice::from_ref(netns))?;
        self.carry_out(&observed, std::slice::from_ref(netns))?;
        Ok(Some(there))
    }
}

/// Opens the namespace of an attach. An engine has opened it too, and the path may lead elsewhere by now: whoever owns a
/// part of it decides that.
pub(super) fn opened(spec: &AttachSpec) -> Result<Namespace, Refusal> {
    let namespace = Namespace::open(&spec.netns).map_err(|error| refusal::namespace(&error))?;
    let wanted = spec.caller.as_ref().and_then(|caller| caller.opened);
    if wanted.is_some_and(|wanted| wanted != namespace.file()) {
        return Err(refusal::namespace_gone(&spec.netns));
    }
    Ok(namespace)
}

/// Whether the LAN can be asked through the parent of a network.
fn is_there(network: &Network, host: &View) -> bool {
    host.link(&network.parent).is_some() && network.is_passing(host)
}

/// The steps that make the shim itself, without the routes that lead through it.
fn of_shim(mut steps: Vec<Step>, shim: &IfName) -> Vec<Step> {
    steps.retain(|step| match step {
        Step::AddLink { link, .. } => link.name == *shim,
        Step::SetAlias { link, .. }
        | Step::SetNoLinkLocal { link, .. }
        | Step::AddAddress { link, .. }
        | Step::SetUp { link, .. } => link == shim,
        Step::SetSysctl { sysctl, .. } => sysctl.link == *shim,
        _ => false,
    });
    steps
}

impl Inner {
    /// Reports a name that gets another address than it had because its network was created again with
    /// another range. Must be called before the name remembers the new address.
    pub(super) fn left_behind(&self, endpoint: &Endpoint) -> Vec<String> {
        let Some(network) = self.state().network_of(endpoint) else { return Vec::new() };
        let told = endpoint.chosen_addresses().filter(|ip| !endpoint.by_user.addresses.contains(ip)).filter_map(|ip| {
            let had = self.state().left_behind(network, &endpoint.name, Family::of(ip))?;
            let told = format!(
                "`{}` has {ip}: its former address {had} is outside the current range of network `{}`; to keep the former address, \
                 ask for it with --ip",
                endpoint.name,
                network.label()
            );
            (had != ip).then_some(told)
        });
        let told: Vec<String> = told.collect();
        for told in &told {
            tracing::warn!("{told}");
        }
        told
    }
}
