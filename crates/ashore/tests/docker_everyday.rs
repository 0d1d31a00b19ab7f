//! What users do with containers every day must work as with the built-in driver.

use std::time::Duration;

use home::site::{Site, on_an_engine, on_every_engine};
use home::{HOST, comes_true, eventually, ip, reaches, type_on};

/// The answers of the engine's own DNS for a name inside a container, without the server's address.
fn looked_up(site: &Site, container: &str, name: &str) -> Vec<String> {
    let said = site.docker(&format!("exec {container} busybox nslookup {name} 127.0.0.11")).stdout;
    let answers = said.lines().skip(2).filter_map(|line| line.strip_prefix("Address: "));
    answers.map(|answer| answer.trim().to_owned()).collect()
}

#[test]
fn the_engine_counts_inspects_and_stops_it_as_any_other() {
    on_every_engine("docker, everyday", |site| {
        site.create_lan();
        let run = [
            "run",
            "-d",
            "--name",
            "web",
            "--network",
            "lan",
            "--health-interval",
            "1s",
            "--health-cmd",
            "ping -c 1 -w 1 192.168.88.1",
            "box",
            "sh",
            "-c",
            "echo hello; trap exit TERM; sleep 1000 & wait",
        ];
        site.docker.run(&run).unwrap().expect_success();
        let (web, mac) = site.address_of("web");
        assert_eq!(site.ok("logs web"), "hello");
        let health = "inspect --format {{.State.Health.Status}} web";
        eventually("it is healthy", || site.ok(health) == "healthy");

        // The link counts its traffic: 200 kilobytes in each direction, and little else.
        site.ok("exec web ping -q -c 200 -i 0.001 -s 1000 192.168.88.50");
        let counted = site.ok("stats --no-stream --format {{.NetIO}} web");
        let kilobytes = |text: &str| text.trim().strip_suffix("kB").and_then(|n| n.parse::<f64>().ok());
        let (received, sent) = counted.split_once('/').unwrap();
        for way in [received, sent] {
            assert!(kilobytes(way).is_some_and(|kb| (200.0..400.0).contains(&kb)), "{counted}");
        }

        let networks: serde_json::Value = serde_json::from_str(&site.ok("network inspect lan")).unwrap();
        let lan = &networks[0];
        assert_eq!((&lan["Driver"], &lan["IPAM"]["Driver"]), (&"ashore".into(), &"ashore".into()));
        assert_eq!(
            lan["IPAM"]["Config"],
            serde_json::json!([
                { "Subnet": "192.168.88.0/24", "IPRange": "192.168.88.192/27", "Gateway": "192.168.88.1" }
            ])
        );
        assert_eq!(lan["Options"], serde_json::json!({ "parent": "eth0" }));
        let containers: Vec<&serde_json::Value> = lan["Containers"].as_object().unwrap().values().collect();
        assert_eq!(containers.len(), 1);
        assert_eq!(containers[0]["Name"], "web");
        assert_eq!(containers[0]["IPv4Address"], format!("{web}/24"));
        assert_eq!(containers[0]["MacAddress"], mac);
        let inside = site.ok("exec web ip addr show dev eth0");
        assert!(inside.contains(&mac) && inside.contains(&format!("inet {web}/24")), "{inside}");

        site.ok("pause web");
        site.ok("unpause web");
        reaches(&site.home.laptop, ip(&web));
        site.engine_refuses("network rm lan", &["active endpoints"]);

        let once = site.ok("run --rm --init --network lan box ip route");
        assert!(once.contains("default via 192.168.88.1 dev eth0"), "{once}");
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn containers_find_each_other_by_name_and_come_and_go_while_they_run() {
    on_every_engine("docker, names and connect", |site| {
        let home = &site.home;
        site.create_lan();
        site.ok("network create --subnet 10.9.0.0/24 side");
        site.start("web", "--network-alias shop");
        let (web, _) = site.address_of("web");
        site.ok("run -d --init --name db --network side box sleep 1000");
        site.ok("network connect --alias store --ip 192.168.88.99 lan db");
        reaches(&home.laptop, ip("192.168.88.99"));
        reaches(&home.nas, ip("192.168.88.99"));
        for (asked_in, name, address) in [
            ("db", "web", web.as_str()),
            ("db", "shop", &web),
            ("web", "db", "192.168.88.99"),
            ("web", "store", "192.168.88.99"),
        ] {
            assert_eq!(looked_up(site, asked_in, name), [address], "{name} in {asked_in}");
        }

        // With an ordinary network beside it, the LAN's router is the default route, and the host is still
        // reached directly.
        let routes = site.ok("exec db ip route");
        assert!(routes.contains("default via 192.168.88.1 dev eth1"), "{routes}");
        assert!(routes.contains("10.9.0.0/24 dev eth0"), "{routes}");
        site.container_reaches("db", HOST);
        site.container_reaches("db", "10.9.0.1");
        assert_eq!(site.endpoint("db")["addresses"], serde_json::json!(["192.168.88.99/24"]));

        site.ok("network disconnect lan db");
        eventually("the LAN has lost it", || home.laptop.ping(ip("192.168.88.99")).is_none());
        assert!(!site.ok("exec db ip link").contains("eth1"));
        site.container_reaches("db", "10.9.0.1");

        // Connected again it has its own address, and again after other containers came and went.
        site.ok("network connect lan db");
        let found = "inspect --format {{.NetworkSettings.Networks.lan.IPAddress}} db";
        let own = site.ok(found);
        reaches(&home.laptop, ip(&own));
        site.ok("network disconnect lan db");
        site.start("other", "");
        site.ok("network connect lan db");
        assert_eq!(site.ok(found), own);
        site.ok("restart -t 1 db");
        assert_eq!(site.ok(found), own);
        reaches(&home.laptop, ip(&own));

        site.ok("rm -f web db other");
        site.ok("network rm lan side");
        site.assert_nothing_left();
    });
}

#[test]
fn an_address_that_a_user_chose_is_left_to_its_container_which_starts_last() {
    on_an_engine("docker, chosen address", |site| {
        site.create_lan();
        let chosen = "192.168.88.192";
        site.ok(&format!("create --init --name fixed --network lan --ip {chosen} box sleep 1000"));
        let others = ["one", "two", "three"];
        for name in others {
            site.ok(&format!("create --init --name {name} --network lan box sleep 1000"));
        }
        // At the same moment, so that an engine before 29 does not say for which container it asks.
        site.ok("start one two three");
        site.ok("start fixed");
        assert_eq!(site.address_of("fixed").0, chosen);
        for name in others {
            let (address, _) = site.address_of(name);
            assert_ne!(address, chosen);
            reaches(&site.home.laptop, ip(&address));
        }
        reaches(&site.home.laptop, ip(chosen));

        // If another container already has the address, the remedy in the error works.
        let (held, _) = site.address_of("one");
        site.ok(&format!("create --init --name late --network lan --ip {held} box sleep 1000"));
        site.engine_refuses(
            "start late",
            &["outside the network's --ip-range", "docker network connect lan one"],
        );
        site.ok("network disconnect lan one");
        site.ok("start late");
        site.ok("network connect lan one");
        assert_eq!(site.address_of("late").0, held);
        assert_ne!(site.address_of("one").0, held);
        let (_, said) = site.refused("forget late");
        assert!(said.contains("docker network disconnect lan late, or docker rm -f late"), "{said}");

        site.ok("rm -f fixed one two three late");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn what_is_used_up_or_taken_is_told_in_dockers_words() {
    on_every_engine("docker, refusals", |site| {
        site.create_lan_as("lan", "192.168.88.248/30");
        let mac = "02:00:00:00:00:cc";
        site.start("web", &format!("--mac-address {mac}"));
        let words = ["the endpoint `web` of network `lan`", "leave --mac-address out"];
        site.engine_refuses(&format!("run --network lan --mac-address {mac} box sleep 0"), &words);
        for name in ["one", "two", "three"] {
            site.start(name, "");
        }
        let words = ["4 are held by endpoints of network `lan`", "docker network rm lan"];
        site.engine_refuses("run --network lan box sleep 0", &words);
        // The engine keeps the containers that it could not start.
        site.ok("rm -f web one two three");
    });
}

#[test]
fn the_host_reaches_what_is_made_anew_with_another_mac_as_soon_as_it_runs() {
    on_every_engine("docker, another MAC", |site| {
        let home = &site.home;
        site.create_lan();
        let at = ip("192.168.88.210");
        for mac in ["aa", "bb"] {
            site.start("two", &format!("--ip {at} --mac-address 02:00:00:00:00:{mac}"));
            let reached = comes_true(Duration::from_secs(3), || home.nas.ping(at).is_some());
            assert!(reached, "with {mac}\n{}", site.logs());
            reaches(&home.laptop, at);
            site.ok("rm -f two");
        }
        // Another container with the same address is another machine too.
        site.start("three", &format!("--ip {at}"));
        let reached = comes_true(Duration::from_secs(3), || home.nas.ping(at).is_some());
        assert!(reached, "{}", site.logs());
        site.ok("rm -f three");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn a_network_goes_along_with_its_parents_name_or_it_is_told_what_helps() {
    on_an_engine("docker, renamed parent", |site| {
        let rename = |site: &Site, from: &str, to: &str| {
            for step in [format!("set {from} down"), format!("set {from} name {to}"), format!("set {to} up")]
            {
                type_on(&site.home.nas, &format!("ip link {step}"));
            }
        };
        site.create_lan();
        site.start("web", "");
        let at = site.address_of("web");
        let is_as_before = |site: &Site| {
            site.ok("restart -t 0 web");
            assert_eq!(site.address_of("web"), at);
            reaches(&site.home.laptop, ip(&at.0));
        };
        rename(site, "eth0", "enp3s0");
        let parent = |site: &Site| site.home.status()["networks"][0]["network"]["parent"].clone();
        eventually("the network follows its parent", || parent(site) == "enp3s0");
        is_as_before(site);

        // As a boot of the host does.
        site.home.daemon = None;
        rename(site, "enp3s0", "enp4s0");
        site.start_daemon();
        let told = |site: &Site| site.home.troubles().to_string();
        eventually("it is reported", || told(site).contains("ashore network move lan --parent enp4s0"));
        site.home.ok("network move lan --parent enp4s0");
        is_as_before(site);
        site.docker.kill_dockerd().unwrap();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        site.ok("start web");
        eventually("it is back", || site.place_of("web").as_ref() == Some(&at));
        site.ok("rm -f web");
        site.ok("network rm lan");
        rename(site, "enp4s0", "eth0");
        site.assert_nothing_left();
    });
}

#[test]
fn another_nic_takes_the_place_of_one_while_containers_run() {
    on_an_engine("docker, another NIC", |site| {
        site.create_lan();
        site.start("web", "");
        let at = site.address_of("web");
        let nic = |site: &Site, gone: &str, new: &str| {
            site.home.nas.remove_link(gone).unwrap();
            site.home.world.plug_in_by(&site.home.nas, new).unwrap();
            site.home.nas.add_address(new, format!("{HOST}/24").parse().unwrap()).unwrap();
            let ran = site.home.run(&format!("network move lan --parent {new}"));
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            let told = ran.stderr.contains(&format!("still name the parent `{gone}`"));
            assert!(told && ran.stderr.contains(&format!("parent={new}")), "{}", ran.stderr);
        };
        let is_as_before = |site: &Site| {
            eventually("the LAN reaches it", || site.home.laptop.ping(ip(&at.0)).is_some());
            eventually("the host reaches it", || site.home.nas.ping(ip(&at.0)).is_some());
            assert_eq!(site.address_of("web"), at);
            site.container_reaches("web", HOST);
        };
        nic(site, "eth0", "usb0");
        is_as_before(site);
        site.ok("restart -t 0 web");
        is_as_before(site);
        site.ok("network disconnect lan web");
        site.ok("network connect lan web");
        is_as_before(site);
        site.start("db", "");
        reaches(&site.home.laptop, ip(&site.address_of("db").0));
        site.ok("rm -f db");

        // The other way round, with the daemon killed right after it, and the engine too.
        nic(site, "usb0", "eth0");
        site.home.daemon.take().unwrap().kill().unwrap();
        site.start_daemon();
        is_as_before(site);
        site.docker.kill_dockerd().unwrap();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        site.ok("start web");
        is_as_before(site);
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}
