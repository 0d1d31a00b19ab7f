//! The subnet as a picture: one character an address, or as many addresses as fit.

use std::net::IpAddr;

use ashore_core::model::network::Network;
use ashore_core::net::range::Range;

use super::Found;
use crate::messages::message;

/// How many characters a line of the picture has.
const WIDTH: u128 = 32;
/// How many lines it has at most.
const MOST_LINES: u128 = 8;

/// The picture with its legend.
pub(super) fn lines(found: &Found) -> Vec<String> {
    let whole = Range::of_net(&found.subnet);
    let each = whole.len().div_ceil(WIDTH * MOST_LINES).max(1);
    let count = whole.len().div_ceil(each);
    let mut lines = Vec::new();
    for line in 0..count.div_ceil(WIDTH) {
        let cells =
            (line * WIDTH..count.min((line + 1) * WIDTH)).map(|cell| sign(found, &whole, cell * each, each));
        let first = whole.nth_around(line * WIDTH * each);
        lines.push(format!("  {first:<15} {}", cells.collect::<String>()));
    }
    lines.push(String::new());
    lines.push(format!("  {}", message!("setup-legend")));
    if each > 1 {
        lines.push(format!("  {}", message!("setup-each-sign", each = each.to_string())));
    }
    lines
}

fn sign(found: &Found, whole: &Range, at: u128, each: u128) -> char {
    let (first, last) = (whole.nth_around(at), whole.nth_around(at + each - 1));
    let Some(cell) = Range::between(first, last.max(first)) else { return '.' };
    let has = |ip: Option<IpAddr>| ip.is_some_and(|ip| cell.contains(ip));
    let is_networks = || {
        let subnets = found.networks.iter().flat_map(Network::handed_out);
        subnets.into_iter().any(|subnet| subnet.range.is_some_and(|range| range.overlaps(&cell)))
    };
    let is_offered = || found.servers.iter().any(|pool| pool.span().is_some_and(|span| span.overlaps(&cell)));
    if has(found.router) {
        'R'
    } else if has(found.host) {
        'H'
    } else if is_networks() {
        'N'
    } else if found.range.is_some_and(|range| range.overlaps(&cell)) {
        '#'
    } else if is_offered() {
        'p'
    } else {
        '.'
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ashore_core::model::survey::PoolSeen;

    use super::*;

    fn found(subnet: &str) -> Found {
        let ip = |last: u8| std::net::Ipv4Addr::new(192, 168, 88, last);
        let offers = BTreeMap::from([(ip(10), ip(10)), (ip(100), ip(100))]);
        Found {
            parent: "eth0".parse().unwrap(),
            subnet: subnet.parse().unwrap(),
            router: Some(ip(1).into()),
            host: Some(ip(9).into()),
            servers: vec![PoolSeen { server: ip(1), offers }],
            range: Some("192.168.88.224/27".parse().unwrap()),
            networks: Vec::new(),
        }
    }

    #[test]
    fn a_home_lan_is_eight_lines() {
        let lines = lines(&found("192.168.88.0/24"));
        assert_eq!(lines[0], format!("  192.168.88.0    .R.......H{}", "p".repeat(22)));
        assert_eq!(lines[3], format!("  192.168.88.96   {}{}", "p".repeat(5), ".".repeat(27)));
        assert_eq!(lines[7], format!("  192.168.88.224  {}", "#".repeat(32)));
        assert_eq!(lines.len(), 10);
    }

    #[test]
    fn a_large_one_folds_and_no_line_is_wider_than_a_terminal() {
        for subnet in ["192.168.0.0/16", "192.168.88.0/29", "10.0.0.0/8"] {
            let lines = lines(&found(subnet));
            assert!(lines.len() <= 11, "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
        }
        assert!(lines(&found("192.168.0.0/16")).last().unwrap().ends_with("256 addresses"));
    }
}
