//! The engine reserves an address for a container, or sets one aside for a network that it is about to
//! create.

use std::net::IpAddr;
use std::time::Duration;

use ashore_core::api::engine_call::{Labels, Owner, Reservation};
use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{ByUser, Chosen, Endpoint, Placement, Source, Stage};
use ashore_core::model::inventory::Inventory;
use ashore_core::model::lease::LeaseWishes;
use ashore_core::model::network::{Network, Subnet};
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::model::pool::{Pool, PoolKey};
use ashore_core::model::state::{Change, State};
use ashore_core::net::family::Family;
use ashore_core::net::link::engine_link_name;
use ashore_core::net::name::EndpointName;
use ashore_core::net::observed::View;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::attach::Requested;
use ashore_core::rules::leases::LeaseOutcome;
use ashore_wire::Mac;
use ipnet::IpNet;

use super::super::leases::{Asked, as_v4};
use super::super::reserve::{Answers, Drafted, Ground, Obtained, Proposal, Proposed, Seeker, Taken, Wanted};
use super::super::{Controller, Inner, Locked};
use super::done;
use crate::clock::now;
use crate::daemon::lan::Sought;
use crate::daemon::{random, refusal};
use crate::unlocked::Unlocked;

impl Controller {
    /// Reserves an address. Gateway and auxiliary addresses are set aside for a network that is being
    /// created; every other address is for a container.
    pub(super) fn reserve_address(
        &self,
        unlocked: &mut Unlocked,
        requested: &Reservation,
    ) -> Result<Reply, Refusal> {
        if requested.gateway {
            return self.reserve_gateway(unlocked, requested);
        }
        let subnets: Vec<Subnet> = {
            let inner = self.lock(unlocked);
            inner.state().networks_of(&requested.pool).map(|(_, subnet)| subnet.clone()).collect()
        };
        let keeps =
            |subnet: &Subnet, ip| subnet.gateway == Some(ip) || subnet.aux.values().any(|aux| *aux == ip);
        match requested.ip {
            Some(ip) if subnets.iter().any(|subnet| keeps(subnet, ip)) => {
                Ok(Reply::Address(refusal::address_in(&requested.pool, ip)?))
            }
            _ if subnets.is_empty() => self.reserve_beside(unlocked, requested),
            _ => self.reserve_for_container(unlocked, requested),
        }
    }

    fn reserve_for_container(
        &self,
        unlocked: &mut Unlocked,
        requested: &Reservation,
    ) -> Result<Reply, Refusal> {
        let network = |state: &State| Some(state.networks_of(&requested.pool).next()?.0.name.clone());
        self.on_ground(unlocked, network, |unlocked, ground| self.reserve_on(unlocked, requested, ground))
    }

    fn reserve_on(
        &self,
        unlocked: &mut Unlocked,
        requested: &Reservation,
        ground: &mut Ground,
    ) -> Result<Reply, Refusal> {
        self.check_beside_others_children(unlocked, |state| {
            state.networks.values().find(|network| requested.pool.find_in(network).is_some())
        })?;
        // The lock is released before the lease is.
        let (mut lease, mut answers) = (Asked::default(), Answers::default());
        let mut inner = self.lock(unlocked);
        if let Some(address) = inner.reserved_before(requested) {
            return Ok(Reply::Address(address));
        }
        let network = inner.network_for(requested)?;
        if let Some(ip) = requested.ip.filter(|ip| inner.is_told_again(&network, *ip)) {
            return Ok(Reply::Address(refusal::address_in(&requested.pool, ip)?));
        }
        let expected = inner.expected_on(&network);
        let named = requested.owner.as_ref().and_then(|owner| owner.name.as_ref());
        inner.give_way(&network.name, |there| {
            named == Some(&there.name) || requested.ip.is_some_and(|ip| there.holds(ip))
        })?;
        let mut seeker = Reserving { requested, ground, lease: &mut lease, expected, client: None };
        let (_, reserved) = self.reserve(inner, &mut seeker, &mut answers)?;
        answers.keep();
        let address = reserved.draft.endpoint.addresses.last();
        Ok(Reply::Address(*address.expect("the address that was reserved comes last")))
    }

