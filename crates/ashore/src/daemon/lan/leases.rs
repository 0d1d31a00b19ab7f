//! Leases of IPv4 addresses, and how they are acquired.
//!
//! What a client broadcasts is sent through the parent, from the container's MAC, so a client can ask before
//! the container has a link. A renewal to the lease's own server (T1), and to all servers if that one is
//! silent (T2), is sent from a socket in the container, where the answer arrives. The socket is open only for
//! that time, because an open socket keeps a namespace alive, and with it the link of a container that has
//! ended.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::PoisonError;
use std::sync::mpsc::Sender;
use std::time::Duration;

use ashore_core::api::refusal::Refusal;
use ashore_core::model::endpoint::{Endpoint, Source};
use ashore_core::model::identity::Identity;
use ashore_core::model::lease::LeaseRecord;
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::name::{EndpointKey, EndpointName, IfName};
use ashore_core::net::observed::View;
use ashore_core::rules::wishes::WishError;
use ashore_kernel::boottime;
use ashore_wire::dhcp::{Client as _, Lease as _};
use ashore_wire::dhcp4::{
    CLIENT_PORT, Checksum, Client, Config, Datagram, Held, Ignored, Lease, Message, Name, Outgoing,
    SERVER_PORT, State as Phase, Update,
};
use ashore_wire::{Boottime, Mac};

use super::clients::{self, Clients, Protocol};
use super::{Lan, Send, Table};
use crate::daemon::random;
use crate::unlocked::Unlocked;

mod turn;
mod wanted;

pub(crate) use wanted::Wanted;

/// The standing of a client.
pub(crate) type Standing = clients::Standing<Lease>;

/// How long a client may take to use an address that it was told is free. It is the LAN thread's next turn.
const TO_BIND: Duration = Duration::from_secs(1);

/// The channel for the clients that have changed without a request waiting for them. The receiver must look
/// up the current standing, because it may be late.
pub(crate) type Changed = Sender<EndpointKey>;

/// The sender of changes, once there is a receiver.
#[derive(Default)]
pub(super) struct Changes(Option<Changed>);

impl Changes {
    pub(super) fn say(&self, key: EndpointKey) {
        if let Some(changed) = &self.0 {
            // The LAN thread lives as long as the daemon, so an error can be ignored.
            let _ = changed.send(key);
        }
    }
}

/// Why there is no lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLease {
    /// No server offered an address in time.
    #[error("no DHCP server on the LAN of `{parent}` gave an address within {} seconds", patience.as_secs())]
    Silent { parent: IfName, patience: Duration },
    /// Only a server whose answers do not count has answered.
    #[error(
        "of the DHCP servers on the LAN of `{parent}`, only {server} answered, and its answers do not count"
    )]
    Unheeded { parent: IfName, server: Ipv4Addr },
    /// No offer can be used.
    #[error("the answer of the DHCP server {server} on the LAN of `{parent}` cannot be used: {why}")]
    Unfit { parent: IfName, server: Ipv4Addr, why: Ignored },
    /// Every address that was offered belongs to another machine.
    #[error("the DHCP server on the LAN of `{parent}` gave {ip}, which another machine has")]
    Taken { parent: IfName, ip: Ipv4Addr },
    /// Another request is acquiring a lease under the same name.
    #[error("another request is acquiring a lease for `{0}` at this moment")]
    Busy(EndpointName),
    /// A client of another name has the identifier, and a server would take both for one.
    #[error(transparent)]
    SameClient(WishError),
    /// The offered address could not be probed.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A lease for an endpoint that is not recorded yet. If it is dropped, the lease is released.
pub(crate) struct Acquired<'a> {
    client: Awaited<'a>,
    record: LeaseRecord,
}

/// A client that a request waits for. If it is dropped, the client ends and releases its lease, unless its
/// endpoint was recorded.
struct Awaited<'a> {
    lan: &'a Lan,
    key: EndpointKey,
    kept: Option<EndpointName>,
}

