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

/// A router of a network, and the one that somebody else of this LAN has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// The network's.
    pub router: Ipv4Addr,
    /// The other one.
    pub other: Ipv4Addr,
    /// Whether the other one is this host's own. Otherwise a DHCP server names it.
    pub of_host: bool,
}

/// The routers of a network that neither this host nor a DHCP server has for routers, where they have others in the
/// same subnet. `named` are those that the servers name.
pub fn elsewhere(network: &Network, host: &View, named: &BTreeSet<Ipv4Addr>) -> Vec<Elsewhere> {
    let defaults = host.routes.iter().filter(|there| there.route.to.prefix_len() == 0);
    let of_host: Vec<Ipv4Addr> = defaults.filter_map(|there| v4(there.route.via?)).collect();
    // Where addresses are leased, the lease names the router.
    let subnets = network.handed_out().filter(|_| !network.internal);
    let told = subnets.filter_map(|subnet| {
        let router = subnet.gateway.and_then(v4).filter(|router| !host.has_address((*router).into()))?;
        if of_host.contains(&router) || named.contains(&router) {
            return None;
        }
        let near = |ip: &&Ipv4Addr| subnet.net.contains(&IpAddr::V4(**ip));
        let own = of_host.iter().find(near);
        let other = own.or_else(|| named.iter().find(near)).copied()?;
        Some(Elsewhere { router, other, of_host: own.is_some() })
    });
    told.collect()
}

/// That the router of a network may be none.
pub fn other_router(network: &Network, found: Elsewhere) -> Trouble {
    let Elsewhere { router, other, of_host } = found;
    let whose = if of_host { "this host's own router is" } else { "the LAN's DHCP server names" };
    let message = format!(
        "the router of network `{}` is {router}, and {whose} {other}: if {router} is no router, containers do not leave the LAN",
        network.label()
    );
    let remedy =
        Remedy::from("if that is not meant, ").then(network.anew(Remedy::set(&option::GATEWAY, &other)));
    let about = About { address: Some(router.into()), ..About::network(network) };
    Trouble::new(Code::OtherRouter, about, message, Some(remedy))
}

fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

/// Those of the routers that answer, and are not the other one by another address.
fn answering(facts: &Facts<'_>, network: &Network) -> Vec<Trouble> {
    let Facts { host, asked, .. } = facts;
    let none = BTreeSet::new();
    let named = asked.named_routers.get(&network.parent).unwrap_or(&none);
    let key = |router: Ipv4Addr| (network.parent.clone(), router);
    let is_other = |found: &Elsewhere| {
        let mac = |router| asked.macs_of_routers.get(&key(router));
        let answers = asked.routers.get(&key(found.router)).copied().flatten() == Some(true);
        let (Some(one), Some(other)) = (mac(found.router), mac(found.other)) else { return false };
        answers && one != other
    };
    let found = elsewhere(network, host, named).into_iter().filter(is_other);
    found.map(|found| other_router(network, found)).collect()
}

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let Facts { state, host, asked } = facts;
    let mut found: Vec<Finding> = unanswered(state, host, asked.platform, &asked.unanswered)
        .into_iter()
        .map(|trouble| Finding::trouble(CHECK, trouble))
        .collect();
    for network in facts.networks().filter(|network| !network.internal) {
        let about = About::network(network);
        // A second router may be meant, so it is no trouble.
        let to_see = |trouble: Trouble| Finding::unknown(CHECK, about.clone(), trouble.to_string());
        found.extend(answering(facts, network).into_iter().map(to_see));
        for router in network.subnets.iter().filter_map(|subnet| v4(subnet.gateway?)) {
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
