//! Where each address of an endpoint comes from, and how long it lasts.
//!
//! An origin is worked out, not stored. Stored is what each source has said: whom the addresses were asked of
//! ([`Endpoint::source`]), what the user chose, the lease, and what routers advertise. A source says more than
//! addresses, such as routers, MTU and name servers, and older versions read each of them where it is.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::model::endpoint::{Endpoint, Source};
use crate::model::learned::{Learned, LearnedAddress};
use crate::model::lease::LeaseRecord;
use crate::net::family::Family;

/// The maximum number of lost IPv6 addresses that are kept off an endpoint's link.
const MOST_LOST: usize = 16;

/// Where an address of an endpoint comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// Ashore chose it from a range of the network.
    Range,
    /// The user chose it.
    User,
    /// The engine's own IPAM chose it.
    Engine,
    /// A DHCPv4 server assigned it.
    Lease(&'a LeaseRecord),
    /// A DHCPv6 server assigned it.
    Lease6(&'a LearnedAddress),
    /// It was made from a prefix that a router advertises.
    Prefix(&'a LearnedAddress),
}

impl<'a> Origin<'a> {
    /// The lifetimes and prefix of an address that Ashore learns once the endpoint is on the LAN.
    pub fn learned(self) -> Option<&'a LearnedAddress> {
        match self {
            Origin::Lease6(learned) | Origin::Prefix(learned) => Some(learned),
            Origin::Range | Origin::User | Origin::Engine | Origin::Lease(_) => None,
        }
    }

    /// Whether it lasts as long as the endpoint: neither a server nor a router can end it.
    pub fn is_given(self) -> bool {
        matches!(self, Origin::Range | Origin::User | Origin::Engine)
    }

    /// When the address ends, in seconds since 1970, unless its server or router prolongs it. `None` if it never
    /// ends.
    pub fn ends(self) -> Option<u64> {
        match self {
            Origin::Range | Origin::User | Origin::Engine => None,
            Origin::Lease(record) => record.ends(),
            Origin::Lease6(learned) | Origin::Prefix(learned) => learned.valid,
        }
    }
}

impl Endpoint {
    /// Its addresses, each with its origin.
    pub fn assigned(&self) -> impl Iterator<Item = (IpNet, Origin<'_>)> {
        self.addresses.iter().map(|net| (*net, self.origin(net.addr())))
    }

    /// Where an address of it comes from.
    pub fn origin(&self, ip: IpAddr) -> Origin<'_> {
        if let Some(record) = self.lease.as_deref().filter(|record| record.lease.address.addr() == ip) {
            return Origin::Lease(record);
        }
        let mut learned = self.learned.iter().flat_map(|learned| &learned.addresses);
        match learned.find(|there| there.ip == ip) {
            Some(there) if there.leased => Origin::Lease6(there),
            Some(there) => Origin::Prefix(there),
            None if self.source == Source::Engine => Origin::Engine,
            None if self.was_given(ip) || self.is_of_untold_choice() => Origin::User,
            None => Origin::Range,
        }
    }

    /// Whether the user chose this address for it.
    pub(crate) fn was_given(&self, ip: IpAddr) -> bool {
        self.by_user.addresses.contains(&ip)
    }

    /// Whether the user chose its addresses, and it is not noted which ones. Older versions noted no more.
    pub(crate) fn is_of_untold_choice(&self) -> bool {
        self.source == Source::Fixed && self.by_user.addresses.is_empty()
    }

    /// Its addresses other than the leased IPv4 address.
    pub fn chosen_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let chosen = self.assigned().filter(|(_, origin)| !matches!(origin, Origin::Lease(_)));
        chosen.map(|(net, _)| net.addr())
    }

    /// Its addresses other than the learned ones.
    pub fn without_advertised(&self) -> impl Iterator<Item = IpNet> {
        self.assigned().filter(|(_, origin)| origin.learned().is_none()).map(|(net, _)| net)
    }

    /// Its address of a family that Ashore, the user or the engine chose, rather than a server or a router.
    pub(crate) fn given_address(&self, family: Family) -> Option<IpAddr> {
        let mut given = self.assigned().filter(|(_, origin)| origin.is_given()).map(|(net, _)| net.addr());
        given.find(|ip| Family::of(*ip) == family)
    }

    /// The address of its DHCPv4 lease.
    pub fn leased_address(&self) -> Option<Ipv4Addr> {
        self.lease.as_ref().map(|record| record.lease.address.addr())
    }

    /// Its addresses, and those that it has lost.
    pub fn ever_assigned(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().chain(&self.lost).map(IpNet::addr)
    }

    /// Returns the same endpoint with another lease than before, or with none any more. The address that it had
    /// is added to the lost ones.
    #[must_use]
    pub fn with_lease(self, record: Option<LeaseRecord>) -> Self {
        let (mut lost, mut addresses): (Vec<IpNet>, Vec<IpNet>) =
            self.addresses.iter().partition(|net| net.addr().is_ipv4());
        lost.extend(&self.lost);
        if let Some(record) = &record {
            let own = IpNet::from(record.lease.address);
            lost.retain(|net| *net != own);
            addresses.insert(0, own);
        }
        lost.sort_unstable();
        lost.dedup();
        Endpoint { addresses, lost, lease: record.map(Box::new), ..self }
    }

    /// Returns the same endpoint with new advertised information. Addresses that it had and no longer has are
    /// added to the lost ones, which must not stay on its link.
    #[must_use]
    pub fn with_learned(self, learned: Option<Box<Learned>>) -> Self {
        let mut addresses: Vec<IpNet> = self.without_advertised().collect();
        addresses.extend(learned.iter().flat_map(|learned| &learned.addresses).map(LearnedAddress::net));
        let gone = self.addresses.iter().filter(|net| !addresses.contains(net));
        let mut lost: Vec<IpNet> = gone.chain(&self.lost).copied().collect();
        lost.retain(|net| !addresses.contains(net));
        let mut v6 = 0;
        lost.retain(|net| {
            v6 += usize::from(net.addr().is_ipv6());
            net.addr().is_ipv4() || v6 <= MOST_LOST
        });
        Endpoint { addresses, learned, lost, ..self }
    }

    /// Returns the same endpoint without advertised information, for a link that is removed. When the
    /// endpoint comes back, it learns the information again.
    #[must_use]
    pub fn without_learned(self) -> Self {
        let addresses = self.without_advertised().collect();
        let lost = self.lost.iter().copied().filter(|net| net.addr().is_ipv4()).collect();
        Endpoint { addresses, learned: None, lost, ..self }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rules::learn::tests::endpoint;

    /// A lease of this address.
    pub(crate) fn record(ip: &str) -> LeaseRecord {
        let term = serde_json::json!({ "renew": 1800, "rebind": 3150, "end": 3600 });
        let record = serde_json::json!({
            "address": ip, "server": "192.168.88.1", "term": term, "routes": [], "dns": [], "domain": null, "search": [],
            "ntp": [], "mtu": null, "broadcast": null, "since": 100, "id": "00:07", "mac": "02:00:00:00:00:07",
        });
        serde_json::from_value(record).unwrap()
    }

    fn learned(ip: &str, leased: bool, valid: Option<u64>) -> LearnedAddress {
        let (prefix, deprecated) = ("fd88::/64".parse().unwrap(), false);
        LearnedAddress {
            ip: ip.parse().unwrap(),
            prefix,
            on_link: true,
            leased,
            deprecated,
            preferred: None,
            valid,
        }
    }

    /// What an endpoint has, in words.
    fn has(endpoint: &Endpoint) -> Vec<String> {
        let told = |(net, origin): (IpNet, Origin<'_>)| {
            let from = match origin {
                Origin::Range => "range",
                Origin::User => "user",
                Origin::Engine => "engine",
                Origin::Lease(_) => "lease",
                Origin::Lease6(_) => "lease6",
                Origin::Prefix(_) => "prefix",
            };
            let until = origin.ends().map_or(String::new(), |end| format!(" until {end}"));
            format!("{net} {from}{until}")
        };
        endpoint.assigned().map(told).collect()
    }

    #[test]
    fn each_address_comes_from_one_place_and_lasts_as_long_as_that_says() {
        let own = endpoint("web");
        assert_eq!(has(&own), ["192.168.88.32/24 range"]);
        let by = |source, ips: &[&str]| {
            let mut own = Endpoint { source, ..own.clone() };
            own.by_user.addresses = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            own
        };
        assert_eq!(has(&by(Source::Fixed, &["192.168.88.32"])), ["192.168.88.32/24 user"]);
        assert_eq!(has(&by(Source::Fixed, &[])), ["192.168.88.32/24 user"], "as older versions noted it");
        assert_eq!(has(&by(Source::Fixed, &["192.168.88.77"])), ["192.168.88.32/24 range"]);
        assert_eq!(has(&by(Source::Engine, &[])), ["192.168.88.32/24 engine"]);

        let addresses = vec!["fd88::5/64".parse().unwrap()];
        let leased = Endpoint { addresses, source: Source::Lease, ..endpoint("web") };
        let leased = leased.with_lease(Some(record("192.168.88.140/24")));
        let advertised = [learned("fd88::7", false, Some(900)), learned("fd88::8", true, None)].to_vec();
        let advertised = Learned { addresses: advertised, ..Learned::default() };
        let all = leased.with_learned(Some(Box::new(advertised)));
        let told = [
            "192.168.88.140/24 lease until 3700",
            "fd88::5/64 range",
            "fd88::7/64 prefix until 900",
            "fd88::8/64 lease6",
        ];
        assert_eq!(has(&all), told);
        assert_eq!(all.given_address(Family::Ipv4), None);
        assert_eq!(all.given_address(Family::Ipv6), Some("fd88::5".parse().unwrap()));

        let without = all.without_learned().with_lease(None);
        assert_eq!(has(&without), ["fd88::5/64 range"]);
        assert_eq!(without.lost, ["192.168.88.140/24".parse().unwrap()]);
        let ever: Vec<IpAddr> = without.ever_assigned().collect();
        assert_eq!(ever, ["fd88::5".parse::<IpAddr>().unwrap(), "192.168.88.140".parse().unwrap()]);
    }
}
