//! IPv6 addresses that a DHCPv6 server on the LAN assigns.

use std::net::IpAddr;

use ashore_lab::{Engines, Machine, cannot_run};
use home::dhcp::Server;
use home::router::Router;
use home::{Home, addresses, does_not_reach, eventually, ip, is_root, reaches};

const CREATE: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
                      --gateway 192.168.88.1";
/// With this pool, dnsmasq advertises M and O, and an on-link prefix from which no addresses are formed.
const POOL: &str = "fd88::100,fd88::1ff,64,2m";

/// Runs a test where servers can run.
fn with(test: &str, run: impl FnOnce(Home, &Engines)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => run(Home::new(), &engines),
    }
}

fn dnsmasq(engines: &Engines, home: &Home, pool: &str) -> Server {
    Server::dnsmasq(engines, &home.router, home.directory.path(), pool, &["--enable-ra"])
}

/// Runs a test on a network whose IPv6 addresses dnsmasq assigns.
fn with_server(test: &str, run: impl FnOnce(Home, Server)) {
    with(test, |home, engines| {
        let server = dnsmasq(engines, &home, POOL);
        home.ok(&format!("{CREATE} --ipv6 dhcp"));
        run(home, server);
    });
}

fn all_of(home: &Home, name: &str) -> Vec<IpAddr> {
    let status = home.status();
    let all = status["endpoints"].as_array().unwrap();
    addresses(all.iter().find(|endpoint| endpoint["name"] == name).unwrap())
}

fn is_in_pool(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.segments()[0] == 0xfd88 && (0x100..=0x1ff).contains(&v6.segments()[7]) && v6.segments()[4..7] == [0; 3])
}

/// An endpoint's address from the pool, once it has one and is reached. A server may answer before a router
/// has advertised the on-link prefix.
fn leased(home: &Home, name: &str) -> IpAddr {
    let mut found = None;
    eventually(&format!("{name} has an address of the pool"), || {
        found = all_of(home, name).into_iter().find(is_in_pool);
        found.is_some_and(|at| home.laptop.ping(at).is_some())
    });
    found.unwrap()
}

/// The IPv6 addresses in a container's kernel, except link-local ones.
fn global(container: &Machine) -> Vec<IpAddr> {
    let all = container.kernel().observe(&[]).unwrap().host.addresses.into_iter();
    let of_lan = all.filter(|there| !there.link_scope && !there.net.addr().is_loopback());
    of_lan.map(|there| there.net.addr()).filter(IpAddr::is_ipv6).collect()
}

/// Attaches a machine under another name.
fn attach_as(home: &Home, name: &str, container: &Machine) {
    let netns = container.namespace().path().display().to_string();
    home.ok(&format!("attach lan --netns {netns} --name {name}"));
}

#[test]
fn everybody_reaches_the_address_and_the_server_knows_the_container_by_its_name() {
    with_server("leases6, first", |home, server| {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let at = leased(&home, "web");
        for machine in [&home.laptop, &home.router, &home.nas] {
            reaches(machine, at);
        }
        for to in ["fd88::50", "fd88::1", home::HOST6] {
            reaches(&web, ip(to));
        }
        assert_eq!(global(&web), [at], "and none that it made of the prefix");
        let rows = server.rows();
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((row.ip.as_str(), row.name.as_str()), (at.to_string().as_str(), "web"));
        // The IAID, and a DUID that is a UUID.
        assert!(row.mac == "1" && row.client_id.starts_with("00:04:"), "{row:?}");
        assert_eq!(home.status()["pending"].as_array().unwrap().len(), 0, "{}", home.status());
    });
}

#[test]
fn behind_a_bridge_it_is_the_same() {
    with("leases6, bridge", |home, engines| {
        drop(home);
        let home = Home::bridged();
        let server = dnsmasq(engines, &home, POOL);
        home.ok("network create lan --parent br0 --kind bridge --subnet 192.168.88.0/24 --ipv6 dhcp");
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let at = leased(&home, "web");
        // The host's own IPv6 address is still on the NIC, which is now the bridge's port.
        for machine in [&home.laptop, &home.router] {
            reaches(machine, at);
        }
        assert_eq!(server.rows().len(), 1, "{:?}", server.rows());
    });
}

#[test]
fn a_server_of_both_kinds_knows_the_container_as_one_machine() {
    with("leases6, both kinds", |home, engines| {
        let range = format!("--dhcp-range={POOL}");
        let options = ["--enable-ra", &range];
        let pool = "192.168.88.100,192.168.88.120,255.255.255.0,2m";
        let server = Server::dnsmasq(engines, &home.router, home.directory.path(), pool, &options);
        home.ok("network create lan --dhcp --parent eth0 --ipv6 auto");
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        leased(&home, "web");
        let rows = server.rows();
        let of =
            |ip: &str| rows.iter().find(|row| row.ip.starts_with(ip)).unwrap_or_else(|| panic!("{rows:?}"));
        // RFC 4361: ff, the IAID, and the DUID.
        assert_eq!(of("192.168.88.").client_id, format!("ff:00:00:00:01:{}", of("fd88:").client_id));
    });
}

