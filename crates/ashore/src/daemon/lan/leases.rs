//! Leases: one DHCP client for each endpoint that has one, all on the thread that owns the sockets.
//!
//! What a client broadcasts goes out by the parent, from the container's MAC, and so it can before the container has a link.
//! What it asks of its lease's own server (T1), and of all servers when that one is silent (T2), goes by a socket in the
//! container, where the answer comes to, and is open for that long only: an open socket keeps a namespace alive, and with it
//! the link of a container that has ended.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ashore_core::endpoint::{Endpoint, Home, Source};
use ashore_core::lease::LeaseRecord;
use ashore_core::name::{EndpointName, IfName};
use ashore_core::observed::View;
use ashore_core::request::Refusal;
use ashore_core::state::{EndpointKey, State};
use ashore_kernel::{Namespace, boottime};
use ashore_wire::Mac;
use ashore_wire::dhcp::Client as _;
use ashore_wire::dhcp4::{
    Action, CLIENT_PORT, Checksum, Client, ClientId, Datagram, DomainName, Held, Ignored, Loss, Message,
    Outgoing, SERVER_PORT, State as Phase,
};

use super::{Lan, Send};

mod turn;
mod wanted;

pub(crate) use wanted::Wanted;

/// For how long an answer is waited for in a container; a server that pings the address first takes three seconds.
const LISTEN_FOR: Duration = Duration::from_secs(5);
/// A message fits an Ethernet frame.
pub(super) const LONGEST: usize = 1500;

/// How a client stands.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Its lease: a new one, a renewed one, or one from before that may be used.
    pub(crate) lease: Option<LeaseRecord>,
    /// Whether it has one of which it is still to be seen whether it may be used.
    pub(crate) unclear: bool,
    /// The address of which it wants to know whether anybody has it.
    pub(crate) asks: Option<Ipv4Addr>,
}

/// Where it is said of which client something has changed that nobody waits for. How it stands is to be looked up: whoever is
/// late must not act on what it was.
pub(crate) type Changed = Sender<EndpointKey>;

/// One client, and what it takes to drive it.
struct Leasing {
    wanted: Wanted,
    client: Client,
    /// Where its container is, once it is.
    home: Option<Home>,
    /// Who brought the last answer: the server, or the router on the way to it.
    from: Option<Mac>,
    /// A socket in the container, and since when. The parent may have brought the answer before the container's own stack
    /// has it, and that should find the socket open.
    inside: Option<(Arc<UdpSocket>, Instant)>,
    /// The address of which it wants to know whether anybody has it.
    asks: Option<Ipv4Addr>,
    /// Its lease as it is written down, once it may be used.
    lease: Option<LeaseRecord>,
    /// A server whose answer does not count.
    unheeded: Option<Ipv4Addr>,
    /// Whether somebody waits for it.
    awaited: bool,
    /// Since when it may ask, if it may.
    turn: Option<Instant>,
}

/// Why there is no lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLease {
    /// No server has given one in time.
    #[error("no DHCP server on the LAN of `{parent}` gave it an address within {} seconds", patience.as_secs())]
    Silent { parent: IfName, patience: Duration },
    /// Only a server that does not count has.
    #[error("of the DHCP servers on the LAN of `{parent}` only {server} answered, which is not to be heeded")]
    Unheeded { parent: IfName, server: Ipv4Addr },
    /// Every address that was offered is another machine's.
    #[error("the DHCP server on the LAN of `{parent}` gave it {ip}, which another machine has")]
    Taken { parent: IfName, ip: Ipv4Addr },
    /// Somebody else is about to get one under the same name.
    #[error("a lease for `{0}` is being got at this moment")]
    Busy(EndpointName),
    /// What was offered could not be looked for.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A lease for an endpoint that is not written down yet. Dropped, it is given back.
pub(crate) struct Acquired<'a> {
    lan: &'a Lan,
    key: EndpointKey,
    record: LeaseRecord,
    kept: Option<EndpointName>,
}

impl Acquired<'_> {
    pub(crate) fn record(&self) -> &LeaseRecord {
        &self.record
    }

    /// The endpoint is written down, and called so: from now on the lease is kept alive for as long as it is there.
    pub(crate) fn keep(mut self, name: EndpointName) {
        self.kept = Some(name);
    }
}

