//! What scripts for macvlan leave on a host: a child of the parent with an address, and routes to containers.

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::net::observed::{Link, ObservedKind, Seat};
use crate::net::remedy::Remedy;

const CHECK: &str = "shim";

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let host = facts.host;
    let mut found = Vec::new();
    for (parent, network) in facts.parents() {
        let Some(lower) = host.link(parent) else { continue };
        let is_child = |link: &&Link| {
            let is_kind = matches!(link.kind, ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. });
            is_kind
                && link.tag().is_none()
                && link.lower.is_some_and(|below| (below.index, below.seat) == (lower.index, Seat::Here))
        };
        for link in host.links.iter().filter(is_child) {
            let ranges = network.subnets.iter().map(|subnet| (subnet.net, subnet.pool()));
            let routes = host.routes.iter().filter(|there| there.route.dev == link.name);
            let is_of_network = |there: &crate::net::observed::ObservedRoute| {
                ranges.clone().any(|(net, range)| {
                    net.contains(&there.route.to) && range.contains(there.route.to.addr())
                })
            };
            let has_routes = routes.into_iter().any(is_of_network);
            if host.addresses_of(link).next().is_none() || !has_routes {
                continue;
            }
            let message = format!(
                "`{}` is a link of somebody else's on `{parent}`, with routes to addresses of network `{}`: this is what scripts \
                 make so that the host reaches containers, and Ashore does that itself",
                link.name,
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
