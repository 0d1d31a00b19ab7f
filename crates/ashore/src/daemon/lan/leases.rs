//! Leases of IPv4 addresses, and how one is got.
//!
//! What a client broadcasts goes out by the parent, from the container's MAC, and so it can before the container has a link.
//! What it asks of its lease's own server (T1), and of all servers when that one is silent (T2), goes by a socket in the
//! container, where the answer comes to, and is open for that long only: an open socket keeps a namespace alive, and with it
//! the link of a container that has ended.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::PoisonError;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ashore_core::api::refusal::Refusal;
use ashore_core::model::endpoint::{Endpoint, Source};
use ashore_core::model::identity::Identity;
use ashore_core::model::lease::LeaseRecord;
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::name::{EndpointKey, EndpointName, IfName};
use ashore_core::net::observed::View;
use ashore_kernel::boottime;
use ashore_wire::Mac;
use ashore_wire::dhcp::{Client as _, Lease as _};
use ashore_wire::dhcp4::{
    CLIENT_PORT, Checksum, Client, Config, Datagram, Held, Ignored, Lease, Message, Name, Outgoing,
    SERVER_PORT, State as Phase,
};

use super::clients::{self, Clients, Protocol, dns_name};
use super::{Lan, Send, Table};
use crate::daemon::random;

mod turn;
mod wanted;

pub(crate) use wanted::Wanted;

/// How a client stands.
pub(crate) type Standing = clients::Standing<Lease>;

/// Where it is said of which client something has changed that nobody waits for. How it stands is to be looked up: whoever is
/// late must not act on what it was.
pub(crate) type Changed = Sender<EndpointKey>;

/// Who is told so, once there is somebody.
#[derive(Default)]
pub(super) struct Changes(Option<Changed>);

impl Changes {
    pub(super) fn say(&self, key: EndpointKey) {
        if let Some(changed) = &self.0 {
            // The thread that listens ends with the daemon alone.
            let _ = changed.send(key);
        }
    }
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
    /// Of what was offered nothing can be used.
    #[error("what the DHCP server {server} on the LAN of `{parent}` gave it cannot be used: {why}")]
    Unfit { parent: IfName, server: Ipv4Addr, why: Ignored },
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
    client: Awaited<'a>,
    record: LeaseRecord,
}

/// A client for whose lease a request waits. Dropped, it ends and gives back what it has, unless its endpoint is written down.
struct Awaited<'a> {
    lan: &'a Lan,
    key: EndpointKey,
    kept: Option<EndpointName>,
}

impl Acquired<'_> {
    pub(crate) fn record(&self) -> &LeaseRecord {
        &self.record
    }

    /// The endpoint is written down, and called so: from now on the lease is kept alive for as long as it is there.
    pub(crate) fn keep(mut self, name: EndpointName) {
        self.client.kept = Some(name);
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut table = self.lan.table();
        match self.kept.take() {
            // It may stand otherwise than a moment ago.
            Some(name) => {
                if let Some(key) = table.leases.let_go(&self.key, name) {
                    table.changes.say(key);
                }
            }
            None => table.leases.give_back(&self.key),
        }
        drop(table);
        self.lan.shared.waker.wake();
    }
}

impl Lan {
    /// Says where it is told of which client something has changed.
    pub(crate) fn tell(&self, changed: Changed) {
        self.table().changes = Changes(Some(changed));
    }

    /// Tells of all clients as if they had changed.
    pub(crate) fn tell_all(&self) {
        let table = self.table();
        let unawaited = table.leases.active.iter().filter(|(_, leasing)| !leasing.own.awaited);
        unawaited.for_each(|(key, _)| table.changes.say(key.clone()));
    }

    /// How a client stands, if there is one.
    pub(crate) fn standing(&self, key: &EndpointKey) -> Option<Standing> {
        self.table().leases.standing(key)
    }