    /// Gives an address back. It is no error if the engine never had the address, or gave it back before.
    pub(super) fn free_address(
        &self,
        unlocked: &mut Unlocked,
        pool: &PoolKey,
        ip: IpAddr,
    ) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        if let Some(open) = inner.state().pools.get(pool).filter(|pool| pool.reserved.contains(&ip)).cloned()
        {
            let reserved = open.reserved.iter().filter(|other| **other != ip).copied().collect();
            inner.commit(vec![Change::PutPool(Pool { reserved, ..open })])?;
        }
        // The address may be of a lease that was lost while the engine had it.
        let had = |endpoint: &&Endpoint| {
            let free = endpoint.stage == Stage::Reserved && endpoint.engine_id().is_none();
            free && endpoint.lost.iter().any(|net| net.addr() == ip)
        };
        let holder = inner.state().holder(ip).or_else(|| inner.state().endpoints.values().find(had));
        // What was lent to another engine's container is not this engine's to give back.
        let holder = holder.filter(|holder| holder.netns().is_none() && !holder.is_lent()).cloned();
        let Some(holder) = holder else { return Ok(done()) };
        if holder.stage != Stage::Reserved {
            tracing::warn!(%ip, name = %holder.name, "is given back while it is in use, and is kept");
            return Ok(done());
        }
        let changes = if holder.addresses.len() > 1 {
            let addresses = holder.addresses.iter().filter(|net| net.addr() != ip).copied().collect();
            vec![Change::PutEndpoint(Endpoint { addresses, ..holder })]
        } else {
            inner.state().detached(&holder, now())
        };
        // After a power failure the engine's list says that the container has gone.
        inner.record(changes)?;
        inner.leftovers.set(true);
        self.schedule_deferred();
        Ok(done())
    }
}

/// An engine's request for the address of a container.
struct Reserving<'c, 's> {
    requested: &'s Reservation,
    ground: &'s mut Ground,
    lease: &'s mut Asked<'c>,
    /// The container whose request was announced.
    expected: Option<EndpointName>,
    client: Option<LeaseClient>,
}

/// For whom a DHCP server is asked.
struct LeaseClient {
    /// The name by which the server knows the container.
    known_as: EndpointName,
    /// The container's own name.
    name: Option<EndpointName>,
    mac: Option<Mac>,
    /// What the server is told.
    wishes: LeaseWishes,
}

impl<'c> Seeker<'c> for Reserving<'c, '_> {
    type Draft = Drafted;

    fn propose(&mut self, on: &'c Controller, inner: &mut Inner, answers: &Answers<'_>) -> Proposed<Drafted> {
        let network = inner.network_for(self.requested)?;
        let observed = inner.observe_host()?;
        let (endpoint, wanted) = if self.takes_lease(&network) {
            (self.leased(on, inner, &network, &observed.host)?, Vec::new())
        } else {
            let (endpoint, wanted) = self.of_range(on, inner, &network, &observed.host, answers)?;
            (endpoint, vec![wanted])
        };
        Ok(Proposal { network, wanted, draft: Drafted { observed, endpoint } })
    }

