//! Whose lease is to be had, and how it is asked for.

use std::net::{IpAddr, Ipv4Addr};

use ashore_core::endpoint::Endpoint;
use ashore_core::lease::{LeaseOptions, LeaseRecord};
use ashore_core::name::IfName;
use ashore_core::network::Network;
use ashore_core::observed::View;
use ashore_core::state::{EndpointKey, State};
use ashore_kernel::boottime;
use ashore_wire::Mac;
use ashore_wire::dhcp4::{Client, ClientId, Config, Held, Name, Recorded};

use super::dns_name;
use crate::daemon::lan::seconds;
use crate::daemon::random;

/// A client to be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) key: EndpointKey,
    pub(crate) parent: IfName,
    pub(crate) id: ClientId,
    pub(crate) mac: Mac,
    /// The address asked for.
    pub(crate) wish: Option<Ipv4Addr>,
    /// The lease from before.
    pub(crate) record: Option<LeaseRecord>,
    /// How it is leased.
    pub(crate) leasing: LeaseOptions,
}

impl Wanted {
    /// The client of an endpoint on a network.
    pub(crate) fn of(state: &State, network: &Network, endpoint: &Endpoint, host: &View) -> Option<Self> {
        let own = endpoint.mac.or_else(|| host.link(&network.parent)?.mac)?;
        let record = endpoint.lease.as_deref().cloned();
        Some(Wanted {
            key: (endpoint.network.clone(), endpoint.name.clone()),
            parent: network.parent.clone(),
            id: match &record {
                Some(record) => record.id.clone(),
                None => state.client_id(network, &endpoint.name),
            },
            // A server that has given the address to another MAC would not know this one.
            mac: record.as_ref().map_or(own, |record| record.mac),
            wish: None,
            record,
            leasing: network.leasing.clone(),
        })
    }

    /// The client of an endpoint to be, which asks for the lease or the address that its name had before, unless another
    /// address is wanted.
    pub(crate) fn of_draft(
        state: &State,
        network: &Network,
        draft: &Endpoint,
        wish: Option<Ipv4Addr>,
        host: &View,
    ) -> Option<Self> {
        let identity = state.identities.get(&(State::scope(network), draft.name.clone()));
        let record = identity.and_then(|identity| identity.lease.as_deref()).cloned();
        let fits = |record: &LeaseRecord| wish.is_none_or(|wish| wish == record.lease.address.addr());
        let bare = Wanted::of(state, network, draft, host)?;
        let addresses = identity.into_iter().flat_map(|identity| &identity.addresses);
        let before = addresses.copied().find_map(|ip| match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        Some(Wanted { wish: wish.or(before), record: record.filter(fits), ..bare })
    }

    /// The client itself, in whose hands a lease from before may be.
    pub(super) fn client(&self, in_use: bool) -> Client {
        let config = Config {
            // The link may not be there yet, and the NIC lets no frame through that is for its MAC alone.
            broadcast: true,
            name: dns_name(&self.key.1).map(Name::Host),
            wish: self.wish,
            servers: self.leasing.servers.clone(),
            ..Config::new(self.mac, self.id.clone())
        };
        let (now, random) = (boottime(), random());
        match &self.record {
            Some(record) => {
                let (lease, age) = (record.lease.clone(), record.age(seconds()));
                Client::resume(config, Recorded { lease, age, in_use }, now, random)
            }
            None => Client::new(config, now, random),
        }
    }

    /// A lease of its, as it is written down.
    pub(super) fn record_of(&self, held: &Held) -> LeaseRecord {
        let age = boottime().saturating_duration_since(held.since).as_secs();
        let since = seconds().saturating_sub(age);
        let release = self.leasing.release;
        LeaseRecord { lease: held.lease.clone(), since, id: self.id.clone(), mac: self.mac, release }
    }
}
