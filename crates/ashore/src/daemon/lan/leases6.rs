//! Leases of DHCPv6 servers, with one client for each endpoint that asks one, on the thread that owns the
//! sockets.
//!
//! All messages are sent through the parent, from the container's MAC and the link-local address that the
//! container's kernel derives from it. Answers are received there too: a packet socket on the parent sees
//! them before its children do. The container answers the server's neighbour solicitation for that address,
//! so a client begins once the container is on the LAN. A socket in the container keeps its kernel from
//! telling the server that the port is closed, and receives the answers that never reach the parent, because
//! a bridge forwards them to the container's port only. It is open only while an answer is expected, because
//! it would keep the namespace alive.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::identity::Identity;
use ashore_core::model::lease::LeaseRecord6;
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::name::{EndpointKey, IfName, NetworkName};
use ashore_core::net::observed::View;
use ashore_kernel::boottime;
use ashore_wire::Boottime;
use ashore_wire::dhcp::Client as _;
use ashore_wire::dhcp4::ClientId;
use ashore_wire::dhcp6::{
    CLIENT_PORT, Checksum, Client, Config, Datagram, Held, Lease, Message, Outgoing, Update,
};
use ashore_wire::slaac::Offer;

use super::clients::{self, Clients, Protocol};
use super::{Lan, Send};
use crate::daemon::random;

/// Leases of IPv6 addresses.
pub(super) enum Dhcp6 {}

/// The additional state of a DHCPv6 client.
#[derive(Default)]
pub(super) struct Own {
    /// Whether the address is deprecated.
    deprecated: bool,
}

type Wanted = clients::Wanted<Lease>;
type Leasing = clients::Leasing<Dhcp6>;
/// The standing of a client.
pub(crate) type Standing6 = clients::Standing<Lease>;
/// All clients.
pub(super) type Leases6 = Clients<Dhcp6>;

impl Lan {
    /// The standing of an endpoint's client, or `None` if there is no client.
    pub(crate) fn standing6(&self, key: &EndpointKey) -> Option<Standing6> {
        self.table().leases6.standing(key)
    }

    /// The addresses that a network's clients want to have checked for use by another machine.
    pub(crate) fn asked6(&self, network: &NetworkName) -> Vec<(EndpointKey, IpAddr)> {
        let table = self.table();
        let all = table.leases6.active.iter().filter(|(key, _)| key.0 == *network);
        all.filter_map(|(key, leasing)| Some((key.clone(), leasing.asks?.into()))).collect()
    }

    /// Tells a client whether it may use an address.
    pub(crate) fn settle6(&self, key: &EndpointKey, ip: Ipv6Addr, free: bool) {
        self.table().leases6.settle(key, ip, free);
        self.shared.waker.wake();
    }
}

impl Protocol for Dhcp6 {
    type Client = Client;
    type Own = Own;
    const NAME: &str = "DHCPv6";

    fn client(wanted: &Wanted, in_use: bool) -> Option<Client> {
        let name = wanted.told_name().map(|name| (name, Update::Server));
        let vendor_class = wanted.leasing.vendor_class.as_ref().map(|class| class.bytes().to_vec());
        let config = Config { name, vendor_class, ..Config::of(&wanted.id)? };
        let (now, random) = (boottime(), random());
        Some(match wanted.recorded(in_use) {
            Some(recorded) => Client::resume(config, recorded, now, random),
            None => Client::new(config, now, random),
        })
    }

