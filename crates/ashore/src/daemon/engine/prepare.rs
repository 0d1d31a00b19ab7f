//! An engine's endpoint gets its name, its MAC, and its id: on addresses that were reserved before, or on some that the
//! engine chose itself.

use std::net::IpAddr;

use ashore_core::EndpointName;
use ashore_core::allocate::{AddressError, Known};
use ashore_core::attach::Wish;
use ashore_core::endpoint::{Endpoint, Home, Source, Stage};
use ashore_core::lease::Leased;
use ashore_core::link::engine_link_name;
use ashore_core::network::Network;
use ashore_core::request::{Preparation, Refusal, Reply};
use ashore_core::state::Change;
use ipnet::IpNet;

use super::{Engine, Inner, Locked};
use crate::daemon::refusal;

impl Engine {
    pub(super) fn prepare(&self, wish: &Preparation) -> Result<Reply, Refusal> {
        let mut inner = self.lock();
        if let Some(there) = inner.state().endpoint_of_engine(&wish.id) {
            return Ok(Reply::Prepared { mac: there.mac });
        }
        let network = inner.engine_network(&wish.network)?;
        let observed = inner.observe(&[])?;
        inner.state().check_room(&network, &observed.host).map_err(|error| refusal::attach(&error))?;
        let mut changes = Vec::new();
        let holder = wish.addresses.first().and_then(|net| inner.state().holder(net.addr())).cloned();
        let reserved = match (holder, &wish.owner, &network.engine) {
            // Two networks on the LAN's whole subnet have one pool, and now it is known which one it is for.
            (Some(reserved), ..) if is_reserved(&reserved) => {
                if reserved.network != network.name {
                    changes.push(Change::DelEndpoint((reserved.network.clone(), reserved.name.clone())));
                }
                reserved
            }
            (Some(holder), ..) => return Err(held(&wish.addresses, &holder)),
            (None, None, Some(engine)) => return Ok(Reply::OwnerWanted(engine.clone())),
            (None, owner, _) => {
                let network = inner.learn_name(network.clone(), owner.as_ref())?;
                let name = owner.as_ref().and_then(|owner| owner.name.clone());
                let name = name.filter(|name| !inner.has_endpoint(&network, name));
                inner = self.look_for(inner, &network, name.as_ref(), &wish.addresses)?;
                let first = wish.addresses.first().copied().unwrap_or_else(|| network.subnets[0].net);
                let reserved = inner.reserved(&network, name, first, false);
                Endpoint { source: Source::Engine, ..reserved }
            }
        };
        // A container whose name is not known has an entry for each of its addresses until now.
        for net in wish.addresses.iter().skip(1) {
            let other = inner.state().holder(net.addr()).filter(|other| is_reserved(other));
            let other = other.filter(|other| other.name != reserved.name);
            changes
                .extend(other.map(|other| Change::DelEndpoint((other.network.clone(), other.name.clone()))));
        }
        // What was learnt of the network while it waited.
        let network = inner.engine_network(&wish.network)?;
        // A lease was asked for with a MAC already.
        let leased = reserved.mac.filter(|_| reserved.source == Source::Lease);
        let mac = if let Some(mac) = leased.filter(|mac| wish.mac.is_none_or(|wanted| wanted == *mac)) {
            Some(mac)
        } else {
            let mac = Wish { name: &reserved.name, ips: &[], mac: wish.mac, lease: Leased::NotYet };
            let mac = inner.state().choose_mac(&network, &mac, &observed.host);
            mac.map_err(|error| refusal::attach(&error))?
        };
        let ifname = engine_link_name(&network.name, &reserved.name);
        let inside = wish.ifname.clone();
        changes.push(Change::PutEndpoint(Endpoint {
            network: network.name,
            addresses: wish.addresses.clone(),
            mac,
            home: Home::Engine { id: Some(wish.id.clone()), ifname, sandbox: None, inside },
            // Its link will be made under the name that it has now.
            tagged_as: None,
            seen: None,
            ..reserved
        }));
        inner.commit(changes)?;
        Ok(Reply::Prepared { mac })
    }

    /// Addresses that another IPAM driver chose, which looks at no LAN, are looked for as Ashore's own would be.
    fn look_for<'a>(
        &'a self,
        mut inner: Locked<'a>,
        network: &Network,
        name: Option<&EndpointName>,
        addresses: &[IpNet],
    ) -> Result<Locked<'a>, Refusal> {
        loop {
            inner.check_foreign(self, network, name, addresses)?;
            let unclear = self.unclear(network, addresses.iter().map(IpNet::addr));
            if unclear.is_empty() {
                return Ok(inner);
            }
            inner = self.probe(inner, network, &unclear)?;
        }
    }
}

impl Inner {
    fn check_foreign(
        &self,
        engine: &Engine,
        network: &Network,
        name: Option<&EndpointName>,
        addresses: &[IpNet],
    ) -> Result<(), Refusal> {
        let observed = self.observe(&[])?;
        let on_lan = engine.lan.on_lan();
        let known = Known { host: &observed.host, on_lan: &on_lan, held: &self.held };
        for net in addresses {
            let checked = self.state().check_address(network, name, net.addr(), &known);
            checked.map_err(|error| {
                let refusal = refusal::attach(&error.into());
                Refusal { hint: Some(OWN_IPAM.to_owned()), ..refusal }
            })?;
        }
        Ok(())
    }

    fn has_endpoint(&self, network: &Network, name: &EndpointName) -> bool {
        self.state().endpoints.contains_key(&(network.name.clone(), name.clone()))
    }
}

const OWN_IPAM: &str = "make the network with --ipam-driver ashore, which looks at the LAN before it hands an address out, as \
                        Docker's own IPAM does not; or keep this one from it with --ip-range or --aux-address";

fn is_reserved(endpoint: &Endpoint) -> bool {
    endpoint.stage == Stage::Reserved && endpoint.engine_id().is_none()
}

fn held(addresses: &[IpNet], holder: &Endpoint) -> Refusal {
    let ip = addresses.first().map_or(IpAddr::from([0, 0, 0, 0]), IpNet::addr);
    let (endpoint, network) = (holder.name.to_string(), holder.network.to_string());
    refusal::attach(&AddressError::Held { ip, endpoint, network }.into())
}
