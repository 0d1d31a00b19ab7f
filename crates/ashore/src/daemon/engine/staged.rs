//! The stages of a container engine's attach: the same reservation, plan and record as any other, spread over the calls
//! that the engine makes.
//!
//! An engine repeats calls whose answers it lost, so every stage answers a second time what it answered the first.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use ashore_core::api::refusal::{Refusal, RefusalKind};
use ashore_core::api::reply::Reply;
use ashore_core::api::staged::{Owner, Reservation, Staged};
use ashore_core::model::endpoint::{ByUser, Chosen, Endpoint, Home, Source, Stage};
use ashore_core::model::inventory::Inventory;
use ashore_core::model::lease::Addressing;
use ashore_core::model::network::{EngineNetwork, Network, Subnet};
use ashore_core::model::pool::{Pool, PoolKey, UNTOLD};
use ashore_core::model::state::Change;
use ashore_core::net::family::Family;
use ashore_core::net::link::engine_link_name;
use ashore_core::net::name::{EndpointName, IfName};
use ashore_core::net::observed::Observed;
use ashore_core::plan::desired::far_gateways;
use ashore_core::rules::create::NetworkSpec;
use ashore_core::rules::known::Known;
use ipnet::IpNet;

use super::ask::Answers;
use super::{Engine, Inner};
use crate::clock::now;
use crate::daemon::refusal;

/// For how long a request that was announced is waited for.
const EXPECTED_FOR: Duration = Duration::from_secs(5);

impl Engine {
    pub(super) fn staged(&self, stage: Staged) -> Result<Reply, Refusal> {
        match stage {
            Staged::Begin => {
                let mut inner = self.lock();
                inner.begin();
                inner.note_unfinished_ones();
                Ok(done())
            }
            Staged::OpenPool(wish) => self.open_pool(&wish),
            Staged::ClosePool(key) => {
                let mut inner = self.lock();
                inner.strangers.closes(&key);
                let open = inner.state().pools.contains_key(&key);
                inner.commit(open.then_some(Change::DelPool(key)).into_iter().collect())?;
                Ok(done())
            }
            Staged::Expect { network, name } => {
                let (mut inner, now) = (self.lock(), Instant::now());
                inner.expected.retain(|_, (_, until)| now < *until);
                inner.expected.insert(network, (name, now + EXPECTED_FOR));
                Ok(done())
            }
            Staged::Foresee { pool, ip } => {
                let inner = self.lock();
                let networks: Vec<&Network> =
                    inner.state().networks_of(&pool).map(|(network, _)| network).collect();
                for network in networks {
                    self.lan.glance(&network.parent, &pool.net, ip.as_slice());
                }
                Ok(done())
            }
            Staged::Reserve(wish) => self.reserve_address(&wish),
            Staged::Free { pool, ip } => self.free_address(&pool, ip),
            Staged::Unheard { ip } => self.free_unheard(ip),
            Staged::CreateNetwork(spec) => self.create_engine_network(spec),
            Staged::RemoveNetwork { id } => self.remove_engine_network(&id),
            Staged::Prepare(wish) => self.prepare(&wish),
            Staged::Join { id, sandbox } => self.join(&id, sandbox.as_deref()),
            Staged::Leave { id } => self.leave(&id),
            Staged::HasLink { id } => match self.lock().engine_endpoint(&id)? {
                endpoint if endpoint.stage == Stage::Reserved => Err(no_endpoint(&id)),
                _ => Ok(done()),
            },
            Staged::Delete { id } => self.delete(&id),
        }
    }

    /// Gateway and auxiliary addresses are set aside for a network to be; all others are a container's.
    fn reserve_address(&self, wish: &Reservation) -> Result<Reply, Refusal> {
        if wish.gateway {
            return self.reserve_gateway(wish);
        }
        let subnets: Vec<Subnet> = {
            let inner = self.lock();
            inner.state().networks_of(&wish.pool).map(|(_, subnet)| subnet.clone()).collect()
        };
        let keeps =
            |subnet: &Subnet, ip| subnet.gateway == Some(ip) || subnet.aux.values().any(|aux| *aux == ip);
        match wish.ip {
            Some(ip) if subnets.iter().any(|subnet| keeps(subnet, ip)) => {
                Ok(Reply::Address(refusal::address_in(&wish.pool, ip)?))
            }
            _ if subnets.is_empty() => self.reserve_beside(wish),
            _ => self.reserve_for_container(wish),
        }
    }

