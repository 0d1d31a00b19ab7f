//! Networks that get other addresses: another range, or the subnet of another router.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::endpoint::{Endpoint, Stage};
use crate::model::network::{HOST_AUX, Network, Subnet};
use crate::model::ownership::EngineKind;
use crate::model::state::{Change, State};
use crate::net::family::Family;
use crate::net::name::{EndpointName, NetworkName};
use crate::net::observed::View;
use crate::net::option::IP_RANGE;
use crate::net::range::Range;
use crate::net::remedy::Remedy;
use crate::net::text::{Word, list};
use crate::rules::attach::AttachSpec;
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

/// Why a network cannot have other addresses. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReaddressError {
    /// There is no such network.
    #[error("there is no network `{0}`")]
    NoNetwork(NetworkName),
    /// An engine keeps what the network was created with.
    #[error("network `{network}` belongs to {engine}, which keeps its subnet and range itself")]
    OfEngine {
        /// The network, under the name that users know.
        network: String,
        /// The kind of the engine.
        engine: EngineKind,
    },
    /// An engine's container is on the network.
    #[error("network `{network}` has `{name}`, which its engine attaches and detaches")]
    HasEnginesContainer {
        /// The network, under the name that users know.
        network: String,
        /// The endpoint.
        name: EndpointName,
    },
    /// Endpoints are on the network, and may not be taken off.
    #[error("network `{network}` has {count} endpoint(s), such as `{name}`, with addresses as they are now")]
    HasEndpoints {
        /// The network, under the name that users know.
        network: String,
        /// One of them.
        name: EndpointName,
        /// How many there are.
        count: usize,
    },
    /// The range is of the subnet that goes. Without one, the whole LAN would be handed out.
    #[error("network `{network}` hands out {range}, which is not in {subnets}")]
    RangeLeft {
        /// The network, under the name that users know.
        network: String,
        /// The range as it is.
        range: Range,
        /// The subnets that it is to have.
        subnets: String,
    },
    /// There can be no network of these addresses.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl ReaddressError {
    /// The remedy, or `None` if the message says enough.
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            ReaddressError::NoNetwork(_) => {
                Remedy::from("list the networks with ").and_run("`ashore network ls`")
            }
            ReaddressError::OfEngine { network, engine } => {
                let program = engine.program();
                Remedy::from("take its containers off, and create it again: ")
                    .and_run(format!("{program} network rm {}", Word::of(network)))
                    .and(", ")
                    .and_run(format!("{program} network create …"))
                    .and("; names keep their addresses, as far as they are in the new range")
            }
            ReaddressError::HasEnginesContainer { .. } => "stop that container first".into(),
            ReaddressError::HasEndpoints { .. } => {
                "with --reconnect they are taken off for a moment, and attached again; ashore plan move shows what goes".into()
            }
            ReaddressError::RangeLeft { .. } => Remedy::from("name one of the new subnet with ").and_give(&IP_RANGE),
            ReaddressError::Network(error) => return error.remedy(),
        })
    }
}

impl State {
    /// Returns the network, if its addresses are its user's to change, and nobody has one or all can be attached again.
    pub fn may_readdress(&self, name: &NetworkName, reconnect: bool) -> Result<&Network, ReaddressError> {
        let network = self.networks.get(name).ok_or_else(|| ReaddressError::NoNetwork(name.clone()))?;
        let label = || network.label().to_owned();
        if let Some(engine) = network.ownership().engine() {
            return Err(ReaddressError::OfEngine { network: label(), engine });
        }
        if let Some(foreign) = self.endpoints_on(name).find(|endpoint| AttachSpec::again(endpoint).is_none())
        {
            let name = foreign.name.clone();
            return Err(ReaddressError::HasEnginesContainer { network: label(), name });
        }
        match self.endpoints_on(name).next() {
            Some(first) if !reconnect => Err(ReaddressError::HasEndpoints {
                network: label(),
                name: first.name.clone(),
                count: self.endpoints_on(name).count(),
            }),
            _ => Ok(network),
        }
    }

    /// The changes by which the endpoints of a network are taken off, and come back. What is being removed already, or
    /// was never complete, does not come back.
    pub fn taking_off(&self, network: &NetworkName) -> Vec<Change> {
        let on_it = self.endpoints_on(network).filter(|endpoint| endpoint.stage == Stage::Attached);
        on_it
            .flat_map(|endpoint| {
                let going = Endpoint { stage: Stage::Detaching, ..endpoint.clone() };
                [Change::PutReturning(endpoint.clone()), Change::PutEndpoint(going)]
            })
            .collect()
    }

