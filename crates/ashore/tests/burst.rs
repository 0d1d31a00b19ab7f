//! Containers that start one after the other, faster than addresses can be probed: the more of them, the more
//! addresses are probed ahead, and no more than a bound.

use std::collections::BTreeMap;
use std::net::IpAddr;

use home::frames::Frames;
use home::{Home, addresses, eventually};

const CREATE: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.128/25 --gateway \
                      192.168.88.1";

/// How many probes quick probing sends for an address.
const PROBES: usize = 3;

/// The most addresses that are probed ahead for new names.
const MOST: usize = 32;

/// The addresses of the range in its order.
fn range() -> impl Iterator<Item = IpAddr> {
    (128..255).map(|last| IpAddr::from([192, 168, 88, last]))
}

#[test]
fn the_addresses_of_a_burst_are_probed_before_they_are_asked_for() {
    let home = Home::new();
    let frames = Frames::addresses_from(&home.world, &home.nas);
    home.ok(CREATE);
    let mut probes: BTreeMap<IpAddr, usize> = BTreeMap::new();
    let mut listen = || {
        for heard in frames.heard().into_iter().filter(|heard| !heard.claims) {
            *probes.entry(heard.ip).or_default() += 1;
        }
        probes.clone()
    };
    let next = |from: usize, count: usize| range().skip(from).take(count);
    let attach = |number: usize| {
        let container = home.world.container(&format!("web{number}")).unwrap();
        let at = addresses(&home.attach("lan", &container, ""));
        assert_eq!(at, next(number, 1).collect::<Vec<_>>());
        container
    };
    let mut containers = vec![attach(0)];
    // The first one of a network has to wait, which counts as twice the demand.
    eventually("the next ones are probed ahead", || {
        let probes = listen();
        next(1, 6).all(|ip| probes.get(&ip).is_some_and(|count| *count >= PROBES))
    });
    assert_eq!(next(7, MOST).filter(|ip| listen().contains_key(ip)).count(), 0, "and no others");

    containers.extend((1..6).map(attach));
    eventually("many more are probed ahead", || {
        let probes = listen();
        next(6, MOST).all(|ip| probes.get(&ip).is_some_and(|count| *count >= PROBES))
    });
    assert_eq!(next(6 + MOST, MOST).filter(|ip| listen().contains_key(ip)).count(), 0, "and no others");
    for number in 6..26 {
        let before = listen();
        let ip = next(number, 1).next().unwrap();
        assert!(before[&ip] >= PROBES, "{ip} is still to be probed: {before:?}");
        containers.push(attach(number));
    }
}
