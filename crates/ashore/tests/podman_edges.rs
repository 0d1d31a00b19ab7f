//! Podman's containers where things go otherwise than usual: names, pods, several networks, a daemon that is down.

use std::time::Duration;

use ashore_lab::Engines;
use home::podman::{PodmanSite, with_ashore};
use home::router::Router;
use home::{HOST, eventually, ip, reaches};

#[test]
fn a_renamed_container_and_a_pod_are_known_by_their_names() {
    with_ashore("podman, names", |site| {
        site.ok("network create -d ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 lan");
        site.start_on_lan("web", "");
        let (web, _) = site.address_of("web");
        site.ok("rename web www");
        site.ok("restart -t 0 www");
        assert_eq!(site.endpoints(), ["www"]);
        let (www, _) = site.address_of("www");
        reaches(&site.home.laptop, ip(&www));
        // The name is another container's now.
        site.start_on_lan("web", "");
        assert_eq!(site.address_of("web").0, web);
        // While a renamed container runs, its link is known by its earlier name.
        site.ok("rename web old");
        std::thread::sleep(Duration::from_secs(3));
        site.podman_refuses("run -d --name web --network lan box sleep 9", &["podman network reload"]);
        site.ok("network reload --all");
        site.ok("rm -f -t 0 web");
        site.start_on_lan("web", "");
        reaches(&site.home.laptop, ip(&site.address_of("web").0));
        assert_eq!(site.endpoints(), ["old", "web", "www"]);

        site.ok("pod create --name both --network lan");
        site.ok("run -d --pod both box sleep 1000");
        assert!(site.endpoints().contains(&"both".to_owned()), "{:?}", site.endpoints());
        site.ok("pod rm -f -t 0 both");
        eventually("the pod is gone", || !site.endpoints().contains(&"both".to_owned()));
    });
}

#[test]
fn who_is_taken_off_and_comes_back_at_once_has_what_is_asked_for_then() {
    with_ashore("podman, another address at once", |site| {
        site.ok("network create -d ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 lan");
        site.start_on_lan("web", "");
        let (web, _) = site.address_of("web");
        for address in ["192.168.88.205", &web] {
            site.ok("network disconnect lan web");
            site.ok(&format!("network connect --ip {address} lan web"));
            // Longer than what was taken off stays.
            std::thread::sleep(Duration::from_millis(1500));
            reaches(&site.home.laptop, ip(address));
            assert_eq!(site.endpoints(), ["web"]);
        }
    });
}

#[test]
fn a_container_may_be_on_several_networks() {
    with_ashore("podman, several networks", |site| {
        let home = &site.home;
        site.ok("network create -d ashore --subnet 192.168.88.0/24 --gateway 192.168.88.1 --ip-range 192.168.88.192/28 lan");
        site.ok(
            "network create -d ashore --internal --subnet 192.168.88.0/24 --ip-range 192.168.88.208/28 inner",
        );
        site.ok("network create back");
        site.ok("run -d --name web --network lan --network inner --network back box sleep 1000");
        let (lan, inner) = (site.place_on("web", "lan").0, site.place_on("web", "inner").0);
        reaches(&home.laptop, ip(&lan));
        reaches(&home.laptop, ip(&inner));
        let routes = site.ok("exec web ip route");
        assert!(routes.contains("default via 192.168.88.1"), "{routes}");
        site.ok("network disconnect inner web");
        eventually("it is off one of them", || home.laptop.ping(ip(&inner)).is_none());
        // Linux answers for an address at each link of a subnet, so the laptop may know it at the MAC that is gone, until it
        // asks anew.
        eventually("the other one is reached", || home.laptop.ping(ip(&lan)).is_some());
        site.ok("rm -f -t 0 web");
    });
}

#[test]
fn both_families_and_what_a_network_says_of_names() {
    with_ashore("podman, IPv6", |site| {
        site.ok(
            "network create -d ashore --subnet 192.168.88.0/24 --gateway 192.168.88.1 --ip-range 192.168.88.192/27 \
             --ipv6 --subnet fd88::/64 --gateway fd88::1 --ip-range fd88::c0/124 --dns 192.168.88.1 lan",
        );
        site.start_on_lan("web", "");
        let format = "{{range.NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}";
        let at = site.ok(&format!("inspect --format {format} web"));
        assert!(at.starts_with("fd88::c"), "{at}");
        reaches(&site.home.laptop, ip(&at));
        assert!(site.ok("exec web cat /etc/resolv.conf").contains("nameserver 192.168.88.1"));
        site.ok("rm -f -t 0 web");
    });
}