    /// The server knows the client by its identifier, whatever its MAC is.
    fn wanted(state: &State, network: &Network, endpoint: &Endpoint, _host: &View) -> Option<Wanted> {
        let identity = state.identities.get(&(State::scope(network), endpoint.name.clone()));
        let remembered = || identity.and_then(|identity| identity.lease6.as_deref());
        // An identifier that was chosen may be one of DHCPv4 alone.
        let fits = |id: &&ClientId| Config::of(id).is_some();
        let chosen = endpoint.wishes.client_id.as_ref().filter(fits);
        let record = endpoint.lease6.as_deref().or_else(remembered);
        let record = record.filter(|record| chosen.is_none_or(|chosen| *chosen == record.id)).cloned();
        let of_lease = endpoint.lease.as_ref().map(|record| &record.id).filter(fits);
        let id = chosen.or(record.as_ref().map(|record| &record.id)).or(of_lease).cloned();
        Some(Wanted {
            key: (endpoint.network.clone(), endpoint.name.clone()),
            parent: network.parent.clone(),
            id: id.unwrap_or_else(|| state.client_id6(network, &endpoint.name)),
            mac: endpoint.mac?,
            requested: None,
            record,
            leasing: network.leasing.clone(),
            wishes: endpoint.wishes.clone(),
        })
    }

    fn of_endpoint(endpoint: &Endpoint) -> Option<&LeaseRecord6> {
        endpoint.lease6.as_deref()
    }

    fn of_identity(identity: &Identity) -> Option<&LeaseRecord6> {
        identity.lease6.as_deref()
    }

    fn say(leasing: &mut Leasing, outgoing: &Outgoing, send: &Send) {
        let bind = || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, CLIENT_PORT));
        match leasing.listen_inside(bind) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!(name = %leasing.wanted.key.1, "the daemon may not hear a DHCPv6 server inside the container: {error}");
            }
            // The container may have its own DHCPv6 client on that port, or the container may be gone.
            Err(error) => {
                tracing::debug!(name = %leasing.wanted.key.1, "answers are received on the parent only: {error}");
            }
        }
        let (parent, mac) = (&leasing.wanted.parent, leasing.wanted.mac);
        if let Err(error) = send(parent, &outgoing.frame(mac, mac.link_local())) {
            tracing::debug!(%parent, "cannot send to a DHCPv6 server: {error}");
        }
    }

    fn take(leasing: &mut Leasing, message: &[u8], from: SocketAddr) {
        if let (Some(message), SocketAddr::V6(from)) = (Message::decode(message), from) {
            leasing.take(&message, *from.ip());
        }
    }

    /// Reports when the address becomes deprecated, because no new connection should begin from it then.
    fn also_due(leasing: &mut Leasing, now: Boottime) -> (Option<Boottime>, bool) {
        let preferred_until = leasing.client.held(now).and_then(Held::deprecates);
        let deprecated = preferred_until.is_some_and(|at| at <= now);
        let before = std::mem::replace(&mut leasing.own.deprecated, deprecated);
        (preferred_until.filter(|at| *at > now), before != deprecated)
    }
}

impl Leases6 {
    /// Updates which endpoints ask a server, by what the routers of their parents say, and which parents are
    /// up.
    pub(super) fn follow_asking(&mut self, state: &State, host: &View, offer: impl Fn(&IfName) -> Offer) {
        self.follow(state, host, |endpoint, network| {
            // An existing lease is kept, even while no router has advertised yet.
            let asks = endpoint.lease6.is_some() || network.asks_dhcp6(&offer(&network.parent));
            // A server would register an endpoint whose name is not known yet under a wrong name.
            let is_ready = endpoint.stage == Stage::Attached && !endpoint.is_unnamed();
            network.may_ask_dhcp6() && is_ready && asks
        });
    }

    /// Handles a frame that a parent received.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8]) {
        // As with DHCPv4, the checksum may be missing.
        let Some(datagram) = Datagram::to_client(frame, Checksum::Partial) else { return };
        let Some(message) = Message::decode(datagram.payload) else { return };
        for leasing in self.on(parent).filter(|leasing| leasing.wanted.mac == datagram.destination_mac) {
            leasing.take(&message, datagram.source);
        }
    }
}

impl Leasing {
    fn take(&mut self, message: &Message, from: Ipv6Addr) {
        if let Err(ignored) = self.client.receive(boottime(), message) {
            tracing::debug!(name = %self.wanted.key.1, %from, "a DHCPv6 message is ignored: {ignored}");
        }
    }
}
