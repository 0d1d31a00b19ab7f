//! What scripts for macvlan leave on a host: a child of the parent with an address, and routes to containers.

use ipnet::IpNet;

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::model::network::Subnet;
use crate::net::name::IfName;
use crate::net::observed::{Link, Lower, ObservedKind, Seat, View};
use crate::net::range::Range;
use crate::net::remedy::Remedy;

const CHECK: &str = "shim";

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let host = facts.host;
    let mut found: Vec<Finding> = Vec::new();
    for network in facts.networks() {
        for (link, _) in shims(&network.parent, &network.subnets, host) {
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

/// The same on a host without networks: nothing is wrong with it there.
pub(super) fn of_no_network(host: &View, parent: &IfName) -> Vec<Finding> {
    let Ok(net) = host.lan_subnet(parent, None) else { return Vec::new() };
    let told = shims(parent, &[Subnet::whole(net, None)], host).into_iter().map(|(link, to)| {
        let what = format!(
            "`{}` on `{parent}` is a link with a route to {to}, as scripts for macvlan make it so that the host reaches \
             containers. Ashore does that itself: take the script out when its network, or one that `ashore adopt` has taken \
             over, hands out these addresses",
            link.name
        );
        Finding::unknown(CHECK, About::parent(&link.name), what)
    });
    told.collect()
}

/// The links on a parent that are not Ashore's and by which the host reaches addresses of subnets, each with the first
/// route to such addresses.
fn shims<'a>(parent: &IfName, subnets: &[Subnet], host: &'a View) -> Vec<(&'a Link, IpNet)> {
    let Some(lower) = host.link(parent) else { return Vec::new() };
    let is_child = |link: &&Link| {
        let is_kind = matches!(link.kind, ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. });
        let is_on = |below: Lower| (below.index, below.seat) == (lower.index, Seat::Here);
        is_kind && link.tag().is_none() && link.lower.is_some_and(is_on)
    };
    let children = host.links.iter().filter(is_child);
    children.filter_map(|link| Some((link, way_of_shim(link, subnets, host)?))).collect()
}

/// The route to addresses of subnets, if a link is there only for that. A link by which the host itself is on the LAN is
/// not: it has a default route, or the route of its own prefix.
fn way_of_shim(link: &Link, subnets: &[Subnet], host: &View) -> Option<IpNet> {
    let own: Vec<IpNet> = host.addresses_of(link).map(|there| there.net.trunc()).collect();
    let mut routes =
        host.routes.iter().filter(|there| there.route.dev == link.name).map(|there| there.route.to);
    if own.is_empty() || routes.clone().any(|to| to.prefix_len() == 0) {
        return None;
    }
    routes.find(|to| {
        let is_connected = own.iter().any(|own| own == to && own.prefix_len() < own.max_prefix_len());
        let lies_in = |subnet: &Subnet| {
            subnet.net.contains(to) && *to != subnet.net && {
                let there = Range::of_net(to);
                subnet.pool().overlaps(&there)
            }
        };
        !is_connected && subnets.iter().any(lies_in)
    })
}
