//! Answers of which each part may be one that nobody should follow. Fuzzing seldom makes several of them at
//! once.

use std::net::Ipv6Addr;

use ashore_wire::dhcp4::{Message, Op, code};
use ashore_wire::dhcp6;
use proptest::prelude::*;
use proptest::sample::select;

use super::{OURS, steps};

/// Addresses on the LAN, elsewhere, and of nobody.
const V4: [[u8; 4]; 19] = [
    [192, 168, 88, 0],
    [192, 168, 88, 1],
    [192, 168, 88, 3],
    [192, 168, 88, 7],
    [192, 168, 88, 9],
    [192, 168, 88, 50],
    [192, 168, 88, 100],
    [192, 168, 88, 255],
    [10, 9, 0, 1],
    [10, 9, 0, 2],
    [10, 9, 9, 0],
    [10, 9, 9, 1],
    [10, 9, 9, 7],
    [169, 254, 7, 7],
    [127, 0, 0, 1],
    [224, 0, 0, 1],
    [240, 0, 0, 1],
    [0; 4],
    [255; 4],
];
const V6: [&str; 14] = [
    "fd88::",
    "fd88::1",
    "fd88::9",
    "fd88::100",
    "fd88::fdff:ffff:ffff:ff80",
    "fd99::",
    "fd99::7",
    "2001:db8::",
    "fe00::",
    "fe80::1",
    "ff02::1",
    "::1",
    "::ffff:192.168.88.1",
    "::",
];
/// Whether the container already has its link.
const DHCP4: [u8; 2] = [0, 6];
const DHCP6: [u8; 2] = [1, 4];
const ROUTER: [u8; 2] = [2, 5];

fn v4() -> impl Strategy<Value = [u8; 4]> {
    select(V4.to_vec())
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    select(V6.to_vec()).prop_map(|text| text.parse::<Ipv6Addr>().unwrap())
}

/// A route of option 121: destination, prefix length and next hop.
fn route() -> impl Strategy<Value = Vec<u8>> {
    let length = select(vec![0u8, 1, 4, 8, 16, 24, 25, 27, 31, 32]);
    (length, v4(), v4()).prop_map(|(length, to, hop)| {
        let significant = usize::from(length.div_ceil(8));
        [&[length][..], &to[..significant], &hop].concat()
    })
}

/// The payload of a DHCPv4 server's answer.
fn answer(
    ip: [u8; 4],
    length: u32,
    routes: &[Vec<u8>],
    gateway: Option<[u8; 4]>,
    mtu: Option<u16>,
) -> Vec<u8> {
    let mut message = Message { op: Op::Reply, yiaddr: ip.into(), ..Message::request(7, OURS) };
    let options = &mut message.options;
    options.set(code::SERVER_ID, [192, 168, 88, 250]);
    options.set(code::LEASE_TIME, 600u32.to_be_bytes());
    options.set(code::SUBNET_MASK, (u32::MAX << (32 - length)).to_be_bytes());
    if !routes.is_empty() {
        options.set(code::CLASSLESS_ROUTES, routes.concat());
    }
    if let Some(gateway) = gateway {
        options.set(code::ROUTER, gateway);
    }
    if let Some(mtu) = mtu {
        options.set(code::MTU, mtu.to_be_bytes());
    }
    message.encode()
}

fn lease() -> impl Strategy<Value = Vec<u8>> {
    let mask = select(vec![1u32, 8, 16, 24, 25, 27, 30, 31, 32]);
    let mtu = select(vec![67u16, 68, 575, 576, 1279, 1280, 1400, 1500, 1501, u16::MAX]);
    let routes = prop::collection::vec(route(), 0..5);
    (v4(), mask, routes, prop::option::of(v4()), prop::option::of(mtu))
        .prop_map(|(ip, length, routes, gateway, mtu)| answer(ip, length, &routes, gateway, mtu))
}

/// The payload of a DHCPv6 server's answer, with some addresses.
fn answer6(ips: &[Ipv6Addr]) -> Vec<u8> {
    let mut association = [7u32, 0, 0].map(u32::to_be_bytes).concat();
    for ip in ips {
        association.extend([0, 5, 0, 24]);
        association.extend(ip.octets());
        association.extend([3600u32, 7200].map(u32::to_be_bytes).concat());
    }
    let mut options = dhcp6::Options::default();
    options.push(dhcp6::code::SERVER_ID, [0, 3, 0]);
    options.push(dhcp6::code::IA_NA, association);
    dhcp6::Message { kind: dhcp6::Kind::Reply, xid: 1, options }.encode()
}

fn lease6() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(v6(), 1..3).prop_map(|ips| answer6(&ips))
}

/// The frame of a router's advertisement, without its checksum.
fn frame(lifetime: u16, options: &[Vec<u8>]) -> Vec<u8> {
    let head = [&[134, 0, 0, 0, 64, 0][..], &lifetime.to_be_bytes(), &[0; 8]].concat();
    let said = [head, options.concat()].concat();
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0];
    frame.extend((said.len() as u16).to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets());
    frame.extend(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
    frame.extend(said);
    frame
}

fn advertisement() -> impl Strategy<Value = Vec<u8>> {
    let length = || select(vec![1u8, 7, 32, 48, 63, 64, 65, 127, 128]);
    let prefix = (length(), select(vec![0u8, 0x40, 0x80, 0xc0, 0xe0]), v6());
    let prefix = prefix.prop_map(|(length, flags, ip)| {
        let times = [7200u32, 3600, 0].map(u32::to_be_bytes).concat();
        [&[3, 4, length, flags][..], &times, &ip.octets()].concat()
    });
    let route = (length(), select(vec![0u8, 0x08, 0x18]), v6());
    let route = route.prop_map(|(length, preference, ip)| {
        [&[24, 3, length, preference, 0, 0, 2, 88][..], &ip.octets()].concat()
    });
    let mtu = select(vec![0u32, 68, 1279, 1280, 1500, 9000, u32::MAX])
        .prop_map(|mtu| [&[5, 1, 0, 0][..], &mtu.to_be_bytes()].concat());
    let option = prop_oneof![3 => prefix, 3 => route, 1 => mtu];
    (select(vec![0u16, 1800]), prop::collection::vec(option, 0..6))
        .prop_map(|(lifetime, options)| frame(lifetime, &options))
}

#[test]
fn a_good_answer_is_followed() {
    assert!(!crate::dhcp4(&answer([192, 168, 88, 50], 24, &[], Some([192, 168, 88, 1]), None)).is_empty());
    assert!(!crate::dhcp6(&answer6(&[Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 0x100)])).is_empty());
    assert!(super::RouterAdvertisement::parse(&super::summed(&frame(1800, &[]))).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn of_a_lease_comes_nothing_that_must_not_be(first in select(DHCP4.to_vec()), said in lease()) {
        steps(&[vec![first], said].concat());
    }

    #[test]
    fn of_an_ipv6_lease_comes_nothing_that_must_not_be(first in select(DHCP6.to_vec()), said in lease6()) {
        steps(&[vec![first], said].concat());
    }

    #[test]
    fn of_an_advertisement_comes_nothing_that_must_not_be(
        first in select(ROUTER.to_vec()), said in advertisement(),
    ) {
        steps(&[vec![first], said].concat());
    }
}
