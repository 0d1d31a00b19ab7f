//! The whole output for each router and switch. Each system has a file of expected output in `tests/router`;
//! `ASHORE_WRITE_EXPECTED=1 cargo test -p ashore-routers --test router` writes the files again. For every
//! network it must hold that no DHCP pool contains an address that Ashore hands out.

use std::net::IpAddr;
use std::path::Path;

use ashore_core::model::network::Network;
use ashore_core::net::range::Range;
use ashore_core::net::vlan::VlanId;
use ashore_core::rules::create::{NetworkError, NetworkSpec};
use ashore_routers::{Policy, RouterError, RouterPlan, RouterRequest, System};
use ipnet::IpNet;
use proptest::prelude::*;

fn list<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &str) -> Vec<T> {
    texts.split_whitespace().map(|text| text.parse().unwrap()).collect()
}

/// A network as the daemon knows it.
fn network(parent: &str, subnets: &str, ranges: &str, gateways: &str, aux: &[(&str, &str)]) -> Network {
    let spec = serde_json::json!({ "name": "iot", "parent": parent, "subnets": list::<IpNet>(subnets),
        "ranges": list::<Range>(ranges), "gateways": list::<IpAddr>(gateways), "aux": aux });
    serde_json::from_value::<NetworkSpec>(spec).unwrap().network().unwrap()
}

fn of_subnets(subnets: &str, ranges: &str, requested: RouterRequest) -> Result<RouterPlan, RouterError> {
    RouterPlan::of_subnets(&list(subnets), &list(ranges), requested)
}

fn vlan(id: u16) -> RouterRequest {
    RouterRequest { vlan: Some(id.try_into().unwrap()), ..RouterRequest::default() }
}

/// The networks whose output is compared.
fn cases() -> [(&'static str, RouterPlan); 5] {
    let both = network(
        "eth0.200",
        "10.0.200.0/24 fd88:200::/64",
        "10.0.200.192/27 fd88:200::c0/122",
        "10.0.200.1",
        &[("host", "10.0.200.222"), ("printer", "10.0.200.20")],
    );
    let closed = RouterRequest {
        policy: Some(Policy::Closed),
        ports: list("port3 port4"),
        lan_interface: Some("br0".parse().unwrap()),
        ..RouterRequest::default()
    };
    let open = RouterRequest { policy: Some(Policy::Open), ..vlan(30) };
    let told = RouterRequest { pools: list("192.168.88.100-192.168.88.249"), ..RouterRequest::default() };
    [
        (
            "--vlan 200 --subnet 10.0.200.0/24 --ip-range 10.0.200.192/27",
            of_subnets("10.0.200.0/24", "10.0.200.192/27", vlan(200)).unwrap(),
        ),
        (
            "iot --firewall closed --port port3 --port port4 --lan-interface br0",
            RouterPlan::of_network(&both, closed).unwrap(),
        ),
        ("--vlan 30 --subnet 10.0.30.0/24 --firewall open", of_subnets("10.0.30.0/24", "", open).unwrap()),
        (
            "--subnet 192.168.88.0/24 --ip-range 192.168.88.200-192.168.88.220",
            of_subnets("192.168.88.0/24", "192.168.88.200-192.168.88.220", RouterRequest::default()).unwrap(),
        ),
        (
            "--subnet 192.168.88.0/24 --ip-range 192.168.88.200-192.168.88.220 --pool 192.168.88.100-192.168.88.249",
            of_subnets("192.168.88.0/24", "192.168.88.200-192.168.88.220", told).unwrap(),
        ),
    ]
}

#[test]
fn the_whole_output_is_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/router");
    for system in System::ALL {
        let rendered = cases().map(|(options, plan)| {
            let name = system.name();
            format!("$ ashore router-config {options} --for {name}\n{}\n", plan.render(system))
        });
        let text = rendered.concat();
        let file = directory.join(format!("{}.txt", system.name()));
        if std::env::var_os("ASHORE_WRITE_EXPECTED").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap();
        for (at, (line, wanted)) in text.lines().zip(expected.lines()).enumerate() {
            assert_eq!(line, wanted, "{}:{}", file.display(), at + 1);
        }
        assert_eq!(text.len(), expected.len(), "{} ends otherwise", file.display());
    }
}

/// The text of a refusal, and its hint.
fn refused(plan: Result<RouterPlan, RouterError>) -> String {
    let error = plan.unwrap_err();
    format!("{error}; {}", error.remedy().unwrap_or_default())
}