    /// Whether somebody waits for a lease.
    pub(crate) fn awaits_lease(&self, key: &EndpointKey) -> bool {
        self.table().leases.is_awaited(key)
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
        let client = Awaited { lan: self, key, kept: None };
        let record = self.wait_for_lease(&client.key, parent, patience, is_free)?;
        Ok(Acquired { client, record })
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
            if let Some((record, _)) = standing.lease {
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
            None => match self.table().leases.active.get(key).and_then(|leasing| leasing.own.ignored.clone())
            {
                Some((_, Ignored::OtherServer(server))) => NoLease::Unheeded { parent, server },
                Some((server, why)) => NoLease::Unfit { parent, server, why },
                None => NoLease::Silent { parent, patience },
            },
        })
    }

    /// How a client stands once there is something to do about it. It has some time from when it may ask.
    fn next(&self, key: &EndpointKey, queued: Instant, patience: Duration) -> Option<Standing> {
        let mut table = self.table();
        loop {
            let Table { leases, forwarding, .. } = &mut *table;
            let leasing = leases.active.get_mut(key)?;
            let standing = leasing.standing();
            if standing.lease.is_some() || standing.asks.is_some() {
                return Some(standing);
            }
            // Before a port forwards, there is nobody to answer.
            let answers = forwarding.answers_since(&leasing.wanted.parent);
            let since = |asked: Instant| answers.map_or(asked, |answers| answers.max(asked));
            let end =
                leasing.own.turn.map_or_else(|| since(queued) + turn::QUEUE, |turn| since(turn) + patience);
            let left = end.checked_duration_since(boottime())?;
            let waited = self.shared.ended.wait_timeout(table, left);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends a client without a word to its server.
    pub(crate) fn abandon(&self, key: &EndpointKey) {
        self.table().leases.active.remove(key);
    }

    /// Tells a client whether it may use an address.
    pub(crate) fn settle(&self, key: &EndpointKey, ip: Ipv4Addr, free: bool) {
        self.table().leases.settle(key, ip, free);
        self.shared.waker.wake();
    }
}

/// Leases of IPv4 addresses.
pub(super) enum Dhcp4 {}

/// What a client of DHCPv4's has beside what any has.
#[derive(Default)]
pub(super) struct Own {
    /// An answer that does not count, or of which nothing can be made, and who sent it.
    ignored: Option<(Ipv4Addr, Ignored)>,
    /// Whether somebody waits for it.
    awaited: bool,
    /// Since when it may ask, if it may.
    turn: Option<Instant>,
}

type Leasing = clients::Leasing<Dhcp4>;

/// All clients.
pub(super) type Leases = Clients<Dhcp4>;

impl Protocol for Dhcp4 {
    type Client = Client;
    type Own = Own;
    const NAME: &str = "DHCP";

    fn client(wanted: &Wanted, in_use: bool) -> Option<Client> {
        let config = Config {
            // The link may not be there yet, and the NIC lets no frame through that is for its MAC alone.
            broadcast: true,
            name: dns_name(&wanted.key.1).map(Name::Host),
            requested: wanted.requested,
            servers: wanted.leasing.servers.clone(),
            ..Config::new(wanted.mac, wanted.id.clone())
        };
        let (now, random) = (boottime(), random());
        Some(match wanted.recorded(in_use) {
            Some(recorded) => Client::resume(config, recorded, now, random),
            None => Client::new(config, now, random),
        })
    }

    fn wanted(state: &State, network: &Network, endpoint: &Endpoint, host: &View) -> Option<Wanted> {
        Wanted::of(state, network, endpoint, host)
    }

    fn of_endpoint(endpoint: &Endpoint) -> Option<&LeaseRecord> {
        endpoint.lease.as_deref()
    }

    fn of_identity(identity: &Identity) -> Option<&LeaseRecord> {
        identity.lease.as_deref()
    }

    fn is_awaited(own: &Own) -> bool {
        own.awaited
    }

    fn say(leasing: &mut Leasing, outgoing: &Outgoing, send: &Send) {
        if matches!(leasing.client.state(), Phase::Renewing | Phase::Rebinding) {
            match leasing.say_inside(outgoing) {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(name = %leasing.wanted.key.1, "no renewal from the container itself: {error}");
                }
            }
        }
        // Nobody there to ask who has a server's address: whoever brought its last answer knows, or all may hear it.
        let to = leasing.from.filter(|_| !outgoing.to.is_broadcast()).unwrap_or(Mac::BROADCAST);
        if let Err(error) = send(&leasing.wanted.parent, &outgoing.frame(leasing.wanted.mac, to)) {
            tracing::debug!(parent = %leasing.wanted.parent, "nothing can be asked of a DHCP server: {error}");
        }
    }

    fn take(leasing: &mut Leasing, message: &[u8], from: SocketAddr) {
        if let (Some(message), SocketAddr::V4(from)) = (Message::decode(message), from) {
            leasing.take(&message, *from.ip(), None);
        }
    }
}

impl Leases {
    /// Begins a client for somebody who waits for it, unless somebody waits for one of that name already.
    fn begin(&mut self, wanted: Wanted) -> bool {
        let key = wanted.key.clone();
        if self.is_awaited(&key) {
            return false;
        }
        let Some(mut leasing) = Leasing::of(wanted, false, None) else { return false };
        leasing.own.awaited = true;
        self.active.insert(key, leasing);
        true
    }

