//! The parameters of a DHCPv4 client.

use std::net::Ipv4Addr;

use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::lease::LeaseRecord;
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::observed::View;
use ashore_wire::dhcp4::Lease;

use crate::daemon::lan::clients;

/// The parameters of a client.
pub(crate) type Wanted = clients::Wanted<Lease>;

impl Wanted {
    /// The client of an endpoint on a network. Returns `None` if the endpoint and the parent have no MAC.
    pub(crate) fn of(state: &State, network: &Network, endpoint: &Endpoint, host: &View) -> Option<Self> {
        let own = endpoint.mac.or_else(|| host.link(&network.parent)?.mac)?;
        let record = endpoint.lease.as_deref().cloned();
        Some(Wanted {
            key: (endpoint.network.clone(), endpoint.name.clone()),
            parent: network.parent.clone(),
            id: match &record {
                Some(record) => record.id.clone(),
                None => match &endpoint.wishes.client_id {
                    Some(chosen) => chosen.clone(),
                    None => state.client_id(network, &endpoint.name),
                },
            },
            // A server that assigned the address to another MAC would not recognise this one.
            mac: record.as_ref().map_or(own, |record| record.mac),
            requested: None,
            record,
            leasing: network.leasing.clone(),
            wishes: endpoint.wishes.clone(),
        })
    }

    /// The client of an endpoint that is being created. It asks for the lease or the address that its name
    /// had before, unless another address is requested.
    pub(crate) fn of_draft(
        state: &State,
        network: &Network,
        draft: &Endpoint,
        requested: Option<Ipv4Addr>,
        host: &View,
    ) -> Option<Self> {
        let identity = state.identities.get(&(State::scope(network), draft.name.clone()));
        let record = identity.and_then(|identity| identity.lease.as_deref()).cloned();
        let bare = Wanted::of(state, network, draft, host)?;
        // A server knows the lease by the identifier with which it was requested.
        let fits = |record: &LeaseRecord| {
            record.id == bare.id && requested.is_none_or(|requested| requested == record.lease.address.addr())
        };
        let before = identity.and_then(|identity| identity.leased);
        let record = record.filter(fits);
        Some(Wanted { requested: requested.or(before), record, ..bare })
    }
}