    fn obtain<'a>(
        &mut self,
        on: &'c Controller,
        inner: Locked<'a>,
        proposal: &Proposal<Drafted>,
        within: Duration,
    ) -> Obtained<'a>
    where
        'c: 'a,
    {
        let Proposal { network, draft, .. } = proposal;
        let (inner, brought) = on.brings(inner, network, draft, self.ground)?;
        if brought || !self.takes_lease(network) || !matches!(self.lease, Asked::Not) {
            return Ok((inner, brought));
        }
        let asked = self.requested.ip.and_then(as_v4);
        let (inner, lease) =
            on.acquire(inner, network, &draft.endpoint, asked, &draft.observed.host, within)?;
        *self.lease = lease;
        Ok((inner, true))
    }

    fn before_asking(
        &mut self,
        _: &'c Controller,
        inner: &mut Inner,
        proposal: &Proposal<Drafted>,
        _: &[Sought],
    ) -> Result<(), Refusal> {
        inner.check_usable(&proposal.network, &proposal.draft.observed.host)
    }

    fn take(&mut self, on: &'c Controller, inner: &mut Inner, proposal: &Proposal<Drafted>) -> Taken {
        let Proposal { network, wanted, draft: Drafted { endpoint, .. } } = proposal;
        inner.check_lease_is_free(network, endpoint)?;
        let key = endpoint.key();
        let before = inner.state().endpoints.get(&key).cloned();
        if !wanted.is_empty() {
            inner.left_behind(endpoint);
        }
        inner.commit(vec![Change::PutEndpoint(endpoint.clone())])?;
        if !on.keeps(proposal) {
            inner.commit(vec![before.map_or(Change::DelEndpoint(key), Change::PutEndpoint)])?;
            return Ok(false);
        }
        if let Asked::Got(lease) = std::mem::take(self.lease) {
            lease.keep(key.1);
        }
        Ok(true)
    }
}

impl Reserving<'_, '_> {
    fn takes_lease(&self, network: &Network) -> bool {
        network.leases(Family::of(self.requested.pool.net.addr())) && !matches!(self.lease, Asked::InVain)
    }

    /// An endpoint with an address of the LAN's DHCP server. Until there is a lease, it has no address of its own.
    fn leased(
        &mut self,
        on: &Controller,
        inner: &Inner,
        network: &Network,
        host: &View,
    ) -> Result<Endpoint, Refusal> {
        // The network may have gone in the meantime.
        inner.check_usable(network, host)?;
        let requested = self.requested;
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let name = inner.name_for(network, requested, self.expected.clone());
                // If the container's name is not known, the server knows it by an identity of its own.
                let nobody = || {
                    format!("unnamed-{:08x}", random() as u32).parse().expect("letters and digits are a name")
                };
                let guess = || {
                    let guess = inner.state().name_for_chosen(network, requested.ip?)?.clone();
                    let awaited = on.lan.awaits_lease(&(network.name.clone(), guess.clone()));
                    (!awaited).then_some(guess)
                };
                let known_as = name.clone().or_else(guess).unwrap_or_else(nobody);
                none.insert(LeaseClient { known_as, name, mac: None, wishes: LeaseWishes::default() })
            }
        };
        if let Asked::Got(lease) = &self.lease {
            // The name may have got an address by another call.
            let name = inner.name_for(network, requested, client.name.clone());
            let record = lease.record().clone();
            let address = IpNet::from(record.lease.address);
            let reserved = Endpoint {
                mac: client.mac,
                source: Source::Lease,
                lease: Some(Box::new(record)),
                wishes: client.wishes.clone(),
                ..inner.reserved(network, name, address, requested.ip.is_some())
            };
            return Ok(inner.beside(network, reserved));
        }
        let name = &client.known_as;
        let mac = requested.owner.as_ref().and_then(|owner| owner.mac);
        let mac = Requested { name, ips: &[], only: false, mac, lease: LeaseOutcome::NotYet };
        let mac = inner.state().choose_mac(network, &mac, host);
        client.mac = mac.map_err(|error| refusal::attach(&error))?;
        client.wishes = inner.wishes_for(network, name, requested.owner.as_ref())?;
        let draft = inner.reserved(network, Some(name.clone()), requested.pool.net, false);
        Ok(Endpoint { mac: client.mac, wishes: client.wishes.clone(), ..draft })
    }

    /// An endpoint with an address of the network's range, or with the address that the user chose.
    fn of_range(
        &self,
        on: &Controller,
        inner: &Inner,
        network: &Network,
        host: &View,
        answers: &Answers<'_>,
    ) -> Result<(Endpoint, Wanted), Refusal> {
        let requested = self.requested;
        // While the LAN was asked, another call may have given the name an address.
        let name = inner.name_for(network, requested, self.expected.clone());
        let heard = on.heard_on(network);
        let held = answers.held(inner);
        let known = AddressesInUse { host, heard: &heard, answered: answers.by(), held: &held };
        let subnet = requested.pool.find_in(network).expect("the network was found by this subnet");
        let placeholder = placeholder(&requested.pool);
        let named = name.as_ref().unwrap_or(&placeholder);
        let state = inner.state();
        let chosen = match requested.ip {
            // An engine that told the name was not asked for a list now. The last list has the chosen
            // addresses.
            None => {
                let listed = inner.engines.inventories().flat_map(Inventory::chosen);
                let chosen: Vec<IpAddr> = listed.chain(requested.chosen.iter().copied()).collect();
                state.choose_address_beside(network, subnet, named, &known, &chosen)
            }
            ip => state.choose_address(network, subnet, named, ip, &known),
        };
        let address = chosen.map_err(|error| refusal::attach(&error))?;
        let ip = address.addr();
        let stands_in = requested.ip.is_none() && state.stands_in(network, named, ip, &known);
        let mut reserved = inner.reserved(network, name.clone(), address, requested.ip.is_some());
        reserved.stand_ins.extend(stands_in.then_some(ip));
        if let Some(name) = &name {
            reserved.wishes = inner.wishes_for(network, name, requested.owner.as_ref())?;
        }
        let chosen = requested.owner.as_ref().and_then(|owner| owner.mac);
        let mac = chosen.or_else(|| state.likely_mac(network, name.as_ref()?));
        let name = reserved.name.clone();
        let wanted = Wanted { name, sought: (ip, mac), only: requested.ip.is_some() };
        Ok((inner.beside(network, reserved), wanted))
    }
}

