//! Attach and detach of a namespace.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ashore_core::allocate::Known;
use ashore_core::attach::{AttachError, FromLan};
use ashore_core::desired::desired;
use ashore_core::endpoint::{Endpoint, Stage};
use ashore_core::lease::{Addressing, Leased};
use ashore_core::link::{Netns, Place, Tag, shim_name};
use ashore_core::network::Network;
use ashore_core::observed::{Observed, View};
use ashore_core::owner::Owners;
use ashore_core::plan::plan;
use ashore_core::request::{AttachSpec, EndpointReport, Refusal, RefusalKind, Reply};
use ashore_core::state::Change;
use ashore_core::step::Step;
use ashore_core::{EndpointName, IfName, NetworkName};
use ashore_kernel::{Namespace, OnError};
use ashore_wire::Mac;
use ashore_wire::conflict::Profile;

use super::leases::as_v4;
use super::{Engine, Inner, Locked, is_gone, netns_by_all_paths, now};
use crate::daemon::lan::Acquired;
use crate::daemon::refusal;

/// An endpoint that may be written down, and the lock under which it may.
struct Reserved<'a> {
    /// Dropped before the lease, whose thread is asked for other things under the lock.
    inner: Locked<'a>,
    observed: Observed,
    endpoint: Endpoint,
    lease: Option<Acquired<'a>>,
}

/// What became of taking an endpoint off the LAN.
struct TakenOff {
    observed: Observed,
    warnings: Vec<String>,
    /// The MAC by which it is still on the LAN.
    adrift: Option<Mac>,
}

/// How many links or MACs a warning names at most.
const SHOWN: usize = 4;

/// How far a lease is that an attach wants.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is given on whole")]
enum Asked<'a> {
    Not,
    Got(Acquired<'a>),
    InVain,
}

impl Engine {
    pub(super) fn attach(&self, spec: &AttachSpec) -> Result<Reply, Refusal> {
        let mut shim = None;
        let attached = self.attach_with(spec, &mut shim);
        if attached.is_err() {
            self.take_shim_back(&self.lock(), shim.as_ref());
        }
        attached
    }

    /// The attach itself. A shim that it had to make is noted by its parent.
    fn attach_with(&self, spec: &AttachSpec, shim: &mut Option<IfName>) -> Result<Reply, Refusal> {
        let namespace = Namespace::open(&spec.netns).map_err(|error| refusal::namespace(&error))?;
        let netns = namespace.identity();
        let mut inner = self.lock();
        inner.check_not_host(&namespace)?;
        if let Some(there) = inner.already_attached(spec, &netns)? {
            return Ok(Reply::Attached(self.report(&inner, &there)));
        }
        let Reserved { mut inner, observed, endpoint, lease } = self.reserve(inner, spec, &netns, shim)?;

        // From here on a crash is found at the next start: the endpoint is written down before the kernel is touched.
        inner.commit(vec![Change::PutEndpoint(endpoint.clone())])?;
        match inner.carry_out(&observed, std::slice::from_ref(&netns)) {
            Ok(observed) => {
                let made = observed.netns.get(&netns).and_then(|inside| inside.link(&spec.ifname));
                let seen = made.map(|link| endpoint.seen_as(link));
                let endpoint = Endpoint { seen, ..endpoint };
                let attached = inner.state().attached(&endpoint, now());
                inner.store.defer(attached);
                if let Some(lease) = lease {
                    lease.keep(endpoint.name.clone());
                }
                self.soon();
                self.follow(&inner, &observed);
                self.lan.announce(inner.state(), &endpoint);
                let endpoint = Endpoint { stage: Stage::Attached, ..endpoint };
                let warnings = inner.cut_by_firewall(inner.state().network_of(&endpoint));
                let report = self.report(&inner, &endpoint);
                Ok(Reply::Attached(EndpointReport { warnings, ..report }))
            }
            Err(refusal) => {
                // It never was on the LAN, so its name keeps nothing.
                let key = (endpoint.network.clone(), endpoint.name.clone());
                inner.take_back(&endpoint, Change::DelEndpoint(key));
                Err(refusal)
            }
        }
    }

