//! Networks of kind `bridge` in a VLAN of a VLAN-filtering bridge. Runs in the virtual machine, whose kernel
//! has such bridges.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::observed::View;
use ashore_core::net::step::Step;
use ashore_core::net::vlan::{Membership, VlanId};
use ashore_lab::{Engines, Machine, cannot_run};
use home::dhcp::Server;
use home::frames::{Frames, Tag};
use home::told::Told;
use home::untouched::{is_untouched, untouched};
use home::{HOST, Home, addresses, arp_answered, does_not_reach, eventually, ip, reaches, type_on};

const OPTIONS: &str = "--kind bridge --vlan 20 --subnet 10.0.20.0/24 --gateway 10.0.20.1";
/// The name of the network's own port on the NAS.
const OWN: &str = "br0-vlan20";

/// A home with VLAN 20 on its switch, and a NAS with its NIC in a VLAN-filtering bridge. The laptop and the
/// router are in the VLAN too; a phone is only on the LAN.
fn home() -> Home {
    let home = Home::bridged();
    home.laptop.add_vlan("eth0", 20, "10.0.20.50/24".parse().unwrap()).unwrap();
    home.router.add_vlan("eth0", 20, "10.0.20.1/24".parse().unwrap()).unwrap();
    type_on(&home.nas, "ip link set dev br0 type bridge vlan_filtering 1");
    type_on(&home.nas, "bridge vlan add dev eth0 vid 20");
    eventually("the bridge passes frames", || home.nas.ping(ip("192.168.88.1")).is_some());
    // The kernel notices this a moment later, and the comparison at the end includes it.
    let bridge = "br0".parse().unwrap();
    eventually("the bridge has carrier", || nas(&home).link(&bridge).unwrap().carrier);
    home
}

fn iot(range: &str) -> String {
    format!("network create iot --parent br0 {OPTIONS} --ip-range {range}")
}

const RANGE: &str = "10.0.20.192/27";

fn id(number: u16) -> VlanId {
    number.try_into().unwrap()
}

fn nas(home: &Home) -> View {
    home.nas.kernel().observe(&[]).unwrap().host
}

/// The VLANs of Ashore's own ports.
fn memberships(home: &Home) -> Vec<BTreeMap<VlanId, Membership>> {
    let host = nas(home);
    let ours = host.links.iter().filter(|link| link.tag().is_some_and(|tag| tag.is_far_end()));
    ours.map(|link| link.vlans.clone().unwrap_or_default()).collect()
}

fn only_in(vlan: u16, membership: Membership) -> BTreeMap<VlanId, Membership> {
    BTreeMap::from([(id(vlan), membership)])
}

fn attached(home: &Home, network: &str, name: &str) -> (Machine, IpAddr, String) {
    let container = home.world.container(name).unwrap();
    let report = home.attach(network, &container, "");
    (container, addresses(&report)[0], report["mac"].as_str().unwrap().to_owned())
}

#[test]
fn endpoints_are_in_the_vlan_alone_and_nothing_of_it_stays() {
    let home = home();
    let before = untouched(&home);
    home.ok(
        "network create lan --parent br0 --kind bridge --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27",
    );
    let said = home.ok(&iot(RANGE));
    assert!(said.contains("Ashore's own port in VLAN 20 of br0") && said.contains("br0.20"), "{said}");
    let tagged = Frames::from(&home.world, &home.nas, Tag::Vlan(20));
    let untagged = Frames::from(&home.world, &home.nas, Tag::None);
    let (web, at, mac) = attached(&home, "iot", "web");
    let (db, at_db, _) = attached(&home, "iot", "db");
    let (media, at_media, _) = attached(&home, "lan", "media");
    reaches(&home.laptop, at);
    reaches(&home.router, at_db);
    reaches(&web, ip("10.0.20.1"));
    reaches(&web, at_db);
    reaches(&home.laptop, at_media);
    Told::of(&home, "").is_well();
    assert!(tagged.any_from(&mac), "its frames bear the tag");
    assert!(!untagged.any_from(&mac), "and none goes without");
    assert_eq!(memberships(&home).iter().filter(|one| **one == only_in(20, Membership::UNTAGGED)).count(), 3);
    assert_eq!(memberships(&home).iter().filter(|one| **one == only_in(1, Membership::UNTAGGED)).count(), 1);

    // A machine on the LAN without a tag does not reach the container, with any address.
    let phone = home.world.machine("phone", 60).unwrap();
    phone.add_address("eth0", "10.0.20.60/24".parse().unwrap()).unwrap();
    does_not_reach(&phone, at);
    media.add_address("eth0", "10.0.20.61/24".parse().unwrap()).unwrap();
    does_not_reach(&media, at);
    does_not_reach(&db, at_media);
    // The container does not leave the VLAN by a tag of its own.
    db.add_vlan("eth0", 1, "192.168.88.71/24".parse().unwrap()).unwrap();
    does_not_reach(&db, ip("192.168.88.1"));
    does_not_reach(&db, at_media);
    // The host is not in the VLAN: it does not reach the container, and its addresses are not answered for
    // there.
    does_not_reach(&home.nas, at);
    assert!(!arp_answered(&home.laptop, "eth0.20", ip(HOST)));
    reaches(&home.laptop, ip(HOST));

    for (network, name) in [("iot", "web"), ("iot", "db"), ("lan", "media")] {
        home.ok(&format!("detach {network} {name}"));
    }
    assert_eq!(home.ok("plan rm iot"), format!("ip link del dev {OWN}\n"));
    home.ok("network rm iot");
    home.ok("network rm lan");
    is_untouched(&home, &before);
}