#[test]
fn what_is_wrong_is_refused_with_what_helps() {
    let pools = |pools: &str| RouterRequest { pools: list(pools), ..vlan(200) };
    let gateway = |ip: &str| RouterRequest { gateways: list(ip), ..vlan(200) };
    let of = |requested| of_subnets("10.0.200.0/24", "10.0.200.192/27", requested);
    for (plan, message, helps) in [
        (
            of(pools("10.0.200.192/28")),
            "lies entirely in 10.0.200.192/27, which Ashore hands out",
            "ashore pool-check",
        ),
        (of(vlan(1)), "VLAN 1 is what routers and switches call the untagged LAN", "--vlan 200"),
        (of(pools("10.0.200.9-10.0.200.99 10.0.200.99-10.0.200.109")), "the pools", "hands out now"),
        (of(pools("10.0.201.9-10.0.201.99")), "lies in no subnet", "hands out now"),
        (of(pools("fd88::10-fd88::20")), "is an IPv6 pool", "leave it out"),
        (of(gateway("10.0.201.1")), "the gateway 10.0.201.1 does not lie in the subnet 10.0.200.0/24", ""),
        (of(gateway("10.0.200.255")), "cannot be a machine's", ""),
        (of(gateway("fe80::1")), "fe80::1 is link-local", "leave --gateway out"),
        (of_subnets("", "", vlan(200)), "neither a network nor a --subnet", "ashore network ls"),
        (of_subnets("224.0.0.0/24", "", vlan(200)), "cannot be a LAN's", ""),
        (of_subnets("10.0.200.0/24", "10.0.201.0/27", vlan(200)), "does not lie in the subnet", ""),
        (
            of_subnets("192.168.88.0/24", "", RouterRequest::default()),
            "Ashore hands out all of 192.168.88.0/24",
            "--ip-range",
        ),
        (
            of_subnets(
                "192.168.88.0/24",
                "192.168.88.192/27",
                RouterRequest { policy: Some(Policy::Closed), ..RouterRequest::default() },
            ),
            "without a VLAN",
            "--vlan",
        ),
    ] {
        let refused = refused(plan);
        assert!(refused.contains(message), "{refused} | {message}");
        assert!(refused.split_once("; ").unwrap().1.contains(helps), "{refused} | {helps}");
    }
}

#[test]
fn what_is_wrong_for_a_network_that_is_there_is_refused() {
    let iot = |ranges, gateways| network("eth0.200", "10.0.200.0/24", ranges, gateways, &[]);
    let gateway = |ip: &str| RouterRequest { gateways: list(ip), ..RouterRequest::default() };

    // The router needs an address, and Ashore may hand out any address of this subnet.
    let unknown = refused(RouterPlan::of_network(&iot("", ""), RouterRequest::default()));
    assert!(
        unknown.contains("hands out 10.0.200.0/24, which includes the router's address 10.0.200.1"),
        "{unknown}"
    );
    assert!(unknown.contains("--gateway 10.0.200.1"), "{unknown}");
    let unknown = refused(RouterPlan::of_network(&iot("10.0.200.192/27", ""), gateway("10.0.200.200")));
    assert!(unknown.contains("hands out 10.0.200.192/27"), "{unknown}");

    let other = refused(RouterPlan::of_network(&iot("", "10.0.200.1"), gateway("10.0.200.2")));
    assert!(other.contains("network `iot` has the gateway 10.0.200.1, not 10.0.200.2"), "{other}");
    let other = refused(RouterPlan::of_network(&iot("", "10.0.200.1"), vlan(201)));
    assert!(other.contains("the parent `eth0.200` is not VLAN 201"), "{other}");
    let outside = RouterPlan::of_network(&iot("", "10.0.200.1"), gateway("10.0.201.1")).unwrap_err();
    assert!(matches!(outside, RouterError::Network(NetworkError::AddressOutside { .. })), "{outside}");
}

#[test]
fn what_is_not_said_is_filled_in() {
    let plan = RouterPlan::of_network(
        &network("eth0.200", "10.0.200.0/24", "10.0.200.192/27", "", &[("old", "10.0.200.1")]),
        RouterRequest::default(),
    );
    let plan = plan.unwrap();
    assert_eq!(plan.vlan.map(VlanId::get), Some(200));
    assert_eq!(plan.policy, Some(Policy::OneWay));
    assert_eq!(plan.subnets[0].router, "10.0.200.2".parse::<IpAddr>().unwrap(), "the first is reserved");

    // The name of a VLAN that Ashore creates need not contain its number.
    let made = serde_json::json!({ "name": "iot", "parent": "enx001122334455", "vlan": 200,
        "subnets": ["10.0.200.0/24"], "gateways": ["10.0.200.1"] });
    let made = serde_json::from_value::<NetworkSpec>(made).unwrap().network().unwrap();
    assert_eq!(RouterPlan::of_network(&made, RouterRequest::default()).unwrap().name, "vlan200");

    // A dot in a name does not make a VLAN.
    for parent in ["eth0", "eth0.x", "eth0.4095", "eth0.0", "lan.home"] {
        let lan = network(parent, "192.168.88.0/24", "192.168.88.192/27", "192.168.88.1", &[]);
        assert_eq!(RouterPlan::of_network(&lan, RouterRequest::default()).unwrap().vlan, None, "{parent}");
        assert_eq!(RouterPlan::of_network(&lan, vlan(7)).unwrap().name, "vlan7", "{parent}");
    }
}

