//! Networks that have Ashore's IPAM driver and another network driver, because `-d ashore` was left out.
//! Docker's bridge driver puts the router's address on this host, which then answers for the LAN's router.
//!
//! An engine does not tell an IPAM driver which network driver it asks for. From Docker 28 on the engine lets
//! Ashore know, and such a network is refused. A caller that asks for a router's address gets it in a form
//! that Docker's bridge cannot put on this host. A network that is created all the same is reported until it
//! is removed, and gets no addresses for its containers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ashore_core::api::about::About;
use ashore_core::api::engine_call::Reservation;
use ashore_core::api::refusal::{self as refused, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::inventory::{Inventory, ListedNetwork};
use ashore_core::model::network::Subnet;
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::pool::{ANY_SUBNET, Pool, PoolKey};
use ashore_core::net::remedy::Remedy;
use ashore_core::net::text::Word;

use super::{Controller, Inner};
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// How long the engine may take to list what it has.
const PATIENCE: Duration = Duration::from_secs(1);
/// The maximum time that an engine takes to create a network. It goes from one call to the next within
/// milliseconds.
const CREATION: Duration = Duration::from_secs(10);

/// What is known of the pools of networks that are being created.
#[derive(Debug, Clone, Default)]
pub(super) struct Strangers {
    /// When each pool was opened.
    opened: BTreeMap<PoolKey, Instant>,
    /// Pools whose router was named in a form that other drivers cannot use.
    guarded: BTreeSet<PoolKey>,
}

impl Strangers {
    pub(super) fn opens(&mut self, key: PoolKey) {
        self.opened.retain(|_, since| since.elapsed() < CREATION);
        self.opened.insert(key, Instant::now());
    }

    /// The engine gives a pool back, whether a network was created from it or not.
    pub(super) fn closes(&mut self, key: &PoolKey) {
        self.opened.remove(key);
        if self.guarded.remove(key) {
            tracing::warn!(
                "{ENGINE} has given up a network on {}, which it did not ask Ashore's driver to create; if it was to be on the LAN: {}",
                key.net,
                with_both_drivers(ENGINE)
            );
        }
    }

    /// A network of Ashore's driver is created from these pools.
    pub(super) fn are_own<'a>(&mut self, keys: impl Iterator<Item = &'a PoolKey>) {
        keys.for_each(|key| _ = self.guarded.remove(key));
    }
}

/// The engine whose calls to IPAM drivers do not say for which driver's network an address is.
const ENGINE: EngineKind = EngineKind::Docker;

/// The remedy, in the words of an engine's command line and of Compose.
fn with_both_drivers(engine: EngineKind) -> Remedy {
    Remedy::run(format!("{} network create -d ashore --ipam-driver ashore …", engine.program()))
        .and(" (in Compose `driver: ashore` beside `ipam:`)")
}

impl Controller {
    /// Reserves a router's address for a network that the engine is about to create.
    pub(super) fn reserve_gateway(
        &self,
        unlocked: &mut Unlocked,
        requested: &Reservation,
    ) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let host = inner.observe(&[])?.host;
        let found = requested.ip.or_else(|| host.default_gateway(&requested.pool.net));
        let unknown = inner.state().pools.get(&requested.pool).and_then(Pool::unknown_router);
        let ip = found.or(unknown).ok_or_else(|| refusal::no_router_in(&requested.pool))?;
        let address = refusal::address_in(&requested.pool, ip)?;
        let is_its = |subnet: &Subnet| subnet.gateway.unwrap_or_else(|| subnet.net.network()) == ip;
        let made = inner.state().networks_of(&requested.pool).any(|(_, subnet)| is_its(subnet));
        // An address that this host already has is not taken from another machine.
        let guarded = !host.has_address(ip);
        if !made {
            inner.set_aside(&requested.pool, ip)?;
            if guarded {
                inner.strangers.guarded.insert(requested.pool);
            }
        }
        Ok(Reply::Gateway { address, guarded })
    }

    /// Reserves an address of a pool from which no network of Ashore's driver was created: an auxiliary
    /// address of a network that is being created, or an address for a container on a network of another
    /// driver, for which Ashore hands out nothing.
    pub(super) fn reserve_beside(
        &self,
        unlocked: &mut Unlocked,
        requested: &Reservation,
    ) -> Result<Reply, Refusal> {
        // A network that the engine lists is no longer being created.
        let is_listed = self.lists.refresh(unlocked, PATIENCE);
        let mut inner = self.lock(unlocked);
        if let Some(network) = inner.misusing(&requested.pool) {
            return Err(no_addresses(network));
        }
        let opened = inner.strangers.opened.get(&requested.pool);
        let is_coming = is_listed || opened.is_some_and(|since| since.elapsed() < CREATION);
        match requested.ip {
            Some(ip) if is_coming && inner.state().pools.contains_key(&requested.pool) => {
                let address = refusal::address_in(&requested.pool, ip)?;
                inner.set_aside(&requested.pool, ip)?;
                Ok(Reply::Address(address))
            }
            _ => Err(refusal::no_network_of_engine(&requested.pool.to_string())),
        }
    }
}