#[test]
fn what_the_plans_print_typed_into_a_shell_makes_the_same() {
    let mut home = home();
    let create = iot(RANGE);
    let made_by = home.ok(&create.replace("network create", "plan create"));
    home.ok(&create);
    let web = home.world.container("web").unwrap();
    let netns = web.namespace().path().display().to_string();
    let attached_by = home.ok(&format!("plan attach iot --netns {netns} --name web --ifname lan0"));
    let words = ["bridge vlan del dev asp", " vid 1\n", "bridge vlan add dev asp", " vid 20 pvid untagged\n"];
    assert!(words.iter().all(|word| attached_by.contains(word)), "{attached_by}");
    assert!(made_by.contains("learning off\n"), "{made_by}");
    // Up to Linux 6.1, no link can be created in a container by a name that the host has.
    home.attach("iot", &web, "--ifname lan0");
    let sorted = |home: &Home| {
        let mut links = nas(home).links;
        links.retain(|link| link.tag().is_some());
        links.sort_by(|one, other| one.name.cmp(&other.name));
        // The kernel notices a moment later that frames pass.
        for link in &mut links {
            link.carrier = true;
        }
        links
    };
    let made = sorted(&home);
    // Without the daemon, which would remove what it did not create.
    home.daemon.take().unwrap().kill().unwrap();
    web.remove_link("lan0").unwrap();
    home.nas.remove_link(OWN).unwrap();
    for line in made_by.lines().chain(attached_by.lines()) {
        let (line, on) = match line.split_once(&format!("nsenter --net={netns} ")) {
            Some((_, inside)) => (inside.to_owned(), &web),
            None => (line.to_owned(), &home.nas),
        };
        type_on(on, &line);
    }
    let typed = sorted(&home);
    assert_eq!(typed.len(), made.len());
    for (typed, made) in typed.into_iter().zip(made) {
        let (index, lower, mac) = (made.index, made.lower, made.mac);
        assert_eq!(ashore_core::net::observed::Link { index, lower, mac, ..typed }, made);
    }
}

#[test]
fn the_vlan_is_asked_who_has_an_address_and_told_who_has_it() {
    let home = home();
    // A machine in the VLAN has an address of the range. A machine on the LAN has the next one, which is no
    // conflict.
    let (camera, phone) =
        (home.world.machine("camera", 61).unwrap(), home.world.machine("phone", 62).unwrap());
    camera.add_vlan("eth0", 20, "10.0.20.192/24".parse().unwrap()).unwrap();
    phone.add_address("eth0", "10.0.20.193/24".parse().unwrap()).unwrap();
    reaches(&home.laptop, ip("10.0.20.192"));
    home.ok(&iot("10.0.20.192/29"));
    let tagged = Frames::from(&home.world, &home.nas, Tag::Vlan(20));
    let web = home.world.container("web").unwrap();
    let netns = web.namespace().path().display().to_string();
    let ran = home.run(&format!("attach iot --netns {netns} --name web --ip 10.0.20.192"));
    assert!(ran.code == Some(5) && ran.stderr.contains("10.0.20.192"), "{}", ran.stderr);
    let report = home.attach("iot", &web, "--ip 10.0.20.193");
    let mac = report["mac"].as_str().unwrap();
    eventually("it is announced in the VLAN, though it has said nothing", || tagged.any_from(mac));
    // The bridge did not learn from that where the container is.
    reaches(&home.laptop, ip("10.0.20.193"));

    // Another machine takes it, and is shown.
    type_on(&camera, "ip addr flush dev eth0.20");
    type_on(&camera, "sysctl -qw net.ipv4.conf.eth0/20.arp_notify=1");
    camera.add_address("eth0.20", "10.0.20.193/24".parse().unwrap()).unwrap();
    eventually("it is a conflict", || {
        camera.set_up("eth0.20", false).unwrap();
        camera.set_up("eth0.20", true).unwrap();
        home.troubles().to_string().contains("claims the address of `web`")
    });
}