#[test]
fn a_system_is_known_by_its_name_alone() {
    for system in System::ALL {
        assert_eq!(system.name().parse(), Ok(system));
    }
    let unknown = "mikrotik".parse::<System>().unwrap_err();
    assert!(unknown.remedy().unwrap().to_string().contains("routeros"), "{unknown}");
}

/// Every `first-last`, `start`/`stop`, `dhcp-range` and `pool` of an output, as the systems write them.
fn printed_pools(system: System, text: &str, net: &IpNet) -> Vec<Range> {
    let commands: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let value = |line: &str, key: &str| {
        let (_, value) = line.split_once(key)?;
        Some(value.trim_matches('\'').to_owned())
    };
    let pairs = |first: Vec<String>, last: Vec<String>| -> Vec<String> {
        assert_eq!(first.len(), last.len());
        first.iter().zip(&last).map(|(first, last)| format!("{first}-{last}")).collect()
    };
    let all = |key: &str| commands.iter().filter_map(|line| value(line, key)).collect::<Vec<String>>();
    let spans: Vec<String> = match system {
        System::RouterOs => all(" ranges=")
            .iter()
            .flat_map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>())
            .collect(),
        System::Vyos => {
            let ends = |word: &str| (0..9).flat_map(|n| all(&format!(" range {n} {word} "))).collect();
            pairs(ends("start"), ends("stop"))
        }
        System::Networkd | System::Ifupdown | System::Netplan | System::NetworkManager | System::Dnsmasq => {
            let ranges = all("dhcp-range=");
            let ranges = ranges
                .iter()
                .map(|range| range.trim_start_matches("set:vlan7,").trim_start_matches("set:lan,"));
            ranges.map(|range| range.splitn(3, ',').take(2).collect::<Vec<_>>().join("-")).collect()
        }
        System::Kea => {
            let pools = all("\"pool\": \"");
            pools.iter().map(|pool| pool.split('"').next().unwrap().replace(' ', "")).collect()
        }
        System::OpenWrt => {
            // Without a VLAN, the script calculates the pool itself.
            let number = |key: &str| all(key).first().and_then(|text| text.parse::<u128>().ok());
            let (Some(start), Some(limit)) = (number(".start="), number(".limit=")) else {
                return Vec::new();
            };
            let whole = Range::of_net(net);
            vec![format!("{}-{}", whole.nth_around(start), whole.nth_around(start + limit - 1))]
        }
        // The output is words.
        _ => Vec::new(),
    };
    spans.iter().map(|span| span.parse().unwrap_or_else(|_| panic!("{span} in\n{text}"))).collect()
}

proptest! {
    #[test]
    fn no_printed_pool_has_an_address_of_the_range(
        base in any::<u32>(), length in 20u8..=29, one in any::<u32>(), other in any::<u32>(), tagged in any::<bool>(),
        router in any::<u32>(),
    ) {
        let net = IpNet::new(IpAddr::from((0x0A00_0000 | (base & 0x00FF_FFFF)).to_be_bytes()), length).unwrap().trunc();
        let size = 1u128 << (32 - length);
        let whole = Range::of_net(&net);
        let at = |place: u32| whole.nth_around(1 + u128::from(place) % (size - 2));
        let range: Range = format!("{}-{}", at(one).min(at(other)), at(one).max(at(other))).parse().unwrap();
        let there = if tagged { Vec::new() } else { vec![whole] };
        let requested = RouterRequest {
            vlan: tagged.then(|| 7.try_into().unwrap()),
            gateways: vec![at(router)],
            pools: there,
            ..RouterRequest::default()
        };
        let plan = match RouterPlan::of_subnets(&[net], &[range], requested) {
            Ok(plan) => plan,
            Err(RouterError::NothingClear(_) | RouterError::PoolInside { .. }) if !tagged => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        for system in System::ALL {
            let text = plan.render(system);
            let pools = printed_pools(system, &text, &net);
            for pool in &pools {
                prop_assert!(!pool.overlaps(&range), "{pool} has some of {range}:\n{text}");
                prop_assert!(pool.lies_in(&net), "{pool}");
                for never in [net.network(), net.broadcast(), at(router)] {
                    prop_assert!(!pool.contains(never), "{pool} has {never}");
                }
            }
            // No address is lost either, except where only one piece is possible.
            let whole_pools = matches!(system, System::RouterOs | System::Vyos | System::Networkd | System::Netplan | System::Dnsmasq | System::Kea);
            if whole_pools {
                prop_assert_eq!(pools, plan.subnets[0].pools.clone(), "{}", text);
            }
        }
    }
}
