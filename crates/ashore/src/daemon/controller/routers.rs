//! What the LAN's routers advertise: learned for an endpoint that is about to be attached, and followed as
//! long as the endpoint exists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender};

use ashore_core::api::about::About;
use ashore_core::api::refusal::Refusal;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::endpoint::{Endpoint, Source, Stage};
use ashore_core::model::ipv6::Ipv6Mode;
use ashore_core::model::learned::Learned;
use ashore_core::model::lease::LeaseRecord6;
use ashore_core::model::moment::Moment;
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::name::{EndpointKey, EndpointName, IfName, NetworkName};
use ashore_core::net::observed::Observed;
use ashore_core::net::remedy::Remedy;
use ashore_core::net::text::list;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_wire::dhcp6::Held;
use ipnet::IpNet;

use super::reserve::{Answers, Proposal, Proposed, Seeker, Taken, Wanted};
use super::{Controller, Inner, Locked, all_netns};
use crate::clock::now;
use crate::daemon::lan::{Sought, Standing6, moment};
use crate::unlocked::Unlocked;

/// How many times in a row addresses are probed if some of them belong to other machines. The next message of
/// a router begins anew.
const LOOKS: usize = 4;
/// How long a container whose name is not known waits for its name, in seconds. Its addresses depend on the
/// name.
const NAMED_WITHIN: u64 = 5;

impl Controller {
    /// Waits with the lock released until a router on the network's link has answered, if one was asked a
    /// moment ago.
    pub(super) fn await_router<'a>(&'a self, inner: Locked<'a>, network: &Network) -> Locked<'a> {
        let unlocked = inner.release();
        self.lan.await_router(unlocked, &network.parent);
        self.lock(unlocked)
    }

    /// Returns what an endpoint of a name gets from what the routers offer now.
    pub(super) fn learn(
        &self,
        inner: &Inner,
        network: &Network,
        name: &EndpointName,
        known: &AddressesInUse<'_>,
    ) -> Option<Box<Learned>> {
        inner.state().learn(network, name, &self.lan.offer(&network.parent), None, known, moment())
    }

