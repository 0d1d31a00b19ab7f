//! Leases of DHCPv6 servers: one client for each endpoint that asks one, on the thread that owns the sockets.
//!
//! Everything is sent by the parent, from the container's MAC and the link-local address that its kernel makes of it, and answers are
//! heard there: a packet socket on the parent sees them before its children do. The container answers the server's question who has
//! that address, so a client begins once the container is on the LAN. A socket in the container keeps its kernel from answering the
//! server that nobody listens, and hears what never comes by the parent: a bridge hands it to the container's port alone. It is open
//! only while an answer is to be expected, since it would keep the namespace alive.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ashore_core::endpoint::{Endpoint, Home, Stage};
use ashore_core::lease::{LeaseRecord, LeaseRecord6, Release};
use ashore_core::name::{EndpointName, IfName, NetworkName};
use ashore_core::network::Network;
use ashore_core::observed::View;
use ashore_core::state::{EndpointKey, State};
use ashore_kernel::boottime;
use ashore_wire::Mac;
use ashore_wire::dhcp::Client as _;
use ashore_wire::dhcp4::ClientId;
use ashore_wire::dhcp6::{
    Action, CLIENT_PORT, Checksum, Client, Config, Datagram, Held, Loss, Message, Outgoing, Recorded,
    State as Phase, Update,
};
use ashore_wire::slaac::Offer;

use super::leases::{LONGEST, dns_name, namespace_of, said};
use super::{Lan, Send, seconds};
use crate::daemon::random;

/// For how long an answer is expected in a container.
const LISTEN_FOR: Duration = Duration::from_secs(5);

/// By how much a lease as it is written down may differ from the clock that it runs by, in seconds: more is a step of the time of day.
const CLOSE: u64 = 5;

/// How a client stands.
#[derive(Debug, Clone)]
pub(crate) struct Standing6 {
    /// Its lease, if it may be used: as it is written down, and as it runs.
    pub(crate) lease: Option<(LeaseRecord6, Held)>,
    /// Whether it has one of which it is still to be seen whether it may be used.
    pub(crate) unclear: bool,
}

/// A client to be.
#[derive(Debug, Clone)]
struct Wanted6 {
    key: EndpointKey,
    parent: IfName,
    id: ClientId,
    mac: Mac,
    /// The lease from before.
    record: Option<LeaseRecord6>,
    release: Release,
}

impl Wanted6 {
    /// The client of an endpoint. Its server knows it by its identifier, whatever MAC it has by now.
    fn of(state: &State, network: &Network, endpoint: &Endpoint) -> Option<Self> {
        let identity = state.identities.get(&(State::scope(network), endpoint.name.clone()));
        let remembered = || identity.and_then(|identity| identity.lease6.as_deref());
        let record = endpoint.lease6.as_deref().or_else(remembered).cloned();
        let of_lease = endpoint.lease.as_ref().map(|record| record.id.clone());
        let id = record.as_ref().map(|record| record.id.clone()).or(of_lease);
        Some(Wanted6 {
            key: (endpoint.network.clone(), endpoint.name.clone()),
            parent: network.parent.clone(),
            id: id.unwrap_or_else(|| state.client_id(network, &endpoint.name)),
            mac: endpoint.mac?,
            record,
            release: network.leasing.release,
        })
    }

    /// The client that gives a lease back of which a name is remembered.
    fn of_record(network: &Network, name: &EndpointName, record: &LeaseRecord6) -> Self {
        Wanted6 {
            key: (network.name.clone(), name.clone()),
            parent: network.parent.clone(),
            id: record.id.clone(),
            mac: record.mac,
            record: Some(record.clone()),
            release: record.release,
        }
    }

    fn client(&self, in_use: bool) -> Option<Client> {
        let name = dns_name(&self.key.1).map(|name| (name, Update::Server));
        let config = Config { name, ..Config::of(&self.id)? };
        let (now, random) = (boottime(), random());
        Some(match &self.record {
            Some(record) => {
                let (lease, age) = (record.lease.clone(), record.age(seconds()));
                Client::resume(config, Recorded { lease, age, in_use }, now, random)
            }
            None => Client::new(config, now, random),
        })
    }

