//! The squares of a map: one character for each address, in rows. Of a large subnet only the rows with something in
//! them are shown, and what is between them is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ashore_core::api::map::LanMap;
use ashore_core::model::survey::PoolSeen;
use ashore_core::net::range::Range;

/// How many squares are in a row.
const WIDTH: u128 = 32;
/// A subnet with at most this many rows is shown whole.
const WHOLE: u128 = 32;
/// The maximum number of rows that are shown of a larger one.
const MOST: usize = 48;
/// The range is shown whole if it has at most this many rows.
const RANGE: u128 = 16;

/// What an address is, the most telling first: it is shown as the first of these that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Square {
    Claimed,
    Ours,
    Host,
    Router,
    Reserved,
    Machine,
    Wanted,
    Away,
    Pool,
    Free,
    Outside,
}

impl Square {
    pub(super) const ALL: [Square; 11] = [
        Square::Claimed,
        Square::Ours,
        Square::Host,
        Square::Router,
        Square::Reserved,
        Square::Machine,
        Square::Wanted,
        Square::Away,
        Square::Pool,
        Square::Free,
        Square::Outside,
    ];

    pub(super) fn sign(self) -> char {
        match self {
            Square::Claimed => '!',
            Square::Ours => '#',
            Square::Host => 'H',
            Square::Router => 'R',
            Square::Reserved => 'x',
            Square::Machine => 'm',
            Square::Wanted => '?',
            Square::Away => 'a',
            Square::Pool => 'p',
            Square::Free => '.',
            Square::Outside => '-',
        }
    }

    pub(super) fn meaning(self) -> &'static str {
        match self {
            Square::Claimed => "a container's or the host's, and another machine claims it",
            Square::Ours => "a container's",
            Square::Host => "this host's",
            Square::Router => "the router's",
            Square::Reserved => "never handed out",
            Square::Machine => "another machine's",
            Square::Wanted => "another machine has asked whether it is free",
            Square::Away => "kept for a container that is not there",
            Square::Pool => "between those that the DHCP server has offered",
            Square::Free => "free, in the range",
            Square::Outside => "not in the range; nobody was heard to have it",
        }
    }
}

/// A line of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Squares, from an address on.
    Row(IpAddr, Vec<Square>),
    /// Addresses that are not shown.
    Gap {
        /// How many.
        addresses: u128,
        /// How many of them are in the range.
        in_range: u128,
        /// How many of them somebody has.
        taken: usize,
    },
}

/// The picture of a map.
pub(super) struct Picture<'a> {
    map: &'a LanMap,
    /// The subnet.
    all: Range,
    /// What is known of single addresses.
    known: BTreeMap<IpAddr, Square>,
    pools: Vec<Range>,
}

impl<'a> Picture<'a> {
    pub(super) fn of(map: &'a LanMap) -> Self {
        let all = Range::of_net(&map.subnet);
        let mut known = BTreeMap::new();
        let mut note = |ip: IpAddr, square: Square| {
            if all.contains(ip) {
                known
                    .entry(ip)
                    .and_modify(|there: &mut Square| *there = square.min(*there))
                    .or_insert(square);
            }
        };
        map.claimed.iter().for_each(|claimed| note(claimed.ip, Square::Claimed));
        map.endpoints.keys().for_each(|ip| note(*ip, Square::Ours));
        map.host.iter().for_each(|ip| note(*ip, Square::Host));
        map.gateway.iter().for_each(|ip| note(*ip, Square::Router));
        map.reserved.keys().for_each(|ip| note(*ip, Square::Reserved));
        for machine in &map.machines {
            note(machine.ip, if machine.claims { Square::Machine } else { Square::Wanted });
        }
        map.away.keys().for_each(|ip| note(*ip, Square::Away));
        let pools = map.pools.iter().filter_map(PoolSeen::span).collect();
        Picture { map, all, known, pools }
    }

    pub(super) fn square(&self, ip: IpAddr) -> Square {
        let in_range = self.map.range.is_some_and(|range| range.contains(ip));
        match self.known.get(&ip) {
            Some(known) => *known,
            None if self.pools.iter().any(|pool| pool.contains(ip)) => Square::Pool,
            None if in_range => Square::Free,
            None => Square::Outside,
        }
    }

