//! Gives an engine's endpoint its name, its MAC and its id, on addresses that were reserved before or that
//! the engine chose itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::api::engine_call::{Owner, Preparation};
use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{ByUser, Chosen, Endpoint, Placement, Source, Stage};
use ashore_core::model::network::Network;
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::engine_link_name;
use ashore_core::net::name::EndpointName;
use ashore_core::net::observed::View;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::attach::Requested;
use ashore_core::rules::leases::LeaseOutcome;
use ashore_wire::Mac;
use ipnet::IpNet;

use super::super::reserve::{Answers, Proposal, Proposed, Seeker, Taken, Wanted};
use super::super::{Controller, Inner};
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

impl Controller {
    pub(super) fn prepare(&self, unlocked: &mut Unlocked, requested: &Preparation) -> Result<Reply, Refusal> {
        let mut answers = Answers::default();
        let mut inner = self.lock(unlocked);
        if let Some(there) = inner.state().endpoint_of_engine(&requested.id) {
            return Ok(Reply::Prepared { mac: there.mac });
        }
        let network = inner.engine_network(&requested.network)?;
        let observed = inner.observe_host()?;
        inner.state().check_room(&network, &observed.host).map_err(|error| refusal::attach(&error))?;
        let mut changes = Vec::new();
        // Whether the addresses are on the disk, since an earlier call reserved them.
        let mut reserved_before = false;
        let is_wanted = |there: &Endpoint| requested.addresses.iter().any(|net| there.holds(net.addr()));
        inner.give_way(&network.name, |there| {
            requested.mac.is_some() && there.mac == requested.mac && !is_wanted(there)
        })?;
        let holder = requested.addresses.first().and_then(|net| inner.state().holder(net.addr())).cloned();
        let mut reserved = match (holder, &requested.owner, &network.engine) {
            // Two networks on the LAN's whole subnet share a pool. Now it is known which network the address
            // is for.
            (Some(reserved), ..) if inner.is_there_for_one(&reserved, &network) => {
                if reserved.network != network.name {
                    changes.push(Change::DelEndpoint((reserved.network.clone(), reserved.name.clone())));
                }
                reserved_before = true;
                reserved
            }
            (Some(holder), ..) => return Err(held(inner.state(), &requested.addresses, &holder)),
            (None, None, Some(engine)) => return Ok(Reply::OwnerWanted(engine.clone())),
            (None, owner, _) => {
                let network = inner.learn_name(network.clone(), owner.as_ref())?;
                let name = inner.name_of(&network, owner.as_ref());
                let mac = requested.mac.or_else(|| inner.state().likely_mac(&network, name.as_ref()?));
                let addresses = &requested.addresses;
                let mut seeker = Foreign { network: &network, name: name.as_ref(), addresses, mac };
                (inner, _) = self.reserve(inner, &mut seeker, &mut answers)?;
                let first = requested.addresses.first().copied().unwrap_or_else(|| network.subnets[0].net);
                let reserved = inner.reserved(&network, name, first, false);
                Endpoint { source: Source::Engine, ..reserved }
            }
        };
        // A container whose name is not known has had an entry for each of its addresses until now.
        for net in requested.addresses.iter().skip(1) {
            let other = inner.state().holder(net.addr()).filter(|other| is_reserved(other));
            let Some(other) = other.filter(|other| other.name != reserved.name) else { continue };
            reserved.by_user.addresses.extend(&other.by_user.addresses);
            if !reserved.is_unnamed() {
                reserved.chosen = Chosen::StandIn;
            }
            changes.push(Change::DelEndpoint((other.network.clone(), other.name.clone())));
        }
        // The network with what was learned of it while the LAN was asked.
        let network = inner.engine_network(&requested.network)?;
        // An entry that is about to go, or the endpoint's own earlier entry, may have the MAC.
        let state = if changes.is_empty() && reserved.mac.is_none() {
            Cow::Borrowed(inner.state())
        } else {
            let going = changes.iter().cloned().chain([Change::DelEndpoint(reserved.key())]);
            Cow::Owned(inner.state().with(&going.collect::<Vec<_>>()))
        };
        let mac = mac_for(&state, &network, &reserved, requested.mac, &observed.host)?;
        let tagged_as = inner.state().tag_beside(&network.name, &reserved.name);
        let ifname = engine_link_name(&network.name, tagged_as.as_ref().unwrap_or(&reserved.name));
        let inside = requested.ifname.clone();
        let prepared = Endpoint {
            network: network.name.clone(),
            addresses: requested.addresses.clone(),
            mac,
            by_user: ByUser {
                mac: requested.mac.is_some(),
                ports: requested.ports.clone(),
                ..reserved.by_user
            },
            ownership: network.ownership(),
            placement: Placement::Engine { id: Some(requested.id.clone()), ifname, sandbox: None, inside },
            // The link is made under the name that the endpoint has now, unless another link is tagged with
            // it.
            tagged_as,
            seen: None,
            ..reserved
        };
        // Docker shows its user no warning of a driver's.
        if let Some(note) = prepared.note_of_ports(network.label()) {
            tracing::warn!("{note}");
        }
        changes.push(Change::PutEndpoint(inner.beside(&network, prepared)));
        if reserved_before {
            inner.record(changes)?;
            self.schedule_deferred();
        } else {
            inner.commit(changes)?;
        }
        answers.keep();
        Ok(Reply::Prepared { mac })
    }
}