    /// Chooses addresses that conflict detection has no objection to. It looks outside the lock, unless it has looked
    /// already, which is the common case: the next candidates are probed ahead.
    fn reserve<'a>(
        &'a self,
        mut inner: Locked<'a>,
        spec: &AttachSpec,
        netns: &Netns,
        shim: &mut Option<IfName>,
    ) -> Result<Reserved<'a>, Refusal> {
        let (mut asked, mut awaited) = (Asked::Not, false);
        loop {
            let observed = inner.observe(std::slice::from_ref(netns))?;
            let Some(inside) = observed.netns.get(netns) else {
                return Err(refusal::namespace_gone(&spec.netns));
            };
            let on_lan = self.lan.on_lan();
            let known = Known { host: &observed.host, on_lan: &on_lan, held: &inner.held };
            let leased = match &asked {
                Asked::Not => Leased::NotYet,
                Asked::Got(lease) => Leased::Got(lease.record()),
                Asked::InVain => Leased::Instead,
            };
            let network = inner.state().networks.get(&spec.network);
            let learned = network.and_then(|network| self.learn(&inner, network, &spec.name, &known));
            let from_lan = FromLan { leased, learned };
            let draft = inner.state().draft(spec, netns, inside, &known, from_lan, now());
            let endpoint = draft.map_err(|error| refusal::attach(&error))?;
            let network =
                inner.state().network_of(&endpoint).expect("a draft is made on a network of the state");
            let network = network.clone();
            if inner.brings_parent(&network, &observed)? || inner.makes_room(&endpoint, netns, &observed)? {
                continue;
            }
            if self.brings_shim(&inner, &network, &endpoint, &observed)? {
                *shim = Some(network.parent);
                continue;
            }
            // Without a router it goes on, and gets its IPv6 addresses when one speaks.
            if network.follows_routers() && !awaited {
                inner = self.await_router(inner, &network);
                awaited = true;
                continue;
            }
            if network.addressing == Addressing::Dhcp && matches!(asked, Asked::Not) {
                let wish = spec.ips.iter().copied().find_map(as_v4);
                let (again, acquired) = self.acquire(inner, &network, &endpoint, wish, &observed.host)?;
                (inner, asked) = (again, acquired.map_or(Asked::InVain, Asked::Got));
                continue;
            }
            let unclear = self.unclear(&network, endpoint.chosen_addresses());
            if unclear.is_empty() {
                let lease = match asked {
                    Asked::Got(lease) => Some(lease),
                    Asked::Not | Asked::InVain => None,
                };
                return Ok(Reserved { inner, observed, endpoint, lease });
            }
            inner = self.probe(inner, &network, &unclear)?;
        }
    }

    /// Makes the shim before the first address of a network is looked for: siblings on the parent, which Ashore need not
    /// have made, are heard by it alone. Once it is there it stays as long as the network. Tells whether it was made.
    pub(super) fn brings_shim(
        &self,
        inner: &Inner,
        network: &Network,
        endpoint: &Endpoint,
        observed: &Observed,
    ) -> Result<bool, Refusal> {
        let there = observed.host.tagged(&Tag::Shim(network.parent.clone())).is_some();
        let asks = network.conflict != Profile::Off || network.listens();
        if there || !network.wants_shim() || !asks {
            return Ok(false);
        }
        let coming = Endpoint { stage: Stage::Attaching, ..endpoint.clone() };
        let host = Observed { host: observed.host.clone(), ..Observed::default() };
        let state = inner.state().with(&[Change::PutEndpoint(coming)]);
        let steps = of_shim(plan(&desired(&state, &host), &host).steps, &shim_name(&network.parent));
        if steps.is_empty() {
            return Ok(false);
        }
        for step in &steps {
            tracing::info!(target: "ashore::step", "{step}");
        }
        if let Some(error) = inner.kernel.apply(&steps, OnError::Undo).errors.first() {
            return Err(refusal::step(error));
        }
        self.follow(inner, &inner.observe(&[])?);
        Ok(true)
    }

    /// Takes away a shim that was made for an endpoint that came to nothing.
    pub(super) fn take_shim_back(&self, inner: &Inner, made: Option<&IfName>) {
        let Some(parent) = made else { return };
        let on_parent = |endpoint: &Endpoint| {
            endpoint.stage == Stage::Attached
                && inner.state().network_of(endpoint).is_some_and(|network| network.parent == *parent)
        };
        if inner.state().endpoints.values().any(on_parent) {
            return;
        }
        let step = Step::DelLink { place: Place::Host, link: shim_name(parent) };
        tracing::info!(target: "ashore::step", "{step}");
        for error in inner.kernel.apply(&[step], OnError::GoOn).errors {
            tracing::warn!("{error}");
        }
        match inner.observe(&[]) {
            Ok(observed) => self.follow(inner, &observed),
            Err(refusal) => tracing::warn!("{refusal}"),
        }
    }

    /// The addresses that nobody has looked for on the LAN lately.
    pub(super) fn unclear(
        &self,
        network: &Network,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Vec<IpAddr> {
        if network.conflict == Profile::Off {
            return Vec::new();
        }
        let unclear = |ip: &IpAddr| !self.lan.is_clear(&network.parent, *ip, network.conflict);
        addresses.into_iter().filter(unclear).collect()
    }

    /// Looks for addresses on the LAN with the lock let go, while nobody else can take them.
    pub(super) fn probe<'a>(
        &'a self,
        mut inner: Locked<'a>,
        network: &Network,
        unclear: &[IpAddr],
    ) -> Result<Locked<'a>, Refusal> {
        // The parent may have come back a moment ago.
        self.lan.follow(inner.state(), &inner.observe(&[])?.host);
        inner.held.extend(unclear);
        drop(inner);
        let probed = self.lan.probe(&network.parent, unclear, network.conflict);
        let mut inner = self.lock();
        inner.held.retain(|ip| !unclear.contains(ip));
        probed.map_err(|deaf| refusal::deaf(unclear, &deaf, refusal::CONFLICT_OFF))?;
        Ok(inner)
    }

    pub(super) fn detach(&self, network: &NetworkName, name: &EndpointName) -> Result<Reply, Refusal> {
        let mut inner = self.lock();
        if !inner.state().networks.contains_key(network) {
            return Err(refusal::attach(&AttachError::NoNetwork(network.clone())));
        }
        let Some(endpoint) = inner.state().endpoints.get(&(network.clone(), name.clone())).cloned() else {
            return Ok(Reply::Done { warnings: Vec::new() });
        };
        if endpoint.netns().is_none() {
            let label = inner.state().network_of(&endpoint).map_or(network.as_str(), Network::label);
            return Err(Refusal {
                kind: RefusalKind::Taken,
                message: format!("`{name}` is a container of Docker's"),
                hint: Some(format!("docker network disconnect {label} {name}")),
            });
        }
        let claims = self.lan.conflicts_of(&endpoint);
        let TakenOff { observed, mut warnings, adrift } = inner.take_off_lan(&endpoint)?;
        let claims = inner.strange(&endpoint, &observed).into_iter().filter(|mac| claims.contains_key(mac));
        warnings.extend(claims.map(|mac| {
            format!("{mac}, which is on this host too, claimed its address: its container may have made it")
        }));
        self.soon();
        self.follow(&inner, &observed);
        match adrift {
            Some(mac) => Err(refusal::adrift(&endpoint, mac)),
            None => Ok(Reply::Done { warnings }),
        }
    }
}

