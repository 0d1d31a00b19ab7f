//! The cases of the built-in macvlan driver's own suite in moby (`integration/network/macvlan`), on a LAN.

use std::collections::BTreeSet;

use home::site::{Site, on_an_engine};
use home::{HOST, eventually, ip, reaches};

const CREATE: &str =
    "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --gateway 192.168.88.1";

/// Starts a container on each of these networks and returns the addresses. The laptop and the NAS reach them.
fn start_on(site: &Site, networks: &[&str]) -> Vec<String> {
    let start = |network: &&str| {
        site.ok(&format!("run -d --init --name on-{network} --network {network} box sleep 1000"));
        let (address, _) = site.address_of(&format!("on-{network}"));
        reaches(&site.home.laptop, ip(&address));
        reaches(&site.home.nas, ip(&address));
        address
    };
    networks.iter().map(start).collect()
}

#[test]
fn networks_share_a_parent_and_even_their_ranges_and_never_an_address() {
    on_an_engine("docker, overlapping networks", |site| {
        let ranges = [
            ("whole", ""),
            ("all", ""),
            ("half", "--ip-range 192.168.88.128/25"),
            ("quarter", "--ip-range 192.168.88.192/26"),
            ("same", "--ip-range 192.168.88.192/26"),
        ];
        for (name, range) in ranges {
            site.ok(&format!("{CREATE} {range} -o parent=eth0 {name}"));
        }
        let networks = ranges.map(|(name, _)| name);
        let addresses = start_on(site, &networks);
        assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), addresses.len(), "{addresses:?}");
        site.container_reaches("on-whole", &addresses[4]);

        // Removing a network takes nothing from the others, and none removes the parent.
        for network in ["whole", "quarter"] {
            site.engine_refuses(&format!("network rm {network}"), &["active endpoints"]);
            site.ok(&format!("rm -f on-{network}"));
            site.ok(&format!("network rm {network}"));
        }
        for at in [1, 2, 4] {
            reaches(&site.home.laptop, ip(&addresses[at]));
            site.ok(&format!("restart -t 1 on-{}", networks[at]));
            assert_eq!(site.address_of(&format!("on-{}", networks[at])).0, addresses[at]);
        }
        site.ok("rm -f on-all on-half on-same");
        site.ok("network rm all half same");
        site.assert_nothing_left();
        reaches(&site.home.laptop, ip(HOST));

        // With a `host` address, one route leads to the whole range, which then belongs only to its
        // endpoints.
        site.ok(&format!(
            "{CREATE} --ip-range 192.168.88.192/27 --aux-address host=192.168.88.222 -o parent=eth0 numbered"
        ));
        site.engine_refuses(
            &format!("{CREATE} --ip-range 192.168.88.192/26 -o parent=eth0 half"),
            &["192.168.88.192/27", "`host` address"],
        );
    });
}

#[test]
fn passthru_shares_its_parent_with_nobody() {
    on_an_engine("docker, passthru", |site| {
        // A NIC that the host itself does not use.
        for address in ["192.168.88.9/24", "fd88::9/64"] {
            site.home.nas.del_address("eth0", address.parse().unwrap()).unwrap();
        }
        let passthru = format!("{CREATE} -o parent=eth0 -o macvlan_mode=passthru");
        site.ok(&format!("{passthru} first"));
        site.engine_refuses(&format!("{CREATE} -o parent=eth0 second"), &["`eth0` carries macvlan:passthru"]);
        site.ok("run -d --init --name web --network first box sleep 1000");
        reaches(&site.home.laptop, ip(&site.address_of("web").0));
        site.engine_refuses("run --rm --name db --network first box sleep 0", &["room for one", "`web`"]);
        site.ok("rm -f web");
        site.ok("network rm first");
        site.ok(&format!("{CREATE} -o parent=eth0 second"));
        site.engine_refuses(&format!("{passthru} first"), &["`eth0` carries macvlan:bridge"]);
        site.ok("network rm second");
        site.assert_nothing_left();
    });
}

#[test]
fn networks_and_what_they_know_outlive_the_engine() {
    on_an_engine("docker, the engine restarts", |site| {
        site.create_lan();
        site.ok(
            "network create -d ashore --subnet 192.168.88.0/24 --gateway 192.168.88.1 -o parent=eth0 own",
        );
        site.start("web", "");
        site.ok("run -d --init --name db --network own box sleep 1000");
        let before = [site.address_of("web"), site.address_of("db")];
        site.ok("stop -t 1 web db");
        site.docker.kill_dockerd().unwrap();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        let listed = site.ok("network ls --format {{.Name}}:{{.Driver}}");
        assert!(listed.contains("lan:ashore") && listed.contains("own:ashore"), "{listed}");
        site.ok("start web db");
        assert_eq!([site.address_of("web"), site.address_of("db")], before);
        for (address, _) in &before {
            reaches(&site.home.laptop, ip(address));
            reaches(&site.home.nas, ip(address));
        }
        site.ok("rm -f web db");
        site.ok("network rm lan own");
        site.assert_nothing_left();
    });
}