    /// Returns the addresses that names which were on a network will most likely have there again.
    pub(super) fn likely<'a>(
        &self,
        state: &State,
        network: &Network,
        names: impl Iterator<Item = &'a EndpointName>,
    ) -> Vec<IpAddr> {
        if !network.follows_routers() {
            return Vec::new();
        }
        let (offer, at) = (self.lan.offer(&network.parent), moment());
        names.flat_map(|name| state.likely(network, name, &offer, at)).collect()
    }

    /// Says where to report a parent on which routers offer something else, and looks at all routers.
    pub(crate) fn hear_of_routers(&self, changed: Sender<IfName>) {
        self.lan.tell_of_routers(changed);
        self.look_at_routers();
    }

    /// Looks again at what all routers offer, in case a notification was lost or could not be acted on.
    pub(crate) fn look_at_routers(&self) {
        self.lan.look_at_routers(None);
    }

    /// Follows routers forever.
    pub(crate) fn follow_routers(&self, unlocked: &mut Unlocked, changed: &Receiver<IfName>) {
        while let Ok(first) = changed.recv() {
            // All notifications that have arrived by now are handled together.
            let parents: BTreeSet<IfName> = std::iter::once(first).chain(changed.try_iter()).collect();
            for parent in parents {
                let all = |network: &&Network| network.parent == parent && network.follows_routers();
                let networks: Vec<NetworkName> = {
                    let inner = self.lock(unlocked);
                    inner.state().networks.values().filter(all).map(|network| network.name.clone()).collect()
                };
                for name in networks {
                    if let Err(refusal) = self.follow_routers_of(unlocked, &name) {
                        tracing::error!(network = %name, "{refusal}");
                    }
                }
            }
        }
    }

    /// Reports the endpoints that lack the IPv6 address that they are to have from a router's prefix or a
    /// server's pool, and why.
    pub(super) fn unadvertised(&self, state: &State) -> Vec<Trouble> {
        let networks = state.networks.values().filter(|network| network.follows_routers());
        let mut troubles = Vec::new();
        for network in networks {
            let offer = self.lan.offer(&network.parent);
            let is_unfit = offer.prefixes.is_empty() && !offer.unfit.is_empty();
            let is_unfit = is_unfit && !offer.managed && !network.asks_dhcp6(&offer);
            let why = match network.ipv6 {
                _ if network.asks_dhcp6(&offer) => "no DHCPv6 server has given it one",
                _ if offer.managed => {
                    "the router hands out IPv6 addresses only by DHCPv6, which this network does not ask for"
                }
                _ if is_unfit => &format!(
                    "the router advertises {}, but addresses can be made only from prefixes of 64 bits",
                    list(offer.unfit.iter())
                ),
                Ipv6Mode::Slaac => "the router advertises no prefix to make one from, or there is no router",
                // The network takes addresses from where the routers say, and they say nothing.
                _ => continue,
            };
            let remedy = is_unfit.then(|| Remedy::from("let the router advertise a /64 of that"));
            let without = state.endpoints_on(&network.name);
            let without = without.filter(|one| one.stage == Stage::Attached && one.learned.is_none());
            troubles.extend(without.map(|one| {
                let message =
                    format!("`{}` has no IPv6 address: on the LAN of `{}` {why}", one.name, network.parent);
                Trouble::new(Code::NoIpv6, About::endpoint(one, state), message, remedy.clone())
            }));
        }
        troubles
    }

    /// Brings the endpoints of a network in line with what its routers offer. An address is probed before it
    /// is used.
    fn follow_routers_of(&self, unlocked: &mut Unlocked, name: &NetworkName) -> Result<(), Refusal> {
        // An address that cannot be probed is not used until it can be. That is no reason not to follow the
        // routers.
        self.look_for_leased(unlocked, &self.lan.asked6(name));
        let mut answers = Answers::default();
        let inner = self.lock(unlocked);
        let Some(network) = inner.state().networks.get(name).cloned() else { return Ok(()) };
        drop(self.reserve(inner, &mut Following { network, looks: 0 }, &mut answers)?);
        answers.keep();
        Ok(())
    }

    /// Returns the lease that an endpoint has from a DHCPv6 server, and the same lease as it runs if its
    /// address may be used. While this is still being checked, or if there is no client, both are as they
    /// were.
    fn leased6(&self, endpoint: &Endpoint, at: Moment) -> (Option<Box<LeaseRecord6>>, Option<Held>) {
        let key = (endpoint.network.clone(), endpoint.name.clone());
        if let Some(Standing6 { lease, unclear: false, .. }) = self.lan.standing6(&key) {
            let (record, held) = lease.unzip();
            return (record.map(Box::new), held);
        }
        let used = endpoint.lease6.as_ref().filter(|record| endpoint.holds(record.lease.address.into()));
        (endpoint.lease6.clone(), used.and_then(|record| record.held(at)))
    }

    /// Returns the endpoints of a network that now have something else from the routers' advertisements, as
    /// they were and as they are.
    fn learnt_anew(
        &self,
        inner: &Inner,
        network: &Network,
        observed: &Observed,
        answers: &Answers<'_>,
    ) -> Vec<Learnt> {
        let (none, answered, held) = (BTreeMap::new(), answers.by(), answers.held(inner));
        let known = AddressesInUse { host: &observed.host, heard: &none, answered, held: &held };
        let (offer, at) = (self.lan.offer(&network.parent), moment());
        let is_anothers = |key: &EndpointKey, ip: IpAddr| {
            inner.another(key, ip).is_some() || observed.host.has_address(ip) || answered.contains_key(&ip)
        };
        let is_due = |endpoint: &&Endpoint| {
            let named = !endpoint.is_unnamed() || endpoint.since + NAMED_WITHIN <= now();
            endpoint.stage == Stage::Attached && endpoint.source != Source::None && named
        };
        let endpoints = inner.state().endpoints_on(&network.name).filter(is_due);
        let changed = endpoints.filter_map(|before| {
            let (mut lease6, mut held) = self.leased6(before, at);
            // The address was probed before, with the lock released.
            if let Some(ip) = held.as_ref().map(Held::ip).filter(|ip| !before.holds((*ip).into())) {
                let key = (before.network.clone(), before.name.clone());
                if is_anothers(&key, ip.into()) {
                    tracing::warn!(%ip, name = %key.1, "belongs to another machine or endpoint, and is declined");
                    self.lan.settle6(&key, ip, false);
                    (lease6, held) = (None, None);
                }
            }
            let learned = inner.state().learn(network, &before.name, &offer, held.as_ref(), &known, at);
            let same = match (&learned, &before.learned) {
                (Some(new), Some(old)) => new.is_as_good_as(old, at.today),
                (new, old) => new == old,
            };
            (!same || lease6 != before.lease6).then(|| Learnt {
                before: before.clone(),
                now: Endpoint { lease6, ..before.clone() }.with_learned(learned),
            })
        });
        changed.collect()
    }

    /// Writes to disk what endpoints have now, and brings their links in line. If the write fails, the rest
    /// is done all the same, and the write is tried again.
    fn has_learnt(&self, inner: &mut Inner, all: &[Learnt]) -> Result<(), Refusal> {
        let mut changes = Vec::new();
        for one in all {
            changes.extend(inner.state().with(&changes).attached(&one.now, now()));
        }
        let wanted = inner.state().with(&changes);
        let written = inner.commit(changes);
        let on_links: Vec<&Learnt> = all.iter().filter(|one| one.is_on_link()).collect();
        if on_links.is_empty() {
            return written;
        }
        for Learnt { now, .. } in &on_links {
            tracing::info!(network = %now.network, name = %now.name, addresses = ?now.addresses, "follows its routers");
        }
        let netns = all_netns(&wanted);
        let (observed, errors) = inner.sweep_to(&wanted, &netns)?;
        for error in errors {
            tracing::warn!("{error}");
        }
        for one in on_links {
            let addresses = one.fresh().collect();
            self.announce(inner, &observed, &wanted, &Endpoint { addresses, ..one.now.clone() });
        }
        written
    }
}