impl Inner {
    /// Returns the address that an earlier call reserved whose answer was lost. The engine asks for one
    /// address of a network at a time, and makes the endpoint before it asks for the next.
    fn reserved_before(&self, requested: &Reservation) -> Option<IpNet> {
        let began = requested.asked_before?;
        let of_pool = |endpoint: &&Endpoint| {
            self.state().network_of(endpoint).is_some_and(|network| requested.pool.find_in(network).is_some())
        };
        let nobodys = |endpoint: &&Endpoint| {
            endpoint.stage == Stage::Reserved
                && endpoint.ownership == requested.engine.into()
                && endpoint.netns().is_none()
                && endpoint.engine_id().is_none()
                && endpoint.since >= began
        };
        let endpoints = self.state().endpoints.values().filter(of_pool).filter(nobodys);
        let fits = |net: &&IpNet| {
            requested.pool.net.contains(&net.addr()) && requested.ip.is_none_or(|ip| ip == net.addr())
        };
        endpoints.flat_map(|endpoint| &endpoint.addresses).find(fits).copied()
    }

    /// Reserves an address for a network that the engine is about to create.
    pub(in crate::daemon::controller) fn set_aside(
        &mut self,
        key: &PoolKey,
        ip: IpAddr,
    ) -> Result<(), Refusal> {
        let open = self.state().pools.get(key).cloned();
        let Some(mut pool) = open.filter(|pool| !pool.reserved.contains(&ip)) else { return Ok(()) };
        pool.reserved.push(ip);
        self.commit(vec![Change::PutPool(pool)])
    }

    /// Returns the network that a container is about to join: the one that its owner names, or the one of the
    /// pool.
    fn network_for(&mut self, requested: &Reservation) -> Result<Network, Refusal> {
        let its = |network: &&Network| network.ownership() == requested.engine.into();
        let named = requested.owner.as_ref().and_then(|owner| self.state().network_of_engine(&owner.network));
        let of_pool = || self.state().networks_of(&requested.pool).map(|(network, _)| network).find(its);
        let network = named.filter(its).or_else(of_pool);
        let network =
            network.cloned().ok_or_else(|| refusal::no_network_of_engine(&requested.pool.to_string()))?;
        self.learn_name(network, requested.owner.as_ref())
    }

