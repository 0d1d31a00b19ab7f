//! Networks with Ashore's IPAM driver and another network driver, because the user left out `-d ashore`.
//! Docker's bridge driver would give the router's address to the host.

use std::collections::BTreeSet;

use home::fake_engine::FakeEngine;
use home::site::{Site, on_an_engine, on_engine};
use home::{eventually, ip, mac_known_to, reaches, who_answers};
use serde_json::json;

const ROUTER: &str = "192.168.88.1";
const NAMED: &str = "--subnet 192.168.88.0/24 --gateway 192.168.88.1";

/// The LAN as it should be: the router's MAC.
struct Lan(BTreeSet<String>);

impl Lan {
    fn of(site: &Site) -> Lan {
        reaches(&site.home.laptop, ip(ROUTER));
        Lan(BTreeSet::from([mac_known_to(&site.home.laptop, ip(ROUTER))]))
    }

    /// Asserts that a network without `-d ashore` is not created, and that only the router answers for its
    /// address.
    #[track_caller]
    fn is_safe_from(&self, site: &Site, options: &str) {
        // Before 28, Docker does not say for which driver it asks. Its bridge driver cannot use the gateway
        // that it gets.
        let words = site.on("-d ashore;driver: ashore", "to bridge").split(';');
        let create = format!("network create --ipam-driver ashore {options} oops");
        site.engine_refuses(&create, &words.collect::<Vec<_>>());
        assert_eq!(who_answers(&site.home.laptop, "eth0", ip(ROUTER)), self.0, "{options}");
        reaches(&site.home.nas, ip(ROUTER));
    }
}

#[test]
fn a_bridge_does_not_get_the_routers_address() {
    on_an_engine("docker, no -d ashore", |site| {
        let lan = Lan::of(site);
        lan.is_safe_from(site, "--subnet 192.168.88.0/24");
        lan.is_safe_from(site, NAMED);
        lan.is_safe_from(site, "--subnet 192.168.88.0/24 --ip-range 192.168.88.192/27");
        lan.is_safe_from(site, &format!("{NAMED} --aux-address nas=192.168.88.9"));
        lan.is_safe_from(site, &format!("{NAMED} --internal"));
        lan.is_safe_from(site, &format!("{NAMED} --ipv6 --subnet fd88::/64 --gateway fd88::1"));
        if site.suite == "sid" {
            lan.is_safe_from(site, "");
            lan.is_safe_from(site, "--ipam-opt addressing=dhcp");
            lan.is_safe_from(site, "--ipv4=false --ipv6 --subnet fd88::/64 --gateway fd88::1");
            lan.is_safe_from(site, "-d macvlan -o parent=eth0 --subnet 192.168.88.0/24");
        } else {
            // The bridge driver takes no pool that the host has a route into, unless the user gave it.
            site.engine_refuses("network create --ipam-driver ashore oops", &["pool is empty"]);
            let log = site.home.daemon().log();
            assert!(log.contains("has given up a network on 192.168.88.0/24"), "{log}");
        }

        // The same beside an Ashore network with the same pool, after a refused one, and with a daemon or an
        // engine that has just started.
        site.create_lan();
        lan.is_safe_from(site, &format!("{NAMED} --ip-range 192.168.88.192/27"));
        for (wrong, word) in [("-o parent=eth7", "`eth7`"), ("--ipam-opt a=b", "--ipam-opt a")] {
            site.engine_refuses(
                &format!("network create -d ashore --ipam-driver ashore {NAMED} {wrong} own"),
                &[word],
            );
            lan.is_safe_from(site, NAMED);
        }
        site.home.daemon = None;
        site.start_daemon();
        lan.is_safe_from(site, &format!("{NAMED} --ip-range 192.168.88.192/27"));
        site.start("web", "");
        let (web, _) = site.address_of("web");
        site.docker.kill_dockerd().unwrap();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        lan.is_safe_from(site, &format!("{NAMED} --ip-range 192.168.88.192/27"));

        // None of this blocks networks that are created correctly.
        site.ok("restart -t 0 web");
        assert_eq!(site.address_of("web").0, web);
        site.create_lan_as("other", "192.168.88.128/27");
        site.ok("run -d --init --name db --network other box sleep 1000");
        for name in ["web", "db"] {
            reaches(&site.home.laptop, ip(&site.address_of(name).0));
            site.container_reaches(name, ROUTER);
        }
        let status = site.home.ok("status");
        assert!(!status.contains("-d ashore"), "{status}");
        site.ok("rm -f web db");
        site.ok("network rm lan other");
    });
}