    fn record_of(&self, held: &Held) -> LeaseRecord6 {
        let age = boottime().saturating_duration_since(held.since).as_secs();
        let since = seconds().saturating_sub(age);
        let (lease, id) = (held.lease.clone(), self.id.clone());
        LeaseRecord { lease, since, id, mac: self.mac, release: self.release }
    }
}

/// One client, and what it takes to drive it.
struct Leasing6 {
    wanted: Wanted6,
    client: Client,
    /// Where its container is.
    home: Option<Home>,
    /// A socket in the container, and since when.
    inside: Option<(Arc<UdpSocket>, Instant)>,
    /// The address of which it wants to know whether anybody has it.
    asks: Option<Ipv6Addr>,
    /// Its lease as it is written down, once it may be used.
    lease: Option<LeaseRecord6>,
    /// Whether its address is preferred no longer.
    deprecated: bool,
}

/// All clients.
#[derive(Default)]
pub(super) struct Leases6 {
    clients: BTreeMap<EndpointKey, Leasing6>,
    /// What endpoints and identities have a lease of, and how to give it back.
    known: HashMap<ClientId, Wanted6>,
    /// Clients that have something to give back.
    parting: Vec<Leasing6>,
}

impl Lan {
    /// How an endpoint's client stands, if there is one.
    pub(crate) fn standing6(&self, key: &EndpointKey) -> Option<Standing6> {
        self.table().leases6.clients.get(key).map(Leasing6::standing)
    }

    /// The addresses of a network's clients of which they want to know whether anybody has them.
    pub(crate) fn asked6(&self, network: &NetworkName) -> Vec<(EndpointKey, Ipv6Addr)> {
        let table = self.table();
        let all = table.leases6.clients.iter().filter(|(key, _)| key.0 == *network);
        all.filter_map(|(key, leasing)| Some((key.clone(), leasing.asks?))).collect()
    }

    /// Tells a client whether it may use an address.
    pub(crate) fn settle6(&self, key: &EndpointKey, ip: Ipv6Addr, free: bool) {
        if let Some(leasing) = self.table().leases6.clients.get_mut(key) {
            leasing.asks.take_if(|asked| *asked == ip);
            if free {
                leasing.client.clear(ip);
            } else {
                leasing.client.taken(ip, boottime());
            }
        }
        self.shared.waker.wake();
    }
}

impl Leases6 {
    /// Takes in which endpoints ask a server, by what the routers of their parents say, and which parents are up.
    pub(super) fn follow(&mut self, state: &State, host: &View, offer: impl Fn(&IfName) -> Offer) {
        let asks = |endpoint: &Endpoint| {
            let network = state.network_of(endpoint).filter(|network| network.may_ask_dhcp6())?;
            // A lease that it has is kept, also while no router has spoken yet.
            let asks = endpoint.lease6.is_some() || network.asks_dhcp6(&offer(&network.parent));
            // A server would know one whose name is not known by a wrong name.
            let is_ready = endpoint.stage == Stage::Attached && !endpoint.is_unnamed();
            (is_ready && asks).then_some(network)
        };
        self.clients.retain(|key, _| state.endpoints.get(key).and_then(&asks).is_some());
        for (key, endpoint) in &state.endpoints {
            let Some(network) = asks(endpoint) else { continue };
            if let Some(leasing) = self.clients.get_mut(key) {
                leasing.home = Some(endpoint.home.clone());
                continue;
            }
            let wanted = Wanted6::of(state, network, endpoint);
            let address = wanted.as_ref().and_then(|wanted| Some(wanted.record.as_ref()?.lease.address));
            let in_use = address.is_some_and(|ip| endpoint.holds(ip.into()));
            let home = Some(endpoint.home.clone());
            if let Some(leasing) = wanted.and_then(|wanted| Leasing6::of(wanted, in_use, home)) {
                self.clients.insert(key.clone(), leasing);
            }
        }
        self.give_back_forgotten(state);
        for leasing in self.clients.values_mut() {
            let up = host.link(&leasing.wanted.parent).is_some_and(|parent| parent.up && parent.carrier);
            match (up, leasing.client.state()) {
                (true, Phase::Down) => leasing.client.link_up(boottime()),
                (false, phase) if phase != Phase::Down => leasing.client.link_down(),
                _ => {}
            }
        }
    }

