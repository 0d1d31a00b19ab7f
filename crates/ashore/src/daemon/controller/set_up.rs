//! An engine has Ashore attach its container to a network, and says later that the container is off it. The engine
//! sends the network with each call, so a network that is missing is made.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::TearDown;
use ashore_core::model::endpoint::{Container, Endpoint};
use ashore_core::model::lease::LeaseTimeout;
use ashore_core::model::network::{EngineNetwork, Network};
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::state::Change;
use ashore_core::net::link::Netns;
use ashore_core::net::name::{EndpointKey, NetworkName};
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::attach::{AttachError, AttachSpec, Caller, FromLan};
use ashore_core::rules::create::NetworkSpec;
use ashore_core::rules::leases::LeaseOutcome;
use ashore_kernel::Holders;

use super::attach::opened;
use super::engine_calls::done;
use super::{Controller, Inner, Locked};
use crate::clock::now;
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// How long the link of a container stays that its engine has taken off. An engine that reloads its networks takes
/// a container off them and sets it up again at once: its address, MAC and open connections last.
const LEAVES_AFTER: Duration = Duration::from_secs(1);
/// How long Podman takes from a set-up to the container's first process. It takes a fraction of a second.
const STARTS_WITHIN: Duration = Duration::from_secs(3);
/// When to try again what failed.
const AGAIN: Duration = Duration::from_secs(10);

/// When the links go of the containers that their engines have taken off.
pub(super) type Leaving = BTreeMap<EndpointKey, Instant>;

impl Controller {
    /// Finds the network that an engine means, or makes it.
    pub(super) fn find_network(&self, unlocked: &mut Unlocked, spec: &NetworkSpec) -> Result<Reply, Refusal> {
        let there = self.lock(unlocked).state().meant_by(spec).cloned();
        let there = match there {
            Some(network) if self.is_gone_with(unlocked, &network, spec)? => None,
            there => there,
        };
        match there {
            Some(network) => {
                network.has_all_of(spec).map_err(|error| refusal::network(&error))?;
                Ok(Reply::Created { network, warnings: Vec::new() })
            }
            None => self.create_network(unlocked, spec),
        }
    }

    /// Removes a network of the same name that the engine has removed before it makes this one: it gives a name to one
    /// network at a time. Returns whether it was so.
    fn is_gone_with(
        &self,
        unlocked: &mut Unlocked,
        network: &Network,
        spec: &NetworkSpec,
    ) -> Result<bool, Refusal> {
        let (Some(before), Some(now)) = (&network.engine, &spec.engine) else { return Ok(false) };
        if before.kind != now.kind || before.id == now.id {
            return Ok(false);
        }
        let on_it: Vec<Endpoint> = self.lock(unlocked).state().endpoints_on(&network.name).cloned().collect();
        if !on_it.iter().all(Endpoint::leaves) {
            return Ok(false);
        }
        self.lock(unlocked).could_take_place(network, &on_it, spec)?;
        for endpoint in on_it {
            self.detach_if(unlocked, &endpoint.network, &endpoint.name, Endpoint::leaves)?;
        }
        self.remove_network(unlocked, &network.name)?;
        Ok(true)
    }

    /// Attaches an engine's container. A container that is set up again in another namespace, under another name or
    /// with another link has left what it had.
    pub(super) fn set_up(
        &self,
        unlocked: &mut Unlocked,
        spec: &NetworkSpec,
        attach: &AttachSpec,
    ) -> Result<Reply, Refusal> {
        let began = Instant::now();
        let network = self.network_to_set_up(unlocked, spec)?;
        self.set_up_on(unlocked, &network, attach, began)
    }

    /// The same on a network that is there.
    pub(super) fn set_up_on(
        &self,
        unlocked: &mut Unlocked,
        network: &Network,
        attach: &AttachSpec,
        began: Instant,
    ) -> Result<Reply, Refusal> {
        let attach = AttachSpec { network: network.name.clone(), ..attach.clone() };
        let mut attach = self.beside_other_links(unlocked, attach)?;
        if let Some(caller) = attach.caller.clone() {
            self.make_way(unlocked, &attach, &caller)?;
            // The engine waits since it has called, and longer if its user says so of the network.
            let chosen = network.leasing.timeout.map_or(0, LeaseTimeout::seconds);
            let patience = caller.patience.map(|patience| left_of(patience.max(chosen), began.elapsed()));
            attach.caller = Some(Caller { patience, ..caller });
        }
        let Reply::Attached(endpoint) = self.attach(unlocked, &attach)? else { return Ok(done()) };
        let mac = match endpoint.mac {
            Some(mac) => Some(mac),
            None => self.lock(unlocked).observe_host()?.host.link(&network.parent).and_then(|link| link.mac),
        };
        Ok(Reply::SetUp { endpoint, mac })
    }

