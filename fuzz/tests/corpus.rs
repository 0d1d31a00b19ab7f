//! Replays inputs from real peers and inputs that fuzzing found.

use std::path::Path;

use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::observed::{ObservedKind, View, Ways};
use ashore_wire::ndp::{Preference, RouterAdvertisement};

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(&corpus).unwrap() {
        check(&std::fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 4, "{} holds {replayed} files", corpus.display());
}

#[test]
fn frames_from_the_lan() {
    replay("neighbours", ashore_fuzz::neighbours);
}

#[test]
fn what_real_routers_say_is_understood() {
    let said = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/neighbours").join(name);
        RouterAdvertisement::parse(&std::fs::read(path).unwrap()).unwrap()
    };
    let dnsmasq = said("ra-dnsmasq");
    let prefix = dnsmasq.prefixes[0];
    assert!(prefix.autonomous && prefix.net == "fd88::/64".parse().unwrap() && dnsmasq.lifetime > 0);
    let radvd = said("ra-radvd");
    assert!(radvd.managed && radvd.other && radvd.preference == Preference::High);
    assert_eq!((radvd.mtu, radvd.prefixes.len(), radvd.prefixes[0].preferred), (Some(1492), 2, 3600));
    assert!(radvd.prefixes[0].autonomous && !radvd.prefixes[1].autonomous);
    assert_eq!((radvd.routes.len(), radvd.routes[0].preference), (1, Preference::Low));
    let search: Vec<&str> = radvd.search.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((radvd.dns.len(), search), (2, vec!["home.lan", "lan"]));
}

#[test]
fn answers_of_dhcp_servers() {
    replay("dhcp4", |bytes| drop(ashore_fuzz::dhcp4(bytes)));
}

#[test]
fn answers_of_dhcpv6_servers() {
    replay("dhcp6", |bytes| drop(ashore_fuzz::dhcp6(bytes)));
}

#[test]
fn messages_of_multicast_dns() {
    replay("mdns", ashore_fuzz::mdns);
}

#[test]
fn what_comes_of_what_servers_and_routers_say() {
    replay("steps", ashore_fuzz::steps);
}

#[test]
fn dumps_of_the_kernel() {
    replay("kernel", ashore_fuzz::kernel);
}

#[test]
fn what_a_real_kernel_says_is_understood() {
    let view = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/kernel").join(name);
        ashore_kernel::read::view(&std::fs::read(path).unwrap())
    };
    let names = |view: &View| view.links.iter().map(|link| link.name.to_string()).collect::<Vec<_>>();
    let host = view("host");
    assert_eq!(names(&host), ["lo", "p0", "eth0", "shim-eth0", "br0"]);
    let shim = &host.links[3];
    assert_eq!(shim.alias.as_deref(), Some("ashore-shim:eth0"));
    assert_eq!(shim.lower.map(|lower| lower.index), Some(host.links[2].index));
    assert_eq!((host.neighbours.len(), host.links[1].port.len()), (2, 3));
    assert!(host.routes.iter().any(|there| there.is_ours() && there.route.dev == shim.name));

    let container = view("container");
    assert_eq!(
        container.links[1].kind,
        ObservedKind::Macvlan { mode: Some(MacvlanMode::Bridge), bc_queue_len: Some(1000) }
    );
    assert_eq!(container.default_gateway(&"192.168.88.0/24".parse().unwrap()), "192.168.88.1".parse().ok());

    let odd = view("odd");
    assert_eq!(names(&odd), ["lo", "`id`", "eth0", r"x\xffy", "m1", "t0", "t1"]);
    assert_eq!(odd.links[2].alias.as_deref(), Some(r"\xff"));
    // A macvlan in a mode that Ashore does not use is still a child.
    assert_eq!(odd.links[4].kind, ObservedKind::Macvlan { mode: None, bc_queue_len: Some(1000) });
    assert!(odd.links.iter().all(|link| link.tag().is_none()));

    for name in ["routes", "routes-by-number"] {
        let routes = view(name).routes;
        let ways = |to: &str| -> Vec<Ways> {
            let to = to.parse().unwrap();
            routes.iter().filter(|there| there.route.to == to).map(|there| there.ways).collect()
        };
        assert_eq!(ways("0.0.0.0/0"), [Ways::Several; 2], "{name}");
        assert_eq!(ways("10.1.0.0/16"), [Ways::Several], "{name}");
        assert_eq!(ways("10.2.0.0/16"), [Ways::None("blackhole")], "{name}");
        assert_eq!(ways("10.3.0.0/16"), [Ways::One], "{name}");
        let nowhere = ["blackhole", "unreachable", "prohibit", "throw"].map(Ways::None);
        assert_eq!((ways("10.4.0.0/16"), ways("fd99::/64")), (nowhere.to_vec(), nowhere.to_vec()), "{name}");
    }
}

#[test]
fn lines_from_the_control_socket() {
    replay("control", ashore_fuzz::control);
}

#[test]
fn calls_from_an_engine() {
    replay("plugin", ashore_fuzz::plugin);
}

#[test]
fn calls_of_netavark() {
    replay("netavark", ashore_fuzz::netavark);
}

#[test]
fn calls_of_cni_runtimes() {
    replay("cni", ashore_fuzz::cni);
}
