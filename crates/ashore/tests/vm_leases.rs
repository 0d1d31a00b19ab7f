//! Leases that need ipvlan and VLANs. Runs in the virtual machine, whose kernel has both.

use std::net::IpAddr;

use ashore_lab::{Engines, Machine, cannot_run};
use home::dhcp::Server;
use home::{Home, addresses, eventually, ip, reaches};

const POOL: (&str, &str) = ("192.168.88.100", "192.168.88.120");

fn attached(home: &Home, name: &str) -> (Machine, IpAddr) {
    let container = home.world.container(name).unwrap();
    let at = addresses(&home.attach("lan", &container, ""))[0];
    (container, at)
}

/// All endpoints have the same MAC, and are distinguished by their client identifiers.
#[test]
fn ipvlan_endpoints_have_an_address_each_and_keep_it() {
    let Ok(engines) = Engines::find().inspect_err(|why| cannot_run("leases, ipvlan", why)) else { return };
    let mut home = Home::new();
    let pool = "192.168.88.100,192.168.88.120,255.255.255.0,2m";
    let server = Server::dnsmasq(&engines, &home.router, home.directory.path(), pool, &[]);
    home.ok("network create lan --parent eth0 --kind ipvlan:l2 --dhcp");
    let ((_web, web), (_db, db)) = (attached(&home, "web"), attached(&home, "db"));
    assert_ne!(web, db);
    home.restart();
    eventually("both are confirmed", || server.count("DHCPACK") == 4);
    for at in [web, db] {
        reaches(&home.laptop, at);
        reaches(&home.nas, at);
    }
    assert_eq!(server.count("DHCPDISCOVER"), 2);
}

/// busybox's server is such a server.
#[test]
fn a_server_that_goes_by_the_mac_alone_is_found_out_and_harms_nobody() {
    let Ok(engines) = Engines::find().inspect_err(|why| cannot_run("leases, by MAC", why)) else { return };
    let home = Home::new();
    let server = Server::udhcpd(&engines, &home.router, home.directory.path(), POOL, 10);
    home.ok("network create lan --parent eth0 --kind ipvlan:l2 --dhcp");
    let (_web, at) = attached(&home, "web");
    let db = home.world.container("db").unwrap();
    let ran = home.run(&format!("attach lan --netns {} --name db", db.namespace().path().display()));
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("by MAC alone"), "{}", ran.stderr);
    server.renews("as if nothing had been");
    reaches(&home.laptop, at);
}

#[test]
fn in_a_vlan_its_own_server_answers() {
    let Ok(engines) = Engines::find().inspect_err(|why| cannot_run("leases, VLAN", why)) else { return };
    let home = Home::new();
    // The VLAN has a server, and the LAN has another one.
    let _lan = Server::udhcpd(&engines, &home.router, home.directory.path(), POOL, 60);
    home.router.add_vlan("eth0", 200, "10.0.200.1/24".parse().unwrap()).unwrap();
    let pool = ("10.0.200.100", "10.0.200.120");
    let vlan = Server::udhcpd_on("eth0.200", &engines, &home.router, home.directory.path(), pool, 10);
    home.ok("network create lan --parent eth0.200 --subnet 10.0.200.0/24 --dhcp");
    let (web, at) = attached(&home, "web");
    assert!(at.to_string().starts_with("10.0.200.1"), "{at}");
    reaches(&home.router, at);
    reaches(&web, ip("10.0.200.1"));
    vlan.renews("in its VLAN");
    home.nas.set_up("eth0", false).unwrap();
    home.nas.set_up("eth0", true).unwrap();
    eventually("it is back", || home.router.ping(at).is_some());
}