impl Inner {
    /// Makes a VLAN that is missing, or waits for one that has just come, or says what is in its way: without it nobody can be
    /// looked for. Tells whether it is there now.
    pub(super) fn brings_parent(&self, network: &Network, observed: &Observed) -> Result<bool, Refusal> {
        let asked = network.conflict != Profile::Off || network.listens();
        let there = |host: &View| host.link(&network.parent).is_some() && network.is_passing(host);
        if !asked || there(&observed.host) {
            return Ok(false);
        }
        Ok(there(&self.make_parent(network, observed)?.host))
    }

    /// Makes what VLANs need, and waits until the LAN can be asked by what was made: what is sent earlier is lost in silence.
    pub(super) fn make_parent(&self, network: &Network, observed: &Observed) -> Result<Observed, Refusal> {
        /// The link watch looks at once at links whose other end is not themselves, and else once a second.
        const LINK_WATCH: Duration = Duration::from_secs(2);
        let mut now = self.carry_out(observed, &[])?;
        let end = Instant::now() + LINK_WATCH;
        while now.host.link(&network.parent).is_some()
            && !network.is_passing(&now.host)
            && Instant::now() < end
        {
            std::thread::sleep(Duration::from_millis(1));
            now = self.observe(&[])?;
        }
        Ok(now)
    }

