//! `ashore map`: who has which address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ashore_core::api::map::LanMap;
use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::model::identity::Identity;
use ashore_core::model::network::{Network, Subnet};
use ashore_core::model::state::State;
use ashore_core::net::name::NetworkName;
use ashore_core::net::observed::View;
use ipnet::IpNet;

use super::network::no_network;
use super::{Controller, Inner};
use crate::unlocked::Unlocked;

impl Controller {
    /// Shows the subnets of a network, or of all networks.
    pub(super) fn map(
        &self,
        unlocked: &mut Unlocked,
        network: Option<&NetworkName>,
    ) -> Result<Reply, Refusal> {
        let (maps, _) = self.read(unlocked, |_, reader| {
            let host = reader.observe(&[])?.host;
            let state = reader.state();
            let wanted: Vec<&Network> = match network {
                Some(name) => vec![state.networks.get(name).ok_or_else(|| no_network(name))?],
                None => state.networks.values().collect(),
            };
            let maps = wanted.into_iter().map(|network| state.as_leased(network)).flat_map(|network| {
                let maps = network.subnets.iter().map(|subnet| self.map_of(reader, &network, subnet, &host));
                maps.collect::<Vec<_>>()
            });
            Ok(maps.collect::<Vec<_>>())
        })?;
        Ok(Reply::Maps(maps))
    }

    fn map_of(&self, inner: &Inner, network: &Network, subnet: &Subnet, host: &View) -> LanMap {
        let state = inner.state();
        let net = subnet.net;
        let (mut machines, mut claimed) = self.lan.machines(&network.parent);
        machines.retain(|machine| net.contains(&machine.ip));
        claimed.retain(|claimed| net.contains(&claimed.ip));
        let own = host.addresses.iter().map(|there| there.net.addr());
        let endpoints = endpoints(state, network, &net);
        let mut away = BTreeMap::new();
        for name in state.left_last(network) {
            let kept = state.identity_of(network, name).into_iter().flat_map(Identity::all_addresses);
            for ip in kept.filter(|ip| net.contains(ip) && !endpoints.contains_key(ip)) {
                away.entry(ip).or_insert_with(|| name.to_string());
            }
        }
        LanMap {
            network: network.label().to_owned(),
            parent: network.parent.clone(),
            subnet: net,
            range: network.handed_out().any(|one| one.net == net).then(|| subnet.pool()),
            gateway: subnet.gateway,
            reserved: reserved(subnet),
            host: own.filter(|ip| net.contains(ip)).collect::<BTreeSet<IpAddr>>(),
            endpoints,
            away,
            pools: if net.addr().is_ipv4() { self.lan.dhcp_servers(&network.parent) } else { Vec::new() },
            machines,
            claimed,
        }
    }
}

/// The endpoints with an address in a subnet, on whichever network.
fn endpoints(state: &State, network: &Network, net: &IpNet) -> BTreeMap<IpAddr, String> {
    let mut found = BTreeMap::new();
    for endpoint in state.endpoints.values() {
        let Some(its) = state.network_of(endpoint).filter(|its| its.parent == network.parent) else {
            continue;
        };
        let called = || {
            let is_here = its.name == network.name;
            if is_here { endpoint.name.to_string() } else { format!("{}/{}", its.label(), endpoint.name) }
        };
        let here = endpoint.addresses.iter().map(IpNet::addr).filter(|ip| net.contains(ip));
        found.extend(here.map(|ip| (ip, called())));
    }
    found
}

/// The addresses that never belong to an endpoint, other than the router's.
fn reserved(subnet: &Subnet) -> BTreeMap<IpAddr, String> {
    let of_net = [subnet.net.network(), subnet.net.broadcast()];
    let all = subnet.aux.values().copied().chain(of_net).filter(|ip| subnet.gateway != Some(*ip));
    all.filter_map(|ip| Some((ip, subnet.never(ip)?.to_string()))).collect()
}