    fn reserve_for_container(&self, wish: &Reservation) -> Result<Reply, Refusal> {
        let mut shim = None;
        let reserved = self.reserve_with(wish, &mut shim);
        reserved.map_err(|refusal| {
            self.take_shim_back(&self.lock(), shim.as_ref());
            let network = {
                let inner = self.lock();
                inner.state().networks_of(&wish.pool).map(|(network, _)| network.name.clone()).next()
            };
            network.map_or(refusal.clone(), |network| self.name_lookalike_of_shim(refusal, &network))
        })
    }

    /// The reservation itself. A shim that it had to make is noted by its parent.
    fn reserve_with(&self, wish: &Reservation, shim: &mut Option<IfName>) -> Result<Reply, Refusal> {
        self.check_beside_others_children(|state| {
            state.networks.values().find(|network| wish.pool.find_in(network).is_some())
        })?;
        let mut inner = self.lock();
        if let Some(address) = inner.reserved_before(wish) {
            return Ok(Reply::Address(address));
        }
        let network = inner.network_for(wish)?;
        if let Some(ip) = wish.ip.filter(|ip| inner.is_told_again(&network, *ip)) {
            return Ok(Reply::Address(refusal::address_in(&wish.pool, ip)?));
        }
        let expected = inner.expected_on(&network);
        let named = wish.owner.as_ref().and_then(|owner| owner.name.as_ref());
        inner.give_way(&network.name, |there| {
            named == Some(&there.name) || wish.ip.is_some_and(|ip| there.holds(ip))
        })?;
        if network.leases(Family::of(wish.pool.net.addr())) {
            let name = inner.name_for(&network, wish, expected.clone());
            let (again, leased) = self.reserve_lease(inner, wish, &network, name, shim)?;
            if let Some(address) = leased {
                return Ok(Reply::Address(address));
            }
            inner = again;
        }
        let mut answers = Answers::default();
        loop {
            // While the LAN was asked the network may have gone, and the name may have got an address by another call.
            let network = inner.network_for(wish)?;
            let name = inner.name_for(&network, wish, expected.clone());
            let observed = inner.observe(&[])?;
            let heard = self.heard_on(&network);
            let known =
                Known { host: &observed.host, heard: &heard, answered: answers.by(), held: &inner.held };
            let subnet = wish.pool.find_in(&network).expect("the network was found by this subnet");
            let placeholder = placeholder(&wish.pool);
            let named = name.as_ref().unwrap_or(&placeholder);
            let state = inner.state();
            let chosen = match wish.ip {
                // An engine that told the name was not asked for a list now; the last one tells.
                None => {
                    let listed = inner.inventory.iter().flat_map(Inventory::chosen);
                    let chosen: Vec<IpAddr> = listed.chain(wish.chosen.iter().copied()).collect();
                    state.choose_address_beside(&network, subnet, named, &known, &chosen)
                }
                ip => state.choose_address(&network, subnet, named, ip, &known),
            };
            let address = chosen.map_err(|error| refusal::attach(&error))?;
            let stands_in =
                wish.ip.is_none() && inner.state().stands_in(&network, named, address.addr(), &known);
            if inner.brings_parent(&network, &observed)? {
                continue;
            }
            let mut reserved = inner.reserved(&network, name.clone(), address, wish.ip.is_some());
            reserved.stand_ins.extend(stands_in.then_some(address.addr()));
            let reserved = inner.beside(&network, reserved);
            if self.brings_shim(&inner, &network, &reserved, &observed)? {
                *shim = Some(network.parent.clone());
                continue;
            }
            let chosen = wish.owner.as_ref().and_then(|owner| owner.mac);
            let mac = chosen.or_else(|| inner.state().likely_mac(&network, name.as_ref()?));
            let sought = [(address.addr(), mac)];
            let unclear = self.take(&network, &sought);
            if unclear.is_empty() {
                let key = (reserved.network.clone(), reserved.name.clone());
                let before = inner.state().endpoints.get(&key).cloned();
                inner.left_behind(&reserved);
                inner.commit(vec![Change::PutEndpoint(reserved)])?;
                if !self.keeps(&network, &sought) {
                    inner.commit(vec![before.map_or(Change::DelEndpoint(key), Change::PutEndpoint)])?;
                    continue;
                }
                self.follow(&inner, &observed);
                return Ok(Reply::Address(address));
            }
            let usable = inner.state().usable_network(&network.name, &observed.host);
            usable.map_err(|error| refusal::attach(&error))?;
            inner = self.ask(inner, &network, &unclear, &mut answers)?;
        }
    }

