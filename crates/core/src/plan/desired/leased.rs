//! The routes of a lease, and those that routers advertise, as far as a link can have them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::WantedLink;
use crate::model::endpoint::Endpoint;
use crate::model::network::Network;
use crate::net::family::Family;
use crate::net::name::IfName;
use crate::net::observed::View;
use crate::net::step::Route;

/// The routes of a lease, except a default route through a router.
pub(super) fn leased_routes<'a>(
    endpoint: &'a Endpoint,
    ifname: &'a IfName,
    host: &'a View,
) -> impl Iterator<Item = Route> + 'a {
    let lease = endpoint.lease.as_ref().filter(|_| endpoint.default_route).map(|record| &record.lease);
    let own = lease.map(|lease| lease.address);
    let routes = lease.into_iter().flat_map(|lease| &lease.routes);
    let wanted = routes.filter(move |route| {
        // The kernel makes the route to the link's own prefix itself.
        let is_own = own.is_some_and(|own| own.trunc() == route.to);
        let is_default = route.is_default() && route.via.is_some();
        !is_own && !takes_host(endpoint, &route.to.into(), host) && !is_default
    });
    wanted.map(|route| Route {
        to: route.to.into(),
        via: route.via.map(IpAddr::V4),
        dev: ifname.clone(),
        src: None,
        metric: None,
    })
}

/// The routes that routers advertise besides the default route.
pub(super) fn advertised_routes(
    network: &Network,
    endpoint: &Endpoint,
    ifname: &IfName,
    host: &View,
) -> impl Iterator<Item = Route> {
    let wanted = endpoint.default_route && !network.internal;
    let learned = endpoint.learned.as_ref().filter(|_| wanted);
    let routes = learned.into_iter().flat_map(|learned| &learned.routes);
    let routes = routes.map(|(to, via)| (IpNet::from(*to), IpAddr::V6(*via)));
    routes.filter(|(to, _)| !takes_host(endpoint, to, host)).map(|(to, via)| Route {
        to,
        via: Some(via),
        dev: ifname.clone(),
        src: None,
        metric: None,
    })
}

/// Whether a route is to a part of the LAN with the host in it. It would lead around the host.
fn takes_host(endpoint: &Endpoint, to: &IpNet, host: &View) -> bool {
    let is_part = |own: &IpNet| own.contains(&to.addr()) && own.prefix_len() < to.prefix_len();
    endpoint.addresses.iter().any(is_part)
        && host.addresses.iter().any(|there| to.contains(&there.net.addr()))
}

/// Adds routes to the next hops that are outside the link's prefixes, as with a lease of /32. Such a router
/// is on the link all the same, and the kernel needs a route that says so. Routes on the link are sorted
/// before the routes that need them.
pub(super) fn reach_next_hops(link: &mut WantedLink) {
    let mut nets: Vec<IpNet> = link.addresses.iter().map(|address| address.net.trunc()).collect();
    nets.extend(link.routes.iter().filter(|route| route.via.is_none()).map(|route| route.to));
    let hops: Vec<IpAddr> = link.routes.iter().filter_map(|route| route.via).collect();
    for hop in hops.into_iter().filter(IpAddr::is_ipv4) {
        if !nets.iter().any(|net| net.contains(&hop)) {
            let to = single(hop);
            nets.push(to);
            link.routes.push(Route { to, via: None, dev: link.spec.name.clone(), src: None, metric: None });
        }
    }
    link.routes.sort_by_key(|route| route.via.is_some());
    // A server may send a route twice, and the kernel has one route per destination and metric.
    let mut there = BTreeSet::new();
    link.routes.retain(|route| there.insert((route.to, route.has_metric())));
}

/// The routers of an endpoint's default routes that are outside its prefixes, as routes on the link. An
/// engine that is told only of the routers sets no such routes.
pub fn far_gateways(network: &Network, endpoint: &Endpoint) -> Vec<IpNet> {
    let near = |ip: &IpAddr| endpoint.addresses.iter().any(|net| net.contains(ip));
    let gateways = network.gateways_of(endpoint).filter(|ip| ip.is_ipv4() && !near(ip));
    gateways.map(single).collect()
}

fn single(ip: IpAddr) -> IpNet {
    IpNet::new(ip, Family::of(ip).full_prefix()).expect("a full prefix fits its family")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::link::{LinkSpec, LinkType, Tag};
    use crate::net::step::Address;

    #[test]
    fn a_next_hop_outside_of_all_prefixes_is_on_the_link_and_routes_there_come_first() {
        let eth0: IfName = "eth0".parse().unwrap();
        let spec = LinkSpec { name: eth0.clone(), kind: LinkType::Bridge, mac: None, mtu: None };
        let route = |to: &str, via: Option<&str>| Route {
            to: to.parse().unwrap(),
            via: via.map(|via| via.parse().unwrap()),
            dev: eth0.clone(),
            src: None,
            metric: None,
        };
        let (far, near) = (route("0.0.0.0/0", Some("10.9.9.1")), route("10.1.0.0/16", Some("192.168.88.1")));
        let (beside, on_link) = (route("10.2.0.0/16", Some("10.8.0.1")), route("10.8.0.0/24", None));
        let v6 = route("::/0", Some("fe80::1"));
        let mut link = WantedLink::bare(spec, Tag::Shim(eth0.clone()));
        link.addresses.push(Address { net: "192.168.88.7/24".parse().unwrap(), nodad: false });
        let again = route("10.3.0.0/16", Some("10.9.9.1"));
        link.routes = [&far, &near, &beside, &on_link, &v6, &again].map(Clone::clone).to_vec();
        reach_next_hops(&mut link);
        let added = route("10.9.9.1/32", None);
        assert_eq!(link.routes, [on_link, added, far, near, beside, v6, again]);
    }
}