#[test]
fn leases_are_of_the_vlans_own_server() {
    let test = "leases in a VLAN of a bridge";
    let Ok(engines) = Engines::find().inspect_err(|why| cannot_run(test, why)) else { return };
    let mut home = home();
    // The VLAN has a server, and the LAN has another one.
    let lan = ("192.168.88.100", "192.168.88.120");
    let _lan = Server::udhcpd(&engines, &home.router, home.directory.path(), lan, 60);
    let pool = ("10.0.20.100", "10.0.20.120");
    let path = home.directory.path();
    // A range in the pool of a server that answers at once is found to be in it.
    let all = "10.0.20.100,10.0.20.120,2m";
    let quick = Server::dnsmasq(&engines, &home.router, path, all, &["--interface=eth0.20"]);
    eventually("it is refused", || {
        let ran = home.run(&iot("10.0.20.96/27"));
        if ran.code == Some(0) {
            home.ok("network rm iot");
        }
        ran.stderr.contains("pool of the DHCP server 10.0.20.1")
    });
    drop(quick);
    let vlan = Server::udhcpd_on("eth0.20", &engines, &home.router, path, pool, 10);
    assert_eq!(home.made_links(), ["br0"]);

    home.ok(&format!("network create iot --parent br0 {OPTIONS} --dhcp"));
    let (web, at, _) = attached(&home, "iot", "web");
    assert!(at.to_string().starts_with("10.0.20.1"), "{at}");
    reaches(&home.laptop, at);
    reaches(&web, ip("10.0.20.1"));
    vlan.renews("in its VLAN");
    home.restart();
    vlan.renews("by another daemon");
    reaches(&home.laptop, at);
    home.ok("detach iot web");
    home.ok("network rm iot");
}

