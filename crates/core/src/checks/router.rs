//! Whether the routers answer: a container, and its host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ashore_wire::Mac;

use super::{Facts, Platform, named};
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::model::network::Network;
use crate::model::state::State;
use crate::net::kind::LinkKind;
use crate::net::name::{EndpointKey, IfName, NetworkName};
use crate::net::observed::View;
use crate::net::option;
use crate::net::remedy::Remedy;

const CHECK: &str = "router";

/// An endpoint that its router does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// The router.
    pub router: Ipv4Addr,
    /// The parent through which it is asked.
    pub parent: IfName,
    /// The MAC that asks.
    pub mac: Mac,
    /// Whether it answers the parent. `None` if the endpoint has the parent's MAC.
    pub answers_parent: Option<bool>,
}

/// What the endpoints without an answer from their router mean. `status` shows it too.
pub fn unanswered(state: &State, host: &View, platform: Platform, all: &[Unanswered]) -> Vec<Trouble> {
    type Group<'a> = BTreeMap<(&'a NetworkName, Ipv4Addr, bool), BTreeSet<&'a EndpointKey>>;
    let mut groups = Group::new();
    for one in all {
        let dropped = one.answers_parent == Some(true);
        groups.entry((&one.endpoint.0, one.router, dropped)).or_default().insert(&one.endpoint);
    }
    let told = groups.into_iter().filter_map(|((network, router, dropped), endpoints)| {
        let network = state.networks.get(network)?;
        Some(if dropped {
            mac_dropped(network, router, platform, &endpoints)
        } else {
            silent(network, router, host)
        })
    });
    told.collect()
}

fn mac_dropped(
    network: &Network,
    router: Ipv4Addr,
    platform: Platform,
    endpoints: &BTreeSet<&EndpointKey>,
) -> Trouble {
    let message = format!(
        "the router {router} answers this host, and not {} of network `{}`: something between drops frames of MACs that it \
         does not know; most likely {}",
        named(endpoints),
        network.label(),
        platform.suspect()
    );
    let mut remedy = platform.remedy();
    if platform != Platform::Cloud && matches!(network.kind, LinkKind::Macvlan(_)) {
        let shared = Remedy::set(&option::KIND, "ipvlan:l2").and(", whose containers share this host's MAC");
        remedy = remedy.and(", or ").then(network.anew(shared));
    }
    let about = About { parent: Some(network.parent.clone()), ..About::network(network) };
    Trouble::new(Code::MacDropped, about, message, Some(remedy))
}

fn silent(network: &Network, router: Ipv4Addr, host: &View) -> Trouble {
    let message = format!(
        "the router {router} of network `{}` answers neither this host nor the network's containers: it is off, or it is \
         not the LAN's router",
        network.label()
    );
    let of_host = host.default_gateway(&ipnet::IpNet::from(IpAddr::V4(router)));
    let nearby = network.subnet_of(router.into()).and_then(|subnet| host.default_gateway(&subnet.net));
    let other = nearby.or(of_host).filter(|other| *other != IpAddr::V4(router));
    let remedy = if let Some(other) = other {
        Remedy::from("this host's own router is ")
            .and(other.to_string())
            .and("; if that is the LAN's, ")
            .then(network.anew(Remedy::set(&option::GATEWAY, &other)))
    } else {
        let given = Remedy::give(&option::GATEWAY).and(", the router's address");
        Remedy::from("check that the router is on; if it is, ").then(network.anew(given))
    };
    let about = About { address: Some(router.into()), ..About::network(network) };
    Trouble::new(Code::RouterSilent, about, message, Some(remedy))
}

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let Facts { state, host, asked } = facts;
    let mut found: Vec<Finding> = unanswered(state, host, asked.platform, &asked.unanswered)
        .into_iter()
        .map(|trouble| Finding::trouble(CHECK, trouble))
        .collect();
    for network in facts.networks().filter(|network| !network.internal) {
        let about = About::network(network);
        let routers = network.subnets.iter().filter_map(|subnet| match subnet.gateway? {
            IpAddr::V4(router) => Some(router),
            IpAddr::V6(_) => None,
        });
        for router in routers {
            if host.has_address(router.into()) {
                if !asked.forwards {
                    found.push(Finding::trouble(CHECK, is_host(network, router)));
                }
                continue;
            }
            let is_told =
                asked.unanswered.iter().any(|one| one.endpoint.0 == network.name && one.router == router);
            match asked.routers.get(&(network.parent.clone(), router)).copied().flatten() {
                _ if is_told => {}
                Some(true) => {
                    let what = format!("the router {router} of network `{}` answers", network.label());
                    found.push(Finding::fine(CHECK, about.clone(), what));
                }
                Some(false) => found.push(Finding::trouble(CHECK, silent(network, router, host))),
                None => {
                    let why = format!(
                        "whether the router {router} of network `{}` answers is not known: `{}` passes no frames, or this host \
                         has no address there to ask from or drops the answers by rules of its own",
                        network.label(),
                        network.parent
                    );
                    found.push(Finding::unknown(CHECK, about.clone(), why));
                }
            }
        }
    }
    found
}

fn is_host(network: &Network, router: Ipv4Addr) -> Trouble {
    let message = format!(
        "the router {router} of network `{}` is this host, and this host forwards no packets: containers do not leave the LAN",
        network.label()
    );
    let given = Remedy::give(&option::GATEWAY).and(", the address of the LAN's router");
    let remedy = network.anew(given);
    let about = About { address: Some(router.into()), ..About::network(network) };
    Trouble::new(Code::RouterIsHost, about, message, Some(remedy))
}