    /// The network of a set-up. A network that has got another parent or range since the engine was told of it is
    /// still the same.
    pub(super) fn network_to_set_up(
        &self,
        unlocked: &mut Unlocked,
        spec: &NetworkSpec,
    ) -> Result<Network, Refusal> {
        let there = self.lock(unlocked).state().meant_by(spec).cloned();
        let Some(network) = there else {
            return Ok(self.make_network(unlocked, spec, &[])?.0);
        };
        let is_its = |own: &EngineNetwork| spec.engine.as_ref().is_some_and(|engine| engine.id == own.id);
        if !network.engine.as_ref().is_some_and(is_its) {
            // Podman adds a router of its own where none is known.
            let asked = NetworkSpec { gateways: Vec::new(), ..spec.clone() };
            network.has_all_of(&asked).map_err(|error| refusal::network(&error))?;
        }
        Ok(network)
    }

    /// Takes off what the container of a set-up has left, and what its name has left in another namespace.
    fn make_way(&self, unlocked: &mut Unlocked, attach: &AttachSpec, caller: &Caller) -> Result<(), Refusal> {
        let namespace = opened(attach)?;
        let (mut left, rival): (Vec<Endpoint>, Option<Endpoint>) = {
            let mut inner = self.lock(unlocked);
            let netns = inner.kernel.identify(&namespace);
            let netns = netns.map_err(|error| refusal::unreadable(&attach.netns, &error.to_string()))?;
            inner.stays(attach, caller, &netns)?;
            let state = inner.state();
            let left: Vec<Endpoint> = state.left_by(attach, caller, &netns).cloned().collect();
            let rival = state.rival_of(attach, caller, &netns).cloned();
            if !left.is_empty() || rival.is_some() {
                self.could_attach(&inner, attach, &netns, left.iter().chain(&rival))?;
            }
            (left, rival)
        };
        if let Some(rival) = rival.filter(|rival| is_abandoned(unlocked, rival)) {
            left.push(rival);
        }
        // What stays does not go at the time that an earlier teardown has set.
        let _ = self.wakers.leaving.send(());
        for endpoint in left {
            let is_it =
                |there: &Endpoint| there.netns() == endpoint.netns() && there.container == endpoint.container;
            self.detach_if(unlocked, &endpoint.network, &endpoint.name, is_it)?;
        }
        Ok(())
    }

    /// Refuses a set-up that would be refused once these endpoints are off, as far as that is known without asking the
    /// LAN: what is refused touches nothing.
    fn could_attach<'a>(
        &self,
        inner: &Inner,
        attach: &AttachSpec,
        netns: &Netns,
        going: impl Iterator<Item = &'a Endpoint>,
    ) -> Result<(), Refusal> {
        let without: Vec<Change> = going.map(|endpoint| Change::DelEndpoint(endpoint.key())).collect();
        let without = inner.state().with(&without);
        let observed = inner.observe_these(std::slice::from_ref(netns))?;
        let inside = observed.netns.get(netns).ok_or_else(|| refusal::namespace_gone(&attach.netns))?;
        let heard = without.networks.get(&attach.network).map(|network| self.heard_on(network));
        let (heard, answered) = (heard.unwrap_or_default(), BTreeMap::new());
        let known =
            AddressesInUse { host: &observed.host, heard: &heard, answered: &answered, held: &inner.held };
        let from_lan = FromLan { leased: LeaseOutcome::NotYet, learned: None };
        let draft = without.draft(attach, netns, inside, &known, from_lan, now());
        draft.map(drop).map_err(|error| refusal::attach(&error))
    }

    /// Notes that an engine has taken a container off a network.
    pub(super) fn tear_down(&self, unlocked: &mut Unlocked, gone: &TearDown) -> Result<Reply, Refusal> {
        let inner = self.lock(unlocked);
        let network = inner.state().meant_by_engine(gone.engine, &gone.network, &gone.network_name);
        let network = network.map(|network| network.name.clone());
        self.tear_down_on(inner, network, gone)
    }

    /// The same on the network that is meant, if there is one.
    pub(super) fn tear_down_on(
        &self,
        mut inner: Locked<'_>,
        network: Option<NetworkName>,
        gone: &TearDown,
    ) -> Result<Reply, Refusal> {
        let Some(network) = network else { return Ok(done()) };
        let its = inner.state().endpoints_on(&network).filter(|endpoint| {
            endpoint.is_of(gone.engine.into(), &gone.container)
                && gone.ifname.as_ref().is_none_or(|ifname| endpoint.link().1 == ifname)
        });
        let leaving: Vec<Change> =
            its.map(|endpoint| Change::PutEndpoint(marked(endpoint, &gone.container, true))).collect();
        // If this is lost, the container is gone with the host.
        inner.record(leaving)?;
        self.schedule_deferred();
        let _ = self.wakers.leaving.send(());
        Ok(done())
    }

    /// Takes the links off the LAN of containers that their engines have taken off, forever.
    pub(crate) fn end_leaving(&self, unlocked: &mut Unlocked, words: &Receiver<()>) {
        let mut leaving = Leaving::new();
        loop {
            leaving = self.still_leaving(unlocked, &leaving);
            let next = leaving.values().min();
            let woken = match next.map(|next| next.saturating_duration_since(Instant::now())) {
                Some(wait) => words.recv_timeout(wait),
                None => words.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if woken == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            let due = |(_, at): &(&EndpointKey, &Instant)| **at <= Instant::now();
            let due: Vec<EndpointKey> = leaving.iter().filter(due).map(|(key, _)| key.clone()).collect();
            for key in due {
                // It may have been set up again.
                if !self.copies.state().endpoints.get(&key).is_some_and(Endpoint::leaves) {
                    continue;
                }
                if let Err(refusal) = self.detach_if(unlocked, &key.0, &key.1, Endpoint::leaves) {
                    tracing::warn!(network = %key.0, name = %key.1, "{refusal}; it is tried again");
                }
                leaving.insert(key, Instant::now() + AGAIN);
            }
        }
    }

    /// The containers that their engines have taken off, each with the time at which its link goes.
    fn still_leaving(&self, unlocked: &mut Unlocked, before: &Leaving) -> Leaving {
        let inner = self.lock(unlocked);
        let leaving = inner.state().endpoints.values().filter(|endpoint| endpoint.leaves());
        let at = |endpoint: &Endpoint| {
            let key = endpoint.key();
            let at = before.get(&key).copied().unwrap_or_else(|| Instant::now() + LEAVES_AFTER);
            (key, at)
        };
        leaving.map(at).collect()
    }
}

