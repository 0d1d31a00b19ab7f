//! Clients of the LAN's DHCP servers, one for each endpoint that has a lease or is to get one. All run on the
//! thread that owns the sockets. The parts for DHCPv4 only are in [`leases`](super::leases), for DHCPv6 in
//! [`leases6`](super::leases6).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use ashore_core::model::endpoint::{Endpoint, Placement};
use ashore_core::model::identity::{Identity, Mark, Scope};
use ashore_core::model::lease::{Addressing, LeaseOptions, LeaseRecord, LeaseWishes};
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::name::{EndpointKey, EndpointName, IfName};
use ashore_core::net::observed::View;
use ashore_kernel::{Found, Namespace, boottime};
use ashore_wire::dhcp::{Action, Client, Held, Lease, Loss, Recorded};
use ashore_wire::dhcp4::{ClientId, DomainName};
use ashore_wire::{Boottime, Mac};

use super::{Lan, MOST_AT_ONCE, Send, seconds};

/// How long to wait for an answer in a container. A server that pings the address first takes three seconds.
const LISTEN_FOR: Duration = Duration::from_secs(5);
/// The maximum length of a message, which fits an Ethernet frame.
const LONGEST: usize = 1500;
/// How far a recorded lease may differ from the clock that it runs by, in seconds. More means that the wall
/// clock was set.
const CLOSE: u64 = 5;

/// A protocol that leases addresses: the parts in which DHCPv4 and DHCPv6 differ.
pub(super) trait Protocol: Sized {
    /// The client state machine.
    type Client: Client<Lease: Lease<Ip: Into<IpAddr>>>;
    /// Additional state of a client of this protocol.
    type Own: Default;
    /// The name of the protocol in the log.
    const NAME: &str;

    /// Creates a client. `in_use` tells that the recorded lease is already in use.
    fn client(wanted: &Wanted<LeaseOf<Self>>, in_use: bool) -> Option<Self::Client>;

    /// The parameters of the client of an endpoint on a network.
    fn wanted(
        state: &State,
        network: &Network,
        endpoint: &Endpoint,
        host: &View,
    ) -> Option<Wanted<LeaseOf<Self>>>;

    /// The lease of an endpoint.
    fn of_endpoint(endpoint: &Endpoint) -> Option<&RecordOf<Self>>;

    /// The lease that is remembered for a name.
    fn of_identity(identity: &Identity) -> Option<&RecordOf<Self>>;

    /// Whether a request waits for a client whose endpoint may not exist yet.
    fn is_awaited(_own: &Self::Own) -> bool {
        false
    }

    /// Sends a message to the servers.
    fn say(leasing: &mut Leasing<Self>, outgoing: &<Self::Client as Client>::Outgoing, send: &Send);

    /// Handles a message that arrived on a client's socket in its container.
    fn take(leasing: &mut Leasing<Self>, message: &[u8], from: SocketAddr);

    /// Does what is due for this protocol only. Returns the time of the next action, and whether the client's
    /// standing has changed.
    fn also_due(_leasing: &mut Leasing<Self>, _now: Boottime) -> (Option<Boottime>, bool) {
        (None, false)
    }
}

pub(super) type LeaseOf<P> = <<P as Protocol>::Client as Client>::Lease;
pub(super) type RecordOf<P> = LeaseRecord<LeaseOf<P>>;
type IpOf<P> = <LeaseOf<P> as Lease>::Ip;

/// The parameters of a client.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<L: Lease> {
    pub(crate) key: EndpointKey,
    pub(crate) parent: IfName,
    pub(crate) id: ClientId,
    pub(crate) mac: Mac,
    /// The address to ask for.
    pub(crate) requested: Option<L::Ip>,
    /// The previous lease.
    pub(crate) record: Option<LeaseRecord<L>>,
    /// The network's lease options.
    pub(crate) leasing: LeaseOptions,
    /// What servers are to be told of this client.
    pub(crate) wishes: LeaseWishes,
}

impl<L: Lease> Wanted<L> {
    /// The client that releases a lease, even if its network does not exist any more.
    fn of_record(
        network: Option<&Network>,
        scope: &Scope,
        name: &EndpointName,
        record: &LeaseRecord<L>,
    ) -> Option<Self> {
        let (label, parent, leasing) = match network {
            Some(network) => (network.name.clone(), network.parent.clone(), network.leasing.clone()),
            None => (scope.0.parse().ok()?, record.parent.clone()?, LeaseOptions::default()),
        };
        let (id, mac, record) = (record.id.clone(), record.mac, Some(record.clone()));
        // A release tells no name.
        let (key, requested, wishes) = ((label, name.clone()), None, LeaseWishes::default());
        Some(Wanted { key, parent, id, mac, requested, record, leasing, wishes })
    }