    /// Returns the container's name, if it is known and has no address of this family yet.
    pub(in crate::daemon::controller) fn name_for(
        &self,
        network: &Network,
        requested: &Reservation,
        expected: Option<EndpointName>,
    ) -> Option<EndpointName> {
        // An engine that was asked and could not tell is starting several containers, and the expected one is
        // only one of them. A wrong name would cost two containers their addresses.
        let name = match &requested.owner {
            Some(owner) => owner.name.clone()?,
            None => expected?,
        };
        match self.state().endpoints.get(&(network.name.clone(), name.clone())) {
            None => Some(name),
            Some(there) if there.stage == Stage::Reserved && there.engine_id().is_none() => {
                let same_family = |net: &IpNet| net.addr().is_ipv4() == requested.pool.net.addr().is_ipv4();
                (!there.addresses.iter().any(same_family)).then_some(name)
            }
            Some(_) => None,
        }
    }

    /// Returns the endpoint that holds a reserved address: a new endpoint, or one with an additional address.
    pub(in crate::daemon::controller) fn reserved(
        &self,
        network: &Network,
        name: Option<EndpointName>,
        address: IpNet,
        fixed: bool,
    ) -> Endpoint {
        let chosen = if name.is_some() { Chosen::ForName } else { Chosen::Unnamed };
        let by_user = fixed.then_some(address.addr());
        let name = name.unwrap_or_else(|| EndpointName::of_unnamed(address.addr()));
        if let Some(there) = self.state().endpoints.get(&(network.name.clone(), name.clone())) {
            let mut endpoint = there.clone();
            endpoint.addresses.push(address);
            endpoint.by_user.addresses.extend(by_user);
            endpoint.since = now();
            return endpoint;
        }
        let ifname = engine_link_name(&network.name, &name);
        Endpoint {
            network: network.name.clone(),
            name,
            mac: None,
            addresses: vec![address],
            source: if fixed { Source::Fixed } else { Source::Range },
            chosen,
            by_user: ByUser { addresses: by_user.into_iter().collect(), ..ByUser::default() },
            lease: None,
            lease6: None,
            wishes: LeaseWishes::default(),
            learned: None,
            lost: Vec::new(),
            stand_ins: Vec::new(),
            default_route: true,
            own_routes: OwnRoutes::default(),
            ownership: network.ownership(),
            placement: Placement::Engine { id: None, ifname, sandbox: None, inside: None },
            stage: Stage::Reserved,
            since: now(),
            tagged_as: None,
            seen: None,
            container: None,
        }
    }

    /// What DHCP servers are told of a container, as its labels say. These count for all networks that it is on.
    fn wishes_for(
        &self,
        network: &Network,
        name: &EndpointName,
        owner: Option<&Owner>,
    ) -> Result<LeaseWishes, Refusal> {
        let labels = owner.map(|owner| &owner.labels).filter(|_| network.asks_servers());
        let asked = labels.map(Labels::wishes).transpose();
        let asked = asked.map_err(|(option, why)| refusal::label(option, name, &why))?.unwrap_or_default();
        self.state().lease_wishes(network, name, &asked).map_err(|error| refusal::attach(&error.into()))
    }

    fn check_usable(&self, network: &Network, host: &View) -> Result<(), Refusal> {
        let usable = self.state().usable_network(&network.name, host);
        usable.map(drop).map_err(|error| refusal::attach(&error))
    }

    /// Returns the same endpoint, as a stand-in if another endpoint holds what its name remembers, or is
    /// about to.
    pub(in crate::daemon::controller) fn beside(&self, network: &Network, endpoint: Endpoint) -> Endpoint {
        Endpoint { chosen: self.state().chosen_beside(network, &endpoint, &self.held), ..endpoint }
    }
}

/// A name that no container has. Any free address can be chosen for it.
fn placeholder(pool: &PoolKey) -> EndpointName {
    EndpointName::of_unnamed(pool.net.addr())
}