    fn row_of(&self, ip: IpAddr) -> Option<u128> {
        Some(self.all.offset_of(ip)? / WIDTH)
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        let rows = self.all.len().div_ceil(WIDTH);
        let shown: Vec<u128> = if rows <= WHOLE { (0..rows).collect() } else { self.telling_rows() };
        let (mut lines, mut next) = (Vec::new(), 0);
        for row in shown {
            lines.extend(self.gap(next, row));
            lines.push(self.row(row));
            next = row + 1;
        }
        lines.extend(self.gap(next, rows));
        lines
    }

    /// The rows with something in them. If there are too many, those of other machines alone are left out first.
    fn telling_rows(&self) -> Vec<u128> {
        let of = |is: &dyn Fn(Square) -> bool| -> BTreeSet<u128> {
            let ips = self.known.iter().filter(|(_, square)| is(**square)).map(|(ip, _)| *ip);
            ips.filter_map(|ip| self.row_of(ip)).collect()
        };
        let mut shown: BTreeSet<u128> = BTreeSet::new();
        let ours = |square| matches!(square, Square::Claimed | Square::Ours | Square::Host | Square::Router);
        for rows in [of(&ours), self.rows_of_range(), of(&|_| true)] {
            for row in rows {
                if shown.len() < MOST {
                    shown.insert(row);
                }
            }
        }
        shown.into_iter().collect()
    }

    fn rows_of_range(&self) -> BTreeSet<u128> {
        let ends =
            self.map.range.and_then(|range| Some((self.row_of(range.first())?, self.row_of(range.last())?)));
        ends.filter(|(first, last)| last - first < RANGE)
            .into_iter()
            .flat_map(|(first, last)| first..=last)
            .collect()
    }

    fn row(&self, row: u128) -> Line {
        let first = row * WIDTH;
        let end = (first + WIDTH).min(self.all.len());
        let squares = (first..end).map(|at| self.square(self.all.nth_around(at)));
        Line::Row(self.all.nth_around(first), squares.collect())
    }

    /// What is from one row to before another one.
    fn gap(&self, from: u128, to: u128) -> Option<Line> {
        if from >= to {
            return None;
        }
        let last = (to.saturating_mul(WIDTH).min(self.all.len())) - 1;
        let gap = Range::between(self.all.nth_around(from * WIDTH), self.all.nth_around(last))?;
        let in_range = self.map.range.map_or(0, |range| {
            let (first, last) = (range.first().max(gap.first()), range.last().min(gap.last()));
            Range::between(first, last).map_or(0, |both| both.len())
        });
        let taken = self.known.range(gap.first()..=gap.last()).count();
        Some(Line::Gap { addresses: gap.len(), in_range, taken })
    }
}

#[cfg(test)]
mod tests {
    use ashore_core::api::map::{Claimed, Machine};
    use ashore_wire::Mac;

    use super::*;

