//! ipvlan in its three modes, as the LAN sees it. Runs in the virtual machine, whose kernel has ipvlan.

use std::net::IpAddr;

use ashore_core::net::kind::IpvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::{Route, Step};
use ashore_lab::Machine;
use home::rules::{command_in, remedy};
use home::told::Told;
use home::untouched::{is_untouched, untouched};
use home::{
    HOST, HOST6, Home, addresses, arp_answered, does_not_reach, eventually, ip, mac_known_to, reaches,
    type_on,
};

const CREATE: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 \
                      --ip-range 192.168.88.192/27 --ip-range fd88::c0/122 --gateway 192.168.88.1 --gateway fd88::1";

fn home(mode: &str, rp_filter: i32) -> Home {
    let home = Home::new();
    for link in ["all", "eth0"] {
        home.nas.set_ipv4_conf(link, "rp_filter", rp_filter).unwrap();
    }
    home.ok(&format!("{CREATE} --kind ipvlan:{mode}"));
    home
}

fn attached(home: &Home, name: &str) -> (Machine, Vec<IpAddr>) {
    let container = home.world.container(name).unwrap();
    let report = home.attach("lan", &container, "");
    assert_eq!(report["mac"], serde_json::Value::Null, "it is the parent's: {report}");
    (container, addresses(&report))
}

/// On a machine on the LAN, the route to an endpoint through its host.
fn route_by_host(machine: &Machine, to: IpAddr) {
    let (via, bits) = if to.is_ipv4() { (HOST, 32) } else { (HOST6, 128) };
    let to = ipnet::IpNet::new(to, bits).unwrap();
    let route = Route { to, via: Some(ip(via)), dev: "eth0".parse().unwrap(), src: None, metric: None };
    machine.apply(&[Step::SetRoute { place: Place::Host, route, instead_of: None }]).unwrap();
}

fn everybody_reaches_everybody(mode: &str, rp_filter: i32) {
    let home = home(mode, rp_filter);
    let before = untouched(&home);
    let ((web, at_web), (db, at_db)) = (attached(&home, "web"), attached(&home, "db"));
    for family in [0, 1] {
        let (to_web, to_db) = (at_web[family], at_db[family]);
        let (host, laptop) = (ip([HOST, HOST6][family]), ip(["192.168.88.50", "fd88::50"][family]));
        let gateway = ip(["192.168.88.1", "fd88::1"][family]);
        if mode != "l2" {
            // In these modes the host routes to its endpoints, and nothing answers ARP for them.
            assert!(to_web.is_ipv6() || !arp_answered(&home.laptop, "eth0", to_web));
            for machine in [&home.laptop, &home.router] {
                route_by_host(machine, to_web);
            }
        }
        for (from, targets) in [
            (&home.laptop, vec![to_web, host]),
            (&home.router, vec![to_web, host]),
            (&home.nas, vec![to_web, to_db, laptop, gateway]),
            (&web, vec![to_db, host, laptop, gateway]),
            (&db, vec![to_web, host]),
        ] {
            for to in targets {
                reaches(from, to);
            }
        }
    }
    assert_eq!(mac_known_to(&home.laptop, ip(HOST)), home.nic());
    if mode == "l2" {
        assert_eq!(mac_known_to(&home.laptop, at_web[0]), home.nic());
    }
    // Once for each mode, under the strictest filter with which it has host access.
    let strictest = if mode == "l2" { 2 } else { 1 };
    if rp_filter == strictest {
        Told::of(&home, "").is_well();
    }
    is_untouched(&home, &before);
}

#[test]
fn l2() {
    everybody_reaches_everybody("l2", 0);
    everybody_reaches_everybody("l2", 2);
}

#[test]
fn l3() {
    (0..3).for_each(|rp_filter| everybody_reaches_everybody("l3", rp_filter));
}

#[test]
fn l3s() {
    (0..3).for_each(|rp_filter| everybody_reaches_everybody("l3s", rp_filter));
}

