//! What a network of Podman's says of its containers' routes and addresses, and what becomes of a call that is refused.

use home::podman::{PodmanSite, with_ashore};
use home::{eventually, ip, reaches};

#[test]
fn routes_and_metrics_are_those_that_were_asked_for() {
    with_ashore("podman, routes", |site| {
        let subnet = "--subnet 192.168.88.0/24 --gateway 192.168.88.1 --ip-range";
        site.ok(&format!(
            "network create -d ashore {subnet} 192.168.88.192/28 -o metric=200 -o bclim=-1 --route 10.1.0.0/16,192.168.88.2 \
             --route 10.2.0.0/16,192.168.88.2,7 lan"
        ));
        site.ok(&format!("network create -d ashore {subnet} 192.168.88.208/28 other"));
        site.ok("run -d --name web --network lan --network other:metric=300 box sleep 1000");
        let shown = |site: &PodmanSite| {
            let shown = site.ok("exec web ip route");
            shown.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let routes = shown(site);
        for route in [
            "default via 192.168.88.1 dev eth0 metric 200",
            // The second network has one of its own, because its metric is another.
            "default via 192.168.88.1 dev eth1 metric 300",
            "10.1.0.0/16 via 192.168.88.2 dev eth0",
            "10.2.0.0/16 via 192.168.88.2 dev eth0 metric 7",
        ] {
            assert!(routes.contains(route), "{route} is not in {routes}");
        }
        reaches(&site.home.laptop, ip(&site.place_on("web", "lan").0));
        assert!(site.home.daemon().log().contains(" bclim -1"), "the queue's limit is the kernel's to know");
        // A daemon that starts again leaves them as they are.
        site.home.daemon = None;
        site.start_daemon();
        assert_eq!(shown(site), routes);
        assert!(site.home.status()["pending"].as_array().unwrap().is_empty(), "{}", site.home.status());
        site.ok("network disconnect other web");
        eventually("one link is gone", || !shown(site).contains("eth1"));
        site.ok("rm -f -t 0 web");
        site.podman_refuses("network create -d ashore -o metric=far third", &["metric"]);
        site.podman_refuses(
            &format!(
                "network create -d ashore {subnet} 192.168.88.224/28 --route 10.1.0.0/16,10.9.9.9 third"
            ),
            &["10.9.9.9"],
        );
        assert!(!site.home.ok("network ls").contains("third"));
    });
}

#[test]
fn a_link_may_be_without_an_address() {
    with_ashore("podman, no IPAM", |site| {
        site.ok("network create -d ashore --ipam-driver none bare");
        site.ok("run -d --name web --network bare box sleep 1000");
        let shown = site.ok("exec web ip addr show eth0");
        assert!(shown.contains("UP") && !shown.contains("inet 192"), "{shown}");
        assert!(!site.ok("exec web ip route").contains("default"));
        // Whoever is in the container may give it one.
        let status = site.home.status();
        let (source, addresses) = (&status["endpoints"][0]["source"], &status["endpoints"][0]["addresses"]);
        assert_eq!((source.as_str(), addresses.as_array().unwrap().len()), (Some("none"), 0));
        site.podman_refuses(
            "run -d --name db --network bare --ip 192.168.88.200 box sleep 9",
            &["--ip 192.168.88.200"],
        );
        site.ok("restart -t 0 web");
        site.ok("rm -f -t 0 web db");
        eventually("nothing is left", || site.endpoints().is_empty());
    });
}

#[test]
fn a_network_that_is_refused_leaves_the_one_that_was_there() {
    with_ashore("podman, a refused network", |site| {
        let networks = |site: &PodmanSite| site.home.ok("network ls");
        site.ok("network create -d ashore lan");
        site.ok("network rm lan");
        site.podman_refuses("network create -d ashore -o parent=eth7 lan", &["eth7"]);
        assert!(networks(site).contains("lan "), "{}", networks(site));
        site.ok("network create -d ashore -o mtu=1400 lan");
        site.start_on_lan("web", "");
        assert!(site.ok("exec web ip link show eth0").contains("mtu 1400"));
    });
}

#[test]
fn a_port_that_is_published_in_vain_is_told_at_once() {
    with_ashore("podman, published ports", |site| {
        site.ok("network create -d ashore lan");
        let run = "run -d --name web --network lan -p 8080:80 -p 9000-9001:9000-9001/udp box sleep 1000";
        let ran = site.podman.run(&run.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let (at, _) = site.place_on("web", "lan");
        let note = format!("do nothing on network `lan`: the LAN reaches `web` itself at {at}, ports ");
        for word in [note.as_str(), "-p 8080:80", "-p 9001:9001/udp"] {
            assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
        }
        reaches(&site.home.laptop, ip(&at));
        assert_eq!(site.home.troubles(), serde_json::json!([]));
    });
}
