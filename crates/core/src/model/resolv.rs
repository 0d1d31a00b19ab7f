//! How names are resolved on the LAN: what an endpoint's leases and the LAN's routers say about that.

use std::net::{IpAddr, Ipv6Addr};

use ashore_wire::dhcp4::DomainName;
use ashore_wire::dhcp6::Dns;
use ashore_wire::slaac::Offer;

use crate::model::endpoint::{Endpoint, Placement};
use crate::net::name::IfName;

/// How many name servers and domains are written: as many as glibc up to 2.26 and musl use (resolv.conf(5)).
const SERVERS: usize = 3;
const DOMAINS: usize = 6;
/// How many name servers and domains are kept of what the LAN announces by IPv6. This is more than is
/// written, because some may be of no use to an endpoint.
const MOST: usize = 8;

/// Returns the name servers and domains of an offer that are kept.
pub(crate) fn names(offer: &Offer) -> Dns {
    Dns {
        servers: each_once(offer.dns.iter().map(|there| there.0)).take(MOST).collect(),
        search: each_once(offer.search.iter().map(|there| there.0.clone())).take(MOST).collect(),
    }
}

impl Endpoint {
    /// The name servers and search domains of the endpoint's LAN, in the format of resolv.conf(5). Those of
    /// its DHCPv4 lease come first, then those of DHCPv6 servers, then those that routers advertise (RFC
    /// 8106, 5.3.1, requires this order of the last two). Returns `None` if there is no name server.
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

    /// A name server as the endpoint reaches it. A link-local address is usable only with the name of the
    /// link, which an engine may choose. Returns `None` if that name is not known.
    fn written(&self, server: Ipv6Addr) -> Option<String> {
        if !server.is_unicast_link_local() {
            return Some(server.to_string());
        }
        self.ifname().map(|link| format!("{server}%{link}"))
    }

    /// The name of its link in the container, if known.
    fn ifname(&self) -> Option<&IfName> {
        match &self.placement {
            Placement::Netns { ifname, .. } => Some(ifname),
            Placement::Engine { inside, .. } => inside.as_ref(),
        }
    }
}

/// Removes repetitions and keeps the order of first occurrence. The lists are short.
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