    fn map(subnet: &str, range: Option<&str>) -> LanMap {
        LanMap {
            network: "lan".to_owned(),
            parent: "eth0".parse().unwrap(),
            subnet: subnet.parse().unwrap(),
            range: range.map(|range| range.parse().unwrap()),
            gateway: None,
            reserved: BTreeMap::new(),
            host: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            away: BTreeMap::new(),
            pools: Vec::new(),
            machines: Vec::new(),
            claimed: Vec::new(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn machine(at: IpAddr, claims: bool) -> Machine {
        Machine { ip: at, mac: Mac([0; 6]), claims, since: 1, heard: 1, maker: None }
    }

    fn drawn(map: &LanMap) -> Vec<String> {
        let line = |line: Line| match line {
            Line::Row(first, squares) => {
                format!("{first} {}", squares.into_iter().map(Square::sign).collect::<String>())
            }
            Line::Gap { addresses, in_range, taken } => format!("{addresses} {in_range} {taken}"),
        };
        Picture::of(map).lines().into_iter().map(line).collect()
    }

    #[test]
    fn each_address_is_shown_as_the_most_telling_that_it_is() {
        let mut map = map("192.168.88.0/26", Some("192.168.88.32-192.168.88.47"));
        map.gateway = Some(ip("192.168.88.1"));
        map.reserved = [(ip("192.168.88.0"), String::new()), (ip("192.168.88.63"), String::new())].into();
        map.host = [ip("192.168.88.9")].into();
        map.endpoints = [32, 33].map(|last| (IpAddr::from([192, 168, 88, last]), "web".to_owned())).into();
        map.away = [34, 50].map(|last| (IpAddr::from([192, 168, 88, last]), "db".to_owned())).into();
        map.machines = vec![
            machine(ip("192.168.88.1"), true),
            machine(ip("192.168.88.20"), true),
            machine(ip("192.168.88.35"), false),
            machine(ip("192.168.99.1"), true),
        ];
        map.claimed = vec![Claimed { ip: ip("192.168.88.33"), mac: Mac([0; 6]), at: 1 }];
        let offers = [(1, 10), (2, 14)]
            .map(|(asked, offered)| ([192, 168, 88, asked].into(), [192, 168, 88, offered].into()));
        map.pools = vec![PoolSeen { server: [192, 168, 88, 1].into(), offers: offers.into() }];
        assert_eq!(
            drawn(&map),
            [
                "192.168.88.0 xR-------Hppppp-----m-----------",
                "192.168.88.32 #!a?............--a------------x"
            ]
        );
        let signs: BTreeSet<char> = Square::ALL.into_iter().map(Square::sign).collect();
        assert_eq!(signs.len(), Square::ALL.len());
        assert!(Square::ALL.is_sorted());
    }

    #[test]
    fn a_small_subnet_is_shown_whole_and_a_large_one_folded() {
        assert_eq!(drawn(&map("10.0.0.0/22", None)).len(), 32);
        assert_eq!(drawn(&map("10.0.0.8/30", None)), ["10.0.0.8 ----"]);
        assert_eq!(drawn(&map("10.0.0.8/32", None)), ["10.0.0.8 -"]);
        let mut large = map("10.0.0.0/16", Some("10.0.128.0/26"));
        large.gateway = Some(ip("10.0.0.1"));
        large.endpoints = [(ip("10.0.128.5"), "web".to_owned())].into();
        let free = ".".repeat(32);
        let told = [
            format!("10.0.0.0 -R{}", "-".repeat(30)),
            "32736 0 0".to_owned(),
            format!("10.0.128.0 .....#{}", ".".repeat(26)),
            format!("10.0.128.32 {free}"),
            "32704 0 0".to_owned(),
        ];
        assert_eq!(drawn(&large), told);
        large.range = Some("10.0.128.0/17".parse().unwrap());
        assert_eq!(drawn(&large)[1..], ["32736 0 0".to_owned(), told[2].clone(), "32736 32736 0".to_owned()]);
    }

    #[test]
    fn many_machines_in_a_large_subnet_leave_the_containers_in_sight() {
        let mut map = map("10.0.0.0/8", None);
        map.machines =
            (0..4096u32).map(|n| machine(IpAddr::from((10 << 24 | n << 8).to_be_bytes()), true)).collect();
        map.endpoints = [(ip("10.200.0.5"), "web".to_owned())].into();
        let told = drawn(&map);
        assert!(told.iter().any(|line| line.starts_with("10.200.0.0 -----#")), "{told:?}");
        assert!(told.len() <= 2 * MOST + 1, "{}", told.len());
        let is_gap = |line: &&String| line.split(' ').count() == 3;
        let hidden: usize = told
            .iter()
            .filter(is_gap)
            .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(hidden, 4096 - (MOST - 1));
    }

    #[test]
    fn a_subnet_of_ipv6_is_folded_to_what_is_in_it() {
        let mut map = map("fd88::/64", Some("fd88::1:0/120"));
        map.endpoints = [(ip("fd88::1:7"), "web".to_owned())].into();
        let told = drawn(&map);
        assert_eq!(told[0], "65536 0 0");
        assert!(told[1].starts_with("fd88::1:0 .......#"), "{told:?}");
        assert_eq!(told.len(), 1 + 8 + 1);
        map.subnet = "::/0".parse().unwrap();
        assert!(drawn(&map).len() < 16, "not even the largest is counted in full");
    }
}
