//! How names are looked up on the LAN: what an endpoint's leases and its routers say of that.

use std::net::{IpAddr, Ipv6Addr};

use ashore_wire::dhcp4::DomainName;
use ashore_wire::dhcp6::Dns;
use ashore_wire::slaac::Offer;

use crate::model::endpoint::{Endpoint, Placement};
use crate::net::name::IfName;

/// How many name servers and how many domains are written, as many as glibc up to 2.26 and musl heed (resolv.conf(5)).
const SERVERS: usize = 3;
const DOMAINS: usize = 6;
/// How many of each are kept of what the LAN says by IPv6: some of them may be of no use to an endpoint.
const MOST: usize = 8;

/// What of an offer is kept.
pub(crate) fn names(offer: &Offer) -> Dns {
    Dns {
        servers: each_once(offer.dns.iter().map(|there| there.0)).take(MOST).collect(),
        search: each_once(offer.search.iter().map(|there| there.0.clone())).take(MOST).collect(),
    }
}

impl Endpoint {
    /// The name servers and domains of its LAN, as in resolv.conf(5): those of its DHCPv4 lease first, then those that DHCPv6 servers
    /// tell, then those that routers advertise (RFC 8106, 5.3.1, wants the last two in this order). None if there is no name server.
    pub fn resolv_conf(&self) -> Option<String> {
        let lease = self.lease.as_ref().map(|record| &record.lease);
        let told = self.lease6.iter().map(|record| &record.lease.dns);
        let told: Vec<&Dns> = told.chain(self.learned.iter().map(|learned| &learned.dns)).collect();
        let v4 = lease.iter().flat_map(|lease| &lease.dns).map(|ip| IpAddr::V4(*ip).to_string());
        let v6 = told.iter().flat_map(|dns| &dns.servers).filter_map(|ip| self.written(*ip));
        let mut lines: Vec<String> =
            each_once(v4.chain(v6)).take(SERVERS).map(|server| format!("nameserver {server}\n")).collect();
        if lines.is_empty() {
            return None;
        }
        let v4 = lease.map_or(&[][..], |lease| {
            if lease.search.is_empty() { lease.domain.as_slice() } else { &lease.search }
        });
        let domains = v4.iter().chain(told.iter().flat_map(|dns| &dns.search)).map(DomainName::as_str);
        let domains: Vec<&str> = each_once(domains).take(DOMAINS).collect();
        if !domains.is_empty() {
            lines.push(format!("search {}\n", domains.join(" ")));
        }
        Some(lines.concat())
    }

    /// A name server as the endpoint reaches it. One of the link alone is of use only by the name of the link, which is an engine's to
    /// give.
    fn written(&self, server: Ipv6Addr) -> Option<String> {
        if !server.is_unicast_link_local() {
            return Some(server.to_string());
        }
        self.ifname().map(|link| format!("{server}%{link}"))
    }

    /// The name of its link in the container, as far as it is known.
    fn ifname(&self) -> Option<&IfName> {
        match &self.placement {
            Placement::Netns { ifname, .. } => Some(ifname),
            Placement::Engine { inside, .. } => inside.as_ref(),
        }
    }
}

/// Without repetitions, in the order of their first mention. They are few.
fn each_once<T: PartialEq + Clone>(all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let mut before: Vec<T> = Vec::new();
    all.filter(move |each| {
        let new = !before.contains(each);
        if new {
            before.push(each.clone());
        }
        new
    })
}

#[cfg(test)]
mod tests;