    /// Gives an address back. What an engine never had, or gave back before, is no error.
    fn free_address(&self, pool: &PoolKey, ip: IpAddr) -> Result<Reply, Refusal> {
        let mut inner = self.lock();
        if let Some(open) = inner.state().pools.get(pool).filter(|pool| pool.reserved.contains(&ip)).cloned()
        {
            let reserved = open.reserved.iter().filter(|other| **other != ip).copied().collect();
            inner.commit(vec![Change::PutPool(Pool { reserved, ..open })])?;
        }
        // What an engine gives back may be of a lease that was lost while it had it.
        let had = |endpoint: &&Endpoint| {
            let free = endpoint.stage == Stage::Reserved && endpoint.engine_id().is_none();
            free && endpoint.lost.iter().any(|net| net.addr() == ip)
        };
        let holder = inner.state().holder(ip).or_else(|| inner.state().endpoints.values().find(had));
        let holder = holder.filter(|holder| holder.netns().is_none()).cloned();
        let Some(holder) = holder else { return Ok(done()) };
        if holder.stage != Stage::Reserved {
            tracing::warn!(%ip, name = %holder.name, "is given back while it is in use, and kept");
            return Ok(done());
        }
        let changes = if holder.addresses.len() > 1 {
            let addresses = holder.addresses.iter().filter(|net| net.addr() != ip).copied().collect();
            vec![Change::PutEndpoint(Endpoint { addresses, ..holder })]
        } else {
            inner.state().detached(&holder, now())
        };
        inner.commit(changes)?;
        inner.leftovers = true;
        self.soon();
        Ok(done())
    }

    fn create_engine_network(&self, mut spec: NetworkSpec) -> Result<Reply, Refusal> {
        let pools: Vec<Pool> = {
            let mut inner = self.lock();
            if let Some(there) = spec.engine.as_ref().and_then(|e| inner.state().network_of_engine(&e.id)) {
                return Ok(Reply::Network(there.clone()));
            }
            let pools: Vec<Pool> =
                spec.subnets.iter().filter_map(|net| inner.state().pool_for(net)).cloned().collect();
            inner.strangers.are_own(pools.iter().map(|pool| &pool.key));
            spec.gateways.retain(|ip| !pools.iter().any(|pool| pool.stands_for_unknown_router(*ip)));
            pools
        };
        spec.ranges.extend(pools.iter().filter_map(|pool| pool.key.range));
        if spec.subnets == [UNTOLD] && !pools.is_empty() {
            spec.subnets = pools.iter().map(|pool| pool.key.net).collect();
        }
        if let Some(pool) = pools.iter().find(|pool| pool.key.addressing == Addressing::Dhcp) {
            (spec.addressing, spec.leasing) = (Addressing::Dhcp, pool.leasing.clone());
        }
        if spec.parent.is_none() {
            spec.parent = pools.iter().find_map(|pool| pool.parent.clone());
        }
        // An engine has no place for warnings; they are in the log, and in the status.
        let (network, _) = self.make_network(&spec, &pools)?;
        Ok(Reply::Network(network))
    }

    fn remove_engine_network(&self, id: &str) -> Result<Reply, Refusal> {
        let name = self.lock().state().network_of_engine(id).map(|network| network.name.clone());
        match name {
            None => Ok(done()),
            Some(name) => self.remove_network(&name),
        }
    }

    /// The link is made on the host; the engine moves it.
    fn join(&self, id: &str, sandbox: Option<&Path>) -> Result<Reply, Refusal> {
        self.await_last_link(id);
        let mut inner = self.lock();
        let endpoint = inner.engine_endpoint(id)?;
        let observed = inner.observe(&[])?;
        let network = inner.state().usable_network(&endpoint.network, &observed.host);
        let network = network.map_err(|error| refusal::attach(&error))?.clone();
        let home = in_sandbox(&endpoint, sandbox);
        let endpoint = Endpoint { stage: Stage::Attaching, home, since: now(), seen: None, ..endpoint };
        inner.commit(vec![Change::PutEndpoint(endpoint.clone())])?;
        let done = inner.carry_out(&observed, &[]).and_then(|observed| {
            // At once: the kernel would not tell, since the engine moves the link.
            let attached = inner.state().attached(&endpoint, now());
            inner.commit(attached).map(|()| observed)
        });
        match done {
            Ok(observed) => {
                self.follow(&inner, &observed);
                self.announce(&inner, &observed, inner.state(), &endpoint);
                // An engine is not told of these addresses, and its next answer need not wait for them.
                self.lan.look_at_routers(Some(&network.parent));
                // Nor of their routers, which it would set beside: this may be a question that is asked again.
                let told = endpoint.clone().without_learned();
                let (gateways, on_link) =
                    (network.gateways_of(&told).collect(), far_gateways(&network, &told));
                inner.missing.starts(id);
                let (link, ifname) = (endpoint.link().1.clone(), endpoint.inside().cloned());
                Ok(Reply::Joined { link, ifname, gateways, on_link })
            }
            Err(refusal) => {
                let reserved = as_reserved(&endpoint);
                inner.take_back(&endpoint, Change::PutEndpoint(reserved));
                Err(refusal)
            }
        }
    }