#[test]
fn the_host_has_an_address_there_that_was_reserved_for_it_or_its_own() {
    let home = home();
    home.nas.set_ipv4_conf("all", "rp_filter", 1).unwrap();
    home.ok(&format!(
        "{} --aux-address host=10.0.20.222 --subnet fd20::/64 --ip-range fd20::c0/123 --aux-address host=fd20::222",
        iot(RANGE)
    ));
    let web = home.world.container("web").unwrap();
    for at in addresses(&home.attach("iot", &web, "")) {
        reaches(&home.nas, at);
    }
    reaches(&web, ip("10.0.20.222"));
    reaches(&web, ip("fd20::222"));
    reaches(&home.laptop, ip(HOST));
    home.ok("detach iot web");
    home.ok("network rm iot");
    assert_eq!((home.made_links(), home.made_routes().len()), (vec!["br0".to_owned()], 0));

    // The host's own interface in the VLAN. For this, the bridge itself has to be in the VLAN.
    type_on(&home.nas, "bridge vlan add dev br0 vid 20 self");
    home.nas.add_vlan("br0", 20, "10.0.20.9/24".parse().unwrap()).unwrap();
    // The parent's name is also the VLAN's, and its subnet the network's.
    home.ok("network create iot --parent br0.20 --kind bridge --ip-range 10.0.20.192/27");
    let (web, at, _) = attached(&home, "iot", "web");
    reaches(&home.nas, at);
    reaches(&web, ip("10.0.20.9"));
    let ran = home.run("network create other --parent br0 --kind bridge --vlan 20 --subnet 10.7.0.0/24");
    assert!(
        ran.code == Some(3) && ran.stderr.contains("br0.20") && ran.stderr.contains("10.0.20.9"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_tagged_port_is_for_a_container_that_speaks_802_1q() {
    let home = home();
    home.ok(&format!("{} --tagged", iot(RANGE)));
    let (web, at, mac) = attached(&home, "iot", "web");
    assert!(memberships(&home).contains(&only_in(20, Membership::TAGGED)));
    assert_eq!(
        web.kernel().observe(&[]).unwrap().host.addresses.iter().filter(|a| a.net.addr() == at).count(),
        0
    );
    does_not_reach(&home.laptop, at);
    web.add_vlan("eth0", 20, format!("{at}/24").parse().unwrap()).unwrap();
    reaches(&home.laptop, at);
    reaches(&web, ip("10.0.20.1"));
    // Without the tag the container reaches nothing.
    let untagged = Frames::from(&home.world, &home.nas, Tag::None);
    web.add_address("eth0", "192.168.88.70/24".parse().unwrap()).unwrap();
    does_not_reach(&web, ip(HOST));
    assert!(!untagged.any_from(&mac));
    let ran = home.run(&format!("network create two --parent br0 {OPTIONS} --dhcp --tagged"));
    assert!(ran.code == Some(3) && ran.stderr.contains("with tagged ports"), "{}", ran.stderr);
}

#[test]
fn it_outlives_the_daemon_and_is_mended_and_survives_what_happens_to_the_bridge() {
    let mut home = home();
    home.ok(&iot(RANGE));
    let (web, at, _) = attached(&home, "iot", "web");
    let pings = [home.laptop.pings(at), web.pings(ip("10.0.20.50"))];
    home.restart();
    home.ok("status");
    for pings in pings {
        let counted = pings.end();
        assert!(counted.sent > 5 && counted.lost == 0, "{counted:?}");
    }
    assert_eq!(home.status()["pending"].as_array().unwrap().len(), 0);

    // The administrator changes memberships.
    let wanted = memberships(&home);
    let ports: Vec<String> = {
        let links = nas(&home).links.into_iter();
        links
            .filter(|link| link.tag().is_some_and(|tag| tag.is_far_end()))
            .map(|link| link.name.to_string())
            .collect()
    };
    for port in &ports {
        type_on(&home.nas, &format!("bridge vlan add dev {port} vid 1 pvid untagged"));
    }
    eventually("it is in the VLAN alone again", || memberships(&home) == wanted);
    for port in &ports {
        type_on(&home.nas, &format!("ip link set dev {port} nomaster"));
    }
    eventually("it is on the bridge again", || memberships(&home) == wanted);
    reaches(&home.laptop, at);
    // The administrator deletes Ashore's own port, or either end of it.
    home.nas.remove_link(OWN).unwrap();
    eventually("it is there again", || memberships(&home).len() == 2);

    home.nas.set_up("br0", false).unwrap();
    does_not_reach(&home.laptop, at);
    home.nas.set_up("br0", true).unwrap();
    eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
    assert_eq!(home.troubles().as_array().unwrap().len(), 0, "{}", home.status());

    // A bridge that no longer filters would put a new endpoint on the LAN.
    type_on(&home.nas, "ip link set dev br0 type bridge vlan_filtering 0");
    eventually("the status says so", || home.troubles().to_string().contains("no longer filters VLANs"));
    let db = home.world.container("db").unwrap();
    let ran = home.run(&format!("attach iot --netns {} --name db", db.namespace().path().display()));
    assert!(ran.code == Some(5) && ran.stderr.contains("vlan_filtering 1"), "{}", ran.stderr);
    type_on(&home.nas, "ip link set dev br0 type bridge vlan_filtering 1");
    eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
    home.attach("iot", &db, "");

    // Nothing stays without the state.
    home.daemon.take().unwrap().kill().unwrap();
    std::fs::remove_dir_all(home.directory.path().join("state")).unwrap();
    home.start();
    assert_eq!(home.made_links(), ["br0"]);
}

#[test]
fn it_comes_back_after_a_reboot() {
    let mut home = home();
    home.ok(&iot(RANGE));
    let (_web, at, _) = attached(&home, "iot", "web");
    home.daemon.take().unwrap().kill().unwrap();
    home.nas.remove_link("br0").unwrap();
    home.nas.remove_link(OWN).unwrap();
    home.start();
    eventually("it waits", || home.troubles().to_string().contains("waits for its parent `br0`"));
    let bridge = LinkSpec { name: "br0".parse().unwrap(), kind: LinkType::Bridge, mac: None, mtu: None };
    home.nas.apply(&[Step::AddLink { place: Place::Host, link: bridge }]).unwrap();
    for line in [
        "ip link set dev br0 type bridge vlan_filtering 1",
        "ip link set dev eth0 master br0",
        "bridge vlan add dev eth0 vid 20",
        "ip link set dev br0 up",
    ] {
        type_on(&home.nas, line);
    }
    eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
    assert!(memberships(&home).iter().all(|one| *one == only_in(20, Membership::UNTAGGED)));
}

#[test]
fn what_cannot_be_is_refused_and_nothing_touched() {
    let home = Home::bridged();
    let create = iot(RANGE);
    let hint = |words: &str| {
        let ran = home.run(&create);
        assert!(ran.code == Some(3) && ran.stderr.contains(words), "{}", ran.stderr);
        assert_eq!(home.made_links(), ["br0"]);
        ran.stderr.lines().find_map(|line| line.strip_prefix("  try: ")).unwrap().to_owned()
    };
    // The suggested remedy works.
    let filter = hint("does not filter VLANs");
    assert!(filter.contains("leave --kind bridge out"), "{filter}");
    type_on(&home.nas, filter.split("; ").next().unwrap());
    reaches(&home.laptop, ip(HOST));
    // The lab's NIC is a veth, and could be a container's as well, so the remedy says `PORT`.
    let member = hint("does not let VLAN 20 through").replace("PORT", "eth0");
    type_on(&home.nas, &member);
    for (options, words) in [
        ("--parent eth0 --vlan 20 --kind bridge", "is not a bridge"),
        ("--parent br0 --vlan 20 --kind bridge --gvrp", "GVRP needs a VLAN interface"),
        ("--parent br0 --kind bridge --tagged", "tagged ports are for a VLAN"),
        ("--parent br0 --vlan 20 --tagged", "tagged ports are for a VLAN"),
        ("--parent br0 --kind macvlan --vlan 20", "bridge vlan add dev br0 vid 20 self"),
        ("--parent br0.4095 --kind bridge", "1 to 4094"),
    ] {
        let ran = home.run(&format!("network create iot {options} --subnet 10.0.20.0/24"));
        assert!(ran.code == Some(3) && ran.stderr.contains(words), "{options}: {}", ran.stderr);
        assert_eq!(home.made_links(), ["br0"]);
    }
    type_on(&home.nas, &format!("ip link add {OWN} type dummy"));
    let ran = home.run(&create);
    assert!(ran.code == Some(3) && ran.stderr.contains("is not VLAN 20 on `br0`"), "{}", ran.stderr);
    home.nas.remove_link(OWN).unwrap();
    home.ok(&create);
    // Ashore's own port in the VLAN does not count as one that leads to the LAN.
    type_on(&home.nas, "bridge vlan del dev eth0 vid 20");
    let ran = home.run("network create two --parent br0.20 --kind bridge --subnet 10.0.21.0/24");
    assert!(ran.code == Some(3) && ran.stderr.contains("does not let VLAN 20 through"), "{}", ran.stderr);
    let is_told = || home.codes().contains(&"vlan-not-on-bridge".to_owned());
    eventually("the status tells that the network is off the LAN", is_told);
    type_on(&home.nas, &member);
    eventually("and that it is on it again", || !is_told());
}

/// The user's own interface for a VLAN of a filtering bridge, as a macvlan parent.
#[test]
fn the_users_own_interface_on_the_bridge_is_a_parent_as_any_other() {
    let home = home();
    type_on(&home.nas, "bridge vlan add dev br0 vid 20 self");
    home.nas.add_vlan("br0", 20, "10.0.20.9/24".parse().unwrap()).unwrap();
    let before = nas(&home).links;
    home.ok("network create iot --parent br0.20 --subnet 10.0.20.0/24 --ip-range 10.0.20.192/27");
    let (web, at, _) = attached(&home, "iot", "web");
    reaches(&home.laptop, at);
    reaches(&home.nas, at);
    reaches(&web, ip("10.0.20.9"));
    home.ok("detach iot web");
    home.ok("network rm iot");
    assert_eq!(nas(&home).links, before);
    // An interface to which the bridge does not forward the VLAN is refused.
    type_on(&home.nas, "bridge vlan del dev br0 vid 20 self");
    let ran = home.run("network create iot --parent br0.20 --subnet 10.0.20.0/24");
    assert!(
        ran.code == Some(3) && ran.stderr.contains("bridge vlan add dev br0 vid 20 self"),
        "{}",
        ran.stderr
    );
}
