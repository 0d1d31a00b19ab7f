//! Where the LAN's DHCP servers have their pools, as far as their offers show: which addresses of a range are
//! requested, and what the offers mean.
//!
//! An offer proves that its address is in a pool. The lack of an offer for an address proves little: the
//! address may be leased.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::net::name::IfName;
use crate::net::range::Range;

/// The maximum number of addresses of a range that are requested.
const SAMPLES: u128 = 8;

/// What DHCP servers offered when they were asked for addresses of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolReport {
    /// The interface on which they were asked.
    pub parent: IfName,
    /// The range.
    pub range: Range,
    /// The addresses that were requested.
    pub asked: Vec<Ipv4Addr>,
    /// The servers that answered, ordered by their ids.
    pub servers: Vec<PoolSeen>,
    /// A range of the same subnet outside all observed pools, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Range>,
}

/// What was observed of a server's pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSeen {
    /// The server identifier, which is its address.
    pub server: Ipv4Addr,
    /// The offered address for each requested address.
    pub offers: BTreeMap<Ipv4Addr, Ipv4Addr>,
}

impl PoolSeen {
    /// Returns an address of the range that the server hands out. Returns `None` if it offered no address of
    /// the range.
    pub fn hands_out_of(&self, range: &Range) -> Option<Ipv4Addr> {
        // An offer of exactly the requested address is the strongest evidence.
        let same = self.offers.iter().filter(|(asked, offered)| asked == offered).map(|(_, offered)| offered);
        same.chain(self.offers.values()).copied().find(|ip| range.contains((*ip).into()))
    }

    /// Merges newly found offers into the known ones.
    pub fn gather(known: &mut Vec<PoolSeen>, found: Vec<PoolSeen>) {
        for pool in found {
            match known.iter_mut().find(|there| there.server == pool.server) {
                Some(there) => there.offers.extend(pool.offers),
                None => known.push(pool),
            }
        }
    }

    /// Returns the range from the lowest to the highest offered address. Returns `None` if nothing was
    /// offered.
    pub fn span(&self) -> Option<Range> {
        let (lowest, highest) = (self.offers.values().min()?, self.offers.values().max()?);
        Range::between((*lowest).into(), (*highest).into())
    }
}

impl fmt::Display for PoolSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.span() {
            Some(span) if span.len() == 1 => write!(f, "{} offers {}", self.server, span.first()),
            Some(span) => write!(f, "{} offers from {} to {}", self.server, span.first(), span.last()),
            None => write!(f, "{} offers nothing", self.server),
        }
    }
}

/// Returns the addresses of an IPv4 range to request, the most informative first: the two ends, the middle,
/// and then addresses between those. It skips addresses that are `never` available, such as one that a
/// machine is known to have: a server does not offer them.
pub fn samples(range: &Range, never: impl Fn(IpAddr) -> bool) -> Vec<Ipv4Addr> {
    let last = range.len() - 1;
    let (ends, eighths) = ([0, last], [4, 2, 6, 1, 3, 5, 7].map(|n| last * n / SAMPLES));
    let mut chosen = Vec::new();
    for place in ends.into_iter().chain(eighths) {
        // The nearest available address: upwards, or downwards from the end of the range.
        let near =
            (0..SAMPLES).map(|step| if place == last { last.saturating_sub(step) } else { place + step });
        let fits = |ip: &Ipv4Addr| !never((*ip).into()) && !chosen.contains(ip);
        let ips = near.filter(|place| *place <= last).filter_map(|place| match range.nth_around(place) {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        if let Some(ip) = ips.into_iter().find(fits) {
            chosen.push(ip);
        }
    }
    chosen.truncate(SAMPLES as usize);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::create::NetworkError;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 88, last)
    }

    fn last_bytes(ips: &[Ipv4Addr]) -> Vec<u8> {
        ips.iter().map(|ip| ip.octets()[3]).collect()
    }

    fn seen(offers: &[(u8, u8)]) -> PoolSeen {
        let offers = offers.iter().map(|(asked, offered)| (ip(*asked), ip(*offered))).collect();
        PoolSeen { server: ip(1), offers }
    }

    #[test]
    fn the_ends_are_asked_for_first_then_the_middle_then_what_lies_between() {
        let chosen = samples(&range("192.168.88.192/27"), |_| false);
        assert_eq!(last_bytes(&chosen), [192, 223, 207, 199, 215, 195, 203, 211]);
    }

    #[test]
    fn a_small_range_is_asked_for_whole_and_none_of_it_twice() {
        assert_eq!(last_bytes(&samples(&range("192.168.88.7-192.168.88.7"), |_| false)), [7]);
        let mut chosen = last_bytes(&samples(&range("192.168.88.7-192.168.88.11"), |_| false));
        chosen.sort_unstable();
        assert_eq!(chosen, [7, 8, 9, 10, 11]);
    }

    #[test]
    fn what_is_not_to_be_had_is_not_asked_for_but_what_lies_next_to_it() {
        let never = [ip(0), ip(255), ip(254), ip(127)].map(IpAddr::from);
        let chosen = samples(&range("192.168.88.0/24"), |ip| never.contains(&ip));
        assert_eq!(last_bytes(&chosen[..3]), [1, 253, 128]);
        assert!(samples(&range("192.168.88.192/27"), |_| true).is_empty());
        assert!(samples(&range("fd88::/64"), |_| false).is_empty(), "DHCPv4 has no IPv6 addresses");
        assert_eq!(samples(&range("10.0.0.0/8"), |_| false).len(), 8);
    }

    #[test]
    fn an_offer_inside_the_range_is_an_overlap_whatever_was_asked_for() {
        let of = |offers| PoolReport {
            parent: "eth0".parse().unwrap(),
            range: range("192.168.88.192/27"),
            asked: vec![ip(192), ip(223)],
            servers: vec![seen(&[(192, 100), (223, 120)]), seen(offers)],
            beside: None,
        };
        let overlap = |offers| match of(offers).check() {
            Err(NetworkError::RangeInPool { offered, .. }) => Some(offered),
            Err(other) => panic!("{other}"),
            Ok(()) => None,
        };
        assert_eq!(overlap(&[(192, 200), (223, 223)]), Some(ip(223)));
        assert_eq!(overlap(&[(192, 200)]), Some(ip(200)));
        assert_eq!(overlap(&[(192, 191), (223, 224)]), None);
        assert_eq!(overlap(&[]), None);
    }

    #[test]
    fn the_pool_is_as_wide_as_what_was_offered() {
        assert_eq!(
            seen(&[(192, 180), (223, 120), (7, 150)]).span(),
            Some(range("192.168.88.120-192.168.88.180"))
        );
        assert_eq!(seen(&[]).span(), None);
        assert_eq!(seen(&[(192, 180)]).to_string(), "192.168.88.1 offers 192.168.88.180");
    }
}
