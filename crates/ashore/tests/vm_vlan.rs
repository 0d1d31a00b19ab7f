//! VLANs as parents: created for the networks that need them and only as long as they do. A VLAN link that
//! belongs to others is never removed. Runs in the virtual machine, whose kernel has VLANs.

use std::net::IpAddr;
use std::time::Duration;

use ashore_core::net::observed::{Link, ObservedKind};
use ashore_lab::{Engines, Machine, World, cannot_run};
use home::dhcp::Server;
use home::frames::{Frames, Tag};
use home::told::Told;
use home::untouched::{is_untouched, untouched};
use home::{
    HOST, Home, addresses, arp_answered, does_not_reach, eventually, eventually_within, ip, reaches, type_on,
};

const IOT: &str = "network create iot --parent eth0 --vlan 200 --subnet 10.0.200.0/24 --ip-range 10.0.200.192/27 \
                   --gateway 10.0.200.1";

/// A home with VLAN 200 on its switch. The laptop and the router are in it too.
fn home() -> Home {
    let home = Home::new();
    home.laptop.add_vlan("eth0", 200, "10.0.200.50/24".parse().unwrap()).unwrap();
    home.router.add_vlan("eth0", 200, "10.0.200.1/24".parse().unwrap()).unwrap();
    home
}

fn nas_link(home: &Home, name: &str) -> Option<Link> {
    home.nas.kernel().observe(&[]).unwrap().host.link(&name.parse().unwrap()).cloned()
}

fn has_vlan(home: &Home) -> bool {
    nas_link(home, "eth0.200").is_some_and(|link| link.up)
}

fn attached(home: &Home, network: &str, name: &str) -> (Machine, IpAddr) {
    let container = home.world.container(name).unwrap();
    let at = addresses(&home.attach(network, &container, ""))[0];
    (container, at)
}

/// On Linux 6.1, only a link that is down can be renamed.
fn rename(machine: &Machine, from: &str, to: &str) {
    machine.set_up(from, false).unwrap();
    type_on(machine, &format!("ip link set dev {from} name {to}"));
    machine.set_up(to, true).unwrap();
}

#[test]
fn made_with_its_first_network_and_removed_with_its_last() {
    let home = home();
    let before = untouched(&home);
    let plan = home.ok(&IOT.replace("network create", "plan create"));
    assert!(plan.starts_with("ip link add link eth0 name eth0.200 type vlan id 200\n"), "{plan}");
    assert_eq!(home.made_links(), [""; 0], "a plan changes nothing");

    let said = home.ok(IOT);
    assert!(said.contains("eth0.200") && said.contains("--aux-address host=IP"), "{said}");
    let vlan = nas_link(&home, "eth0.200").unwrap();
    assert_eq!(vlan.kind, ObservedKind::Vlan { id: 200, gvrp: false });
    assert!(vlan.up && vlan.alias.as_deref() == Some("ashore-vlan:eth0.200"), "{vlan:?}");

    home.ok("network create cam --parent eth0.200 --subnet 10.0.200.0/24 --ip-range 10.0.200.64/27");
    assert_eq!(home.made_links(), ["eth0.200"]);

    let tagged = Frames::from(&home.world, &home.nas, Tag::Vlan(200));
    let untagged = Frames::from(&home.world, &home.nas, Tag::None);
    let web = home.world.container("web").unwrap();
    let report = home.attach("iot", &web, "");
    let (at, mac) = (addresses(&report)[0], report["mac"].as_str().unwrap());
    let (_cam, at_cam) = attached(&home, "cam", "cam");
    for to in [at, at_cam] {
        reaches(&home.laptop, to);
        reaches(&home.router, to);
    }
    reaches(&web, at_cam);
    Told::of(&home, "").is_well();
    is_untouched(&home, &before);
    assert!(tagged.any_from(mac), "its frames bear the tag");
    assert!(!untagged.any_from(mac), "and none goes without");

    home.ok("detach iot web");
    assert!(home.ok("plan rm iot").contains("# nothing to change"));
    home.ok("network rm iot");
    assert!(has_vlan(&home), "another network needs it");
    reaches(&home.laptop, at_cam);
    home.ok("detach cam cam");
    assert_eq!(home.ok("plan rm cam"), "ip link del dev shim-eth0.200\nip link del dev eth0.200\n");
    home.ok("network rm cam");
    assert_eq!(home.made_links(), [""; 0]);
    is_untouched(&home, &before);
}

