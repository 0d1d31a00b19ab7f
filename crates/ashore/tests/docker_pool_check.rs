//! Docker networks and the pools of the LAN's DHCP servers.

use ashore_lab::Engines;
use home::dhcp::Server;
use home::frames::{Frames, What};
use home::site::{Site, on_an_engine};
use home::{eventually, ip, reaches};

const CREATE: &str = "network create -d ashore --ipam-driver ashore";

fn serve(site: &Site, pool: &str) -> Server {
    let (engines, directory) = (Engines::find().unwrap(), site.home.directory.path());
    let pool = format!("{pool},255.255.255.0,2m");
    let server = Server::dnsmasq(&engines, &site.home.router, directory, &pool, &[]);
    eventually("the server answers", || site.home.ok("pool-check --json").contains("192.168.88.1\""));
    server
}

#[test]
fn a_range_in_the_routers_pool_is_refused_and_the_one_that_is_named_instead_is_good() {
    on_an_engine("docker, pool-check", |site| {
        let server = serve(site, "192.168.88.100,192.168.88.200");
        let frames = Frames::dhcp_from(&site.home.world, &site.home.nas);
        let subnet = "--subnet 192.168.88.0/24 --gateway 192.168.88.1 -o parent=eth0";
        site.engine_refuses(
            &format!("{CREATE} {subnet} --ip-range 192.168.88.160/27 lan"),
            &[
                "192.168.88.160/27 overlaps the pool of the DHCP server 192.168.88.1",
                "--ip-range 192.168.88.224/27",
            ],
        );
        assert!(!site.ok("network ls").contains(" lan "), "{}", site.ok("network ls"));
        site.assert_nothing_left();

        site.ok(&format!("{CREATE} {subnet} --ip-range 192.168.88.224/27 lan"));
        site.start("web", "");
        let at = ip(&site.address_of("web").0);
        assert_eq!(at, ip("192.168.88.224"));
        reaches(&site.home.laptop, at);
        let said: Vec<_> = frames.dhcp().iter().map(|said| said.what).collect();
        assert!(!said.is_empty() && said.iter().all(|what| *what == What::Discover), "{said:?}");
        assert_eq!((server.rows(), server.count("DHCPREQUEST")), (Vec::new(), 0));
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn a_range_that_docker_leaves_to_ashore_lies_beside_the_routers_pool() {
    on_an_engine("docker, pool-check, chosen", |site| {
        let server = serve(site, "192.168.88.100,192.168.88.254");
        site.ok(&format!("{CREATE} lan"));
        site.start("web", "");
        let at = ip(&site.address_of("web").0);
        // There is no other range, and the engine declines it once because of its subnet.
        assert_eq!(at, ip("192.168.88.64"));
        reaches(&site.home.laptop, at);
        assert_eq!(server.rows(), []);
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}