    /// The container stops; its link is still in it, and comes back to the host or dies with the container.
    fn leave(&self, id: &str) -> Result<Reply, Refusal> {
        let mut inner = self.lock();
        let Some(endpoint) = inner.state().endpoint_of_engine(id).cloned() else { return Ok(done()) };
        // Should this fail, the engine leaves once more, and the endpoint is not wanted then.
        if endpoint.is_wanted() {
            inner.leaves(endpoint.clone());
        }
        let (observed, warnings) = inner.back_to_reserved(&endpoint)?;
        self.follow(&inner, &observed);
        Ok(Reply::Done { warnings })
    }

    /// What has left the container takes the kernel 20 ms to delete, and nobody waits for it.
    fn delete(&self, id: &str) -> Result<Reply, Refusal> {
        let mut inner = self.lock();
        let Some(endpoint) = inner.state().endpoint_of_engine(id).cloned() else { return Ok(done()) };
        let addresses = endpoint.addresses.iter().map(IpNet::addr).collect();
        // The engine's own IPAM does not say when it lets go of an address.
        let changes = if endpoint.source == Source::Engine {
            inner.state().detached(&endpoint, now())
        } else {
            let ifname = endpoint.link().1.clone();
            let home = Home::Engine { id: None, ifname, sandbox: None, inside: None };
            let endpoint = endpoint.without_learned();
            vec![Change::PutEndpoint(Endpoint { stage: Stage::Reserved, home, seen: None, ..endpoint })]
        };
        inner.commit(changes)?;
        inner.leftovers = true;
        self.soon();
        Ok(Reply::Deleted { addresses })
    }
}

impl Inner {
    /// The address that a call reserved whose answer was lost. The engine asks for one address of a network at a time, and
    /// makes the endpoint before it asks for the next.
    fn reserved_before(&self, wish: &Reservation) -> Option<IpNet> {
        let began = wish.asked_before?;
        let of_pool = |endpoint: &&Endpoint| {
            self.state().network_of(endpoint).is_some_and(|network| wish.pool.find_in(network).is_some())
        };
        let nobodys = |endpoint: &&Endpoint| {
            endpoint.stage == Stage::Reserved
                && endpoint.netns().is_none()
                && endpoint.engine_id().is_none()
                && endpoint.since >= began
        };
        let endpoints = self.state().endpoints.values().filter(of_pool).filter(nobodys);
        let fits =
            |net: &&IpNet| wish.pool.net.contains(&net.addr()) && wish.ip.is_none_or(|ip| ip == net.addr());
        endpoints.flat_map(|endpoint| &endpoint.addresses).find(fits).copied()
    }

    /// Keeps an address for a network that the engine is about to make.
    pub(super) fn set_aside(&mut self, key: &PoolKey, ip: IpAddr) -> Result<(), Refusal> {
        let open = self.state().pools.get(key).cloned();
        let Some(mut pool) = open.filter(|pool| !pool.reserved.contains(&ip)) else { return Ok(()) };
        pool.reserved.push(ip);
        self.commit(vec![Change::PutPool(pool)])
    }

    /// The network that a container is about to join: the one that its owner is known to be on, or the one of the pool.
    fn network_for(&mut self, wish: &Reservation) -> Result<Network, Refusal> {
        let named = wish.owner.as_ref().and_then(|owner| self.state().network_of_engine(&owner.network));
        let network =
            named.or_else(|| self.state().networks_of(&wish.pool).map(|(network, _)| network).next());
        let network =
            network.cloned().ok_or_else(|| refusal::no_network_of_engine(&wish.pool.to_string()))?;
        self.learn_name(network, wish.owner.as_ref())
    }