#[test]
fn l2_under_strict_reverse_path_filtering_has_no_host_access_and_says_so() {
    let home = Home::new();
    home.nas.set_ipv4_conf("all", "rp_filter", 1).unwrap();
    let ran = home.run(&format!("{CREATE} --kind ipvlan"));
    assert!(ran.code == Some(3) && ran.stderr.contains("net.ipv4.conf.eth0.rp_filter=2"), "{}", ran.stderr);
    // The remedy in the error works: the larger of the two values is in force.
    home.nas.set_ipv4_conf("eth0", "rp_filter", 2).unwrap();
    home.ok(&format!("{CREATE} --kind ipvlan"));
    let (web, at) = attached(&home, "web");
    reaches(&home.nas, at[0]);
    reaches(&web, ip(HOST));
    home.ok("detach lan web");
    home.ok("network rm lan");

    home.nas.set_ipv4_conf("eth0", "rp_filter", 0).unwrap();
    home.ok(&format!("{CREATE} --kind ipvlan --host-access no"));
    let (_web, at) = attached(&home, "web");
    reaches(&home.laptop, at[0]);
    home.ok("detach lan web");
    home.ok("network rm lan");

    // With an address of the host's on the shim, nothing more is needed.
    home.ok(&format!("{CREATE} --kind ipvlan --aux-address host=192.168.88.222"));
    let (web, at) = attached(&home, "web");
    reaches(&home.nas, at[0]);
    reaches(&web, ip("192.168.88.222"));
    reaches(&home.laptop, ip(HOST));
    assert_eq!(mac_known_to(&home.laptop, ip(HOST)), home.nic());
}

#[test]
fn a_reverse_path_filter_that_became_strict_later_is_found() {
    let home = home("l2", 0);
    let (web, at) = attached(&home, "web");
    Told::of(&home, "").is_well();
    home.nas.set_ipv4_conf("all", "rp_filter", 1).unwrap();
    does_not_reach(&web, ip(HOST));
    does_not_reach(&home.nas, at[0]);
    reaches(&home.laptop, at[0]);
    eventually("status shows it by itself", || home.codes().contains(&"reverse-path".to_owned()));
    let told = Told::of(&home, "");
    told.is_only("reverse-path", 11, &["network `lan`", "rp_filter is 1 on `eth0`", "--host-access no"]);
    let command = command_in(&remedy(&told, "reverse-path"), "sysctl -w ");
    assert_eq!(command, "sysctl -w net.ipv4.conf.eth0.rp_filter=2");
    home.nas.set_ipv4_conf("eth0", "rp_filter", 2).unwrap();
    reaches(&web, ip(HOST));
    reaches(&home.nas, at[0]);
    Told::of(&home, "").is_well();
}

#[test]
fn an_address_in_use_on_the_lan_is_not_handed_out_in_any_mode() {
    for mode in ["l2", "l3", "l3s"] {
        let home = home(mode, 0);
        let _web = attached(&home, "web");
        home.laptop.add_address("eth0", "192.168.88.200/24".parse().unwrap()).unwrap();
        let db = home.world.container("db").unwrap();
        let netns = db.namespace().path().display();
        let ran = home.run(&format!("attach lan --netns {netns} --name db --ip 192.168.88.200"));
        assert!(ran.code == Some(5) && ran.stderr.contains("in use on the LAN"), "{mode}: {}", ran.stderr);
    }
}

#[test]
fn a_mac_of_ones_own_and_a_second_mode_are_refused() {
    let home = home("l2", 0);
    let before = home.made_links();
    let web = home.world.container("web").unwrap();
    let netns = web.namespace().path().display();
    for (command, code, words) in [
        (
            format!("attach lan --netns {netns} --name web --mac 02:00:00:00:00:07"),
            3,
            ["shares the parent's MAC", "--mac out"],
        ),
        (
            "network create other --kind ipvlan:l3 --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.64/27"
                .into(),
            5,
            ["carries ipvlan:l2 for network `lan`", "--kind ipvlan:l2"],
        ),
        (
            "network create other --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.64/27".into(),
            5,
            ["no macvlan:bridge beside it", "ashore network rm lan"],
        ),
    ] {
        let ran = home.run(&command);
        assert_eq!(ran.code, Some(code), "{command}: {}", ran.stderr);
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{command}: {}", ran.stderr);
        assert_eq!(home.made_links(), before);
    }
}

