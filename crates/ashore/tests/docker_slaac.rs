//! Docker containers with IPv6 addresses from router advertisements, on networks created without `--ipv6`.

use std::net::IpAddr;

use ashore_lab::Engines;
use home::router::Router;
use home::site::{Site, on_an_engine};
use home::together::{Together, rounds};
use home::{addresses, eventually, ip, reaches};

const PREFIX: &str = "prefix fd88::/64 { AdvValidLifetime 7200; AdvPreferredLifetime 3600; };";

fn follow(site: &Site, mode: &str) -> Router {
    let (engines, directory) = (Engines::find().unwrap(), site.home.directory.path());
    let router = Router::start(&engines, &site.home.router, directory, PREFIX);
    site.ok(&format!(
        "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
         --gateway 192.168.88.1 -o parent=eth0 -o ipv6={mode} lan"
    ));
    router
}

/// A container's IPv6 address, once it answers the laptop.
fn address6(site: &Site, name: &str) -> IpAddr {
    let mut found = None;
    eventually(&format!("{name} answers by IPv6"), || {
        found = addresses(&site.endpoint(name)).into_iter().find(IpAddr::is_ipv6);
        found.is_some_and(|at| site.home.laptop.ping(at).is_some())
    });
    found.unwrap()
}

#[test]
fn a_container_has_one_address_of_the_routers_prefix_for_life() {
    on_an_engine("docker, slaac", |site| {
        let _router = follow(site, "auto");
        site.start("web", "");
        site.start("db", "");
        let (web, db) = (address6(site, "web"), address6(site, "db"));
        for machine in [&site.home.nas, &site.home.router] {
            reaches(machine, web);
        }
        for to in ["fd88::50", "fd88::1", "fd88::9", &db.to_string(), &web.to_string()] {
            site.container_reaches("web", to);
        }
        let shown = site.ok("exec web ip -6 addr show dev eth0 scope global");
        assert_eq!(shown.matches("inet6").count(), 1, "{shown}");
        let routes = site.ok("exec web ip -6 route");
        assert!(routes.contains("default via fe80:"), "{routes}");

        site.ok("restart -t 0 web");
        assert_eq!(address6(site, "web"), web);
        site.ok("rm -f web");
        site.start("web", "");
        assert_eq!(address6(site, "web"), web);

        site.ok("rename web www");
        eventually("the status has the new name", || site.home.ok("status").contains("www"));
        assert_eq!(address6(site, "www"), web);
        // While it is stopped, a container with its old name gets nothing from it.
        let (at, mac) = site.address_of("www");
        site.ok("stop -t 0 www");
        site.start("web", "");
        assert_ne!(address6(site, "web"), web);
        let other = site.address_of("web");
        assert!(other.0 != at && other.1 != mac, "{other:?}");
        site.ok("start www");
        assert_eq!((address6(site, "www"), site.address_of("www")), (web, (at, mac)));
        site.ok("rm -f web");
        site.ok("rename www web");
        eventually("the status has the old name", || !site.home.ok("status").contains("www"));
        assert_eq!(address6(site, "web"), web);

        let pings = site.home.laptop.pings(web);
        site.home.daemon = None;
        site.start_daemon();
        eventually("nothing is left to do", || site.home.status()["pending"].as_array().unwrap().is_empty());
        let counted = pings.end();
        assert_eq!(counted.lost, 0, "{counted:?}");

        site.ok("rm -f web db");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn off_is_no_ipv6_at_all_and_what_cannot_be_is_refused() {
    on_an_engine("docker, slaac, off", |site| {
        let _router = follow(site, "off");
        site.start("web", "");
        reaches(&site.home.laptop, ip(&site.address_of("web").0));
        let shown = site.ok("exec web ip -6 addr show dev eth0");
        assert!(!shown.contains("inet6"), "{shown}");
        let create = "network create -d ashore --subnet 192.168.88.0/24 -o parent=eth0";
        site.engine_refuses(&format!("{create} -o ipv6=on two"), &["ipv6=on", "not one of auto"]);
        site.engine_refuses(
            &format!("{create} -o ipvlan_mode=l2 -o ipv6=dhcp two"),
            &["share one MAC", "slaac"],
        );
        site.engine_refuses(
            &format!("{create} --ipv6 --subnet fd88::/64 -o ipv6=auto two"),
            &["IPv6 mode auto", "fd88::/64", "leave -o ipv6=auto or the subnet out"],
        );
    });
}

#[test]
fn containers_that_start_at_once_have_their_own_addresses_every_time() {
    on_an_engine("docker, slaac, started at once", |site| {
        let _router = follow(site, "auto");
        let names = ["web", "db", "fixed"];
        site.start("web", "");
        site.start("db", "");
        site.start("fixed", "--ip 192.168.88.215");
        let all = Together::of(site, &names);
        let before = names.map(|name| address6(site, name));
        for round in rounds() {
            all.start_anew(site);
            all.are_as_at_first(site, &format!("start {round}"));
            for (name, before) in names.iter().zip(before) {
                eventually("it has its own address again", || {
                    addresses(&site.endpoint(name)).contains(&before)
                });
                eventually("the laptop reaches it", || site.home.laptop.ping(before).is_some());
            }
        }
    });
}