    /// In the parents' own namespace the shim and its routes would be taken for what the endpoint left behind.
    pub(super) fn check_not_host(&self, namespace: &Namespace) -> Result<(), Refusal> {
        if *namespace == *self.kernel.host() {
            return Err(refusal::attach(&AttachError::HostNamespace(namespace.path().to_owned())));
        }
        Ok(())
    }

    /// Takes an endpoint off the LAN. The record that it is off can wait: until then it is known to be going. What fails
    /// stays written down as unfinished, for the next reconciliation, and so does what is still on the LAN.
    fn take_off_lan(&mut self, endpoint: &Endpoint) -> Result<TakenOff, Refusal> {
        let netns = netns_by_all_paths(self.state(), endpoint);
        let before = self.observe(&netns)?;
        let going = Endpoint { stage: Stage::Detaching, ..endpoint.clone() };
        self.commit(vec![Change::PutEndpoint(going.clone())])?;
        let was_there = Owners::of(self.state(), &before).link_of(&going, &before).is_some();
        let swept = self.sweep_seen(self.state(), before, &netns);
        self.note_unfinished(&swept);
        let (observed, errors) = swept?;
        let is_left = self.is_left(&going, &observed);
        let adrift = self.state().adrift(&going, &Owners::of(self.state(), &observed), &observed);
        let mut warnings: Vec<String> =
            errors.iter().map(|error| format!("{error}; it is tried again every minute")).collect();
        self.adrift.remove(&endpoint.key());
        if adrift.is_some() {
            self.adrift.insert(endpoint.key());
        } else if is_left && errors.is_empty() {
            warnings.push("its link is still in its container; it is tried again every minute".into());
        } else if errors.is_empty() {
            let reached = netns.iter().any(|netns| observed.netns.contains_key(netns));
            if reached && !was_there {
                warnings.push(self.not_found(endpoint, &observed));
            }
            warnings.extend(self.left_alone(&going, &observed));
            let detached = self.state().detached(endpoint, now());
            self.store.defer(detached);
        }
        Ok(TakenOff { observed, warnings, adrift })
    }

    /// Whether anything of an endpoint that is to go is still there, in its container or elsewhere.
    pub(super) fn is_left(&self, going: &Endpoint, observed: &Observed) -> bool {
        let owners = Owners::of(self.state(), observed);
        let adrift = || self.state().adrift(going, &owners, observed).is_some();
        owners.link_of(going, observed).is_some() || adrift()
    }

    /// That there was no link of an endpoint, and as what it may be on the LAN all the same.
    fn not_found(&self, endpoint: &Endpoint, observed: &Observed) -> String {
        let netns = endpoint.netns().map_or_else(String::new, |netns| netns.path.display().to_string());
        let nothing = format!("no link of `{}` was in {netns} any more", endpoint.name);
        let strange: Vec<String> =
            self.strange(endpoint, observed).iter().take(SHOWN).map(ToString::to_string).collect();
        match strange.as_slice() {
            [] => nothing,
            macs => format!(
                "{nothing}: if its container has moved it and changed its MAC, it is still on the LAN, as {}",
                macs.join(" or ")
            ),
        }
    }

    /// MACs of children of an endpoint's parent, as far as it was asked for them, that no link of the host and no endpoint has.
    fn strange(&self, endpoint: &Endpoint, observed: &Observed) -> Vec<Mac> {
        let Some(network) = self.state().network_of(endpoint) else { return Vec::new() };
        let of_host = observed.host.links.iter().filter_map(|link| link.mac);
        let known: BTreeSet<Mac> = of_host.chain(self.state().macs_on(&network.parent)).collect();
        let children = observed.children.get(&network.parent).into_iter().flatten();
        children.filter(|mac| !known.contains(mac)).copied().collect()
    }

