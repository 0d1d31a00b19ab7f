//! A NAS on Wi-Fi: its access point accepts one MAC only. Runs in the virtual machine, whose kernel simulates
//! radios.

use std::collections::BTreeSet;

use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::name::IfName;
use ashore_core::net::step::Step;
use ashore_lab::{Engines, Machine, Wifi};
use home::frames::{Frames, Tag};
use home::told::Told;
use home::untouched::{is_untouched, untouched};
use home::{HOST, Home, addresses, does_not_reach, eventually, ip, mac_known_to, reaches, seen_as};

const LAN: &str = "--subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1";

/// A home whose NAS has Wi-Fi in place of its cable.
fn home() -> (Home, Wifi) {
    let home = Home::new();
    home.nas.remove_link("eth0").unwrap();
    let engines = Engines::find().expect("the packages are fetched, or there is no virtual machine");
    let wifi = Wifi::new(&engines, &home.world, home.directory.path()).unwrap();
    wifi.join(&home.nas).unwrap();
    home.nas.add_address("wlan0", format!("{HOST}/24").parse().unwrap()).unwrap();
    home.nas.add_default_route("wlan0", ip("192.168.88.1")).unwrap();
    eventually("the LAN reaches the NAS", || home.laptop.ping(ip(HOST)).is_some());
    (home, wifi)
}

fn mac_of_nas(home: &Home) -> String {
    let host = home.nas.kernel().observe(&[]).unwrap().host;
    host.link(&"wlan0".parse().unwrap()).unwrap().mac.unwrap().to_string()
}

fn links(home: &Home) -> Vec<String> {
    let links = home.nas.kernel().observe(&[]).unwrap().host.links;
    links.iter().map(|link| format!("{} {:?}", link.name, link.master)).collect()
}

#[test]
fn without_a_kind_it_is_ipvlan_and_all_reach_all_by_one_mac() {
    let (home, _wifi) = home();
    let before = untouched(&home);
    let said = home.ok(&format!("network create lan --parent wlan0 {LAN}"));
    assert!(said.contains("on wlan0 by ipvlan:l2") && said.contains("wlan0 is Wi-Fi"), "{said}");
    let sent = Frames::at(&home.world, "wlan0", Tag::None);
    let attached = |name: &str| {
        let container = home.world.container(name).unwrap();
        let at = addresses(&home.attach("lan", &container, ""))[0];
        (container, at)
    };
    let ((web, at_web), (db, at_db)) = (attached("web"), attached("db"));
    let (host, laptop, router) = (ip(HOST), ip("192.168.88.50"), ip("192.168.88.1"));
    let ways: [(&Machine, _); 10] = [
        (&home.laptop, at_web),
        (&home.router, at_web),
        (&home.nas, at_web),
        (&web, host),
        (&web, at_db),
        (&db, at_web),
        (&web, laptop),
        (&web, router),
        (&home.laptop, host),
        (&home.nas, laptop),
    ];
    for (from, to) in ways {
        reaches(from, to);
    }
    assert_eq!(seen_as(&home.laptop, &web, at_web), laptop);
    assert_eq!(seen_as(&web, &home.laptop, laptop), at_web);
    assert_eq!(seen_as(&home.nas, &web, at_web), host);
    assert_eq!(seen_as(&web, &home.nas, host), at_web);
    assert_eq!(mac_known_to(&home.laptop, at_web), mac_of_nas(&home));
    Told::of(&home, "").is_well();
    assert_eq!(sent.sources(), BTreeSet::from([mac_of_nas(&home)]), "what the access point has heard");

    for (name, at) in [("web", at_web), ("db", at_db)] {
        home.ok(&format!("detach lan {name}"));
        does_not_reach(&home.laptop, at);
    }
    home.ok("network rm lan");
    assert_eq!((home.made_links(), home.made_routes()), (vec!["wlan0".to_owned()], vec![]));
    is_untouched(&home, &before);
}

#[test]
fn what_needs_a_second_mac_is_refused_and_nothing_touched() {
    let (home, _wifi) = home();
    let before = links(&home);
    for (command, remedy) in [
        (format!("network create lan --parent wlan0 --kind macvlan {LAN}"), "--kind ipvlan"),
        (format!("network create lan --parent wlan0 --kind bridge {LAN}"), "--kind ipvlan"),
        ("bridge adopt wlan0 br0".to_owned(), "--parent wlan0 --kind ipvlan"),
    ] {
        let ran = home.run(&command);
        assert_eq!(ran.code, Some(3), "{command}: {}", ran.stderr);
        let words = ["`wlan0` is Wi-Fi", "drops frames from any MAC but the client's own", remedy];
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{command}: {}", ran.stderr);
        assert_eq!(links(&home), before, "{command}");
    }
    let ran = home.run("network create iot --parent wlan0 --vlan 200 --subnet 10.0.200.0/24");
    assert!(ran.code == Some(3) && ran.stderr.contains("carries no VLAN tags"), "{}", ran.stderr);
    assert_eq!(home.ok("network ls --json").trim(), "[]");
    reaches(&home.laptop, ip(HOST));
}

/// Why these are refused: the kernel creates a macvlan, but the access point accepts nothing from it. For a
/// bridge, the kernel refuses the NIC as a port.
#[test]
fn a_macvlan_made_by_hand_reaches_nobody_and_a_bridge_gets_no_port() {
    let (home, _wifi) = home();
    let by_hand = |on: &Machine, parent: &str, last: u8| {
        let plain = home.world.container(&format!("plain{last}")).unwrap();
        let kind = LinkType::Macvlan {
            parent: parent.parse().unwrap(),
            mode: MacvlanMode::Bridge,
            bc_queue_len: None,
            bc_limit: None,
        };
        let link = LinkSpec { name: "eth0".parse().unwrap(), kind, mac: None, mtu: None };
        let place = Place::Netns(plain.namespace().identity());
        on.apply(&[Step::AddLink { place, link }]).unwrap();
        plain.set_up("eth0", true).unwrap();
        plain.add_address("eth0", format!("192.168.88.{last}/24").parse().unwrap()).unwrap();
        plain
    };
    // On a cable it is on the LAN.
    let wired = by_hand(&home.laptop, "eth0", 78);
    reaches(&wired, ip("192.168.88.1"));
    reaches(&home.router, ip("192.168.88.78"));
    let plain = by_hand(&home.nas, "wlan0", 77);
    does_not_reach(&plain, ip("192.168.88.1"));
    does_not_reach(&plain, ip("192.168.88.50"));
    does_not_reach(&home.laptop, ip("192.168.88.77"));
    does_not_reach(&home.router, ip("192.168.88.77"));

    plain.remove_link("eth0").unwrap();
    let (place, br0) = (Place::Host, "br0".parse::<IfName>().unwrap());
    let bridge = LinkSpec { name: br0.clone(), kind: LinkType::Bridge, mac: None, mtu: None };
    home.nas.apply(&[Step::AddLink { place: place.clone(), link: bridge }]).unwrap();
    let port = Step::SetMaster { place, link: "wlan0".parse().unwrap(), master: Some(br0), was: None };
    let refused = home.nas.apply(&[port]).unwrap_err().to_string();
    assert!(refused.contains("EOPNOTSUPP"), "{refused}");
}