#[test]
fn what_its_plan_prints_typed_into_a_shell_makes_the_same() {
    let mut home = home();
    let create = format!("{IOT} --gvrp");
    let plan = home.ok(&create.replace("network create", "plan create"));
    home.ok(&create);
    let made = nas_link(&home, "eth0.200").unwrap();
    // Without the daemon, which would remove what it did not create.
    home.daemon.take().unwrap().kill().unwrap();
    home.nas.remove_link("eth0.200").unwrap();
    for line in plan.lines() {
        type_on(&home.nas, line);
    }
    let typed = nas_link(&home, "eth0.200").unwrap();
    assert_eq!(Link { index: made.index, ..typed }, made);
}

#[test]
fn the_users_own_is_used_and_never_removed_or_changed() {
    for name in ["eth0.200", "lan0"] {
        let home = home();
        home.nas.add_vlan("eth0", 200, "10.0.200.9/24".parse().unwrap()).unwrap();
        if name != "eth0.200" {
            rename(&home.nas, "eth0.200", name);
        }
        // The kernel reports the carrier a moment later.
        eventually("the link has a carrier", || nas_link(&home, name).is_some_and(|link| link.carrier));
        let before = nas_link(&home, name);
        home.ok(IOT);
        let (web, at) = attached(&home, "iot", "web");
        reaches(&home.laptop, at);
        // The host is in this VLAN, so it has the same access as on its LAN.
        reaches(&home.nas, at);
        reaches(&web, ip("10.0.200.9"));
        home.ok("detach iot web");
        home.ok("network rm iot");
        assert_eq!(nas_link(&home, name), before);
        assert_eq!(home.made_links(), [name]);

        let ran = home.run(&format!("{IOT} --gvrp"));
        assert!(ran.code == Some(3) && ran.stderr.contains("type vlan gvrp on"), "{}", ran.stderr);
    }
}

#[test]
fn two_vlans_and_the_lan_on_one_nic_meet_at_the_router_alone() {
    let home = home();
    home.create_lan();
    home.nas.set_ipv4_conf("all", "rp_filter", 1).unwrap();
    home.nas.add_vlan("eth0", 100, "10.0.100.9/24".parse().unwrap()).unwrap();
    home.laptop.add_vlan("eth0", 100, "10.0.100.50/24".parse().unwrap()).unwrap();
    home.router.add_vlan("eth0", 100, "10.0.100.1/24".parse().unwrap()).unwrap();
    home.ok("network create work --parent eth0.100 --subnet 10.0.100.0/24 --ip-range 10.0.100.192/27 --gateway 10.0.100.1");
    home.ok(&format!("{IOT} --aux-address host=10.0.200.222"));
    let all = ["lan", "work", "iot"].map(|network| attached(&home, network, network));
    // The host's addresses: its own address on the LAN and in VLAN 100, and a reserved one in VLAN 200.
    let hosts = [HOST, "10.0.100.9", "10.0.200.222"].map(ip);
    for ((container, at), host) in all.iter().zip(hosts) {
        reaches(&home.laptop, *at);
        reaches(&home.nas, *at);
        reaches(container, host);
        reaches(&home.laptop, ip(HOST));
    }
    let pairs = || all.iter().flat_map(|(from, _)| all.iter().map(move |(to, at)| (from, to.name(), *at)));
    for (from, _, at) in pairs().filter(|(from, to, _)| from.name() != *to) {
        does_not_reach(from, at);
    }
    home.router.set_ipv4_conf("all", "forwarding", 1).unwrap();
    for (from, _, at) in pairs() {
        reaches(from, at);
    }
}

