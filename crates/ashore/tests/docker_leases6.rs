//! Docker containers with IPv6 addresses from the LAN's DHCPv6 server, on networks created without `--ipv6`.

use std::net::IpAddr;

use ashore_lab::Engines;
use home::dhcp::Server;
use home::site::{Site, on_an_engine};
use home::{addresses, eventually, reaches};

/// A container's address from the server's pool, once it answers the laptop.
fn leased(site: &Site, name: &str) -> IpAddr {
    let mut found = None;
    eventually(&format!("{name} answers by IPv6"), || {
        let of_pool = |ip: &IpAddr| ip.to_string().starts_with("fd88::1");
        found = addresses(&site.endpoint(name)).into_iter().find(of_pool);
        found.is_some_and(|at| site.home.laptop.ping(at).is_some())
    });
    found.unwrap()
}

#[test]
fn a_container_keeps_its_lease_through_restarts_and_removal_until_it_is_forgotten() {
    on_an_engine("docker, leases6", |site| {
        let (engines, directory) = (Engines::find().unwrap(), site.home.directory.path());
        let pool = "fd88::100,fd88::1ff,64,10m";
        let server = Server::dnsmasq(&engines, &site.home.router, directory, pool, &["--enable-ra"]);
        site.ok("network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 \
             --ip-range 192.168.88.192/27 --gateway 192.168.88.1 -o parent=eth0 -o ipv6=auto lan");
        site.start("web", "");
        let web = leased(site, "web");
        for machine in [&site.home.nas, &site.home.router] {
            reaches(machine, web);
        }
        for to in ["fd88::50", "fd88::1", "fd88::9"] {
            site.container_reaches("web", to);
        }
        let rows = server.rows();
        assert!(rows.iter().any(|row| row.name == "web" && row.ip == web.to_string()), "{rows:?}");

        site.ok("restart -t 0 web");
        assert_eq!(leased(site, "web"), web);
        site.ok("rm -f web");
        site.start("web", "");
        assert_eq!(leased(site, "web"), web);

        let pings = site.home.laptop.pings(web);
        site.home.daemon = None;
        site.start_daemon();
        eventually("nothing is left to do", || site.home.status()["pending"].as_array().unwrap().is_empty());
        let counted = pings.end();
        assert_eq!(counted.lost, 0, "{counted:?}");

        site.ok("rm -f web");
        site.home.ok("forget web");
        eventually("the lease is released", || server.rows().is_empty());
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}
