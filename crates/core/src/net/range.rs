//! A contiguous range of addresses, written as a CIDR or as `first-last`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde::{Deserialize, Serialize};

use crate::net::family::Family;

/// The addresses from `first` to `last`, both included. Both have the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Range {
    first: IpAddr,
    last: IpAddr,
}

/// The reason why a text is not a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The text has neither form.
    #[error(
        "`{0}` is not a range; write a CIDR such as 192.168.88.192/27, or first-last such as 192.168.88.200-192.168.88.220"
    )]
    Form(String),
    /// One end is IPv4 and the other is IPv6.
    #[error("`{0}` mixes IPv4 and IPv6")]
    Families(String),
    /// The text is not a subnet. The second field says what to write instead.
    #[error("`{0}` is not a subnet; write {1}")]
    Subnet(String, String),
    /// The last address is below the first.
    #[error("`{0}` ends before it begins")]
    Backwards(String),
}

impl Range {
    /// Returns all addresses of a subnet, including the network and broadcast addresses.
    pub fn of_net(net: &IpNet) -> Self {
        let (first, last) = match net.trunc() {
            IpNet::V4(net) => (net.network().into(), net.broadcast().into()),
            IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
        };
        Range { first, last }
    }

    /// Returns the range from `first` to `last`. Returns `None` if the two have different families or `last`
    /// is below `first`.
    pub fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        (Family::of(first) == Family::of(last) && first <= last).then_some(Range { first, last })
    }

    /// The first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether the range contains an address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        Family::of(ip) == Family::of(self.first) && self.first <= ip && ip <= self.last
    }

    /// Whether the two ranges have an address in common.
    pub fn overlaps(&self, other: &Range) -> bool {
        Family::of(other.first) == Family::of(self.first)
            && self.first <= other.last
            && other.first <= self.last
    }

    /// Whether every address of the range lies in a subnet.
    pub fn lies_in(&self, net: &IpNet) -> bool {
        net.contains(&self.first) && net.contains(&self.last)
    }

    /// Returns what is left of this range without `other`: no range, one or two.
    #[must_use]
    pub fn without(&self, other: &Range) -> Vec<Range> {
        if !self.overlaps(other) {
            return vec![*self];
        }
        let before = (self.first < other.first)
            .then(|| Range { first: self.first, last: address(self.first, number(other.first) - 1) });
        let after = (other.last < self.last)
            .then(|| Range { first: address(self.first, number(other.last) + 1), last: self.last });
        before.into_iter().chain(after).collect()
    }

    /// The number of addresses. A whole IPv6 address space counts as `u128::MAX`.
    pub fn len(&self) -> u128 {
        (number(self.last) - number(self.first)).saturating_add(1)
    }

    /// Always `false`: a range has at least one address.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Returns the address `offset` places after the first one, wrapping around at the end.
    #[must_use]
    pub fn nth_around(&self, offset: u128) -> IpAddr {
        address(self.first, number(self.first) + offset % self.len())
    }

    /// Returns how many places after the first address `ip` is. Returns `None` if it is not in the range.
    pub fn offset_of(&self, ip: IpAddr) -> Option<u128> {
        self.contains(ip).then(|| number(ip) - number(self.first))
    }

    /// Returns each address once, in order, starting `start` places after the first one and wrapping around
    /// at the end.
    pub fn from_offset(self, start: u128) -> impl Iterator<Item = IpAddr> {
        (0..self.len()).map(move |step| self.nth_around(start.saturating_add(step)))
    }

    /// Returns the block, as a CIDR describes it, of which this range is all but the first address.
    #[must_use]
    pub fn block_without_first(&self) -> Option<Range> {
        let first = number(self.first).checked_sub(1)?;
        let block = Range { first: address(self.first, first), last: self.last };
        (self.len() > 1 && block.prefixes().len() == 1).then_some(block)
    }

    /// Returns the smallest set of prefixes that covers exactly this range.
    pub fn prefixes(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(first, last, 0).map(IpNet::from).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(first, last, 0).map(IpNet::from).collect()
            }
            _ => unreachable!("both ends of a range have the same family"),
        }
    }
}

