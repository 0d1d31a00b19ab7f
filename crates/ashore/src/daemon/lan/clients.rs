//! Clients of the LAN's DHCP servers: one for each endpoint that has a lease or is to get one, all on the thread that owns the
//! sockets. What of it is DHCPv4's alone is in [`leases`](super::leases), and DHCPv6's in [`leases6`](super::leases6).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ashore_core::model::endpoint::{Endpoint, Placement};
use ashore_core::model::identity::{Identity, Scope};
use ashore_core::model::lease::{LeaseOptions, LeaseRecord};
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::name::{EndpointKey, EndpointName, IfName};
use ashore_core::net::observed::View;
use ashore_kernel::{Found, Namespace, boottime};
use ashore_wire::Mac;
use ashore_wire::dhcp::{Action, Client, Held, Lease, Loss, Recorded};
use ashore_wire::dhcp4::{ClientId, DomainName};

use super::{Lan, MOST_AT_ONCE, Send, seconds};

/// For how long an answer is waited for in a container; a server that pings the address first takes three seconds.
const LISTEN_FOR: Duration = Duration::from_secs(5);
/// A message fits an Ethernet frame.
const LONGEST: usize = 1500;
/// By how much a lease as it is written down may differ from the clock that it runs by, in seconds: more is a step of the time of day.
const CLOSE: u64 = 5;

/// A protocol by which addresses are leased, as far as it has its own way.
pub(super) trait Protocol: Sized {
    /// What goes by its rules.
    type Client: Client<Lease: Lease<Ip: Into<IpAddr>>>;
    /// What is known of a client beside what is known of any.
    type Own: Default;
    /// What it is called in a log.
    const NAME: &str;

    /// A client for what is wanted. What it has on record may be in its hands already.
    fn client(wanted: &Wanted<LeaseOf<Self>>, in_use: bool) -> Option<Self::Client>;

    /// The client of an endpoint on a network.
    fn wanted(
        state: &State,
        network: &Network,
        endpoint: &Endpoint,
        host: &View,
    ) -> Option<Wanted<LeaseOf<Self>>>;

    /// The lease that an endpoint has.
    fn of_endpoint(endpoint: &Endpoint) -> Option<&RecordOf<Self>>;

    /// The lease that a name is remembered with.
    fn of_identity(identity: &Identity) -> Option<&RecordOf<Self>>;

    /// Whether somebody waits for a client whose endpoint may not be there yet.
    fn is_awaited(_own: &Self::Own) -> bool {
        false
    }

    /// Says something to its servers.
    fn say(leasing: &mut Leasing<Self>, outgoing: &<Self::Client as Client>::Outgoing, send: &Send);

    /// Takes in what came to a client's socket in its container.
    fn take(leasing: &mut Leasing<Self>, message: &[u8], from: SocketAddr);

    /// What is due of its own: when it will be, and whether something stands otherwise than before.
    fn also_due(_leasing: &mut Leasing<Self>, _now: Instant) -> (Option<Instant>, bool) {
        (None, false)
    }
}

pub(super) type LeaseOf<P> = <<P as Protocol>::Client as Client>::Lease;
pub(super) type RecordOf<P> = LeaseRecord<LeaseOf<P>>;
type IpOf<P> = <LeaseOf<P> as Lease>::Ip;

/// A client to be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<L: Lease> {
    pub(crate) key: EndpointKey,
    pub(crate) parent: IfName,
    pub(crate) id: ClientId,
    pub(crate) mac: Mac,
    /// The address asked for.
    pub(crate) requested: Option<L::Ip>,
    /// The lease from before.
    pub(crate) record: Option<LeaseRecord<L>>,
    /// How it is leased.
    pub(crate) leasing: LeaseOptions,
}

impl<L: Lease> Wanted<L> {
    /// The client that gives back a lease, also if its network is no more.
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
        Some(Wanted { key: (label, name.clone()), parent, id, mac, requested: None, record, leasing })
    }

    /// The lease from before, as a client has it.
    pub(super) fn recorded(&self, in_use: bool) -> Option<Recorded<L>> {
        let record = self.record.as_ref()?;
        Some(Recorded { lease: record.lease.clone(), age: record.age(seconds()), in_use })
    }

    /// A lease of its, as it is written down.
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

