//! VLANs and ipvlan as Docker users create them, on a real engine in the virtual machine. One engine serves
//! all tests, because it starts slowly there. `cargo xtask test --all` runs all of them; without Docker,
//! `vm_vlan.rs` has nearly the same.

use std::time::Duration;

use ashore_core::net::link::Tag;
use ashore_core::net::vlan::Membership;
use home::parents::Befalls::ForwardsLate;
use home::parents::{Host, Row, walk};
use home::site::{Site, on_engine};
use home::{HOST, does_not_reach, eventually, eventually_within, ip, reaches, type_on};

fn create(name: &str, options: &str, range: &str) -> String {
    format!(
        "network create -d ashore --ipam-driver ashore --subnet 10.0.200.0/24 --gateway 10.0.200.1 --ip-range {range} \
         {options} {name}"
    )
}

#[test]
fn vlans_and_ipvlan() {
    on_engine("bookworm", "docker, VLANs and ipvlan", |site| {
        a_bridges_vlan_is_named_as_any_other(site);
        a_sub_interface_is_made_shared_and_deleted_with_its_last_network(site);
        ipvlan_gives_the_parents_mac(site);
        if std::env::var_os("ASHORE_TEST_ALL").is_none() {
            return;
        }
        a_sub_interface_of_dockers_own_driver_is_shared_both_ways(site);
        let failed = walk(site, PARENTS);
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    });
}

/// The rest of the table in `parents.rs`.
const PARENTS: &[Row] = &[
    ("a bond", Host::Bond, &[ForwardsLate]),
    ("the host's own interface in a VLAN, on a bridge that holds the NIC", Host::VlanOnBridge, &[]),
];

/// On a bridge without a connection to the LAN: the host has an address in the VLAN, and reaches the other
/// machines there.
fn a_bridges_vlan_is_named_as_any_other(site: &Site) {
    let nas = &site.home.nas;
    for line in [
        "ip link add br0 type bridge vlan_filtering 1",
        "ip link add up0 type dummy",
        "ip link set dev up0 master br0",
        "ip link set dev br0 up",
        "bridge vlan add dev up0 vid 20",
    ] {
        type_on(nas, line);
    }
    for options in ["-o parent=br0 -o vlan=20", "-o parent=br0.20 -o tagged=yes"] {
        let tagged = options.contains("tagged");
        let options = format!("{options} -o kind=bridge --aux-address host=10.0.200.222");
        site.ok(&create("lan", &options, "10.0.200.192/28"));
        site.start("web", "");
        let (at, _) = site.address_of("web");
        let host = nas.kernel().observe(&[]).unwrap().host;
        let port = host.links.iter().find(|link| matches!(link.tag(), Some(Tag::Port(..)))).unwrap();
        let membership = if tagged { Membership::TAGGED } else { Membership::UNTAGGED };
        assert_eq!(port.vlans, Some([(20.try_into().unwrap(), membership)].into()));
        if tagged {
            does_not_reach(nas, ip(&at));
        } else {
            eventually("the host reaches it", || nas.ping(ip(&at)).is_some());
        }
        site.ok("rm -f web");
        site.ok("network rm lan");
    }
    nas.remove_link("br0").unwrap();
    nas.remove_link("up0").unwrap();
    site.assert_nothing_left();
}