    /// The engine tells a driver a network's id alone; what the user calls it comes with its containers. So does what a
    /// container was called by earlier versions.
    pub(super) fn learn_name(&mut self, network: Network, owner: Option<&Owner>) -> Result<Network, Refusal> {
        let told =
            owner.filter(|owner| network.engine.as_ref().is_some_and(|there| there.id == owner.network));
        let Some(owner) = told else { return Ok(network) };
        let mut changes = Vec::new();
        let network = match &owner.network_name {
            Some(name) if network.label() != name => {
                let engine =
                    network.engine.clone().map(|there| EngineNetwork { name: Some(name.clone()), ..there });
                let network = Network { engine, ..network };
                changes.push(Change::PutNetwork(network.clone()));
                network
            }
            _ => network,
        };
        if let (Some(name), Some(formerly)) = (&owner.name, &owner.formerly) {
            let inventory = self.inventory.as_ref();
            changes.extend(self.state().inherits(&network, name, formerly, inventory));
        }
        self.commit(changes)?;
        Ok(network)
    }

    /// The container's name, if it is known and has no address of this family yet.
    pub(super) fn name_for(
        &self,
        network: &Network,
        wish: &Reservation,
        expected: Option<EndpointName>,
    ) -> Option<EndpointName> {
        // An engine that was asked and could not tell is starting several, and the expected one is but one of them: a wrong
        // name would cost two containers their addresses.
        let name = match &wish.owner {
            Some(owner) => owner.name.clone()?,
            None => expected?,
        };
        match self.state().endpoints.get(&(network.name.clone(), name.clone())) {
            None => Some(name),
            Some(there) if there.stage == Stage::Reserved && there.engine_id().is_none() => {
                let same_family = |net: &IpNet| net.addr().is_ipv4() == wish.pool.net.addr().is_ipv4();
                (!there.addresses.iter().any(same_family)).then_some(name)
            }
            Some(_) => None,
        }
    }

    /// The endpoint that holds a reserved address, new or with one more.
    pub(super) fn reserved(
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
            by_user: ByUser { mac: false, addresses: by_user.into_iter().collect() },
            lease: None,
            lease6: None,
            learned: None,
            lost: Vec::new(),
            stand_ins: Vec::new(),
            default_route: true,
            home: Home::Engine { id: None, ifname, sandbox: None, inside: None },
            stage: Stage::Reserved,
            since: now(),
            tagged_as: None,
            seen: None,
        }
    }

    /// The same endpoint, as a stand-in if another one holds what its name remembers, or is about to.
    pub(super) fn beside(&self, network: &Network, endpoint: Endpoint) -> Endpoint {
        Endpoint { chosen: self.state().chosen_beside(network, &endpoint, &self.held), ..endpoint }
    }

    /// Takes an endpoint's link and routes off the host, and keeps its addresses.
    fn back_to_reserved(&mut self, endpoint: &Endpoint) -> Result<(Observed, Vec<String>), Refusal> {
        self.commit(vec![Change::PutEndpoint(as_reserved(endpoint))])?;
        let (observed, errors) = self.sweep(&[])?;
        let left = errors.iter().map(|error| format!("{error}; it is tried again every minute"));
        Ok((observed, left.collect()))
    }

    pub(super) fn engine_network(&self, id: &str) -> Result<Network, Refusal> {
        self.state().network_of_engine(id).cloned().ok_or_else(|| refusal::no_network_of_engine(id))
    }

    fn engine_endpoint(&self, id: &str) -> Result<Endpoint, Refusal> {
        self.state().endpoint_of_engine(id).cloned().ok_or_else(|| no_endpoint(id))
    }
}

fn no_endpoint(id: &str) -> Refusal {
    Refusal {
        kind: RefusalKind::NotFound,
        message: format!("there is no endpoint {id}"),
        hint: Some("`ashore status` lists those there are".into()),
    }
}

/// An engine's endpoint with its addresses and no link.
fn as_reserved(endpoint: &Endpoint) -> Endpoint {
    let home = in_sandbox(endpoint, None);
    Endpoint { stage: Stage::Reserved, home, seen: None, ..endpoint.clone().without_learned() }
}

pub(super) fn done() -> Reply {
    Reply::Done { warnings: Vec::new() }
}

/// An engine's endpoint in another sandbox, or in none.
fn in_sandbox(endpoint: &Endpoint, sandbox: Option<&Path>) -> Home {
    Home::Engine {
        id: endpoint.engine_id().map(str::to_owned),
        ifname: endpoint.link().1.clone(),
        sandbox: sandbox.map(Path::to_owned),
        inside: endpoint.inside().cloned(),
    }
}

/// A name that is nobody's: its choice of address is any that is free.
fn placeholder(pool: &PoolKey) -> EndpointName {
    EndpointName::of_unnamed(pool.net.addr())
}
