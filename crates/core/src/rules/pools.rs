//! Which networks and which open pools an engine's address pool stands for.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::lease::{Addressing, LeaseOptions};
use crate::model::network::{Network, Subnet};
use crate::model::ownership::EngineKind;
use crate::model::pool::{ANY_SUBNET, Pool, PoolKey};
use crate::model::state::{Change, State};
use crate::model::survey::PoolReport;
use crate::net::name::IfName;
use crate::net::range::Range;
use crate::rules::create::NetworkError;

/// An engine's request for a pool. What it leaves out is completed from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRequest {
    /// Whether the engine asked before and the answer was lost.
    #[serde(default)]
    pub repeated: bool,
    /// Whether the engine opens the pool for a network of another driver, if it lets that be known.
    #[serde(default)]
    pub others: bool,
    /// The LAN's subnet.
    pub net: Option<IpNet>,
    /// The range from which addresses are assigned.
    pub range: Option<Range>,
    /// The host's interface that faces the LAN.
    pub parent: Option<IfName>,
    /// Where its addresses come from.
    #[serde(default)]
    pub addressing: Addressing,
    /// How addresses are leased, if they are.
    #[serde(default)]
    pub leasing: LeaseOptions,
}

impl State {
    /// The change to the state when a pool is opened, for the first time or again.
    pub fn opened(&self, key: PoolKey, requested: &PoolRequest, chosen: bool) -> Change {
        let reserved = self.pools.get(&key).map_or_else(Vec::new, |pool| pool.reserved.clone());
        let opened = self.pools.values().map(|pool| pool.opened).max().unwrap_or(0) + 1;
        let (parent, leasing) = (requested.parent.clone(), requested.leasing.clone());
        Change::PutPool(Pool { key, opened, reserved, parent, leasing, chosen })
    }

    /// The networks that were made from a pool, with the subnet in question. There are several if they share
    /// the LAN's whole subnet.
    pub fn networks_of<'a>(&'a self, key: &'a PoolKey) -> impl Iterator<Item = (&'a Network, &'a Subnet)> {
        self.networks.values().filter_map(move |network| Some((network, key.find_in(network)?)))
    }

    /// The pools of an engine's networks whose range Ashore chose, with their parents.
    pub fn chosen_pools(&self, kind: EngineKind) -> Vec<(PoolKey, IfName)> {
        let of_kind = |network: &&Network| network.engine.as_ref().is_some_and(|engine| engine.kind == kind);
        let engines = self.networks.values().filter(of_kind);
        let subnets = engines.flat_map(|network| network.subnets.iter().map(move |subnet| (network, subnet)));
        let chosen = subnets.filter(|(_, subnet)| subnet.chosen);
        chosen.map(|(network, subnet)| (PoolKey::of(network, subnet), network.parent.clone())).collect()
    }

    /// The pool for a subnet of a new network. The engine does not say which pool it is, but it has just
    /// opened it, so the one opened last is meant.
    pub fn pool_for(&self, net: &IpNet) -> Option<&Pool> {
        let fitting =
            self.pools.values().filter(|pool| pool.key.net == *net || (*net == ANY_SUBNET && pool.chosen));
        fitting.max_by_key(|pool| pool.opened)
    }

    /// Whether an open pool whose range Ashore chose waits for its network.
    pub fn has_chosen_pool(&self) -> bool {
        self.waiting_pools().next().is_some()
    }

    fn waiting_pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values().filter(|pool| pool.chosen && self.networks_of(&pool.key).next().is_none())
    }

    /// The range of such a pool in a subnet, without its last address. An engine that keeps the pool takes
    /// this for a different pool.
    pub fn chosen_range_again(&self, net: &IpNet) -> Option<Range> {
        let range = self.waiting_pools().find(|pool| pool.key.net == *net)?.key.range?;
        Range::between(range.first(), range.nth_around(range.len().checked_sub(2)?))
    }
}

impl PoolReport {
    /// Checks that no DHCP server was seen to assign addresses of the range.
    pub fn check(&self) -> Result<(), NetworkError> {
        let overlap =
            self.servers.iter().find_map(|seen| Some((seen.server, seen.hands_out_of(&self.range)?)));
        let (range, beside) = (self.range, self.beside);
        overlap.map_or(Ok(()), |(server, offered)| {
            Err(NetworkError::RangeInPool { range, server, offered, beside })
        })
    }
}