/// Addresses that another IPAM driver chose without asking the LAN. They are probed as Ashore's own are.
struct Foreign<'s> {
    network: &'s Network,
    name: Option<&'s EndpointName>,
    addresses: &'s [IpNet],
    mac: Option<Mac>,
}

impl<'c> Seeker<'c> for Foreign<'_> {
    type Draft = ();

    fn propose(&mut self, _: &'c Controller, inner: &mut Inner, answers: &Answers<'_>) -> Proposed<()> {
        inner.check_foreign(self.network, self.name, self.addresses, answers)?;
        let wanted = self.addresses.iter().map(IpNet::addr).map(|ip| Wanted {
            name: self.name.cloned().unwrap_or_else(|| EndpointName::of_unnamed(ip)),
            sought: (ip, self.mac),
            only: true,
        });
        Ok(Proposal { network: self.network.clone(), wanted: wanted.collect(), draft: () })
    }

    fn take(&mut self, on: &'c Controller, _: &mut Inner, proposal: &Proposal<()>) -> Taken {
        Ok(on.keeps(proposal))
    }
}

impl Inner {
    fn check_foreign(
        &self,
        network: &Network,
        name: Option<&EndpointName>,
        addresses: &[IpNet],
        answers: &Answers<'_>,
    ) -> Result<(), Refusal> {
        let (observed, none, held) = (self.observe_host()?, BTreeMap::new(), answers.held(self));
        let known =
            AddressesInUse { host: &observed.host, heard: &none, answered: answers.by(), held: &held };
        for net in addresses {
            let checked = self.state().check_address(network, name, net.addr(), &known);
            checked.map_err(|error| {
                let refusal = refusal::attach(&error.into());
                // No IPAM driver chooses the router's address: a user did.
                if network.subnets.iter().any(|subnet| subnet.gateway == Some(net.addr())) {
                    return refusal;
                }
                Refusal { remedy: Some(OWN_IPAM.into()), ..refusal }
            })?;
        }
        Ok(())
    }

    /// Returns the name of the container that an endpoint is for, if it is known and has no endpoint yet. If
    /// the engine could not be asked, it is most likely the container that Ashore asked it to connect.
    fn name_of(&mut self, network: &Network, owner: Option<&Owner>) -> Option<EndpointName> {
        let expected = self.expected_on(network);
        let answered = owner.is_some_and(|owner| owner.network_name.is_some());
        let name = owner.and_then(|owner| owner.name.clone()).or(expected.filter(|_| !answered));
        name.filter(|name| !self.has_endpoint(network, name))
    }

    fn has_endpoint(&self, network: &Network, name: &EndpointName) -> bool {
        self.state().endpoints.contains_key(&(network.name.clone(), name.clone()))
    }
}

const OWN_IPAM: &str = "create the network with --ipam-driver ashore, which probes an address on the LAN before it hands it out, as \
                        Docker's own IPAM does not; or keep this address from Docker's IPAM with --ip-range or --aux-address";

/// Returns the MAC of a new endpoint: the one that the user chose, or the one that its lease was requested
/// with, or the one of its name. If the user chose an address for an unnamed endpoint, its name is guessed
/// from that address.
fn mac_for(
    state: &State,
    network: &Network,
    reserved: &Endpoint,
    by_user: Option<Mac>,
    host: &View,
) -> Result<Option<Mac>, Refusal> {
    let may_have =
        |mac: &Mac| by_user.map_or(!reserved.is_unnamed() || state.may_lend(*mac), |wanted| wanted == *mac);
    if let Some(leased) = reserved.mac.filter(|_| reserved.source == Source::Lease).filter(may_have) {
        return Ok(Some(leased));
    }
    let of = |name| {
        let requested = Requested { name, ips: &[], only: false, mac: by_user, lease: LeaseOutcome::NotYet };
        state.choose_mac(network, &requested, host).map_err(|error| refusal::attach(&error))
    };
    let chosen = reserved.by_user.addresses.first().filter(|_| reserved.is_unnamed());
    match chosen.and_then(|ip| state.name_for_chosen(network, *ip)) {
        Some(guess) => of(guess)?.filter(may_have).map_or_else(|| of(&reserved.name), |mac| Ok(Some(mac))),
        None => of(&reserved.name),
    }
}

fn is_reserved(endpoint: &Endpoint) -> bool {
    endpoint.stage == Stage::Reserved && endpoint.engine_id().is_none()
}

fn held(state: &State, addresses: &[IpNet], holder: &Endpoint) -> Refusal {
    let ip = addresses.first().map_or(IpAddr::from([0, 0, 0, 0]), IpNet::addr);
    refusal::attach(&state.held(ip, holder).into())
}