#[test]
fn it_outlives_the_daemon_follows_its_parent_and_leaves_nothing() {
    let mut home = home("l2", 0);
    let (web, at) = attached(&home, "web");
    let pings = [home.laptop.pings(at[0]), home.nas.pings(at[0]), web.pings(ip(HOST))];
    home.restart();
    home.ok("status");
    for pings in pings {
        let counted = pings.end();
        assert!(counted.sent > 5 && counted.lost == 0, "{counted:?}");
    }
    home.nas.remove_link("eth0").unwrap();
    home.world.plug_in(&home.nas).unwrap();
    home.nas.add_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
    eventually("the LAN reaches it again", || home.laptop.ping(at[0]).is_some());
    eventually("the host reaches it again", || home.nas.ping(at[0]).is_some());
    reaches(&web, ip(HOST));
    home.ok("detach lan web");
    home.ok("network rm lan");
    assert_eq!((home.made_links(), home.made_routes()), (vec![], vec![]));
    let left = home.nas.kernel().observe(&[]).unwrap().host.neighbours;
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_lan_learns_of_the_parents_new_mac_at_once() {
    let home = home("l2", 0);
    let (_web, at) = attached(&home, "web");
    reaches(&home.laptop, at[0]);
    assert_eq!(mac_known_to(&home.laptop, at[0]), home.nic());
    type_on(&home.nas, "ip link set dev eth0 address 02:00:00:00:88:99");
    eventually("the laptop knows it", || mac_known_to(&home.laptop, at[0]) == "02:00:00:00:88:99");
    reaches(&home.laptop, at[0]);
    eventually("the host reaches it", || home.nas.ping(at[0]).is_some());
}

#[test]
fn in_a_vlan() {
    let home = Home::new();
    home.laptop.add_vlan("eth0", 200, "10.0.200.50/24".parse().unwrap()).unwrap();
    home.ok(
        "network create iot --parent eth0.200 --kind ipvlan --subnet 10.0.200.0/24 --ip-range 10.0.200.192/27 \
         --aux-address host=10.0.200.222",
    );
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("iot", &web, ""))[0];
    reaches(&home.laptop, at);
    reaches(&home.nas, at);
    reaches(&web, ip("10.0.200.222"));
}

#[test]
fn a_users_own_link_in_another_namespace_keeps_its_mode() {
    let home = Home::new();
    let theirs = home.world.container("theirs").unwrap();
    let mode = |theirs: &Machine| {
        let view = theirs.kernel().observe(&[]).unwrap().host;
        format!("{:?}", view.link(&"own0".parse().unwrap()).unwrap().kind)
    };
    let place = Place::Netns(theirs.namespace().identity());
    let kind = LinkType::Ipvlan { parent: "eth0".parse().unwrap(), mode: IpvlanMode::L3 };
    let spec = LinkSpec { name: "own0".parse().unwrap(), kind, mac: None, mtu: None };
    let makes_own = || home.nas.apply(&[Step::AddLink { place: place.clone(), link: spec.clone() }]).unwrap();
    makes_own();
    let before = mode(&theirs);
    for kind in ["ipvlan:l2", "macvlan"] {
        let ran = home.run(&format!("{CREATE} --kind {kind}"));
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains("the ipvlan:l3 link `own0` in /proc/"), "{}", ran.stderr);
    }
    // A link that is created after the network and before its first endpoint.
    theirs.remove_link("own0").unwrap();
    home.ok(&format!("{CREATE} --kind ipvlan:l2"));
    makes_own();
    let web = home.world.container("web").unwrap();
    let ran = home.run(&format!("attach lan --netns {} --name web", web.namespace().path().display()));
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("the ipvlan:l3 link `own0`"), "{}", ran.stderr);
    assert_eq!(mode(&theirs), before);
}