#[test]
fn a_host_without_an_address_in_the_vlan_goes_by_the_router() {
    let home = home();
    home.nas.set_ipv4_conf("all", "rp_filter", 1).unwrap();
    home.ok(IOT);
    let (web, at) = attached(&home, "iot", "web");
    assert_eq!(home.made_routes(), [""; 0]);
    does_not_reach(&home.nas, at);
    home.router.set_ipv4_conf("all", "forwarding", 1).unwrap();
    reaches(&home.nas, at);
    reaches(&web, ip(HOST));
    // The host is not in the VLAN: it has no address there, and does not answer there for its other
    // addresses.
    let host = home.nas.kernel().observe(&[]).unwrap().host;
    assert_eq!(host.addresses_of(host.link(&"eth0.200".parse().unwrap()).unwrap()).count(), 0);
    assert!(!arp_answered(&home.laptop, "eth0.200", ip(HOST)));
    assert!(arp_answered(&home.laptop, "eth0.200", at) && arp_answered(&home.laptop, "eth0", ip(HOST)));
}

#[test]
fn it_outlives_the_daemon_and_comes_back_after_a_reboot() {
    let mut home = home();
    home.ok(&format!("{IOT} --aux-address host=10.0.200.222"));
    let (web, at) = attached(&home, "iot", "web");
    let pings = [home.laptop.pings(at), home.nas.pings(at), web.pings(ip("10.0.200.50"))];
    home.restart();
    home.ok("status");
    for pings in pings {
        let counted = pings.end();
        assert!(counted.sent > 5 && counted.lost == 0, "{counted:?}");
    }

    // A reboot leaves the state and nothing in the kernel. Containers start later; this one was kept.
    home.daemon.take().unwrap().kill().unwrap();
    home.nas.remove_link("eth0").unwrap();
    assert_eq!(home.made_links(), [""; 0]);
    home.world.plug_in(&home.nas).unwrap();
    home.nas.add_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
    home.start();
    assert!(has_vlan(&home), "before the first request is answered");
    reaches(&home.laptop, at);
    reaches(&home.nas, at);

    // Nothing stays without the state either.
    home.daemon.take().unwrap().kill().unwrap();
    std::fs::remove_dir_all(home.directory.path().join("state")).unwrap();
    home.start();
    assert_eq!(home.made_links(), [""; 0]);
}

#[test]
fn it_follows_the_interface_below() {
    let home = home();
    home.ok(&format!("{IOT} --aux-address host=10.0.200.222"));
    let (_web, at) = attached(&home, "iot", "web");
    home.nas.set_up("eth0", false).unwrap();
    does_not_reach(&home.laptop, at);
    let db = home.world.container("db").unwrap();
    let ran = home.run(&format!("attach iot --netns {} --name db", db.namespace().path().display()));
    assert!(ran.code == Some(3) && ran.stderr.contains("ip link set dev eth0 up"), "{}", ran.stderr);
    assert_eq!(home.status()["pending"].as_array().unwrap().len(), 0, "{}", home.status());
    home.nas.set_up("eth0", true).unwrap();
    eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
    eventually("the host reaches it again", || home.nas.ping(at).is_some());

    home.nas.remove_link("eth0").unwrap();
    eventually("the status says what it waits for", || {
        home.troubles().to_string().contains("waits for its parent `eth0`")
    });
    home.world.plug_in(&home.nas).unwrap();
    eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
    eventually("the host reaches it again", || home.nas.ping(at).is_some());

    // The administrator deletes it.
    home.nas.remove_link("eth0.200").unwrap();
    eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
    assert_eq!(home.troubles().as_array().unwrap().len(), 0);
}

