//! Networks that get other addresses: another range, or the subnet of another router.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::network::{Network, Subnet};
use crate::model::state::{Change, State};
use crate::net::family::Family;
use crate::net::name::NetworkName;
use crate::net::observed::View;
use crate::net::range::Range;
use crate::rules::create::{NetworkError, NetworkSpec};

/// The addresses that a network is to have. What is not given stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readdress {
    /// The network.
    pub network: NetworkName,
    /// Subnets, each of which takes the place of those of its family.
    pub subnets: Vec<IpNet>,
    /// Ranges, each of which takes the place of its subnet's.
    pub ranges: Vec<Range>,
    /// Routers, each of which takes the place of its subnet's.
    pub gateways: Vec<IpAddr>,
    /// Whether endpoints are taken off for a moment, and attached again.
    #[serde(default)]
    pub reconnect: bool,
}

impl State {
    /// Returns the network with other addresses, if it can have them. Its own endpoints are off by then.
    pub fn readdressed(
        &self,
        network: &Network,
        to: &Readdress,
        host: &View,
    ) -> Result<Network, NetworkError> {
        let family = |net: &IpNet| Family::of(net.addr());
        let is_replaced = |net: &IpNet| to.subnets.iter().any(|other| family(other) == family(net));
        let kept: Vec<&Subnet> = network.subnets.iter().filter(|subnet| !is_replaced(&subnet.net)).collect();
        let has_new = |subnet: &Subnet, mut ips: Vec<IpAddr>| {
            ips.retain(|ip| subnet.net.contains(ip));
            !ips.is_empty()
        };
        let firsts = || to.ranges.iter().map(Range::first).collect();
        let ranges = kept.iter().filter(|subnet| !has_new(subnet, firsts()));
        let gateways = kept.iter().filter(|subnet| !has_new(subnet, to.gateways.clone()));
        let nets: Vec<IpNet> =
            kept.iter().map(|subnet| subnet.net).chain(to.subnets.iter().copied()).collect();
        // What was reserved for others in a subnet that goes is nothing in the new one.
        let aux = kept.iter().flat_map(|subnet| &subnet.aux);
        let spec = NetworkSpec {
            parent: Some(network.parent.clone()),
            ranges: ranges.filter_map(|subnet| subnet.range).chain(to.ranges.iter().copied()).collect(),
            gateways: gateways
                .filter_map(|subnet| subnet.gateway)
                .chain(to.gateways.iter().copied())
                .collect(),
            aux: aux.map(|(name, ip)| (name.clone(), *ip)).collect(),
            subnets: nets,
            ..NetworkSpec::named(network.name.clone())
        };
        let mut subnets = spec.network()?.subnets;
        for subnet in &mut subnets {
            let was = network.subnets.iter().find(|was| was.net == subnet.net && was.range == subnet.range);
            subnet.chosen = was.is_some_and(|was| was.chosen);
            if subnet.gateway.is_none() && !network.internal && to.subnets.contains(&subnet.net) {
                subnet.gateway = host.default_gateway(&subnet.net);
            }
        }
        let moved = Network { subnets, ..network.clone() };
        moved.check(host)?;
        let mut without: Vec<Change> =
            self.endpoints_on(&network.name).map(|endpoint| Change::DelEndpoint(endpoint.key())).collect();
        without.push(Change::DelNetwork(network.name.clone()));
        self.with(&without).check_beside_others(&moved)?;
        Ok(moved)
    }
}
