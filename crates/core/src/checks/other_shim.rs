//! What scripts for macvlan leave on a host: a child of the parent with an address, and routes to containers.

use ipnet::IpNet;

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::model::network::{Network, Subnet};
use crate::net::observed::{Link, Lower, ObservedKind, Seat, View};
use crate::net::range::Range;
use crate::net::remedy::Remedy;

const CHECK: &str = "shim";

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let host = facts.host;
    let mut found: Vec<Finding> = Vec::new();
    for network in facts.networks() {
        let Some(lower) = host.link(&network.parent) else { continue };
        let is_child = |link: &&Link| {
            let is_kind = matches!(link.kind, ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. });
            let is_on = |below: Lower| (below.index, below.seat) == (lower.index, Seat::Here);
            is_kind && link.tag().is_none() && link.lower.is_some_and(is_on)
        };
        for link in host.links.iter().filter(is_child) {
            if !is_shim(link, network, host) {
                continue;
            }
            let message = format!(
                "`{}` is a link of somebody else's on `{}`, with routes to addresses of network `{}`: this is what scripts \
                 make so that the host reaches containers, and Ashore does that itself",
                link.name,
                network.parent,
                network.label()
            );
            let remedy = Remedy::from("take the script out, and then the link: ")
                .and_run(format!("ip link del dev {}", link.name.word()));
            let about = About { parent: Some(link.name.clone()), ..About::network(network) };
            found.push(Finding::trouble(CHECK, Trouble::new(Code::OtherShim, about, message, Some(remedy))));
        }
    }
    found
}

/// Whether a link is there only for the host to reach addresses of a network. A link by which the host itself is on the
/// LAN is not: it has a default route, or the route of its own prefix.
fn is_shim(link: &Link, network: &Network, host: &View) -> bool {
    let own: Vec<IpNet> = host.addresses_of(link).map(|there| there.net.trunc()).collect();
    let mut routes =
        host.routes.iter().filter(|there| there.route.dev == link.name).map(|there| there.route.to);
    if own.is_empty() || routes.clone().any(|to| to.prefix_len() == 0) {
        return false;
    }
    routes.any(|to| {
        let is_connected = own.iter().any(|own| *own == to && own.prefix_len() < own.max_prefix_len());
        let lies_in = |subnet: &Subnet| {
            subnet.net.contains(&to) && to != subnet.net && {
                let there = Range::of_net(&to);
                subnet.pool().overlaps(&there)
            }
        };
        !is_connected && network.subnets.iter().any(lies_in)
    })
}