/// Parses a subnet as a user writes it. If the text has a netmask, the error names the prefix to write
/// instead.
pub fn parse_subnet(text: &str) -> Result<IpNet, RangeError> {
    let by_mask = || {
        let (ip, mask) = text.split_once('/')?;
        let prefix = ipnet::ip_mask_to_prefix(mask.parse().ok()?).ok()?;
        IpNet::new(ip.parse().ok()?, prefix).ok()
    };
    text.parse().map_err(|_| {
        let write = by_mask().map_or_else(
            || "an address with a prefix, such as 192.168.88.0/24".to_owned(),
            |net| net.trunc().to_string(),
        );
        RangeError::Subnet(text.to_owned(), write)
    })
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The address with this number, in the family of `like`.
fn address(like: IpAddr, number: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from(number as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from(number).into(),
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let form = || RangeError::Form(text.to_owned());
        if let Some((first, last)) = text.split_once('-') {
            let first: IpAddr = first.trim().parse().map_err(|_| form())?;
            let last: IpAddr = last.trim().parse().map_err(|_| form())?;
            if Family::of(first) != Family::of(last) {
                return Err(RangeError::Families(text.to_owned()));
            }
            if last < first {
                return Err(RangeError::Backwards(text.to_owned()));
            }
            return Ok(Range { first, last });
        }
        text.parse::<IpNet>().map(|net| Range::of_net(&net)).map_err(|_| form())
    }
}

impl fmt::Display for Range {
    /// Writes a CIDR if one prefix covers the range, otherwise `first-last`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefixes().as_slice() {
            [net] => write!(f, "{net}"),
            _ => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl From<IpAddr> for Range {
    /// The range that holds only this address.
    fn from(ip: IpAddr) -> Self {
        Range { first: ip, last: ip }
    }
}

impl From<Range> for String {
    fn from(range: Range) -> String {
        range.to_string()
    }
}

impl TryFrom<String> for Range {
    type Error = RangeError;

    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netmask_is_told_as_the_prefix_that_it_is() {
        assert_eq!(parse_subnet("192.168.88.0/24").unwrap().to_string(), "192.168.88.0/24");
        for (text, write) in [
            ("192.168.88.9/255.255.255.0", "write 192.168.88.0/24"),
            ("192.168.88.0/255.255.254.0", "write 192.168.88.0/23"),
            ("192.168.88.0/255.0.255.0", "such as 192.168.88.0/24"),
            ("192.168.88.0", "such as 192.168.88.0/24"),
            ("192.168.88.0/33", "such as 192.168.88.0/24"),
            ("lan", "such as 192.168.88.0/24"),
        ] {
            let error = parse_subnet(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{text}` is not a subnet")) && error.ends_with(write),
                "{error}"
            );
        }
    }

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    #[test]
    fn both_ways_of_writing_a_range_read_back() {
        for (text, shown, len) in [
            ("192.168.88.192/27", "192.168.88.192/27", 32),
            ("192.168.88.200-192.168.88.220", "192.168.88.200-192.168.88.220", 21),
            ("192.168.88.192-192.168.88.223", "192.168.88.192/27", 32),
            ("192.168.88.5/32", "192.168.88.5/32", 1),
            ("fd88::100-fd88::1ff", "fd88::100/120", 256),
            ("::/0", "::/0", u128::MAX),
        ] {
            assert_eq!((range(text).to_string().as_str(), range(text).len()), (shown, len), "{text}");
            assert_eq!(range(&range(text).to_string()), range(text));
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_reason() {
        assert!(matches!("hello".parse::<Range>(), Err(RangeError::Form(_))));
        assert!(matches!("192.168.1.5".parse::<Range>(), Err(RangeError::Form(_))));
        assert!(matches!("192.168.1.5-fd00::1".parse::<Range>(), Err(RangeError::Families(_))));
        assert!(matches!("192.168.1.5-192.168.1.4".parse::<Range>(), Err(RangeError::Backwards(_))));
    }

    #[test]
    fn going_round_visits_every_address_once() {
        let seen: Vec<IpAddr> = range("10.0.0.254-10.0.1.1").from_offset(2).collect();
        let expected: Vec<IpAddr> = ["10.0.1.0", "10.0.1.1", "10.0.0.254", "10.0.0.255"]
            .iter()
            .map(|ip| ip.parse().unwrap())
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn prefixes_cover_the_range_and_nothing_else() {
        let range = range("192.168.88.195-192.168.88.210");
        let covered: u32 = range.prefixes().iter().map(|net| 1 << (32 - net.prefix_len())).sum();
        assert_eq!(u128::from(covered), range.len());
        assert!(range.prefixes().iter().all(|net| range.contains(net.addr())));
    }

    #[test]
    fn overlap_is_seen_from_both_sides() {
        let (a, b, c) = (range("10.0.0.0/28"), range("10.0.0.15-10.0.0.20"), range("10.0.0.16/28"));
        assert!(a.overlaps(&b) && b.overlaps(&a) && b.overlaps(&c) && !a.overlaps(&c));
        assert!(!a.overlaps(&range("fd00::/64")));
    }

    #[test]
    fn what_is_left_without_another_has_none_of_it() {
        let all = range("192.168.88.0/24");
        for (other, left) in [
            ("192.168.88.192/27", "192.168.88.0-192.168.88.191 192.168.88.224/27"),
            ("192.168.88.0/25", "192.168.88.128/25"),
            ("192.168.87.0-192.168.88.9", "192.168.88.10-192.168.88.255"),
            ("192.168.88.255-192.168.89.3", "192.168.88.0-192.168.88.254"),
            ("192.168.0.0/16", ""),
            ("10.0.0.0/8", "192.168.88.0/24"),
            ("::/0", "192.168.88.0/24"),
        ] {
            let shown: Vec<String> = all.without(&range(other)).iter().map(ToString::to_string).collect();
            assert_eq!(shown.join(" "), left, "without {other}");
        }
    }
}