#[test]
fn it_stays_where_the_interface_below_is_renamed() {
    let home = home();
    home.ok(&format!("{IOT} --aux-address host=10.0.200.222"));
    let (web, at) = attached(&home, "iot", "web");
    let number = || {
        let inside = web.kernel().observe(&[]).unwrap().host;
        inside.link(&"eth0".parse().unwrap()).map(|link| link.index)
    };
    let before = (number(), nas_link(&home, "eth0.200").map(|link| link.index));
    rename(&home.nas, "eth0", "lan0");
    let below = || {
        let network: serde_json::Value =
            serde_json::from_str(&home.ok("network inspect iot --json")).unwrap();
        network["vlan"]["lower"].clone()
    };
    eventually("the network follows its parent", || below() == "lan0");
    eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
    eventually("the host reaches it again", || home.nas.ping(at).is_some());
    assert_eq!((number(), nas_link(&home, "eth0.200").map(|link| link.index)), before);
    assert_eq!(home.troubles().as_array().unwrap().len(), 0, "{}", home.status());
    let (_db, at_db) = attached(&home, "iot", "db");
    reaches(&home.laptop, at_db);
}

#[test]
fn one_that_the_user_makes_meanwhile_is_used_or_named_as_what_is_in_the_way() {
    let mut home = home();
    home.ok(IOT);
    home.daemon.take().unwrap().kill().unwrap();
    home.nas.remove_link("eth0.200").unwrap();
    home.nas.add_vlan("eth0", 200, "10.0.200.9/24".parse().unwrap()).unwrap();
    rename(&home.nas, "eth0.200", "lan0");
    home.start();
    assert!(home.ok("status").contains("ip link set dev lan0 name eth0.200"), "{}", home.ok("status"));
    let web = home.world.container("web").unwrap();
    let ran = home.run(&format!("attach iot --netns {} --name web", web.namespace().path().display()));
    assert!(ran.code == Some(5) && ran.stderr.contains("`lan0` is VLAN 200"), "{}", ran.stderr);
    rename(&home.nas, "lan0", "eth0.200");
    let at = addresses(&home.attach("iot", &web, ""))[0];
    reaches(&home.laptop, at);
    reaches(&home.nas, at);
    home.ok("detach iot web");
    home.ok("network rm iot");
    assert_eq!(home.made_links(), ["eth0.200"]);
}

#[test]
fn one_that_whoever_made_it_deletes_is_made_anew_and_its_containers_come_back() {
    let home = home();
    home.nas.add_vlan("eth0", 200, "10.0.200.9/24".parse().unwrap()).unwrap();
    home.ok(IOT);
    let (_web, at) = attached(&home, "iot", "web");
    reaches(&home.laptop, at);
    home.nas.remove_link("eth0.200").unwrap();
    eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
    assert_eq!(home.troubles().as_array().unwrap().len(), 0, "{}", home.status());
    home.ok("detach iot web");
    home.ok("network rm iot");
    assert_eq!(home.made_links(), [""; 0], "it is Ashore's own by now");
}

#[test]
fn it_stays_for_as_long_as_somebody_else_uses_it() {
    let home = home();
    for link in ["type macvlan mode bridge", "type ipvlan mode l2", "type vlan id 7"] {
        home.ok(IOT);
        let other = home.world.container("other").unwrap();
        let path = other.namespace().path().display();
        let line = format!("ip link add link eth0.200 name theirs0 netns {path} {link}");
        type_on(&home.nas, &line);
        let ran = home.run("network rm iot");
        assert!(ran.code == Some(0) && ran.stderr.contains("`eth0.200` stays"), "{link}: {}", ran.stderr);
        assert!(has_vlan(&home), "{link}");
        other.add_address("theirs0", "10.0.200.77/24".parse().unwrap()).unwrap();
        other.set_up("theirs0", true).unwrap();
        if !link.contains("vlan id") {
            eventually("it is on the LAN", || home.laptop.ping(ip("10.0.200.77")).is_some());
        }
        other.remove_link("theirs0").unwrap();
        eventually_within(Duration::from_secs(180), "nothing uses it any more", || {
            home.made_links().is_empty()
        });
    }
    home.ok(IOT);
    home.nas.add_address("eth0.200", "10.0.200.9/24".parse().unwrap()).unwrap();
    home.ok("network rm iot");
    reaches(&home.laptop, ip("10.0.200.9"));
}