    /// A lease that nobody remembers any more is given back.
    fn give_back_forgotten(&mut self, state: &State) {
        let of_endpoints = state.endpoints.values().filter_map(|endpoint| {
            let record = endpoint.lease6.as_deref()?;
            Some(Wanted6::of_record(state.network_of(endpoint)?, &endpoint.name, record))
        });
        let of_identities = state.identities.iter().filter_map(|((scope, name), identity)| {
            let record = identity.lease6.as_deref()?;
            let network = state.networks.values().find(|network| State::scope(network) == *scope)?;
            Some(Wanted6::of_record(network, name, record))
        });
        let by_id = |wanted: Wanted6| (wanted.id.clone(), wanted);
        let mut known: HashMap<ClientId, Wanted6> = of_identities.chain(of_endpoints).map(by_id).collect();
        // A name outlives its network, which may be made anew at once.
        let records = state.identities.values().filter_map(|identity| identity.lease6.as_deref());
        for record in records.filter(|record| !known.contains_key(&record.id)).collect::<Vec<_>>() {
            known.extend(self.known.remove(&record.id).map(by_id));
        }
        let before = std::mem::replace(&mut self.known, known);
        let in_hand = |id: &ClientId| self.clients.values().any(|leasing| leasing.wanted.id == *id);
        let forgotten = before.into_iter().filter(|(id, _)| !self.known.contains_key(id) && !in_hand(id));
        let parting = forgotten.filter_map(|(_, wanted)| {
            let mut leasing = Leasing6::of(wanted, true, None)?;
            leasing.client.release(boottime());
            Some(leasing)
        });
        self.parting.extend(parting);
    }

    /// The parents by which answers come.
    pub(super) fn parents(&self) -> impl Iterator<Item = &IfName> {
        self.clients.values().chain(&self.parting).map(|leasing| &leasing.wanted.parent)
    }

    /// The sockets in containers.
    pub(super) fn open_inside(&self) -> Vec<Arc<UdpSocket>> {
        self.clients.values().filter_map(|leasing| Some(leasing.inside.as_ref()?.0.clone())).collect()
    }

    /// Does what is due. Answers how long nothing will be, and by which parents something stands otherwise than before.
    pub(super) fn turn(&mut self, send: &Send) -> (Option<Duration>, BTreeSet<IfName>) {
        let (mut wait, mut news): (Option<Duration>, BTreeSet<IfName>) = (None, BTreeSet::new());
        let mut until = |at: Option<Instant>, now: Instant| {
            let next = at.map(|at| at.saturating_duration_since(now));
            wait = wait.into_iter().chain(next).min();
        };
        let now = boottime();
        self.parting.retain_mut(|leasing| {
            let next = leasing.drive(now, send).0;
            until(next, now);
            next.is_some()
        });
        for leasing in self.clients.values_mut() {
            let (next, changed) = leasing.drive(now, send);
            if changed {
                news.insert(leasing.wanted.parent.clone());
            }
            leasing.inside.take_if(|(_, since)| now.saturating_duration_since(*since) >= LISTEN_FOR);
            until(next, now);
            until(leasing.inside.as_ref().map(|(_, since)| *since + LISTEN_FOR), now);
        }
        (wait, news)
    }

    /// Takes in a frame that came by a parent.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8]) {
        // As of DHCPv4, the sum may not be there yet.
        let Some(datagram) = Datagram::to_client(frame, Checksum::Partial) else { return };
        let Some(message) = Message::decode(datagram.payload) else { return };
        let of = |leasing: &&mut Leasing6| {
            leasing.wanted.parent == *parent && leasing.wanted.mac == datagram.destination_mac
        };
        for leasing in self.clients.values_mut().chain(&mut self.parting).filter(of) {
            leasing.take(&message, datagram.source);
        }
    }

    /// Takes in what came to sockets in containers. What also came by the parent is ignored the second time.
    pub(super) fn hear_inside(&mut self) {
        let mut buffer = [0; LONGEST];
        for leasing in self.clients.values_mut() {
            let mut heard = Vec::new();
            if let Some((socket, _)) = &leasing.inside {
                while let Ok((length, SocketAddr::V6(from))) = socket.recv_from(&mut buffer) {
                    heard.extend(Message::decode(&buffer[..length]).map(|message| (message, *from.ip())));
                }
            }
            for (message, from) in heard {
                leasing.take(&message, from);
            }
        }
    }
}

