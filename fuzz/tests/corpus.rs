//! Replays what real peers send, and what fuzzing has found.

use std::path::Path;

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
    replay("dhcp4", ashore_fuzz::dhcp4);
}

#[test]
fn answers_of_dhcpv6_servers() {
    replay("dhcp6", ashore_fuzz::dhcp6);
}

#[test]
fn lines_from_the_control_socket() {
    replay("control", ashore_fuzz::control);
}

#[test]
fn calls_from_an_engine() {
    replay("plugin", ashore_fuzz::plugin);
}