/// Runs the network in the VLAN on one of the NAS's interfaces, from its creation to its removal.
fn made_reached_and_gone(home: &Home, lower: &str) {
    home.ok(&IOT.replace("eth0", lower));
    assert_eq!(home.made_links(), [lower.to_owned(), format!("{lower}.200")]);
    let (_web, at) = attached(home, "iot", "web");
    eventually("the LAN reaches it", || home.laptop.ping(at).is_some());
    home.ok("detach iot web");
    home.ok("network rm iot");
    assert_eq!(home.made_links(), [lower]);
}

#[test]
fn on_a_bond() {
    let home = home();
    type_on(&home.nas, "ip link add bond0 type bond mode active-backup miimon 100");
    type_on(&home.nas, "ip link set dev eth0 down");
    type_on(&home.nas, "ip link set dev eth0 master bond0");
    type_on(&home.nas, "ip link set dev bond0 up");
    let ran = home.run(IOT);
    assert!(ran.code == Some(3) && ran.stderr.contains("--parent bond0 --vlan 200"), "{}", ran.stderr);
    made_reached_and_gone(&home, "bond0");
    // A second cable, whose other end is off.
    home.ok(&IOT.replace("eth0", "bond0"));
    type_on(&home.nas, "ip link add spare0 type veth peer name far0");
    type_on(&home.nas, "ip link set dev spare0 master bond0");
    assert!(!home.codes().contains(&"no-carrier".to_owned()));
    home.world.set_cable(&home.nas, false).unwrap();
    eventually("the status tells that both cables are out", || {
        let told = home.troubles().to_string();
        ["the cables of ", "`eth0`", "`spare0`"].iter().all(|words| told.contains(words))
    });
    assert!(home.codes().contains(&"no-carrier".to_owned()));
    home.world.set_cable(&home.nas, true).unwrap();
    eventually("one cable is enough", || !home.codes().contains(&"no-carrier".to_owned()));
}

#[test]
fn on_a_bridge_of_the_hosts_also_one_that_filters_vlans() {
    let home = home();
    type_on(&home.nas, "ip link add br0 type bridge");
    type_on(&home.nas, "ip link set dev eth0 master br0");
    type_on(&home.nas, "ip link set dev br0 up");
    made_reached_and_gone(&home, "br0");
    type_on(&home.nas, "ip link set dev br0 type bridge vlan_filtering 1");
    let ran = home.run(&IOT.replace("eth0", "br0"));
    assert!(ran.code == Some(3) && ran.stderr.contains("does not let VLAN 200 through"), "{}", ran.stderr);
    assert_eq!(home.made_links(), ["br0"]);
    // The lab's NIC is a veth, and could be a container's as well, so the remedy says `PORT`.
    let hint = ran.stderr.lines().find_map(|line| line.strip_prefix("  try: ")).unwrap();
    for command in hint.replace("PORT", "eth0").split("; ") {
        type_on(&home.nas, command);
    }
    made_reached_and_gone(&home, "br0");
}

#[test]
fn through_a_switch_that_filters_vlans() {
    let home = home();
    let switch = home.world.switch();
    type_on(switch, "ip link set dev br0 type bridge vlan_filtering 1");
    home.ok(IOT);
    let (_web, at) = attached(&home, "iot", "web");
    does_not_reach(&home.router, at);
    type_on(switch, "bridge vlan add dev p-nas vid 200");
    type_on(switch, "bridge vlan add dev p-router vid 200");
    reaches(&home.router, at);
    // The laptop's port is only in that VLAN, untagged, and the laptop does not know of it.
    type_on(switch, "bridge vlan del dev p-laptop vid 1");
    type_on(switch, "bridge vlan add dev p-laptop vid 200 pvid untagged");
    home.laptop.remove_link("eth0.200").unwrap();
    home.laptop.add_address("eth0", "10.0.200.50/24".parse().unwrap()).unwrap();
    reaches(&home.laptop, at);
    does_not_reach(&home.laptop, ip(HOST));
}