#[test]
fn the_lans_router_is_the_way_out_by_both_families_beside_podmans_own_bridge() {
    with_ashore("podman, two ways out", |site| {
        site.ok(
            "network create -d ashore --subnet 192.168.88.0/24 --gateway 192.168.88.1 --ip-range 192.168.88.192/27 \
             --ipv6 --subnet fd88::/64 --gateway fd88::1 --ip-range fd88::c0/124 lan",
        );
        site.ok("network create --ipv6 --subnet 10.89.7.0/24 --subnet fd77::/64 back");
        let ways = || {
            let way = |to: &str| site.ok(&format!("exec web ip route get {to}"));
            [way("198.51.100.1"), way("2001:db8::1")]
        };
        for networks in ["--network back --network lan", "--network lan --network back"] {
            site.ok(&format!("run -d --name web {networks} box sleep 1000"));
            let ways = ways();
            assert!(ways[0].contains("via 192.168.88.1 ") && ways[1].contains("via fd88::1 "), "{ways:?}");
            site.ok("rm -f -t 0 web");
        }
        // Also where the LAN's routers advertise themselves.
        let (engines, directory) = (Engines::find().unwrap(), site.home.directory.path());
        let prefix = "prefix fd99::/64 { };";
        let router = Router::start(&engines, &site.home.router, directory, prefix);
        site.ok(
            "network create -d ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.224/28 -o ipv6=auto told",
        );
        site.ok("run -d --name web --network told --network back box sleep 1000");
        eventually("the router is the way out", || ways()[1].contains("via fe80:"));
        site.ok("rm -f -t 0 web");
        drop(router);
        // Whoever wants Podman's bridge as the way out says so.
        for option in ["metric=200", "no_default_route=yes"] {
            site.ok(&format!("run -d --name web --network back --network lan:{option} box sleep 1000"));
            let ways = ways();
            assert!(ways[0].contains("via 10.89.7.1 ") && ways[1].contains("via fd77::1 "), "{ways:?}");
            site.ok("rm -f -t 0 web");
        }
    });
}

#[test]
fn without_a_daemon_containers_stop_and_do_not_start() {
    with_ashore("podman, no daemon", |site| {
        site.ok("network create -d ashore lan");
        site.start_on_lan("web", "");
        site.start_on_lan("db", "");
        let (web, db) = (site.address_of("web"), site.address_of("db"));
        site.home.daemon = None;
        reaches(&site.home.laptop, ip(&web.0));
        site.ok("stop -t 0 web");
        site.podman_refuses("start web", &["daemon", "systemctl start ashore"]);
        site.start_daemon();
        eventually("what was stopped meanwhile is gone", || site.endpoints() == ["db"]);
        reaches(&site.home.laptop, ip(&db.0));
        site.ok("start web");
        assert_eq!(site.address_of("web"), web);
        // The daemon comes back while everything runs, and a container that is taken off just before is taken off.
        site.ok("network disconnect lan db");
        site.home.daemon.take().unwrap().kill().unwrap();
        site.start_daemon();
        eventually("it is taken off", || site.endpoints() == ["web"]);
        eventually("by the LAN as well", || site.home.laptop.ping(ip(&db.0)).is_none());
    });
}

#[test]
fn a_network_that_podman_has_removed_goes_and_one_that_is_there_is_joined() {
    with_ashore("podman, networks", |site| {
        let networks = |site: &PodmanSite| site.home.ok("network ls");
        site.home
            .ok("network create typed --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.32/28");
        // The command line's network is joined.
        site.podman_refuses("network create -d ashore -o mtu=1400 typed", &["typed", "-o mtu=", "leave"]);
        site.ok("network create -d ashore typed");
        site.ok("run -d --name web --network typed box sleep 1000");
        assert!(site.place_on("web", "typed").0.starts_with("192.168.88."));
        site.ok("exec web ping -c 1 -w 2 192.168.88.50");
        site.ok("rm -f -t 0 web");
        site.ok("network rm typed");

        site.ok("network create -d ashore lan");
        site.start_on_lan("web", "");
        let before = site.address_of("web");
        let refused = || site.home.run("network rm lan").stderr.contains("podman network rm lan");
        eventually("the daemon knows that Podman has it", refused);
        // Without the daemon's state the network comes with the next container.
        site.ok("rm -f -t 0 web");
        eventually("it is off", || site.endpoints().is_empty());
        site.ok("network rm lan");
        let gone = || !networks(site).contains("lan ");
        std::thread::sleep(Duration::from_secs(55));
        eventually("the network is gone", gone);
        assert!(networks(site).contains("typed"), "the command line's network stays");
        site.ok("network create -d ashore lan");
        site.start_on_lan("web", "");
        assert_eq!(site.address_of("web").1, before.1, "a name keeps its MAC");
    });
}

#[test]
fn twenty_at_once_have_an_address_each() {
    with_ashore("podman, twenty at once", |site| {
        site.ok("network create -d ashore lan");
        let all: Vec<_> = (0..20)
            .map(|n| {
                let name = format!("c{n}");
                let words = ["run", "-d", "--name", &name, "--network", "lan", "box", "sleep", "1000"];
                site.podman.begin(&words).unwrap()
            })
            .collect();
        for one in all {
            let output = one.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let mut addresses: Vec<String> = (0..20).map(|n| site.address_of(&format!("c{n}")).0).collect();
        for at in &addresses {
            reaches(&site.home.laptop, ip(at));
        }
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 20);
        site.ok(&format!("exec c0 ping -c 1 -w 2 {HOST}"));
        site.ok("rm -f -t 0 --all");
        eventually("all are gone", || site.endpoints().is_empty());
    });
}