    /// The host name that servers are told: the one for this client, the network's, or its own. A user's container is
    /// not called as root would have those of a network called. Returns `None` if it has no name that can be told.
    pub(super) fn told_name(&self) -> Option<DomainName> {
        let name = &self.key.1;
        let chosen = match (name.user(), &self.wishes.hostname, &self.leasing.hostname) {
            (Some(uid), Some(own), _) => own.of_user(uid),
            (None, Some(own), _) | (None, None, Some(own)) => Some(own.domain().clone()),
            (Some(_), None, _) | (None, None, None) => None,
        };
        chosen.or_else(|| name.host_name())
    }

    /// The previous lease, in the form that a client takes.
    pub(super) fn recorded(&self, in_use: bool) -> Option<Recorded<L>> {
        let record = self.record.as_ref()?;
        Some(Recorded { lease: record.lease.clone(), age: record.age(seconds()), in_use })
    }

    /// The record of a lease of this client.
    fn record_of(&self, held: &Held<L>, from: Option<Mac>) -> LeaseRecord<L> {
        LeaseRecord {
            lease: held.lease.clone(),
            since: began(held),
            id: self.id.clone(),
            mac: self.mac,
            parent: Some(self.parent.clone()),
            from,
            release: self.leasing.release,
        }
    }
}

/// The standing of a client.
#[derive(Debug, Clone)]
pub(crate) struct Standing<L: Lease> {
    /// The lease, if it may be used: a new one, a renewed one or a previous one. First its record, then the
    /// running lease.
    pub(crate) lease: Option<(LeaseRecord<L>, Held<L>)>,
    /// Whether the client has a lease but does not know yet whether it may be used.
    pub(crate) unclear: bool,
    /// The address that the client wants to have checked for use by another machine.
    pub(crate) asks: Option<L::Ip>,
}

/// A client, with what it takes to run it.
pub(super) struct Leasing<P: Protocol> {
    pub(super) wanted: Wanted<LeaseOf<P>>,
    pub(super) client: P::Client,
    /// The MAC that sent the last answer: the server, or the router on the way to it.
    pub(super) from: Option<Mac>,
    /// The placement of the container, once it exists.
    pub(super) placement: Option<Placement>,
    /// A socket in the container, and since when it is open. The parent may receive an answer before the
    /// container's own network stack does, which should then find the socket open.
    inside: Option<(Arc<UdpSocket>, Boottime)>,
    /// The address that the client wants to have checked for use by another machine.
    pub(super) asks: Option<IpOf<P>>,
    /// The record of the lease, once it may be used.
    lease: Option<RecordOf<P>>,
    /// The additional state of the protocol.
    pub(super) own: P::Own,
}

impl Lan {
    /// The MAC of an endpoint's client, for the protocol of the address family.
    pub(crate) fn mac_of_client(&self, key: &EndpointKey, ip: IpAddr) -> Option<Mac> {
        let table = self.table();
        if ip.is_ipv4() { table.leases.mac_of(key) } else { table.leases6.mac_of(key) }
    }
}

impl<P: Protocol> Leasing<P> {
    pub(super) fn of(wanted: Wanted<LeaseOf<P>>, in_use: bool, placement: Option<Placement>) -> Option<Self> {
        let client = P::client(&wanted, in_use)?;
        let lease = wanted.record.clone().filter(|_| in_use);
        let from = wanted.record.as_ref().and_then(|record| record.from);
        let own = P::Own::default();
        Some(Leasing { wanted, client, from, placement, inside: None, asks: None, lease, own })
    }

    fn of_endpoint(state: &State, endpoint: &Endpoint, host: &View) -> Option<Self> {
        let wanted = P::wanted(state, state.network_of(endpoint)?, endpoint, host)?;
        // A recorded lease belongs to the endpoint, even while it has no link.
        let in_use = wanted.record.as_ref().is_some_and(|record| endpoint.holds(record.lease.ip().into()));
        Leasing::of(wanted, in_use, Some(endpoint.placement.clone()))
    }