impl Acquired<'_> {
    pub(crate) fn record(&self) -> &LeaseRecord {
        &self.record
    }

    /// Keeps the lease for an endpoint that has been recorded under this name, and renews it while the
    /// endpoint exists.
    pub(crate) fn keep(mut self, name: EndpointName) {
        self.client.kept = Some(name);
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut table = self.lan.table();
        match self.kept.take() {
            // The standing may have changed in the meantime.
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
    /// Sets the channel for changes to clients.
    pub(crate) fn tell(&self, changed: Changed) {
        self.table().changes = Changes(Some(changed));
    }

    /// Reports all clients as changed.
    pub(crate) fn tell_all(&self) {
        let table = self.table();
        let unawaited = table.leases.active.iter().filter(|(_, leasing)| !leasing.own.awaited);
        unawaited.for_each(|(key, _)| table.changes.say(key.clone()));
    }

    /// The standing of a client, or `None` if there is no client.
    pub(crate) fn standing(&self, key: &EndpointKey) -> Option<Standing> {
        self.table().leases.standing(key)
    }

    /// Whether a request waits for a lease.
    pub(crate) fn awaits_lease(&self, key: &EndpointKey) -> bool {
        self.table().leases.is_awaited(key)
    }

    /// Acquires a lease within some time. `is_free` tells whether an address may be used.
    pub(crate) fn acquire(
        &self,
        unlocked: &mut Unlocked,
        wanted: Wanted,
        patience: Duration,
        is_free: impl Fn(&mut Unlocked, Ipv4Addr) -> Result<bool, Refusal>,
    ) -> Result<Acquired<'_>, NoLease> {
        let (key, parent) = (wanted.key.clone(), wanted.parent.clone());
        self.table().leases.begin(wanted)?;
        self.shared.waker.wake();
        let client = Awaited { lan: self, key, kept: None };
        let record = self.wait_for_lease(unlocked, &client.key, parent, patience, is_free)?;
        Ok(Acquired { client, record })
    }

    fn wait_for_lease(
        &self,
        unlocked: &mut Unlocked,
        key: &EndpointKey,
        parent: IfName,
        patience: Duration,
        is_free: impl Fn(&mut Unlocked, Ipv4Addr) -> Result<bool, Refusal>,
    ) -> Result<LeaseRecord, NoLease> {
        let (queued, mut taken) = (boottime(), None);
        // An address whose look outlasts the patience is used all the same.
        let mut least = queued;
        while let Some(standing) = self.next(key, queued, patience, least) {
            if let Some((record, _)) = standing.lease {
                return Ok(record);
            }
            if let Some(ip) = standing.asks {
                if is_free(unlocked, ip)? {
                    self.settle(key, ip, true);
                    least = boottime() + TO_BIND;
                } else {
                    self.settle(key, ip, false);
                    taken = Some(ip);
                }
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

    /// Waits until a client has a lease or an address to check. Its time runs from when it may ask, and not less
    /// long than `least`. Returns `None` if the time is over.
    fn next(
        &self,
        key: &EndpointKey,
        queued: Boottime,
        patience: Duration,
        least: Boottime,
    ) -> Option<Standing> {
        let mut table = self.table();
        loop {
            let Table { leases, forwarding, .. } = &mut *table;
            let leasing = leases.active.get_mut(key)?;
            let standing = leasing.standing();
            if standing.lease.is_some() || standing.asks.is_some() {
                return Some(standing);
            }
            // A switch port that does not forward yet keeps servers from answering.
            let answers = forwarding.answers_since(&leasing.wanted.parent);
            let since = |asked: Boottime| answers.map_or(asked, |answers| answers.max(asked));
            let end =
                leasing.own.turn.map_or_else(|| since(queued) + turn::QUEUE, |turn| since(turn) + patience);
            let left = end.max(least).checked_duration_since(boottime())?;
            let waited = self.shared.ended.wait_timeout(table, left);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends a client without telling its server.
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

/// The additional state of a DHCPv4 client.
#[derive(Default)]
pub(super) struct Own {
    /// An answer that does not count or cannot be used, and who sent it.
    ignored: Option<(Ipv4Addr, Ignored)>,
    /// Whether a request waits for the client.
    awaited: bool,
    /// Since when the client may ask. `None` while it waits for its turn.
    turn: Option<Boottime>,
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
            // The link may not exist yet, and without it the NIC drops frames that are addressed to its MAC.
            broadcast: true,
            name: wanted.told_name().map(|name| {
                if wanted.leasing.register_name { Name::Fqdn(name, Update::Server) } else { Name::Host(name) }
            }),
            vendor_class: wanted.leasing.vendor_class.as_ref().map(|class| class.bytes().to_vec()),
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
                // A warning, because the server's answer to the frame below goes to the container, where nobody hears it.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    tracing::warn!(name = %leasing.wanted.key.1, "the daemon may not renew from inside the container: {error}");
                }
                Err(error) => {
                    tracing::debug!(name = %leasing.wanted.key.1, "cannot renew from inside the container: {error}");
                }
            }
        }
        // Nothing here can resolve the server's MAC. The machine that sent its last answer knows the way.
        // Otherwise the message is broadcast.
        let to = leasing.from.filter(|_| !outgoing.to.is_broadcast()).unwrap_or(Mac::BROADCAST);
        if let Err(error) = send(&leasing.wanted.parent, &outgoing.frame(leasing.wanted.mac, to)) {
            tracing::debug!(parent = %leasing.wanted.parent, "cannot send to a DHCP server: {error}");
        }
    }

    fn take(leasing: &mut Leasing, message: &[u8], from: SocketAddr) {
        if let (Some(message), SocketAddr::V4(from)) = (Message::decode(message), from) {
            leasing.take(&message, *from.ip(), None);
        }
    }
}

impl Leases {
    /// Begins a client that a request waits for. Refuses one of a name or an identifier that another has.
    fn begin(&mut self, wanted: Wanted) -> Result<(), NoLease> {
        let key = wanted.key.clone();
        let busy = || NoLease::Busy(key.1.clone());
        if self.is_awaited(&key) {
            return Err(busy());
        }
        let is_chosen = wanted.wishes.client_id.is_some();
        let mut others = self.active.iter().filter(|(other, _)| is_chosen && **other != key);
        if let Some(((network, holder), _)) = others.find(|(_, leasing)| leasing.wanted.id == wanted.id) {
            let (id, holder, network) = (wanted.id, holder.clone(), network.to_string());
            return Err(NoLease::SameClient(WishError::ClientIdTaken { id, holder, network }));
        }
        let mut leasing = Leasing::of(wanted, false, None).ok_or_else(busy)?;
        leasing.own.awaited = true;
        self.active.insert(key, leasing);
        Ok(())
    }

    /// Ends the waiting for a client, and gives it the name of its endpoint.
    fn let_go(&mut self, key: &EndpointKey, name: EndpointName) -> Option<EndpointKey> {
        let mut leasing = self.active.remove(key)?;
        leasing.own.awaited = false;
        leasing.wanted.key.1 = name;
        let key = leasing.wanted.key.clone();
        self.active.insert(key.clone(), leasing);
        Some(key)
    }

    /// Ends a client. Releases its lease, unless it is a previous one that its name remembers.
    fn give_back(&mut self, key: &EndpointKey) {
        if let Some(leasing) = self.active.remove(key)
            && !leasing.has_remembered()
        {
            self.part(leasing);
        }
    }

    /// Updates which endpoints have leases, and which parents are up.
    pub(super) fn follow_leased(&mut self, state: &State, host: &View) {
        self.follow(state, host, |endpoint, _| endpoint.source == Source::Lease);
    }

    /// Does what is due for the clients whose turn it is. Returns the time until the next action, whether a
    /// client that a request waits for has changed, and which other clients have changed.
    pub(super) fn turn_by_turn(&mut self, send: &Send) -> (Option<Duration>, bool, Vec<EndpointKey>) {
        let (mut asking, mut queued, mut begun) = (self.asking(), None, false);
        let (wait, news) = self.turn(send, |leasing, now| {
            let waits = leasing.own.awaited && leasing.own.turn.is_none();
            let may = leasing.may_ask(now, &mut asking);
            // The waiting request's time runs from now on.
            begun |= waits && may;
            queued = queued.or((!may).then_some(turn::LOOK_AGAIN));
            may
        });
        let awaited = |key: &EndpointKey| self.is_awaited(key);
        let (heard, changed): (Vec<_>, Vec<_>) = news.into_iter().partition(awaited);
        (wait.into_iter().chain(queued).min(), begun || !heard.is_empty(), changed)
    }

    /// The MACs of the clients on a parent that have no link yet. A server may answer to these alone,
    /// although it is asked to broadcast.
    pub(super) fn macs_on(&self, parent: &IfName) -> BTreeSet<Mac> {
        let active = self.active.values().filter(|leasing| leasing.own.awaited);
        active.filter(|leasing| leasing.wanted.parent == *parent).map(|leasing| leasing.wanted.mac).collect()
    }

    /// Handles a frame that a parent received.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8]) {
        // A frame from a wire has Ethernet's own checksum. A frame from a neighbour on the same host has no
        // UDP checksum yet.
        let Some(datagram) = Datagram::to_client(frame, Checksum::Partial) else { return };
        let Some(message) = Message::decode(datagram.payload) else { return };
        for leasing in self.on(parent).filter(|leasing| leasing.wanted.mac == message.chaddr) {
            leasing.take(&message, datagram.source, Some(datagram.source_mac));
        }
    }
}

impl Leasing {
    /// Whether the client has the lease that its name had before.
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
                // A server whose answers count takes precedence.
                if ignored.is_unfit() || (unheeded && self.own.ignored.is_none()) {
                    self.own.ignored = Some((source, ignored));
                }
            }
        }
    }

    /// Sends a message from the container, which knows the route to the server.
    fn say_inside(&mut self, outgoing: &Outgoing) -> io::Result<()> {
        let from = outgoing.from;
        // A broadcast leaves through the link that has the address that the socket is bound to.
        let to = SocketAddrV4::new(outgoing.to, SERVER_PORT);
        self.listen_inside(|| {
            let socket = UdpSocket::bind(SocketAddrV4::new(from, CLIENT_PORT))?;
            socket.set_broadcast(true)?;
            socket.send_to(&outgoing.payload, to)?;
            Ok(socket)
        })
    }
}