/// How a client stands.
#[derive(Debug, Clone)]
pub(crate) struct Standing<L: Lease> {
    /// Its lease, if it may be used, be it a new one, a renewed one, or one from before: as it is written down, and as it runs.
    pub(crate) lease: Option<(LeaseRecord<L>, Held<L>)>,
    /// Whether it has one of which it is still to be seen whether it may be used.
    pub(crate) unclear: bool,
    /// The address of which it wants to know whether anybody has it.
    pub(crate) asks: Option<L::Ip>,
}

/// One client, and what it takes to drive it.
pub(super) struct Leasing<P: Protocol> {
    pub(super) wanted: Wanted<LeaseOf<P>>,
    pub(super) client: P::Client,
    /// Who brought the last answer: the server, or the router on the way to it.
    pub(super) from: Option<Mac>,
    /// Where its container is, once it is.
    pub(super) placement: Option<Placement>,
    /// A socket in the container, and since when. The parent may have brought the answer before the container's own stack
    /// has it, and that should find the socket open.
    inside: Option<(Arc<UdpSocket>, Instant)>,
    /// The address of which it wants to know whether anybody has it.
    pub(super) asks: Option<IpOf<P>>,
    /// Its lease as it is written down, once it may be used.
    lease: Option<RecordOf<P>>,
    /// What the protocol alone knows.
    pub(super) own: P::Own,
}