    pub(super) fn standing(&mut self) -> Standing<LeaseOf<P>> {
        let held = self.client.held(boottime());
        let lease = held.and_then(|held| {
            let record = self.lease.as_mut().filter(|record| record.lease.ip() == held.ip())?;
            // Corrected to the wall clock as it is now. A restarted daemon would otherwise misjudge the age
            // of the lease.
            let since = began(held);
            if since.abs_diff(record.since) > CLOSE && record.lease == held.lease {
                record.since = since;
            }
            Some((record.clone(), held.clone()))
        });
        Standing { unclear: held.is_some() && lease.is_none(), lease, asks: self.asks }
    }

    fn settle(&mut self, ip: IpOf<P>, free: bool) {
        self.asks.take_if(|asked| *asked == ip);
        if free {
            self.client.clear(ip);
        } else {
            self.client.taken(ip, boottime());
        }
    }

    /// Does what is due. Returns the time of the next action, and whether the client's standing has changed.
    fn drive(&mut self, now: Boottime, send: &Send) -> (Option<Boottime>, bool) {
        let mut news = false;
        let until = loop {
            match self.client.poll(now) {
                Action::Wait(until) => break until,
                Action::Send(outgoing) => {
                    P::say(self, &outgoing, send);
                    continue;
                }
                Action::Probe(ip) => self.asks = Some(ip),
                Action::Bound(held, _) => {
                    (self.lease, self.asks) = (Some(self.wanted.record_of(&held, self.from)), None);
                }
                Action::Unconfirmed(held) => {
                    self.lease.get_or_insert_with(|| self.wanted.record_of(&held, self.from));
                    self.asks = None;
                }
                Action::Lost(loss) => {
                    let (network, name) = &self.wanted.key;
                    if loss == Loss::Released {
                        tracing::debug!(%network, %name, "its {} lease is released", P::NAME);
                    } else {
                        tracing::warn!(%network, %name, "its {} lease is lost: {}", P::NAME, said(&loss));
                    }
                    (self.lease, self.asks) = (None, None);
                }
            }
            news = true;
        };
        let (also, stands_otherwise) = P::also_due(self, now);
        (until.into_iter().chain(also).min(), news || stands_otherwise)
    }

    /// Opens a socket in the container, in place of a previous one, and listens on it for a while.
    pub(super) fn listen_inside(
        &mut self,
        open: impl FnOnce() -> io::Result<UdpSocket> + std::marker::Send,
    ) -> io::Result<()> {
        // The old socket is closed first, because it occupies the port.
        self.inside = None;
        let namespace = self.placement.as_ref().and_then(namespace_of).ok_or(io::ErrorKind::NotFound)?;
        let socket = namespace.run(open)??;
        socket.set_nonblocking(true)?;
        self.inside = Some((Arc::new(socket), boottime()));
        Ok(())
    }
}

/// All clients of a protocol.
pub(super) struct Clients<P: Protocol> {
    pub(super) active: BTreeMap<EndpointKey, Leasing<P>>,
    /// The leases of endpoints and identities, each with the client that can release it.
    known: HashMap<ClientId, Wanted<LeaseOf<P>>>,
    /// Clients that are releasing a lease.
    parting: Vec<Leasing<P>>,
}

impl<P: Protocol> Default for Clients<P> {
    fn default() -> Self {
        Clients { active: BTreeMap::new(), known: HashMap::new(), parting: Vec::new() }
    }
}

impl<P: Protocol> Clients<P> {
    pub(super) fn standing(&mut self, key: &EndpointKey) -> Option<Standing<LeaseOf<P>>> {
        self.active.get_mut(key).map(Leasing::standing)
    }

    /// Whether a request waits for a client.
    pub(super) fn is_awaited(&self, key: &EndpointKey) -> bool {
        self.active.get(key).is_some_and(|leasing| P::is_awaited(&leasing.own))
    }

    /// The MAC that a client uses.
    pub(super) fn mac_of(&self, key: &EndpointKey) -> Option<Mac> {
        self.active.get(key).map(|leasing| leasing.wanted.mac)
    }

    /// Tells a client the result of the check of an address.
    pub(super) fn settle(&mut self, key: &EndpointKey, ip: IpOf<P>, free: bool) {
        if let Some(leasing) = self.active.get_mut(key) {
            leasing.settle(ip, free);
        }
    }