#[test]
fn what_the_router_says_decides_whether_a_server_is_asked() {
    for (pool, of_pool, of_prefix) in [
        ("fd88::100,fd88::1ff,slaac,64,2m", true, true),
        (POOL, true, false),
        ("fd88::,ra-only", false, true),
    ] {
        with("leases6, M", |home, engines| {
            let _server = dnsmasq(engines, &home, pool);
            home.ok(&format!("{CREATE} --ipv6 auto"));
            let web = home.world.container("web").unwrap();
            home.attach("lan", &web, "");
            let wanted = usize::from(of_pool) + usize::from(of_prefix);
            let v6 = || all_of(&home, "web").into_iter().filter(IpAddr::is_ipv6).collect::<Vec<_>>();
            eventually("it has all of them", || v6().len() == wanted);
            assert_eq!(v6().iter().filter(|ip| is_in_pool(ip)).count(), usize::from(of_pool), "{pool}");
            for at in v6() {
                reaches(&home.laptop, at);
            }
        });
    }
}

#[test]
fn a_lease_outlives_a_killed_daemon_without_a_lost_ping() {
    with_server("leases6, killed", |mut home, server| {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let at = leased(&home, "web");
        reaches(&home.laptop, at);
        let pings = [home.laptop.pings(at), home.nas.pings(at)];
        let asked = server.count("DHCPSOLICIT");
        home.restart();
        eventually("it is confirmed", || server.count("DHCPCONFIRM") > 0);
        for pings in pings {
            let counted = pings.end();
            assert_eq!(counted.lost, 0, "{counted:?}");
        }
        assert_eq!(leased(&home, "web"), at);
        assert_eq!(server.count("DHCPSOLICIT"), asked, "it is the same lease");
    });
}

#[test]
fn a_container_that_comes_back_has_its_lease_again_and_a_forgotten_one_has_given_it_back() {
    with_server("leases6, back", |home, server| {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let at = leased(&home, "web");
        reaches(&home.laptop, at);
        home.ok("detach lan web");
        does_not_reach(&home.laptop, at);
        assert_eq!(server.rows().len(), 1, "it is kept for it");
        let asked = server.count("DHCPSOLICIT");
        let again = home.world.container("again").unwrap();
        attach_as(&home, "web", &again);
        assert_eq!(leased(&home, "web"), at);
        reaches(&home.laptop, at);
        assert_eq!(server.count("DHCPSOLICIT"), asked);
        home.ok("detach lan web");
        home.ok("forget web");
        eventually("the lease is released", || server.count("DHCPRELEASE") > 0 && server.rows().is_empty());
    });
}

#[test]
fn an_address_that_a_machine_has_taken_is_declined() {
    with_server("leases6, squatter", |home, server| {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let first = leased(&home, "web");
        home.ok("detach lan web");
        home.ok("forget web");
        eventually("the lease is released", || server.rows().is_empty());
        home.laptop.add_address("eth0", format!("{first}/64").parse().unwrap()).unwrap();
        home.attach("lan", &web, "");
        let at = leased(&home, "web");
        assert_ne!(at, first);
        reaches(&home.router, at);
        assert!(server.count("DHCPDECLINE") > 0);
    });
}

/// Nobody is asked whether they have an address. The server gives the first addresses of its pool first.
#[test]
fn neither_the_routers_anycast_address_nor_its_own_is_taken() {
    with("leases6, the routers' addresses", |home, engines| {
        let directory = home.directory.path();
        let says = "AdvManagedFlag on; prefix fd88::1/64 { AdvAutonomous off; AdvRouterAddr on; };";
        let _router = Router::start(engines, &home.router, directory, says);
        let server = Server::kea6(engines, &home.router, directory, "fd88::-fd88::f");
        home.ok(&format!("{CREATE} --ipv6 auto --conflict off"));
        let both = ["web", "db"].map(|name| home.world.container(name).unwrap());
        for container in &both {
            home.attach("lan", container, "");
        }
        let declined = || {
            let table = server.table();
            ["fd88::,", "fd88::1,"].map(|row| table.lines().any(|line| line.starts_with(row)))
        };
        for container in &both {
            eventually("it has an address of the pool", || global(container).len() == 1);
        }
        assert_eq!(declined(), [true; 2], "both were given: {}", server.table());
        for at in both.iter().flat_map(global) {
            assert!(![ip("fd88::"), ip("fd88::1")].contains(&at));
            reaches(&home.laptop, at);
        }
    });
}

#[test]
fn a_server_that_comes_later_is_found_and_until_then_there_is_ipv4() {
    with("leases6, late", |home, engines| {
        home.ok(&format!("{CREATE} --ipv6 dhcp"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let [v4] = all_of(&home, "web")[..] else { panic!("{:?}", all_of(&home, "web")) };
        reaches(&home.laptop, v4);
        let _server = dnsmasq(engines, &home, POOL);
        reaches(&home.laptop, leased(&home, "web"));
    });
}

#[test]
fn kea_renews_a_lease_in_use_and_when_it_ends_its_address_is_used_no_longer() {
    with("leases6, Kea", |home, engines| {
        let says = "AdvManagedFlag on; prefix fd88::/64 { AdvAutonomous off; };";
        let _router = Router::start(engines, &home.router, home.directory.path(), says);
        let pool = "fd88::100-fd88::1ff";
        let directory = home.directory.path();
        let server = Server::kea6_with(engines, &home.router, directory, pool, [5, 12, 15, 20]);
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let at = leased(&home, "web");
        reaches(&home.laptop, at);
        let pings = home.laptop.pings(at);
        let rows = || server.table().lines().filter(|line| line.starts_with(&at.to_string())).count();
        let before = rows();
        eventually("it is renewed more than once", || rows() > before + 1);
        let counted = pings.end();
        assert_eq!(counted.lost, 0, "{counted:?}");
        drop(server);
        eventually("its time is over", || !global(&web).contains(&at));
        does_not_reach(&home.laptop, at);
        assert!(all_of(&home, "web").iter().all(IpAddr::is_ipv4));
    });
}
