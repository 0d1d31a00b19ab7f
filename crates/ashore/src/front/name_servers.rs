//! The name servers and search domains that the LAN has told an endpoint, as engines take them.

use std::net::IpAddr;

use ashore_core::api::reply::EndpointReport;

/// The name servers and search domains of an endpoint's leases and of advertisements, each once.
pub(super) fn told(endpoint: &EndpointReport) -> (Vec<IpAddr>, Vec<String>) {
    let leased = endpoint.lease.iter().flat_map(|record| &record.lease.dns);
    let told = endpoint.lease6.iter().map(|record| &record.lease.dns);
    let told: Vec<_> = told.chain(endpoint.learned.iter().map(|learned| &learned.dns)).collect();
    // A link-local server has a zone in the container, for which engines have no place.
    let v6 = told.iter().flat_map(|dns| &dns.servers).filter(|ip| !ip.is_unicast_link_local());
    let servers = leased.map(|ip| IpAddr::from(*ip)).chain(v6.map(|ip| IpAddr::from(*ip)));
    let v4 = endpoint.lease.iter().flat_map(|record| &record.lease.search);
    let domains = v4.chain(told.iter().flat_map(|dns| &dns.search)).map(ToString::to_string);
    (each_once(servers), each_once(domains))
}

fn each_once<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}