    /// Releases a client's lease with the next turns.
    pub(super) fn part(&mut self, mut leasing: Leasing<P>) {
        leasing.client.release(boottime());
        self.parting.push(leasing);
    }

    /// Updates which endpoints have clients, which leases endpoints and names have, and which parents are up.
    pub(super) fn follow(
        &mut self,
        state: &State,
        host: &View,
        has_one: impl Fn(&Endpoint, &Network) -> bool,
    ) {
        if self.has_none(state) {
            return;
        }
        let has_one = |endpoint: &Endpoint| {
            state.network_of(endpoint).is_some_and(|network| has_one(endpoint, network))
        };
        self.active.retain(|key, leasing| {
            P::is_awaited(&leasing.own) || state.endpoints.get(key).is_some_and(has_one)
        });
        for (key, endpoint) in state.endpoints.iter().filter(|(_, endpoint)| has_one(endpoint)) {
            if let Some(leasing) = self.active.get_mut(key) {
                leasing.placement = Some(endpoint.placement.clone());
                // The parent may have been renamed or replaced.
                if let Some(network) = state.network_of(endpoint) {
                    leasing.wanted.parent = network.parent.clone();
                }
            } else if let Some(leasing) = Leasing::of_endpoint(state, endpoint, host) {
                self.active.insert(key.clone(), leasing);
            }
        }
        self.give_back_forgotten(state);
        for leasing in self.active.values_mut() {
            let up = host.link(&leasing.wanted.parent).is_some_and(|parent| parent.up && parent.carrier);
            match (up, leasing.client.is_down()) {
                (true, true) => leasing.client.link_up(boottime()),
                (false, false) => leasing.client.link_down(),
                _ => {}
            }
        }
    }

    /// Whether no server can have to do with any endpoint or name: there is no client and no lease, and no
    /// network takes any.
    fn has_none(&self, state: &State) -> bool {
        let takes_leases =
            |network: &Network| network.addressing == Addressing::Dhcp || network.may_ask_dhcp6();
        let mut remembered = state.identities.with(Mark::Leased);
        self.active.is_empty()
            && self.known.is_empty()
            && !state.networks.values().any(takes_leases)
            && remembered.next().is_none()
    }

    /// Restarts the clients on a parent that no server has answered, as if they had not asked yet.
    pub(super) fn ask_again(&mut self, parent: &IfName) {
        for leasing in self.active.values_mut() {
            if leasing.wanted.parent == *parent && leasing.client.is_unanswered() {
                leasing.client.link_up(boottime());
            }
        }
    }

    /// Releases the leases that no endpoint or name remembers any more: that of a forgotten name, or one that
    /// a container used only in place of its own.
    fn give_back_forgotten(&mut self, state: &State) {
        let of_endpoints = state.endpoints.values().filter_map(|endpoint| {
            let record = P::of_endpoint(endpoint)?;
            let network = state.network_of(endpoint)?;
            Wanted::of_record(Some(network), &State::scope(network), &endpoint.name, record)
        });
        let of_identities = state.identities.iter().filter_map(|((scope, name), identity)| {
            // Checked first, because every attach runs this, and on most hosts no identity has a lease.
            let record = P::of_identity(identity)?;
            // A name outlives its network, which may be created again at once.
            let network = state.networks.values().find(|network| State::scope(network) == *scope);
            Wanted::of_record(network, scope, name, record)
        });
        let by_id = |wanted: Wanted<_>| (wanted.id.clone(), wanted);
        let known = of_identities.chain(of_endpoints).map(by_id).collect();
        let before = std::mem::replace(&mut self.known, known);
        let in_hand = |id: &ClientId| self.active.values().any(|leasing| leasing.wanted.id == *id);
        // A server that identifies clients by MAC only may consider it the lease of the endpoint that has the
        // address now.
        let is_anothers = |wanted: &Wanted<LeaseOf<P>>| {
            let ip = wanted.record.as_ref().map(|record| record.lease.ip());
            let known = self.known.values().filter_map(|known| known.record.as_ref());
            ip.is_some_and(|ip| state.holder(ip.into()).is_some())
                || known.map(|record| record.lease.ip()).any(|its| Some(its) == ip)
        };
        let forgotten = before
            .into_iter()
            .filter(|(id, wanted)| !self.known.contains_key(id) && !in_hand(id) && !is_anothers(wanted));
        let leasings = forgotten.filter_map(|(_, wanted)| Leasing::<P>::of(wanted, true, None));
        // An expired lease need not be released.
        let parting: Vec<_> = leasings.filter(|leasing| leasing.client.held(boottime()).is_some()).collect();
        for leasing in parting {
            self.part(leasing);
        }
    }

