//! IPv6 router advertisements with ipvlan and VLANs. Runs in the virtual machine, whose kernel has both.

use std::net::IpAddr;

use ashore_lab::{Engines, cannot_run};
use home::dhcp::Server;
use home::router::Router;
use home::{Home, addresses, eventually, ip, reaches};

/// An endpoint's address in a prefix. Waits until there is one.
fn in_prefix(home: &Home, name: &str, prefix: &str) -> IpAddr {
    let mut found = None;
    eventually(&format!("{name} has an address in {prefix}"), || {
        let status = home.status();
        let all = status["endpoints"].as_array().unwrap();
        let report = all.iter().find(|endpoint| endpoint["name"] == name).unwrap();
        found = addresses(report).into_iter().find(|ip| ip.to_string().starts_with(prefix));
        found.is_some()
    });
    found.unwrap()
}

/// They share a MAC, so no address is derived from it.
#[test]
fn ipvlan_endpoints_have_an_address_each() {
    let Ok(engines) = Engines::find().inspect_err(|why| cannot_run("slaac, ipvlan", why)) else { return };
    let home = Home::new();
    for link in ["all", "eth0"] {
        home.nas.set_ipv4_conf(link, "rp_filter", 2).unwrap();
    }
    let says = "AdvOtherConfigFlag on; AdvLinkMTU 1492; prefix fd88::/64 { AdvValidLifetime 7200; AdvPreferredLifetime 3600; };";
    let _router = Router::start(&engines, &home.router, home.directory.path(), says);
    let directory = home.directory.path();
    let dns = ["--dhcp-option=option6:dns-server,[fd88::1]"];
    let _server = Server::dnsmasq(&engines, &home.router, directory, "fd88::,static", &dns);
    home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --kind ipvlan:l2 --ipv6 slaac");
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    home.attach("lan", &web, "");
    home.attach("lan", &db, "");
    let (to_web, to_db) = (in_prefix(&home, "web", "fd88::"), in_prefix(&home, "db", "fd88::"));
    assert_ne!(to_web, to_db);
    eventually("it answers", || home.laptop.ping(to_db).is_some());
    for machine in [&home.laptop, &home.router, &home.nas, &db] {
        reaches(machine, to_web);
    }
    for to in ["fd88::50", "fd88::1", home::HOST6] {
        reaches(&web, ip(to));
    }
    // The parent itself has asked for the other options of a DHCPv6 server.
    for name in ["web", "db"] {
        let file = home.daemon().socket().with_file_name("resolv").join(format!("lan/{name}.conf"));
        let text = || std::fs::read_to_string(&file).unwrap_or_default();
        eventually("it is told of a name server", || text() == "nameserver fd88::1\n");
    }
    let mtu = || std::fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/mtu");
    assert_eq!(web.inside(mtu).unwrap().unwrap(), "1492\n");
    assert_eq!(home.status()["pending"].as_array().unwrap().len(), 0, "{}", home.status());
}

#[test]
fn in_a_vlan_its_own_router_is_followed() {
    let Ok(engines) = Engines::find().inspect_err(|why| cannot_run("slaac, VLAN", why)) else { return };
    let home = Home::new();
    home.router.add_vlan("eth0", 200, "10.0.200.1/24".parse().unwrap()).unwrap();
    home.router.add_address("eth0.200", "fd20::1/64".parse().unwrap()).unwrap();
    let options = ["--enable-ra", "--interface=eth0.200"];
    let _dnsmasq = Server::dnsmasq(&engines, &home.router, home.directory.path(), "fd20::,ra-only", &options);
    // The LAN has another router.
    let prefix = "prefix fd88::/64 { };";
    let _lan = Router::start(&engines, &home.laptop, home.directory.path(), prefix);
    home.ok("network create iot --parent eth0.200 --subnet 10.0.200.0/24 --ipv6 auto");
    let cam = home.world.container("cam").unwrap();
    home.attach("iot", &cam, "");
    let at = in_prefix(&home, "cam", "fd20::");
    eventually("it answers", || home.router.ping(at).is_some());
    let status = home.status();
    assert_eq!(addresses(&status["endpoints"][0]).len(), 2, "{status}");
}