/// The endpoints of a network that follow its routers.
struct Following {
    network: Network,
    /// How many times something was proposed.
    looks: usize,
}

impl<'c> Seeker<'c> for Following {
    type Draft = Vec<Learnt>;

    /// Proposes nothing once the network is gone, or the addresses were others' too often.
    fn propose(
        &mut self,
        on: &'c Controller,
        inner: &mut Inner,
        answers: &Answers<'_>,
    ) -> Proposed<Vec<Learnt>> {
        let there = inner.state().networks.get(&self.network.name).cloned();
        let Some(network) = there.filter(|_| self.looks < LOOKS) else {
            if self.looks == LOOKS {
                tracing::warn!(
                    network = %self.network.name,
                    "no address was made from a prefix: {LOOKS} in a row belong to other machines"
                );
            }
            return Ok(Proposal { network: self.network.clone(), wanted: Vec::new(), draft: Vec::new() });
        };
        self.looks += 1;
        let observed = inner.observe(&[])?;
        // An endpoint that a router has just told to ask a DHCPv6 server does so.
        inner.publication.again();
        on.publish(inner);
        let changed = on.learnt_anew(inner, &network, &observed, answers);
        let wanted =
            |one: &Learnt, ip| Wanted { name: one.now.name.clone(), sought: (ip, one.now.mac), only: false };
        let fresh = changed.iter().flat_map(|one| one.fresh().map(|net| wanted(one, net.addr())));
        Ok(Proposal { network, wanted: fresh.collect(), draft: changed })
    }

    /// What ends need not wait for what begins.
    fn before_asking(
        &mut self,
        on: &'c Controller,
        inner: &mut Inner,
        proposal: &Proposal<Vec<Learnt>>,
        unclear: &[Sought],
    ) -> Result<(), Refusal> {
        let unclear: Vec<IpAddr> = unclear.iter().map(|(ip, _)| *ip).collect();
        let at_once: Vec<Learnt> = proposal.draft.iter().filter_map(|one| one.without(&unclear)).collect();
        on.has_learnt(inner, &at_once)
    }

    fn take(&mut self, on: &'c Controller, inner: &mut Inner, proposal: &Proposal<Vec<Learnt>>) -> Taken {
        let keeps = on.keeps(proposal);
        if keeps {
            on.has_learnt(inner, &proposal.draft)?;
        }
        Ok(keeps)
    }
}

/// An endpoint that has something else from the routers' advertisements than before.
struct Learnt {
    before: Endpoint,
    now: Endpoint,
}