/// Docker deletes the sub-interface that it created with its network, and everything on top of it.
fn a_sub_interface_of_dockers_own_driver_is_shared_both_ways(site: &Site) {
    let home = &site.home;
    let theirs =
        "network create -d macvlan --subnet 10.0.200.0/24 --ip-range 10.0.200.128/28 -o parent=eth0.200 old";
    home.nas.remove_link("eth0.200").unwrap();
    site.ok(theirs);
    home.ok("adopt old");
    site.ok(&create("vlan200", "-o parent=eth0.200", "10.0.200.192/27"));
    // It is said at both: Docker shows no warning of a driver's.
    let owned = "`eth0.200` is also the parent of Docker's network `old`";
    assert!(site.logs().contains(owned), "{}", site.logs());
    home.ok("adopt old --undo");
    let adopted = home.run("adopt old");
    assert!(adopted.code == Some(0) && adopted.stderr.contains(owned), "{}", adopted.stderr);
    site.ok("run -d --init --name web --network vlan200 box sleep 1000");
    let (at, _) = site.address_of("web");
    eventually("the LAN reaches it", || home.laptop.ping(ip(&at)).is_some());
    site.ok("network rm old");
    eventually_within(Duration::from_secs(120), "the LAN reaches it again", || {
        home.laptop.ping(ip(&at)).is_some()
    });
    assert_eq!(site.address_of("web").0, at);

    // The sub-interface is now Ashore's, and Docker finds it.
    site.ok(theirs);
    site.ok("rm -f web");
    site.ok("network rm vlan200");
    site.ok("run -d --init --name web --network old box sleep 1000");
    let (at, _) = site.address_of("web");
    eventually("the LAN reaches it", || home.laptop.ping(ip(&at)).is_some());
    site.ok("rm -f web");
    site.ok("network rm old");
    eventually_within(Duration::from_secs(120), "nothing uses it any more", || home.made_links().is_empty());
}

fn ipvlan_gives_the_parents_mac(site: &Site) {
    let home = &site.home;
    site.ok(
        "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
         --gateway 192.168.88.1 -o parent=eth0 -o ipvlan_mode=l2 lan",
    );
    site.start("web", "");
    let (web, mac) = site.address_of("web");
    assert_eq!(mac, "", "it is the parent's");
    reaches(&home.laptop, ip(&web));
    eventually("the host reaches it", || home.nas.ping(ip(&web)).is_some());
    site.ok(&format!("exec web ping -c 1 -w 10 {HOST}"));
    site.ok("rm -f web");
    site.ok("network rm lan");
}

fn a_sub_interface_is_made_shared_and_deleted_with_its_last_network(site: &Site) {
    let home = &site.home;
    home.laptop.add_vlan("eth0", 200, "10.0.200.50/24".parse().unwrap()).unwrap();
    site.ok(&create("vlan200", "-o parent=eth0.200", "10.0.200.192/27"));
    assert_eq!(home.made_links(), ["eth0.200"]);
    site.ok(&create("cameras", "-o parent=eth0 -o vlan=200 -o gvrp=yes", "10.0.200.64/27"));
    assert_eq!(home.made_links(), ["eth0.200"]);
    for (name, network) in [("web", "vlan200"), ("cam", "cameras")] {
        site.ok(&format!("run -d --init --name {name} --network {network} box sleep 1000"));
        let (at, _) = site.address_of(name);
        eventually("the LAN reaches it", || home.laptop.ping(ip(&at)).is_some());
    }
    site.ok(&format!("exec cam ping -c 1 -w 10 {}", site.address_of("web").0));

    site.ok("rm -f web");
    site.ok("network rm vlan200");
    assert_eq!(home.made_links(), ["eth0.200", "shim-eth0.200"]);
    site.ok("rm -f cam");
    site.ok("network rm cameras");
    site.assert_nothing_left();

    for (options, words) in
        [("-o parent=eth0.4095", "1 to 4094"), ("-o parent=eth0 -o vlan=abc", "-o vlan=abc")]
    {
        let ran = site.docker(&create("bad", options, "10.0.200.64/27"));
        assert!(ran.code != Some(0) && ran.stderr.contains(words), "{options}: {}", ran.stderr);
    }

    // A sub-interface that existed before stays.
    home.nas.add_vlan("eth0", 200, "10.0.200.9/24".parse().unwrap()).unwrap();
    site.ok(&create("vlan200", "-o parent=eth0.200", "10.0.200.192/27"));
    site.ok("network rm vlan200");
    eventually("its own is all that is left", || home.made_links() == ["eth0.200"]);
}