    /// What else is on the LAN from the container of an endpoint that goes.
    fn left_alone(&self, going: &Endpoint, observed: &Observed) -> Vec<String> {
        let others = self.state().others_beside(going, observed);
        let named = others.iter().take(SHOWN).map(|link| {
            let mac = link.mac.map_or_else(String::new, |mac| format!(" ({mac})"));
            format!(
                "`{}`{mac} in its container is on the same LAN, was not made by Ashore, and stays",
                link.name
            )
        });
        named.collect()
    }

    /// Takes away what is left in a container of an endpoint that the state has lost. Tells whether there was anything.
    fn makes_room(&self, endpoint: &Endpoint, netns: &Netns, observed: &Observed) -> Result<bool, Refusal> {
        let steps = self.state().clearing(endpoint, netns, observed);
        for step in &steps {
            tracing::info!(target: "ashore::step", "{step}");
        }
        match self.kernel.apply(&steps, OnError::GoOn).errors.first() {
            Some(error) => Err(refusal::step(error)),
            None => Ok(!steps.is_empty()),
        }
    }

    /// After a failed attach: nothing of the endpoint stays in the kernel, and `record` is written down of it. What of this
    /// fails is seen to by the next reconciliation, which finds the endpoint `attaching`.
    pub(super) fn take_back(&mut self, endpoint: &Endpoint, record: Change) {
        let netns: Vec<Netns> = endpoint.netns().cloned().into_iter().collect();
        let going = Change::PutEndpoint(Endpoint { stage: Stage::Detaching, ..endpoint.clone() });
        let without = self.state().with(std::slice::from_ref(&going));
        let taken = self.sweep_to(&without, &netns).and_then(|(_, errors)| match errors.first() {
            None => self.commit(vec![record]),
            Some(error) => self.commit(vec![going]).and(Err(refusal::step(error))),
        });
        if let Err(refusal) = taken {
            tracing::error!("{refusal}; the next reconciliation tries again");
        }
    }

    /// The endpoint, if the very same attach was done before: a caller that lost the answer asks again. What is missing
    /// of it is mended first, since a namespace that was made anew may have been given the number of the old one.
    fn already_attached(&mut self, spec: &AttachSpec, netns: &Netns) -> Result<Option<Endpoint>, Refusal> {
        self.make_room(spec, netns)?;
        let key = (spec.network.clone(), spec.name.clone());
        let Some(there) = self.state().endpoints.get(&key).cloned() else { return Ok(None) };
        let same_wish =
            spec.ips.iter().all(|ip| there.holds(*ip)) && (spec.mac.is_none() || spec.mac == there.mac);
        let same_place = there.netns() == Some(netns) && *there.link().1 == spec.ifname;
        if !same_place || !same_wish || there.stage != Stage::Attached {
            return Ok(None);
        }
        let observed = self.observe(std::slice::from_ref(netns))?;
        self.carry_out(&observed, std::slice::from_ref(netns))?;
        Ok(Some(there))
    }

    /// Lets go of what is gone and in the way: the endpoint of that name, because its container was started anew, and
    /// those whose namespace had the number that this one has now.
    fn make_room(&mut self, spec: &AttachSpec, netns: &Netns) -> Result<(), Refusal> {
        let in_the_way = |endpoint: &&Endpoint| {
            let same_name = endpoint.network == spec.network && endpoint.name == spec.name;
            same_name || endpoint.netns() == Some(netns)
        };
        let endpoints = self.state().endpoints.values().filter(in_the_way);
        let gone: Vec<Endpoint> = endpoints.filter(|endpoint| is_gone(endpoint)).cloned().collect();
        for endpoint in &gone {
            self.take_off_lan(endpoint)?;
        }
        Ok(())
    }
}

/// The steps that make the shim itself, without the ways that lead by it.
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