#[test]
fn gvrp_and_mtu() {
    const GVRP: &str = "01:80:c2:00:00:21";
    let home = home();
    let frames = Frames::from(&home.world, &home.nas, Tag::None);
    let ran = home.run(&format!("{IOT} --mtu 9000"));
    assert!(ran.code == Some(3) && ran.stderr.contains("`eth0` has 1500"), "{}", ran.stderr);
    home.ok("network create plain --parent eth0.200 --subnet 10.0.200.0/24 --ip-range 10.0.200.64/27");
    home.ok(&format!("{IOT} --gvrp --mtu 1400"));
    let kind = || nas_link(&home, "eth0.200").unwrap().kind;
    assert_eq!(kind(), ObservedKind::Vlan { id: 200, gvrp: true });
    frames.wait_for_one_to(GVRP);
    let (web, at) = attached(&home, "iot", "web");
    let inside = web.kernel().observe(&[]).unwrap().host;
    assert_eq!(inside.link(&"eth0".parse().unwrap()).unwrap().mtu, 1400);
    reaches(&home.laptop, at);
    home.ok("detach iot web");
    home.ok("network rm iot");
    assert_eq!(kind(), ObservedKind::Vlan { id: 200, gvrp: false }, "no network asks for it any more");
}

#[test]
fn its_mtu_follows_the_interface_below_and_so_does_the_shims() {
    let home = home();
    home.ok(&format!("{IOT} --aux-address host=10.0.200.222"));
    let (web, at) = attached(&home, "iot", "web");
    // A container's own change to its link stays.
    type_on(&web, "ip link set dev eth0 mtu 1300");
    for mtu in [9000, 1400, 1500] {
        type_on(&home.nas, &format!("ip link set dev eth0 mtu {mtu}"));
        let all = || ["eth0.200", "shim-eth0.200"].map(|name| nas_link(&home, name).unwrap().mtu);
        eventually("both have it", || all() == [mtu; 2]);
        reaches(&home.laptop, at);
    }
    let inside = web.kernel().observe(&[]).unwrap().host;
    assert_eq!(inside.link(&"eth0".parse().unwrap()).unwrap().mtu, 1300);
}

#[test]
fn what_leads_to_no_lan_is_no_parent() {
    let home = home();
    for line in [
        "ip link add blue type vrf table 10",
        "ip link set dev blue up",
        "ip link add ifb7 type ifb",
        "ip link set dev ifb7 up",
        "ip link add dummy7 type dummy",
        "ip link set dev dummy7 up",
    ] {
        type_on(&home.nas, line);
    }
    let before = home.made_links();
    let refused = |options: &str, words: &str| {
        let ran = home.run(&format!("network create iot {options} --subnet 10.0.200.0/24"));
        assert_eq!(ran.code, Some(3), "{options}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{options}: {}", ran.stderr);
        assert_eq!(home.made_links(), before);
    };
    for (parent, words) in [("blue", "a VRF"), ("ifb7", "traffic control"), ("dummy7", "a dummy")] {
        refused(&format!("--parent {parent}"), words);
        refused(&format!("--parent {parent} --vlan 200"), words);
    }
    type_on(&home.nas, "ip link set dev eth0 master blue");
    refused("--parent eth0", "in the VRF `blue`");
    refused("--parent eth0 --vlan 200", "in the VRF `blue`");
}

