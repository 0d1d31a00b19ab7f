//! Addresses that the LAN's own DHCP server hands out.

mod home;

use std::net::IpAddr;

use ashore_lab::{Engines, cannot_run};
use home::dhcp::Server;
use home::{Home, does_not_reach, eventually, ip, is_root, reaches};

const POOL: &str = "192.168.88.100,192.168.88.120,255.255.255.0,2m";

fn with_server(test: &str, options: &[&str], run: impl FnOnce(Home, Server)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => {
            let home = Home::new();
            let server = Server::dnsmasq(&engines, &home.router, home.directory.path(), POOL, options);
            home.ok("network create lan --parent eth0 --dhcp");
            run(home, server);
        }
    }
}

fn with_short_leases(test: &str, run: impl FnOnce(Home, Server)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => {
            let home = Home::new();
            let pool = ("192.168.88.100", "192.168.88.120");
            let server = Server::udhcpd(&engines, &home.router, home.directory.path(), pool, 10);
            home.ok("network create lan --parent eth0 --dhcp");
            run(home, server);
        }
    }
}

fn v4(report: &serde_json::Value) -> IpAddr {
    let text = report["addresses"][0].as_str().unwrap();
    text.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn the_routers_page_shows_the_container_by_its_name() {
    with_server("leases, first", &[], |home, server| {
        let web = home.world.container("web").unwrap();
        let report = home.attach("lan", &web, "");
        let at = v4(&report);
        for machine in [&home.laptop, &home.nas, &home.router] {
            reaches(machine, at);
        }
        reaches(&web, ip("192.168.88.1"));
        let rows = server.rows();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((rows[0].name.as_str(), rows[0].ip.as_str()), ("web", at.to_string().as_str()));
        assert_eq!(rows[0].mac, report["mac"].as_str().unwrap());
        assert!(rows[0].client_id.starts_with("ff:00:00:00:01:00:04:"), "{rows:?}");
    });
}

#[test]
fn a_container_that_comes_back_asks_for_the_lease_that_it_had() {
    with_server("leases, back", &[], |mut home, server| {
        let web = home.world.container("web").unwrap();
        let at = v4(&home.attach("lan", &web, ""));
        assert_eq!(server.count("DHCPDISCOVER"), 1);
        home.ok("detach lan web");
        home.restart();
        assert_eq!(v4(&home.attach("lan", &web, "")), at);
        reaches(&home.laptop, at);
        assert_eq!((server.count("DHCPDISCOVER"), server.count("DHCPACK")), (1, 2));
    });
}

#[test]
fn a_lease_is_renewed_by_its_server_also_after_the_daemon_was_killed() {
    with_short_leases("leases, renewed", |mut home, server| {
        let web = home.world.container("web").unwrap();
        let at = v4(&home.attach("lan", &web, ""));
        let pings = home.laptop.pings(at);
        server.renews("before");
        home.restart();
        server.renews("after");
        let counted = pings.end();
        assert_eq!(counted.lost, 0, "{counted:?}");
    });
}

#[test]
fn an_address_that_a_machine_has_taken_is_declined() {
    with_server("leases, squatter", &[], |home, server| {
        let web = home.world.container("web").unwrap();
        let first = v4(&home.attach("lan", &web, ""));
        home.ok("detach lan web");
        home.ok("forget web");
        home.laptop.add_address("eth0", format!("{first}/24").parse().unwrap()).unwrap();
        let at = v4(&home.attach("lan", &web, ""));
        assert_ne!(at, first);
        reaches(&home.router, at);
        assert_eq!(server.count("DHCPDECLINE"), 1);
    });
}

#[test]
fn without_a_server_it_is_refused_and_nothing_is_left() {
    with_server("leases, silence", &[], |home, server| {
        drop(server);
        let web = home.world.container("web").unwrap();
        let ran = home.run(&format!("attach lan --netns {} --name web", web.namespace().path().display()));
        assert_eq!(ran.code, Some(6), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("no DHCP server on the LAN of `eth0`"), "{}", ran.stderr);
        assert!(home.status()["endpoints"].as_array().unwrap().is_empty());
        assert_eq!(home.made_links(), [""; 0]);
    });
}

#[test]
fn a_known_container_starts_while_the_server_is_silent_and_its_lease_lasts() {
    with_server("leases, known and silent", &[], |home, server| {
        let web = home.world.container("web").unwrap();
        let at = v4(&home.attach("lan", &web, ""));
        home.ok("detach lan web");
        drop(server);
        assert_eq!(v4(&home.attach("lan", &web, "")), at);
        reaches(&home.laptop, at);
    });
}

#[test]
fn a_lease_that_ends_is_used_no_longer_and_a_new_one_is() {
    with_short_leases("leases, renumbered", |home, server| {
        let web = home.world.container("web").unwrap();
        let at = v4(&home.attach("lan", &web, ""));
        drop(server);
        let (engines, directory) = (Engines::find().unwrap(), home.directory.path());
        let _again =
            Server::udhcpd(&engines, &home.laptop, directory, ("192.168.88.60", "192.168.88.70"), 3600);
        let now = || v4(&home.status()["endpoints"][0]);
        eventually("it has an address of the new pool", || {
            !home.status()["endpoints"][0]["addresses"][0].is_null() && now() != at
        });
        reaches(&home.router, now());
        does_not_reach(&home.laptop, at);
    });
}