    /// Nobody waits for it any more, and its endpoint is called so.
    fn let_go(&mut self, key: &EndpointKey, name: EndpointName) -> Option<EndpointKey> {
        let mut leasing = self.active.remove(key)?;
        leasing.own.awaited = false;
        leasing.wanted.key.1 = name;
        let key = leasing.wanted.key.clone();
        self.active.insert(key.clone(), leasing);
        Some(key)
    }

    /// Ends a client. Its lease is given back, unless it is one from before, which its name remembers.
    fn give_back(&mut self, key: &EndpointKey) {
        if let Some(leasing) = self.active.remove(key)
            && !leasing.has_remembered()
        {
            self.part(leasing);
        }
    }

    /// Takes in which endpoints have leases, and which parents are up.
    pub(super) fn follow_leased(&mut self, state: &State, host: &View) {
        self.follow(state, host, |endpoint, _| endpoint.source == Source::Lease);
    }

    /// Does what is due, of those whose turn it is. Answers how long nothing will be, and who stand otherwise than before: whether
    /// some for whom somebody waits, and which others.
    pub(super) fn turn_by_turn(&mut self, send: &Send) -> (Option<Duration>, bool, Vec<EndpointKey>) {
        let (mut asking, mut queued, mut begun) = (self.asking(), None, false);
        let (wait, news) = self.turn(send, |leasing, now| {
            let waits = leasing.own.awaited && leasing.own.turn.is_none();
            let may = leasing.may_ask(now, &mut asking);
            // Whoever waits for it has some time from now on.
            begun |= waits && may;
            queued = queued.or((!may).then_some(turn::LOOK_AGAIN));
            may
        });
        let awaited = |key: &EndpointKey| self.is_awaited(key);
        let (heard, changed): (Vec<_>, Vec<_>) = news.into_iter().partition(awaited);
        (wait.into_iter().chain(queued).min(), begun || !heard.is_empty(), changed)
    }

    /// The MACs of clients by a parent that have no link yet. A server may answer to them alone, though it is asked not to.
    pub(super) fn macs_on(&self, parent: &IfName) -> BTreeSet<Mac> {
        let active = self.active.values().filter(|leasing| leasing.own.awaited);
        active.filter(|leasing| leasing.wanted.parent == *parent).map(|leasing| leasing.wanted.mac).collect()
    }

    /// Takes in a frame that came by a parent.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8]) {
        // What comes over a wire bears Ethernet's own checksum, and what comes from a neighbour on the same machine has none of
        // UDP's yet.
        let Some(datagram) = Datagram::to_client(frame, Checksum::Partial) else { return };
        let Some(message) = Message::decode(datagram.payload) else { return };
        for leasing in self.on(parent).filter(|leasing| leasing.wanted.mac == message.chaddr) {
            leasing.take(&message, datagram.source, Some(datagram.source_mac));
        }
    }
}

impl Leasing {
    /// Whether it has the lease that its name had before.
    fn has_remembered(&self) -> bool {
        let before = self.wanted.record.as_ref().map(|record| record.lease.ip());
        before.is_some() && self.client.held(boottime()).map(Held::ip) == before
    }

    fn take(&mut self, message: &Message, source: Ipv4Addr, mac: Option<Mac>) {
        match self.client.receive(boottime(), message, Some(source)) {
            Ok(()) => self.from = mac.or(self.from),
            Err(ignored) => {
                tracing::debug!(name = %self.wanted.key.1, from = %source, "a DHCP message is ignored: {ignored}");
                let unheeded = match &ignored {
                    Ignored::OtherServer(server) => !self.wanted.leasing.servers.accept(server),
                    _ => false,
                };
                // Whose answers count comes first.
                if ignored.is_unfit() || (unheeded && self.own.ignored.is_none()) {
                    self.own.ignored = Some((source, ignored));
                }
            }
        }
    }

    /// Says it from the container, which knows the way to the server.
    fn say_inside(&mut self, outgoing: &Outgoing) -> io::Result<()> {
        let from = outgoing.from;
        // A broadcast leaves by the link that has the address which the socket is bound to.
        let to = SocketAddrV4::new(outgoing.to, SERVER_PORT);
        self.listen_inside(|| {
            let socket = UdpSocket::bind(SocketAddrV4::new(from, CLIENT_PORT))?;
            socket.set_broadcast(true)?;
            socket.send_to(&outgoing.payload, to)?;
            Ok(socket)
        })
    }
}