#[test]
fn what_cannot_be_a_vlan_is_refused_and_nothing_touched() {
    let home = home();
    type_on(&home.nas, "ip link add eth0.300 type dummy");
    home.ok("network create own --parent eth0 --vlan 7 --subnet 10.0.7.0/24");
    let before = home.made_links();
    let subnet = "--subnet 10.0.200.0/24";
    for (options, code, words) in [
        (format!("--parent eth0 --vlan 300 {subnet}"), 3, ["`eth0.300` already", "not VLAN 300"]),
        (format!("--parent eth0.7 --vlan 8 {subnet}"), 3, ["`eth0.7`", "that Ashore made"]),
        ("--parent eth0.200".into(), 3, ["`eth0.200` has no IPv4 address", "--subnet"]),
        ("--vlan 200".into(), 3, ["`eth0.200` has no IPv4 address", "--gateway"]),
        // The conflict shows only when the VLAN exists and can be probed. Then the VLAN is removed again.
        (format!("--vlan 200 {subnet} --aux-address host=10.0.200.50"), 5, ["10.0.200.50 is in use", "by"]),
    ] {
        let ran = home.run(&format!("network create iot {options}"));
        assert_eq!(ran.code, Some(code), "{options}: {}", ran.stderr);
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{options}: {}", ran.stderr);
        // What was made for the question goes after the answer, so that nobody waits for it.
        eventually(&options, || home.made_links() == before);
    }
    // The parent need not be named: the VLAN is on the LAN's interface.
    home.ok(&format!("network create iot --vlan 200 {subnet}"));
    assert!(has_vlan(&home));
}

#[test]
fn a_network_moves_with_its_vlan_and_leaves_nothing_behind() {
    let home = home();
    home.ok(IOT);
    let other = World::new(None).unwrap();
    other.plug_in_by(&home.nas, "eth1").unwrap();
    let on = other.machine("printer", 60).unwrap();
    on.add_vlan("eth0", 200, "10.0.200.60/24".parse().unwrap()).unwrap();
    let plan = home.ok("plan move iot --parent eth1");
    for line in ["ip link del dev eth0.200\n", "ip link add link eth1 name eth1.200 type vlan id 200\n"] {
        assert!(plan.contains(line), "{plan}");
    }
    assert_eq!(home.made_links(), ["eth0.200", "eth1"], "a plan changes nothing");
    // The output says where the network is. By then the old VLAN link is gone.
    assert_eq!(home.ok("network move iot --parent eth1"), "network iot is on eth1.200\n");
    assert_eq!(home.made_links(), ["eth1", "eth1.200"]);
    let (_web, at) = attached(&home, "iot", "web");
    reaches(&on, at);
    does_not_reach(&home.laptop, at);
    home.ok("detach iot web");
    assert_eq!(home.ok("network move iot --parent eth0.300"), "network iot is on eth0.300\n");
    assert_eq!(home.ok("network move iot --parent eth0.300"), "network iot is on eth0.300\n");
    assert_eq!(home.made_links(), ["eth1", "eth0.300"]);
}

#[test]
fn a_dhcp_server_in_the_new_vlan_keeps_a_network_where_it_was() {
    let Ok(engines) = Engines::find().inspect_err(|why| cannot_run("VLAN, moved into a pool", why)) else {
        return;
    };
    let home = home();
    home.ok(IOT);
    let other = World::new(None).unwrap();
    other.plug_in_by(&home.nas, "eth1").unwrap();
    let on = other.machine("router", 1).unwrap();
    on.add_vlan("eth0", 200, "10.0.200.1/24".parse().unwrap()).unwrap();
    let pool = "10.0.200.192,10.0.200.210,255.255.255.0,2m";
    let _server = Server::dnsmasq(&engines, &on, home.directory.path(), pool, &["--interface=eth0.200"]);
    std::thread::sleep(Duration::from_secs(2));
    // The server has a third of a second to answer, which a busy machine may need for itself.
    let mut ran = home.run("network move iot --parent eth1");
    for _ in 1..5 {
        if ran.code == Some(0) {
            home.ok("network move iot --parent eth0");
            ran = home.run("network move iot --parent eth1");
        }
    }
    assert_eq!(ran.code, Some(5), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("10.0.200.192/27 overlaps the pool"), "{}", ran.stderr);
    assert_eq!(home.made_links(), ["eth1", "eth0.200"]);
    let (_web, at) = attached(&home, "iot", "web");
    reaches(&home.laptop, at);
}