impl Inner {
    /// Notes which of an engine's networks have Ashore's IPAM driver and another network driver, and logs new
    /// ones.
    pub(super) fn note_strangers(&mut self, inventory: &Inventory) {
        let last = self.engines.last_of(&inventory.engine_id());
        let before = last.into_iter().flat_map(misusing).map(|network| &network.id);
        let before: BTreeSet<&String> = before.collect();
        for network in misusing(inventory).filter(|network| !before.contains(&network.id)) {
            tracing::error!("{}", trouble(inventory.kind, network));
        }
        // These networks were reported.
        let is_made = |key: &PoolKey| misusing(inventory).any(|network| has_pool(network, key));
        let pools = &self.store.state().pools;
        self.memory.strangers.guarded.retain(|key| pools.contains_key(key) && !is_made(key));
    }

    /// Reports the networks that have Ashore's IPAM driver and another network driver.
    pub(super) fn stranger_troubles(&self) -> Vec<Trouble> {
        let all = self.engines.inventories();
        all.flat_map(|one| misusing(one).map(move |network| trouble(one.kind, network))).collect()
    }

    /// Returns such a network that uses a pool.
    fn misusing(&self, pool: &PoolKey) -> Option<&ListedNetwork> {
        self.engines.inventories().flat_map(misusing).find(|network| has_pool(network, pool))
    }
}

fn has_pool(network: &ListedNetwork, pool: &PoolKey) -> bool {
    let mut nets = network.subnets.iter().map(|subnet| subnet.net.trunc());
    nets.any(|net| net == pool.net || net == ANY_SUBNET)
}

fn misusing(inventory: &Inventory) -> impl Iterator<Item = &ListedNetwork> {
    inventory.networks.iter().filter(|network| network.misuses_ipam)
}

fn trouble(engine: EngineKind, network: &ListedNetwork) -> Trouble {
    let ListedNetwork { name, driver, .. } = network;
    let subnets: Vec<String> = network.subnets.iter().map(|subnet| subnet.net.to_string()).collect();
    let subnets = subnets.join(", ");
    let gateway = network.subnets.iter().find_map(|subnet| subnet.gateway);
    // These two drivers give the gateway to containers only.
    let gateway = gateway.filter(|_| !matches!(driver.as_str(), "macvlan" | "ipvlan"));
    let taken = gateway
        .map_or_else(String::new, |ip| format!(", and this host answers the LAN for its gateway {ip}"));
    let message = format!(
        "{engine}'s network `{name}` has --ipam-driver ashore without -d ashore: its driver `{driver}` uses addresses of the LAN \
         ({subnets}){taken}"
    );
    let about = About { network: Some(name.clone()), engine: Some(engine), ..About::default() };
    Trouble::new(Code::OtherDriver, about, message, Some(anew(engine, name)))
}

/// To create a network of an engine again, with both drivers.
fn anew(engine: EngineKind, name: &str) -> Remedy {
    Remedy::run(format!("{} network rm {}", engine.program(), Word::of(name)))
        .and(", then ")
        .then(with_both_drivers(engine))
}

fn no_addresses(network: &ListedNetwork) -> Refusal {
    let ListedNetwork { name, driver, .. } = network;
    let message = format!(
        "network `{name}` has the driver `{driver}`, but Ashore's IPAM driver hands out addresses only for networks of Ashore's driver"
    );
    Refusal::new(refused::Code::OtherDriver, About::label(name), message, Some(anew(ENGINE, name)))
}

/// Refuses a pool for another driver's network.
pub(super) fn not_own() -> Refusal {
    Refusal::of(
        refused::Code::OtherDriver,
        format!(
            "Ashore's IPAM driver serves only networks of Ashore's driver, and this network has another: {ENGINE}'s bridge \
             would give this host the address of the LAN's router"
        ),
        with_both_drivers(ENGINE),
    )
}