    /// The changes by which nothing comes back to a network any more.
    pub fn none_returns(&self, network: &NetworkName) -> impl Iterator<Item = Change> {
        let keys = self.returning.keys().filter(move |(of, _)| of == network);
        keys.cloned().map(Change::DelReturning)
    }

    /// Returns the network with other addresses, if it can have them. Its own endpoints are off by then.
    pub fn readdressed(
        &self,
        network: &Network,
        to: &Readdress,
        host: &View,
    ) -> Result<Network, ReaddressError> {
        let family = |net: &IpNet| Family::of(net.addr());
        let is_replaced = |net: &IpNet| to.subnets.iter().any(|other| family(other) == family(net));
        let (gone, kept): (Vec<&Subnet>, Vec<&Subnet>) =
            network.subnets.iter().partition(|subnet| is_replaced(&subnet.net));
        let has_new = |subnet: &Subnet, mut ips: Vec<IpAddr>| {
            ips.retain(|ip| subnet.net.contains(ip));
            !ips.is_empty()
        };
        let firsts = || to.ranges.iter().map(Range::first).collect();
        let ranges = kept.iter().filter(|subnet| !has_new(subnet, firsts()));
        let mut ranges: Vec<Range> = ranges.filter_map(|subnet| subnet.range).collect();
        ranges.extend(ranges_that_stay(network, &gone, to)?);
        ranges.extend(&to.ranges);
        let gateways = kept.iter().filter(|subnet| !has_new(subnet, to.gateways.clone()));
        let nets: Vec<IpNet> =
            kept.iter().map(|subnet| subnet.net).chain(to.subnets.iter().copied()).collect();
        let aux = network.subnets.iter().flat_map(|subnet| &subnet.aux);
        let aux = aux.filter(|(_, ip)| nets.iter().any(|net| net.contains(*ip)));
        let spec = NetworkSpec {
            parent: Some(network.parent.clone()),
            ranges,
            gateways: gateways
                .filter_map(|subnet| subnet.gateway)
                .chain(to.gateways.iter().copied())
                .collect(),
            aux: aux.map(|(name, ip)| (name.clone(), *ip)).collect(),
            subnets: nets.clone(),
            ..NetworkSpec::named(network.name.clone())
        };
        let mut subnets = spec.network()?.subnets;
        for subnet in &mut subnets {
            let was = network.subnets.iter().find(|was| was.net == subnet.net && was.range == subnet.range);
            subnet.chosen = was.is_some_and(|was| was.chosen);
            if subnet.gateway.is_none() && !network.internal && to.subnets.contains(&subnet.net) {
                let mut had = gone.iter().filter_map(|was| was.gateway);
                let net = subnet.net;
                let had = had.find(|ip| net.contains(ip));
                subnet.gateway = host.default_gateway(&net).or(had);
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

/// The ranges of subnets that are replaced, in families for which no new range is given.
fn ranges_that_stay(
    network: &Network,
    gone: &[&Subnet],
    to: &Readdress,
) -> Result<Vec<Range>, ReaddressError> {
    let is_given = |range: &Range| {
        let mut given = to.ranges.iter().map(|new| Family::of(new.first()));
        given.any(|family| family == Family::of(range.first()))
    };
    let ranges = gone.iter().filter_map(|subnet| subnet.range).filter(|range| !is_given(range));
    let stays = |range: Range| {
        let outside = || ReaddressError::RangeLeft {
            network: network.label().to_owned(),
            range,
            subnets: list(to.subnets.iter()),
        };
        to.subnets.iter().any(|net| range.lies_in(&net.trunc())).then_some(range).ok_or_else(outside)
    };
    ranges.map(stays).collect()
}

impl Network {
    /// What this network reserves for others, and no longer does with other addresses: the warnings.
    pub fn no_longer_reserved(&self, moved: &Network) -> Vec<String> {
        let has =
            |ip: &IpAddr| moved.subnets.iter().any(|subnet| subnet.aux.values().any(|other| other == ip));
        let lost = self.subnets.iter().flat_map(|subnet| &subnet.aux).filter(|(_, ip)| !has(ip));
        lost.map(|(name, ip)| {
            let for_host = if name == HOST_AUX { ", and the host's address for containers goes with it" } else { "" };
            format!(
                "--aux-address {name}={ip} is in no subnet of network `{}` any more{for_host}; to reserve another, create the network again",
                self.label()
            )
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