impl Lan {
    /// The MAC that an endpoint's client uses, by the family of its address.
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
        // What is written down is the endpoint's, also while it has no link.
        let in_use = wanted.record.as_ref().is_some_and(|record| endpoint.holds(record.lease.ip().into()));
        Leasing::of(wanted, in_use, Some(endpoint.placement.clone()))
    }

    pub(super) fn standing(&mut self) -> Standing<LeaseOf<P>> {
        let held = self.client.held(boottime());
        let lease = held.and_then(|held| {
            let record = self.lease.as_mut().filter(|record| record.lease.ip() == held.ip())?;
            // By the time of day as it is now, or a daemon that starts anew would take it for older or younger than it is.
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

    /// Does what is due at a moment. Answers when something will be next, and whether it stands otherwise than before.
    fn drive(&mut self, now: Instant, send: &Send) -> (Option<Instant>, bool) {
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
                        tracing::debug!(%network, %name, "its {} lease is given back", P::NAME);
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

    /// Listens by a socket in the container for a while, instead of one that it had.
    pub(super) fn listen_inside(
        &mut self,
        open: impl FnOnce() -> io::Result<UdpSocket> + std::marker::Send,
    ) -> io::Result<()> {
        // It is closed first, or the port would be taken.
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
    /// What endpoints and identities have a lease of, and how to give it back.
    known: HashMap<ClientId, Wanted<LeaseOf<P>>>,
    /// Clients that have something to give back.
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

    /// Whether somebody waits for a client.
    pub(super) fn is_awaited(&self, key: &EndpointKey) -> bool {
        self.active.get(key).is_some_and(|leasing| P::is_awaited(&leasing.own))
    }

    /// The MAC that a client uses.
    pub(super) fn mac_of(&self, key: &EndpointKey) -> Option<Mac> {
        self.active.get(key).map(|leasing| leasing.wanted.mac)
    }

    /// What became of a look for an address.
    pub(super) fn settle(&mut self, key: &EndpointKey, ip: IpOf<P>, free: bool) {
        if let Some(leasing) = self.active.get_mut(key) {
            leasing.settle(ip, free);
        }
    }

    /// A client's lease is given back with the next turns.
    pub(super) fn part(&mut self, mut leasing: Leasing<P>) {
        leasing.client.release(boottime());
        self.parting.push(leasing);
    }

    /// Takes in which endpoints have clients, what they and names have leases of, and which parents are up.
    pub(super) fn follow(
        &mut self,
        state: &State,
        host: &View,
        has_one: impl Fn(&Endpoint, &Network) -> bool,
    ) {
        let has_one = |endpoint: &Endpoint| {
            state.network_of(endpoint).is_some_and(|network| has_one(endpoint, network))
        };
        self.active.retain(|key, leasing| {
            P::is_awaited(&leasing.own) || state.endpoints.get(key).is_some_and(has_one)
        });
        for (key, endpoint) in state.endpoints.iter().filter(|(_, endpoint)| has_one(endpoint)) {
            if let Some(leasing) = self.active.get_mut(key) {
                leasing.placement = Some(endpoint.placement.clone());
                // It may have another name, or be another.
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

    /// Whom nobody has answered by a parent asks as if it had not asked yet.
    pub(super) fn ask_again(&mut self, parent: &IfName) {
        for leasing in self.active.values_mut() {
            if leasing.wanted.parent == *parent && leasing.client.is_unanswered() {
                leasing.client.link_up(boottime());
            }
        }
    }

    /// A lease that nobody remembers any more is given back: that of a forgotten name, or of a container that only had it for
    /// want of its own.
    fn give_back_forgotten(&mut self, state: &State) {
        let of_endpoints = state.endpoints.values().filter_map(|endpoint| {
            let record = P::of_endpoint(endpoint)?;
            let network = state.network_of(endpoint)?;
            Wanted::of_record(Some(network), &State::scope(network), &endpoint.name, record)
        });
        let of_identities = state.identities.iter().filter_map(|((scope, name), identity)| {
            // First, since every attach comes by here, and on most hosts nobody has any.
            let record = P::of_identity(identity)?;
            // A name outlives its network, which may be made anew at once.
            let network = state.networks.values().find(|network| State::scope(network) == *scope);
            Wanted::of_record(network, scope, name, record)
        });
        let by_id = |wanted: Wanted<_>| (wanted.id.clone(), wanted);
        let known = of_identities.chain(of_endpoints).map(by_id).collect();
        let before = std::mem::replace(&mut self.known, known);
        let in_hand = |id: &ClientId| self.active.values().any(|leasing| leasing.wanted.id == *id);
        // To a server that goes by MACs alone it may be the lease of whoever has the address now.
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
        // One that has run out is nobody's to give back.
        let parting: Vec<_> = leasings.filter(|leasing| leasing.client.held(boottime()).is_some()).collect();
        for leasing in parting {
            self.part(leasing);
        }
    }

    /// The parents by which answers come.
    pub(super) fn parents(&self) -> impl Iterator<Item = &IfName> {
        self.active.values().chain(&self.parting).map(|leasing| &leasing.wanted.parent)
    }

    /// The parents by which something is still to be given back.
    pub(super) fn parting(&self) -> impl Iterator<Item = &IfName> {
        self.parting.iter().map(|leasing| &leasing.wanted.parent)
    }

    /// The parent of an endpoint's.
    pub(super) fn parent_of(&self, key: &EndpointKey) -> Option<&IfName> {
        self.active.get(key).map(|leasing| &leasing.wanted.parent)
    }

    /// The sockets in containers.
    pub(super) fn open_inside(&self) -> Vec<Arc<UdpSocket>> {
        self.active.values().filter_map(|leasing| Some(leasing.inside.as_ref()?.0.clone())).collect()
    }

    /// Does what is due of those that may go on. Answers how long nothing will be, and whose stand otherwise than before.
    pub(super) fn turn(
        &mut self,
        send: &Send,
        mut may: impl FnMut(&mut Leasing<P>, Instant) -> bool,
    ) -> (Option<Duration>, Vec<EndpointKey>) {
        let (mut wait, mut news): (Option<Duration>, Vec<EndpointKey>) = (None, Vec::new());
        let mut until = |at: Option<Instant>, now: Instant| {
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
            // Since the one before, a moment may have passed.
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

    /// The clients whom a message by a parent may be for.
    pub(super) fn on(&mut self, parent: &IfName) -> impl Iterator<Item = &mut Leasing<P>> {
        let all = self.active.values_mut().chain(&mut self.parting);
        all.filter(move |leasing| leasing.wanted.parent == *parent)
    }

    /// Takes in what came to sockets in containers. What also came by the parent is ignored the second time, and what comes in floods
    /// has to wait: the thread has others to serve.
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

/// Since when a lease runs, in seconds since 1970.
fn began<L>(held: &Held<L>) -> u64 {
    seconds().saturating_sub(boottime().saturating_duration_since(held.since).as_secs())
}

/// The name under which a DHCP server may know a container.
pub(super) fn dns_name(name: &EndpointName) -> Option<DomainName> {
    name.as_str().replace(['_', '.'], "-").trim_matches('-').parse().ok()
}

/// The namespace of a container that is there.
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
        Loss::Refused(None) => "its server says that it is void".into(),
        Loss::Refused(Some(why)) => format!("its server says that it is void ({why:?})"),
        Loss::Expired => "it ended, and no server renewed it".into(),
        Loss::Taken => "another machine has the address".into(),
        Loss::Released => "it was given back".into(),
    }
}