#[test]
fn nor_does_one_of_compose() {
    on_an_engine("docker compose, no driver", |site| {
        let lan = Lan::of(site);
        let file = site.home.directory.path().join("nas/compose.yaml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(
            &file,
            "services:\n  web: { image: box, init: true, command: sleep 1000, networks: [lan] }\nnetworks:\n  lan:\n    \
             ipam:\n      driver: ashore\n      config: [{ subnet: 192.168.88.0/24, gateway: 192.168.88.1 }]\n",
        )
        .unwrap();
        let ran = site.docker.compose(&[&file], &["up", "-d"]).unwrap();
        assert_ne!(ran.code, Some(0), "{}", ran.stdout);
        assert!(ran.stderr.contains(site.on("driver: ashore", "to bridge")), "{}", ran.stderr);
        assert_eq!(who_answers(&site.home.laptop, "eth0", ip(ROUTER)), lan.0);
    });
}

/// The network that an engine before 28 creates all the same.
#[test]
fn a_network_of_another_driver_is_shown_until_it_is_removed_and_gets_no_addresses() {
    on_engine("bookworm", "docker, macvlan with Ashore's IPAM", |site| {
        let lan = Lan::of(site);
        site.ok(&format!("network create -d macvlan --ipam-driver ashore {NAMED} -o parent=eth0 oops"));
        let shown = || {
            let status = site.home.ok("status");
            status.lines().find(|line| line.contains("`oops`")).map(str::to_owned)
        };
        eventually("status names it", || shown().is_some());
        let shown_line = shown().unwrap();
        assert!(shown_line.contains("-d ashore") && shown_line.contains("driver: ashore"), "{shown_line}");
        let log = site.home.daemon().log();
        assert!(log.lines().any(|line| line.contains("ERROR") && line.contains("`oops`")), "{log}");

        // One of these addresses is another machine's.
        let _printer = site.home.world.machine("printer", 200).unwrap();
        for choice in ["", "--ip 192.168.88.200", "--ip 192.168.88.201"] {
            site.engine_refuses(
                &format!("run --rm --network oops {choice} box sleep 0"),
                &["`oops`", "`macvlan`", "-d ashore"],
            );
        }
        assert_eq!(who_answers(&site.home.laptop, "eth0", ip(ROUTER)), lan.0);

        // The printed remedy works.
        let command = shown_line.split("try: docker ").nth(1).unwrap().split(',').next().unwrap();
        site.ok(command);
        eventually("nothing is wrong any more", || shown().is_none());
        site.create_lan();
        site.start("web", "--ip 192.168.88.201");
        reaches(&site.home.laptop, ip("192.168.88.201"));
    });
}

/// A network that is only a template has no driver, so this does not apply to it.
#[test]
fn a_template_with_ashores_ipam_is_no_mistake() {
    on_an_engine("docker, config-only networks", |site| {
        site.ok(&format!(
            "network create --config-only --ipam-driver ashore {NAMED} --ip-range 192.168.88.192/27 template"
        ));
        site.ok("network create -d ashore --config-from template lan");
        site.start("web", "");
        reaches(&site.home.laptop, ip(&site.address_of("web").0));
        let (status, log) = (site.home.ok("status"), site.home.daemon().log());
        assert!(!status.contains("template") && !log.contains("ERROR"), "{status}\n{log}");
    });
}

/// What depends on the engine's version, and what holds if the version is not known.
#[test]
fn the_engines_version_matters_only_where_it_is_known() {
    let pool = json!({ "Pool": "192.168.88.0/24" });
    for (version, is_refused) in
        [(Some("20.10.24+dfsg1"), false), (Some("28.0.0-rc.1"), true), (Some("29.7.2"), true), (None, false)]
    {
        let engine = FakeEngine::new();
        let answer = version.map(|version| ("/version", json!({ "Version": version })));
        engine.answers(answer.into_iter().collect());
        let opened = engine.try_call("IpamDriver.RequestPool", &pool);
        assert_eq!(
            opened.as_ref().is_err_and(|error| error.contains("-d ashore")),
            is_refused,
            "{version:?}: {opened:?}"
        );
        if let Ok(opened) = opened {
            // No link of the host accepts the address in this form.
            let options = json!({ "RequestAddressType": "com.docker.network.gateway" });
            let asked = json!({ "PoolID": opened["PoolID"], "Address": ROUTER, "Options": options });
            assert_eq!(
                engine.call("IpamDriver.RequestAddress", &asked)["Address"],
                "::ffff:192.168.88.1/120"
            );
        }
        // A network that was announced is Ashore's own.
        engine.create_network("66150cdfa0c94d73", &pool);
        assert!(engine.home.ok("network ls").contains("192.168.88.0/24"));
    }
}
