//! A VLAN from the container to the internet, by what `ashore router-config` prints for a network that is there: typed into
//! a router that Debian's ifupdown or systemd-networkd configures. In the virtual machine, whose kernel has VLANs.

mod home;

use ashore_lab::{Engines, cannot_run};
use home::typed::{INTERNET, NETWORKD, Typed, all_reach, dhcp_gives, internet, none_reach};
use home::{Home, ip};

fn a_vlan_behind_the_router(system: &str, before: &str) {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run(&format!("router-config, {system}"), &why),
    };
    let home = Home::new();
    let _internet = internet(&home.world, &home.router);
    home.laptop.add_default_route("eth0", ip("fd88::1")).unwrap();
    home.ok(
        "network create iot --parent eth0 --vlan 200 --subnet 10.0.200.0/24 --ip-range 10.0.200.192/27 --gateway \
         10.0.200.1 --subnet fd88:200::/64 --ip-range fd88:200::c0/122 --gateway fd88:200::1",
    );
    let container = home.world.container("container").unwrap();
    home.attach("iot", &container, "--ip 10.0.200.200 --ip fd88:200::c8");

    let script = home.ok(&format!("router-config iot --lan-interface eth0 --for {system}"));
    let _typed = Typed::on(&home.router, &engines, home.directory.path(), before, &script);
    all_reach(&container, INTERNET);
    all_reach(&home.laptop, ["10.0.200.200", "fd88:200::c8"]);
    all_reach(&home.laptop, INTERNET);
    none_reach(&container, ["192.168.88.50", "fd88::50"]);

    // Another machine in the VLAN gets an address of the router's, and none of Ashore's.
    home.laptop.add_vlan("eth0", 200, "10.0.200.50/24".parse().unwrap()).unwrap();
    let gives = |wanted| dhcp_gives(&home.laptop, "eth0.200", &engines, wanted);
    assert_eq!(gives("10.0.200.224"), ip("10.0.200.224"));
    assert_ne!(gives("10.0.200.223"), ip("10.0.200.223"));
}

#[test]
fn ifupdown() {
    a_vlan_behind_the_router("ifupdown", "");
}

#[test]
fn systemd_networkd() {
    a_vlan_behind_the_router("systemd-networkd", NETWORKD);
}