impl Drop for Acquired<'_> {
    fn drop(&mut self) {
        let mut table = self.lan.table();
        match self.kept.take() {
            Some(name) => table.leases.let_go(&self.key, name),
            None => table.leases.give_back(&self.key),
        }
        drop(table);
        self.lan.shared.waker.wake();
    }
}

impl Lan {
    /// Says where it is told of which client something has changed.
    pub(crate) fn tell(&self, changed: Changed) {
        self.table().leases.changed = Some(changed);
    }

    /// Tells of all clients as if they had changed.
    pub(crate) fn tell_all(&self) {
        let table = self.table();
        let unawaited = table.leases.clients.iter().filter(|(_, leasing)| !leasing.awaited);
        unawaited.for_each(|(key, _)| table.leases.say_changed(key.clone()));
    }

    /// How a client stands, if there is one.
    pub(crate) fn standing(&self, key: &EndpointKey) -> Option<Standing> {
        self.table().leases.clients.get(key).map(Leasing::standing)
    }

    /// Gets a lease within some time. Whether an address may be used is asked of `is_free`.
    pub(crate) fn acquire(
        &self,
        wanted: Wanted,
        patience: Duration,
        is_free: impl Fn(Ipv4Addr) -> Result<bool, Refusal>,
    ) -> Result<Acquired<'_>, NoLease> {
        let (key, parent) = (wanted.key.clone(), wanted.parent.clone());
        if !self.table().leases.begin(wanted) {
            return Err(NoLease::Busy(key.1));
        }
        self.shared.waker.wake();
        match self.wait_for_lease(&key, parent, patience, is_free) {
            Ok(record) => Ok(Acquired { lan: self, key, record, kept: None }),
            Err(error) => {
                self.table().leases.give_back(&key);
                self.shared.waker.wake();
                Err(error)
            }
        }
    }

    fn wait_for_lease(
        &self,
        key: &EndpointKey,
        parent: IfName,
        patience: Duration,
        is_free: impl Fn(Ipv4Addr) -> Result<bool, Refusal>,
    ) -> Result<LeaseRecord, NoLease> {
        let (queued, mut taken) = (boottime(), None);
        while let Some(standing) = self.next(key, queued, patience) {
            if let Some(record) = standing.lease {
                return Ok(record);
            }
            if let Some(ip) = standing.asks {
                let free = is_free(ip)?;
                taken = Some(ip).filter(|_| !free);
                self.settle(key, ip, free);
            }
        }
        Err(match taken {
            Some(ip) => NoLease::Taken { parent, ip },
            None => match self.table().leases.clients.get(key).and_then(|leasing| leasing.unheeded) {
                Some(server) => NoLease::Unheeded { parent, server },
                None => NoLease::Silent { parent, patience },
            },
        })
    }

    /// How a client stands once there is something to do about it. It has some time from when it may ask.
    fn next(&self, key: &EndpointKey, queued: Instant, patience: Duration) -> Option<Standing> {
        let mut table = self.table();
        loop {
            let leasing = table.leases.clients.get(key)?;
            let standing = leasing.standing();
            if standing.lease.is_some() || standing.asks.is_some() {
                return Some(standing);
            }
            let end = leasing.turn.map_or(queued + turn::QUEUE, |turn| turn + patience);
            let left = end.checked_duration_since(boottime())?;
            let waited = self.shared.ended.wait_timeout(table, left);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends a client without a word to its server.
    pub(crate) fn abandon(&self, key: &EndpointKey) {
        self.table().leases.clients.remove(key);
    }

    /// Tells a client whether it may use an address.
    pub(crate) fn settle(&self, key: &EndpointKey, ip: Ipv4Addr, free: bool) {
        self.table().leases.settle(key, ip, free);
        self.shared.waker.wake();
    }
}

/// All clients.
#[derive(Default)]
pub(super) struct Leases {
    clients: BTreeMap<EndpointKey, Leasing>,
    /// What endpoints and identities have a lease of, and how to ask for it.
    known: HashMap<ClientId, Wanted>,
    /// Clients that have something to give back.
    parting: Vec<Leasing>,
    changed: Option<Changed>,
}

impl Leases {
    /// Begins a client for somebody who waits for it, unless somebody waits for one of that name already.
    pub(super) fn begin(&mut self, wanted: Wanted) -> bool {
        if self.clients.get(&wanted.key).is_some_and(|there| there.awaited) {
            return false;
        }
        let leasing = Leasing { awaited: true, ..Leasing::of(wanted, false, None) };
        self.clients.insert(leasing.wanted.key.clone(), leasing);
        true
    }

    /// Nobody waits for it any more, and its endpoint is called so. It may stand otherwise than a moment ago.
    fn let_go(&mut self, key: &EndpointKey, name: EndpointName) {
        if let Some(mut leasing) = self.clients.remove(key) {
            leasing.awaited = false;
            leasing.wanted.key.1 = name;
            let key = leasing.wanted.key.clone();
            self.clients.insert(key.clone(), leasing);
            self.say_changed(key);
        }
    }

    fn say_changed(&self, key: EndpointKey) {
        if let Some(changed) = &self.changed {
            // The thread that listens ends with the daemon alone.
            let _ = changed.send(key);
        }
    }

    /// Ends a client. Its lease is given back with the next turn, unless it is one from before, which its name remembers.
    fn give_back(&mut self, key: &EndpointKey) {
        if let Some(mut leasing) = self.clients.remove(key)
            && !leasing.has_remembered()
        {
            leasing.client.release(boottime());
            self.parting.push(leasing);
        }
    }

    /// What became of a look for an address.
    pub(super) fn settle(&mut self, key: &EndpointKey, ip: Ipv4Addr, free: bool) {
        let Some(leasing) = self.clients.get_mut(key) else { return };
        leasing.asks.take_if(|asked| *asked == ip);
        if free {
            leasing.client.clear(ip);
        } else {
            leasing.client.taken(ip, boottime());
        }
    }

    /// Takes in which endpoints have leases, and which parents are up.
    pub(super) fn follow(&mut self, state: &State, host: &View) {
        let leased = |endpoint: &&Endpoint| endpoint.source == Source::Lease;
        let of = |endpoint: &Endpoint| (endpoint.network.clone(), endpoint.name.clone());
        self.clients
            .retain(|key, leasing| leasing.awaited || state.endpoints.get(key).as_ref().is_some_and(leased));
        for endpoint in state.endpoints.values().filter(leased) {
            let Some(network) = state.network_of(endpoint) else { continue };
            let there = self.clients.get_mut(&of(endpoint));
            if let Some(leasing) = there {
                leasing.home = Some(endpoint.home.clone());
            } else if let Some(wanted) = Wanted::of(state, network, endpoint, host) {
                // What is written down is the endpoint's, also while it has no link.
                let in_use = endpoint.lease.is_some();
                let leasing = Leasing::of(wanted, in_use, Some(endpoint.home.clone()));
                self.clients.insert(of(endpoint), leasing);
            }
        }
        self.give_back_forgotten(state, host);
        for leasing in self.clients.values_mut() {
            let up = host.link(&leasing.wanted.parent).is_some_and(|parent| parent.up && parent.carrier);
            match (up, leasing.client.state()) {
                (true, Phase::Down) => leasing.client.link_up(boottime()),
                (false, phase) if phase != Phase::Down => leasing.client.link_down(),
                _ => {}
            }
        }
    }

    /// A lease that nobody remembers any more is given back: that of a forgotten name, or of a container that only had it for
    /// want of its own.
    fn give_back_forgotten(&mut self, state: &State, host: &View) {
        let leased = state.endpoints.values().filter(|endpoint| endpoint.lease.is_some());
        let of_endpoints =
            leased.filter_map(|endpoint| Wanted::of(state, state.network_of(endpoint)?, endpoint, host));
        let of_identities = state.identities.iter().filter_map(|((scope, name), identity)| {
            // First, since every attach comes by here, and on most hosts nobody has any.
            let record = identity.lease.as_deref()?.clone();
            let network = state.networks.values().find(|network| State::scope(network) == *scope)?;
            Some(Wanted {
                key: (network.name.clone(), name.clone()),
                parent: network.parent.clone(),
                id: record.id.clone(),
                mac: record.mac,
                wish: None,
                record: Some(record),
                leasing: network.leasing.clone(),
            })
        });
        let by_id = |wanted: Wanted| (wanted.id.clone(), wanted);
        let mut known: HashMap<ClientId, Wanted> = of_identities.chain(of_endpoints).map(by_id).collect();
        // A name outlives its network, which may be made anew at once.
        let records = state.identities.values().filter_map(|identity| identity.lease.as_deref());
        for record in records.filter(|record| !known.contains_key(&record.id)).collect::<Vec<_>>() {
            known.extend(self.known.remove(&record.id).map(by_id));
        }
        let before = std::mem::replace(&mut self.known, known);
        let in_hand = |id: &ClientId| self.clients.values().any(|leasing| leasing.wanted.id == *id);
        let forgotten = before.into_iter().filter(|(id, _)| !self.known.contains_key(id) && !in_hand(id));
        let parting = forgotten.map(|(_, wanted)| {
            let mut leasing = Leasing::of(wanted, true, None);
            leasing.client.release(boottime());
            leasing
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

    /// Does what is due. Answers how long nothing will be, and whether somebody who waits has something to hear.
    pub(super) fn turn(&mut self, send: &Send) -> (Option<Duration>, bool) {
        let (mut wait, mut heard, mut changed): (Option<Duration>, bool, Vec<EndpointKey>) =
            (None, false, Vec::new());
        for mut leasing in std::mem::take(&mut self.parting) {
            while let Action::Send(outgoing) = leasing.client.poll(boottime()) {
                leasing.say_on_lan(&outgoing, send);
            }
        }
        let mut asking = self.asking();
        for (key, leasing) in &mut self.clients {
            let now = boottime();
            if !leasing.may_ask(now, &mut asking) {
                wait = wait.into_iter().chain([turn::LOOK_AGAIN]).min();
                continue;
            }
            let (until, news) = leasing.drive(now, send);
            if news && leasing.awaited {
                heard = true;
            } else if news {
                changed.push(key.clone());
            }
            leasing.inside.take_if(|(_, since)| now.saturating_duration_since(*since) >= LISTEN_FOR);
            let closes = leasing.inside.as_ref().map(|(_, since)| *since + LISTEN_FOR);
            let next = until.into_iter().chain(closes).map(|at| at.saturating_duration_since(now));
            wait = wait.into_iter().chain(next).min();
        }
        for key in changed {
            self.say_changed(key);
        }
        (wait, heard)
    }

    /// Takes in a frame that came by a parent.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8]) {
        // What comes over a wire bears Ethernet's own checksum, and what comes from a neighbour on the same machine has none of
        // UDP's yet.
        let Some(datagram) = Datagram::to_client(frame, Checksum::Partial) else { return };
        let Some(message) = Message::decode(datagram.payload) else { return };
        let of =
            |leasing: &&mut Leasing| leasing.wanted.parent == *parent && leasing.wanted.mac == message.chaddr;
        for leasing in self.clients.values_mut().filter(of) {
            leasing.take(&message, datagram.source, Some(datagram.source_mac));
        }
    }

    /// Takes in what came to sockets in containers.
    pub(super) fn hear_inside(&mut self) {
        let mut buffer = [0; LONGEST];
        for leasing in self.clients.values_mut() {
            let mut heard = Vec::new();
            if let Some((socket, _)) = &leasing.inside {
                while let Ok((length, std::net::SocketAddr::V4(from))) = socket.recv_from(&mut buffer) {
                    heard.extend(Message::decode(&buffer[..length]).map(|message| (message, *from.ip())));
                }
            }
            for (message, from) in heard {
                leasing.take(&message, from, None);
            }
        }
    }
}

impl Leasing {
    fn of(wanted: Wanted, in_use: bool, home: Option<Home>) -> Self {
        let client = wanted.client(in_use);
        let lease = wanted.record.clone().filter(|_| in_use);
        let (from, inside, asks, unheeded, turn) = (None, None, None, None, None);
        Leasing { wanted, client, home, from, inside, asks, lease, unheeded, awaited: false, turn }
    }

    fn standing(&self) -> Standing {
        let holds = self.client.held(boottime()).is_some();
        let lease = self.lease.clone().filter(|_| holds);
        Standing { unclear: holds && lease.is_none(), lease, asks: self.asks }
    }

    /// Whether it has the lease that its name had before.
    fn has_remembered(&self) -> bool {
        let before = self.wanted.record.as_ref().map(|record| record.lease.address.addr());
        before.is_some() && self.client.held(boottime()).map(Held::ip) == before
    }

    /// Does what is due at a moment. Answers when something will be next, and whether it stands otherwise than before.
    fn drive(&mut self, now: Instant, send: &Send) -> (Option<Instant>, bool) {
        let mut news = false;
        loop {
            match self.client.poll(now) {
                Action::Wait(until) => return (until, news),
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
                    let name = &self.wanted.key.1;
                    tracing::warn!(network = %self.wanted.key.0, %name, "its lease is lost: {}", said(&loss));
                    (self.lease, self.asks) = (None, None);
                }
            }
            news = true;
        }
    }

    fn take(&mut self, message: &Message, source: Ipv4Addr, mac: Option<Mac>) {
        match self.client.receive(boottime(), message, Some(source)) {
            Ok(()) => self.from = mac.or(self.from),
            Err(ignored) => {
                if let Ignored::OtherServer(server) = ignored
                    && !self.wanted.leasing.servers.accept(&server)
                {
                    self.unheeded = Some(server);
                }
                tracing::debug!(name = %self.wanted.key.1, from = %source, "a DHCP message is ignored: {ignored}");
            }
        }
    }

    fn say(&mut self, outgoing: &Outgoing, send: &Send) {
        if matches!(self.client.state(), Phase::Renewing | Phase::Rebinding) {
            match self.say_inside(outgoing) {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(name = %self.wanted.key.1, "no renewal from the container itself: {error}");
                }
            }
        }
        self.say_on_lan(outgoing, send);
    }

    /// Says it from the container, which knows the way to the server.
    fn say_inside(&mut self, outgoing: &Outgoing) -> io::Result<()> {
        let home = self.home.as_ref().ok_or(io::ErrorKind::NotFound)?;
        // A broadcast leaves by the link that has the address which the socket is bound to.
        let bind = || UdpSocket::bind(SocketAddrV4::new(outgoing.from, CLIENT_PORT));
        let socket = namespace_of(home).ok_or(io::ErrorKind::NotFound)?.run(bind)??;
        socket.set_nonblocking(true)?;
        socket.set_broadcast(true)?;
        socket.send_to(&outgoing.payload, SocketAddrV4::new(outgoing.to, SERVER_PORT))?;
        self.inside = Some((Arc::new(socket), boottime()));
        Ok(())
    }

    fn say_on_lan(&self, outgoing: &Outgoing, send: &Send) {
        // Nobody there to ask who has a server's address: whoever brought its last answer knows, or all may hear it.
        let to = self.from.filter(|_| !outgoing.to.is_broadcast()).unwrap_or(Mac::BROADCAST);
        if let Err(error) = send(&self.wanted.parent, &outgoing.frame(self.wanted.mac, to)) {
            tracing::debug!(parent = %self.wanted.parent, "nothing can be asked of a DHCP server: {error}");
        }
    }
}

/// The name under which a DHCP server may know a container.
pub(super) fn dns_name(name: &EndpointName) -> Option<DomainName> {
    name.as_str().replace(['_', '.'], "-").trim_matches('-').parse().ok()
}

/// The namespace of a container that is there.
pub(super) fn namespace_of(home: &Home) -> Option<Namespace> {
    match home {
        Home::Netns { netns, .. } => Namespace::find(netns),
        Home::Engine { sandbox, .. } => sandbox.as_ref().and_then(|path| Namespace::open(path).ok()),
    }
}

pub(super) fn said(loss: &Loss) -> String {
    match loss {
        Loss::Refused(None) => "its server says that it is void".into(),
        Loss::Refused(Some(why)) => format!("its server says that it is void ({why:?})"),
        Loss::Expired => "it ended, and no server renewed it".into(),
        Loss::Taken => "another machine has the address".into(),
        Loss::Released => "it was given back".into(),
    }
}