impl Learnt {
    /// The addresses that the endpoint did not have before.
    fn fresh(&self) -> impl Iterator<Item = IpNet> {
        self.now.addresses.iter().filter(|net| !self.before.holds(net.addr())).copied()
    }

    /// The same without addresses that are still to be probed. A lease of such an address stays as it was.
    /// Returns `None` if nothing changes on the link.
    fn without(&self, unclear: &[IpAddr]) -> Option<Learnt> {
        let mut learned = self.now.learned.as_deref().cloned().unwrap_or_default();
        let is_unclear = |ip: IpAddr| unclear.contains(&ip);
        let waits = learned.addresses.iter().any(|there| there.leased && is_unclear(there.ip.into()));
        learned.addresses.retain(|there| !is_unclear(there.ip.into()));
        let learned = (!learned.addresses.is_empty()).then(|| Box::new(learned));
        let lease6 = if waits { &self.before } else { &self.now }.lease6.clone();
        let now = Endpoint { lease6, ..self.before.clone() }.with_learned(learned);
        let one = Learnt { before: self.before.clone(), now };
        one.is_on_link().then_some(one)
    }

    /// Whether anything but times has changed.
    fn is_on_link(&self) -> bool {
        let shape = |endpoint: &Endpoint| {
            let learned = endpoint.learned.as_deref().cloned().unwrap_or_default();
            let deprecated: BTreeMap<_, _> =
                learned.addresses.iter().map(|there| (there.ip, there.deprecated)).collect();
            let router = learned.router.map(|router| router.ip);
            (endpoint.addresses.clone(), deprecated, router, learned.routes, learned.mtu)
        };
        shape(&self.before) != shape(&self.now)
    }
}

#[cfg(test)]
mod tests {
    use ashore_core::model::endpoint::{ByUser, Chosen, Placement};
    use ashore_core::model::learned::LearnedAddress;
    use ashore_core::model::lease::LeaseWishes;
    use ashore_core::model::own_routes::OwnRoutes;
    use ashore_core::model::ownership::Ownership;

    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            network: "lan".parse().unwrap(),
            name: "web".parse().unwrap(),
            mac: None,
            addresses: vec!["192.168.88.32/24".parse().unwrap()],
            source: Source::Range,
            chosen: Chosen::default(),
            by_user: ByUser::default(),
            lease: None,
            lease6: None,
            wishes: LeaseWishes::default(),
            learned: None,
            lost: Vec::new(),
            stand_ins: Vec::new(),
            default_route: true,
            own_routes: OwnRoutes::default(),
            ownership: Ownership::Docker,
            placement: Placement::Engine {
                id: None,
                ifname: "ash0".parse().unwrap(),
                sandbox: None,
                inside: None,
            },
            stage: Stage::Attached,
            since: 1,
            tagged_as: None,
            seen: None,
            container: None,
        }
    }

    fn learned(prefixes: &[&str]) -> Learned {
        let address = |prefix: &&str| LearnedAddress {
            ip: format!("{prefix}::7").parse().unwrap(),
            prefix: format!("{prefix}::/64").parse().unwrap(),
            on_link: true,
            leased: false,
            deprecated: false,
            preferred: None,
            valid: None,
        };
        Learned { addresses: prefixes.iter().map(address).collect(), ..Learned::default() }
    }

    #[test]
    fn what_ends_does_not_wait_for_what_is_looked_for() {
        let without = |now: Option<Box<Learned>>| {
            let before = endpoint().with_learned(Some(Box::new(learned(&["fd88", "fd99"]))));
            let one = Learnt { before: before.clone(), now: before.with_learned(now) };
            one.without(&["fd77::7".parse().unwrap()]).map(|one| one.now)
        };
        let ended = without(Some(Box::new(learned(&["fd77", "fd99"])))).unwrap();
        assert_eq!(ended.learned, Some(Box::new(learned(&["fd99"]))));
        assert_eq!(ended.lost, ["fd88::7/64".parse().unwrap()]);
        assert_eq!(without(Some(Box::new(learned(&["fd77"])))).unwrap().learned, None);
        assert_eq!(without(None).unwrap().learned, None);
        assert_eq!(without(Some(Box::new(learned(&["fd88", "fd99", "fd77"])))), None, "nothing to do yet");
    }
}
