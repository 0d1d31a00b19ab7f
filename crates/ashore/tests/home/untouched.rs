//! What of a host is its own, and must be the same before and after whatever Ashore does on it.

use ashore_core::observed::{Link, LinkAddress, Neighbour, ObservedRoute};
use ashore_core::step::ROUTE_PROTOCOL;

use super::Home;

/// Sysctls of the whole host that a program which puts containers on a LAN might be tempted by.
const SYSCTLS: &[&str] = &[
    "ipv4/ip_forward",
    "ipv4/conf/all/arp_announce",
    "ipv4/conf/all/arp_filter",
    "ipv4/conf/all/arp_ignore",
    "ipv4/conf/all/proxy_arp",
    "ipv4/conf/all/rp_filter",
    "ipv4/conf/all/send_redirects",
    "ipv4/conf/default/arp_filter",
    "ipv4/conf/default/rp_filter",
    "ipv4/conf/eth0/arp_filter",
    "ipv4/conf/eth0/proxy_arp",
    "ipv4/conf/eth0/rp_filter",
    "ipv6/conf/all/accept_ra",
    "ipv6/conf/all/disable_ipv6",
    "ipv6/conf/all/forwarding",
    "ipv6/conf/all/proxy_ndp",
    "ipv6/conf/eth0/accept_ra",
    "ipv6/conf/eth0/disable_ipv6",
    "ipv6/conf/eth0/proxy_ndp",
];

/// A host without what bears Ashore's tag or protocol.
#[derive(Debug, PartialEq)]
pub struct Own {
    links: Vec<Link>,
    addresses: Vec<LinkAddress>,
    routes: Vec<ObservedRoute>,
    neighbours: Vec<Neighbour>,
    sysctls: Vec<(&'static str, Option<String>)>,
}

/// The NAS as its owner has made it. To be taken once it is as the test wants it, and compared at the end.
pub fn untouched(home: &Home) -> Own {
    let mut host = home.nas.kernel().observe(&[]).unwrap().host;
    let ours: Vec<Link> = host.links.iter().filter(|link| link.tag().is_some()).cloned().collect();
    let (index, name) = (
        |index: u32| ours.iter().any(|link| link.index == index),
        |name: &ashore_core::IfName| ours.iter().any(|link| link.name == *name),
    );
    host.links.retain(|link| !index(link.index));
    // These the kernel changes in its own time.
    host.links.iter_mut().for_each(|link| link.carrier = true);
    host.addresses.retain(|there| !index(there.index) && !there.link_scope);
    let link_local = |there: &ObservedRoute| there.route.to.to_string().starts_with("fe80:");
    host.routes
        .retain(|there| there.protocol != ROUTE_PROTOCOL && !name(&there.route.dev) && !link_local(there));
    host.neighbours.retain(|there| !there.ours && !index(there.index));
    let read = |key: &&'static str| (*key, std::fs::read_to_string(format!("/proc/sys/net/{key}")).ok());
    let sysctls = home.nas.inside(|| SYSCTLS.iter().map(read).collect()).unwrap();
    let ashore_core::View { links, addresses, routes, neighbours, .. } = host;
    Own { links, addresses, routes, neighbours, sysctls }
}