    /// The parents on which answers arrive.
    pub(super) fn parents(&self) -> impl Iterator<Item = &IfName> {
        self.active.values().chain(&self.parting).map(|leasing| &leasing.wanted.parent)
    }

    /// The parents through which leases are still to be released.
    pub(super) fn parting(&self) -> impl Iterator<Item = &IfName> {
        self.parting.iter().map(|leasing| &leasing.wanted.parent)
    }

    /// The parent of an endpoint's client.
    pub(super) fn parent_of(&self, key: &EndpointKey) -> Option<&IfName> {
        self.active.get(key).map(|leasing| &leasing.wanted.parent)
    }

    /// The open sockets in containers.
    pub(super) fn open_inside(&self) -> Vec<Arc<UdpSocket>> {
        self.active.values().filter_map(|leasing| Some(leasing.inside.as_ref()?.0.clone())).collect()
    }

    /// Does what is due for the clients that `may` go on. Returns the time until the next action, and the
    /// clients whose standing has changed.
    pub(super) fn turn(
        &mut self,
        send: &Send,
        mut may: impl FnMut(&mut Leasing<P>, Boottime) -> bool,
    ) -> (Option<Duration>, Vec<EndpointKey>) {
        let (mut wait, mut news): (Option<Duration>, Vec<EndpointKey>) = (None, Vec::new());
        let mut until = |at: Option<Boottime>, now: Boottime| {
            let next = at.map(|at| at.saturating_duration_since(now));
            wait = wait.into_iter().chain(next).min();
        };
        self.parting.retain_mut(|leasing| {
            let now = boottime();
            let next = leasing.drive(now, send).0;
            until(next, now);
            next.is_some()
        });
        for (key, leasing) in &mut self.active {
            // The previous client may have taken a moment.
            let now = boottime();
            if !may(leasing, now) {
                continue;
            }
            let (next, changed) = leasing.drive(now, send);
            if changed {
                news.push(key.clone());
            }
            leasing.inside.take_if(|(_, since)| now.saturating_duration_since(*since) >= LISTEN_FOR);
            until(next, now);
            until(leasing.inside.as_ref().map(|(_, since)| *since + LISTEN_FOR), now);
        }
        (wait, news)
    }

    /// The clients on a parent, which a message may be for.
    pub(super) fn on(&mut self, parent: &IfName) -> impl Iterator<Item = &mut Leasing<P>> {
        let all = self.active.values_mut().chain(&mut self.parting);
        all.filter(move |leasing| leasing.wanted.parent == *parent)
    }

    /// Reads the sockets in containers. A message that the parent also received is ignored the second time.
    /// The number of messages is limited, so that a flood does not block the thread.
    pub(super) fn hear_inside(&mut self) {
        let mut buffer = [0; LONGEST];
        for leasing in self.active.values_mut() {
            let Some((socket, _)) = leasing.inside.clone() else { continue };
            for _ in 0..MOST_AT_ONCE {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { break };
                P::take(leasing, &buffer[..length], from);
            }
        }
    }
}

/// When a lease began, in seconds since 1970.
fn began<L>(held: &Held<L>) -> u64 {
    seconds().saturating_sub(boottime().saturating_duration_since(held.since).as_secs())
}

/// The namespace of a container. Returns `None` if it is gone or cannot be opened.
fn namespace_of(home: &Placement) -> Option<Namespace> {
    match home {
        Placement::Netns { netns, .. } => match Namespace::find(netns) {
            Found::There(namespace) => Some(namespace),
            Found::Gone | Found::Unclear(_) => None,
        },
        Placement::Engine { sandbox, .. } => sandbox.as_ref().and_then(|path| Namespace::open(path).ok()),
    }
}

fn said(loss: &Loss) -> String {
    match loss {
        Loss::Refused(None) => "the server says that it is invalid".into(),
        Loss::Refused(Some(why)) => format!("the server says that it is invalid ({why:?})"),
        Loss::Expired => "it expired, and no server renewed it".into(),
        Loss::Taken => "another machine has the address".into(),
        Loss::Released => "it was released".into(),
    }
}