impl Inner {
    /// Refuses a network that could not be made if this one were removed with its endpoints, as far as that is known
    /// without asking the LAN.
    fn could_take_place(
        &self,
        network: &Network,
        on_it: &[Endpoint],
        spec: &NetworkSpec,
    ) -> Result<(), Refusal> {
        let host = self.observe_host()?.host;
        let mut gone: Vec<Change> =
            on_it.iter().map(|endpoint| Change::DelEndpoint(endpoint.key())).collect();
        gone.push(Change::DelNetwork(network.name.clone()));
        let made = spec.completed(&host).and_then(|completed| completed.network()).and_then(|made| {
            made.check(&host)?;
            self.state().with(&gone).check_beside_others(&made)
        });
        made.map_err(|error| refusal::network(&error))
    }

    /// Keeps what a set-up asks for and its container still has, although its engine took it off a moment ago. Refuses
    /// a set-up whose link is another's.
    fn stays(&mut self, attach: &AttachSpec, caller: &Caller, netns: &Netns) -> Result<(), Refusal> {
        let key = (attach.network.clone(), attach.name.clone());
        let Some(there) = self.state().endpoints.get(&key) else { return Ok(()) };
        if !attach.is_of_link(there, netns) {
            return Ok(());
        }
        let is_its = there.is_of(caller.engine.into(), &caller.container);
        // A container of Podman's that had the number of this namespace has ended.
        let is_earlier = caller.engine == EngineKind::Podman && there.ownership == caller.engine.into();
        if !is_its && !is_earlier {
            return Err(refusal::attach(&AttachError::IfnameTaken {
                netns: attach.netns.clone(),
                ifname: attach.ifname.clone(),
            }));
        }
        if is_its && there.leaves() && attach.is_met_by(there) {
            let stays = marked(there, &caller.container, false);
            self.record(vec![Change::PutEndpoint(stays)])?;
        }
        Ok(())
    }
}

/// Whether no process is in the namespace of an engine's container. An engine that was killed leaves the namespace of
/// the container that it was starting, and forgets to take it off. A container that was just set up has no process
/// yet either, so this looks for a while.
fn is_abandoned(unlocked: &Unlocked, endpoint: &Endpoint) -> bool {
    let Some(netns) = endpoint.netns() else { return false };
    let end = Instant::now() + STARTS_WITHIN;
    while Holders::look().has_process_in(netns) == Some(false) {
        if Instant::now() >= end {
            return true;
        }
        unlocked.sleep(Duration::from_millis(100));
    }
    false
}

/// What is left of an engine's patience, in seconds, after this time.
fn left_of(patience: u32, spent: Duration) -> u32 {
    patience.saturating_sub(u32::try_from(spent.as_secs()).unwrap_or(u32::MAX))
}

pub(super) fn marked(endpoint: &Endpoint, container: &str, leaves: bool) -> Endpoint {
    let netns = endpoint.lent_in().cloned();
    let container = Container { id: container.to_owned(), leaves, netns };
    Endpoint { container: Some(Box::new(container)), ..endpoint.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_waits_since_it_has_called() {
        for (spent, left) in [(0, 15), (900, 15), (4_200, 11), (15_000, 0), (60_000, 0)] {
            assert_eq!(left_of(15, Duration::from_millis(spent)), left, "{spent} ms");
        }
    }
}