impl Leasing6 {
    fn of(wanted: Wanted6, in_use: bool, home: Option<Home>) -> Option<Self> {
        let client = wanted.client(in_use)?;
        let lease = wanted.record.clone().filter(|_| in_use);
        Some(Leasing6 { wanted, client, home, inside: None, asks: None, lease, deprecated: false })
    }

    fn standing(&self) -> Standing6 {
        let held = self.client.held(boottime());
        let lease = held.and_then(|held| {
            let record = self.lease.as_ref().filter(|record| record.lease.address == held.ip())?;
            // By the time of day as it is now, or a daemon that starts anew would take it for older or younger than it is.
            let anew = LeaseRecord { since: self.wanted.record_of(held).since, ..record.clone() };
            let stepped = anew.since.abs_diff(record.since) > CLOSE && record.lease == held.lease;
            Some((if stepped { anew } else { record.clone() }, held.clone()))
        });
        Standing6 { unclear: held.is_some() && lease.is_none(), lease }
    }

    /// Does what is due at a moment. Answers when something will be next, and whether it stands otherwise than before.
    fn drive(&mut self, now: Instant, send: &Send) -> (Option<Instant>, bool) {
        let mut news = false;
        let until = loop {
            match self.client.poll(now) {
                Action::Wait(until) => break until,
                Action::Send(outgoing) => {
                    self.say(&outgoing, send);
                    continue;
                }
                Action::Probe(ip) => self.asks = Some(ip),
                Action::Bound(held, _) => {
                    (self.lease, self.asks) = (Some(self.wanted.record_of(&held)), None);
                }
                Action::Unconfirmed(held) => {
                    self.lease.get_or_insert_with(|| self.wanted.record_of(&held));
                    self.asks = None;
                }
                Action::Lost(loss) => {
                    let (network, name) = &self.wanted.key;
                    if loss == Loss::Released {
                        tracing::debug!(%network, %name, "its DHCPv6 lease is given back");
                    } else {
                        tracing::warn!(%network, %name, "its DHCPv6 lease is lost: {}", said(&loss));
                    }
                    (self.lease, self.asks) = (None, None);
                }
            }
            news = true;
        };
        // No new connection is to begin from it then, which nobody else says.
        let preferred_until = self.client.held(now).and_then(Held::deprecates);
        let deprecated = preferred_until.is_some_and(|at| at <= now);
        news |= deprecated != self.deprecated;
        self.deprecated = deprecated;
        (until.into_iter().chain(preferred_until.filter(|at| *at > now)).min(), news)
    }

    fn take(&mut self, message: &Message, from: Ipv6Addr) {
        if let Err(ignored) = self.client.receive(boottime(), message) {
            tracing::debug!(name = %self.wanted.key.1, %from, "a DHCPv6 message is ignored: {ignored}");
        }
    }

    fn say(&mut self, outgoing: &Outgoing, send: &Send) {
        self.listen_inside();
        let mac = self.wanted.mac;
        if let Err(error) = send(&self.wanted.parent, &outgoing.frame(mac, mac.link_local())) {
            tracing::debug!(parent = %self.wanted.parent, "nothing can be asked of a DHCPv6 server: {error}");
        }
    }

    /// Has a port open in the container, if it has a client of its own on it not already.
    fn listen_inside(&mut self) {
        let namespace = self.home.as_ref().and_then(namespace_of);
        let bind = || {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, CLIENT_PORT))?;
            socket.set_nonblocking(true)?;
            io::Result::Ok(Arc::new(socket))
        };
        // It is closed first, or the port would be taken.
        self.inside = None;
        if let Some(Ok(Ok(socket))) = namespace.map(|namespace| namespace.run(bind)) {
            self.inside = Some((socket, boottime()));
        }
    }
}