#[test]
fn a_parent_that_is_down_refuses_new_networks_and_takes_its_containers_up_again() {
    on_an_engine("docker, parent down", |site| {
        let home = &site.home;
        let parent = |up: bool| {
            home.nas.set_up("eth0", up).unwrap();
            if up {
                // The kernel drops both with the link.
                let _ = home.nas.add_address("eth0", "fd88::9/64".parse().unwrap());
                home.nas.add_default_route("eth0", ip("192.168.88.1")).unwrap();
            }
        };
        site.create_lan();
        site.start("web", "");
        let (web, _) = site.address_of("web");
        reaches(&home.nas, ip(&web));
        parent(false);
        // Like a container that the engine starts before the NIC is up, which it does once.
        site.start("db", "");
        let (db, _) = site.address_of("db");
        site.engine_refuses(
            &format!("{CREATE} -o parent=eth0 other"),
            &["`eth0` is down", "ip link set dev eth0 up"],
        );
        parent(true);
        eventually("the LAN reaches the new one", || home.laptop.ping(ip(&db)).is_some());
        eventually("the LAN reaches it again", || home.laptop.ping(ip(&web)).is_some());
        eventually("its host reaches it again", || home.nas.ping(ip(&web)).is_some());
        site.container_reaches("web", HOST);
        site.container_reaches("web", "192.168.88.1");
        site.start("late", "");
        reaches(&home.laptop, ip(&site.address_of("late").0));
    });
}

#[test]
fn no_mac_is_used_twice_and_one_that_was_chosen_stays() {
    on_an_engine("docker, MACs", |site| {
        site.create_lan();
        site.start("one", "");
        let one = site.address_of("one");
        site.ok("stop -t 1 one");
        // With a MAC derived from the address, the second container would get the first one's MAC.
        site.start("two", "--ip 192.168.88.192");
        let two = site.address_of("two");
        assert!(two.0 == one.0 && two.1 != one.1, "{one:?} {two:?}");
        site.ok("start one");
        let again = site.address_of("one");
        assert!(again.0 != one.0 && again.1 == one.1, "{one:?} {again:?}");
        for (address, _) in [&two, &again] {
            reaches(&site.home.laptop, ip(address));
        }
        site.start("chosen", "--mac-address 02:00:00:00:00:42");
        site.ok("stop -t 1 chosen");
        site.start("three", "");
        site.ok("start chosen");
        assert_eq!(site.address_of("chosen").1, "02:00:00:00:00:42");
        assert_ne!(site.address_of("three").1, "02:00:00:00:00:42");
    });
}

#[test]
fn ten_containers_that_start_at_once_have_ten_addresses() {
    on_an_engine("docker, ten at once", |site| {
        site.create_lan();
        let names: Vec<String> = (0..10).map(|n| format!("many{n}")).collect();
        let docker = &site.docker;
        std::thread::scope(|scope| {
            for name in &names {
                scope.spawn(move || {
                    let run =
                        ["run", "-d", "--init", "--name", name, "--network", "lan", "box", "sleep", "1000"];
                    docker.run(&run).unwrap().expect_success()
                });
            }
        });
        let all: Vec<(String, String)> = names.iter().map(|name| site.address_of(name)).collect();
        assert_eq!(all.iter().map(|(ip, _)| ip).collect::<BTreeSet<_>>().len(), 10, "{all:?}");
        assert_eq!(all.iter().map(|(_, mac)| mac).collect::<BTreeSet<_>>().len(), 10, "{all:?}");
        for (address, _) in &all {
            reaches(&site.home.laptop, ip(address));
            reaches(&site.home.nas, ip(address));
        }
        site.ok(&format!("rm -f {}", names.join(" ")));
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

/// Hosts with Unraid and Proxmox are built like this, and hosts after `ashore bridge adopt`.
#[test]
fn where_the_parent_is_a_bridge_of_the_hosts_nothing_needs_to_be_said_of_it() {
    on_an_engine("docker, on a bridge", |site| {
        let home = &site.home;
        home.bridge();
        let lan =
            "--subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1 -o parent=br0";
        for create in [
            "network create -d ashore --ipam-driver ashore lan".to_owned(),
            // A Compose file for Docker's own driver, with the driver's name changed.
            format!("network create -d ashore {lan} lan"),
            format!("network create -d ashore {lan} -o macvlan_mode=bridge lan"),
            format!("network create -d macvlan {lan} lan"),
        ] {
            site.ok(&create);
            if create.contains("-d macvlan") {
                home.ok("adopt lan");
            }
            site.start("web", "");
            let at = ip(&site.address_of("web").0);
            eventually("the LAN reaches it", || home.laptop.ping(at).is_some());
            eventually("the host reaches it", || home.nas.ping(at).is_some());
            site.container_reaches("web", HOST);
            site.ok("rm -f web");
            site.ok("network rm lan");
            eventually("nothing is left", || home.made_links() == ["br0"]);
        }
    });
}
