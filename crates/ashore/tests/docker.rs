//! Containers on the LAN through real Docker engines.

use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::Step;
use home::site::{on_an_engine, on_every_engine};
use home::{HOST, eventually, ip, reaches};

#[test]
fn a_container_answers_the_lan_and_its_host_and_keeps_its_address() {
    on_every_engine("docker", |site| {
        let home = &site.home;
        site.ok(
            "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
             --gateway 192.168.88.1 -o parent=eth0 --aux-address host=192.168.88.222 lan",
        );
        site.start("web", "");
        let (web, mac) = site.address_of("web");
        reaches(&home.laptop, ip(&web));
        reaches(&home.nas, ip(&web));
        site.ok(&format!("exec web ping -c 1 -w 2 {HOST}"));
        site.ok("exec web ping -c 1 -w 2 192.168.88.1");

        site.ok("restart -t 1 web");
        assert_eq!(site.address_of("web"), (web.clone(), mac.clone()));
        reaches(&home.laptop, ip(&web));

        site.start("db", "");
        let (db, _) = site.address_of("db");
        assert_ne!(db, web);
        site.ok(&format!("exec web ping -c 1 -w 2 {db}"));

        site.ok("rm -f web");
        site.start("web", "");
        assert_eq!(site.address_of("web"), (web.clone(), mac));
        reaches(&home.laptop, ip(&web));

        // Docker removes what belongs to Docker. The error names the network by the user's name.
        for (command, remedy) in [
            ("network rm lan", "docker network rm lan"),
            ("detach lan web", "docker network disconnect lan web"),
        ] {
            let ran = home.run(command);
            assert!(ran.code == Some(5) && ran.stderr.contains(remedy), "{command}: {}", ran.stderr);
        }
        home.ok("network inspect lan");

        site.assert_untouched();
        site.ok("rm -f web db");
        site.ok("network rm lan");
        site.assert_nothing_left();
        site.assert_untouched();
    });
}

#[test]
fn by_ipv6_the_container_and_its_host_reach_each_other_too() {
    on_an_engine("docker, IPv6", |site| {
        let home = &site.home;
        site.ok(
            "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
             --gateway 192.168.88.1 --ipv6 --subnet fd88::/64 --ip-range fd88::c0/124 --gateway fd88::1 -o parent=eth0 lan",
        );
        site.start("web", "");
        let format = "{{range.NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}";
        let web = site.ok(&format!("inspect --format {format} web"));
        assert_eq!(web, "fd88::c0");
        reaches(&home.laptop, ip(&web));
        eventually("the host reaches it", || home.nas.ping(ip(&web)).is_some());
        site.ok("exec web ping -c 1 -w 2 fd88::9");
        site.ok("exec web ping -c 1 -w 2 fd88::1");
        site.ok("restart -t 1 web");
        assert_eq!(site.ok(&format!("inspect --format {format} web")), web);
        eventually("the host reaches it again", || home.nas.ping(ip(&web)).is_some());
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn a_parent_that_is_a_bridge_takes_a_veth() {
    on_an_engine("docker, bridge", |site| {
        let home = &site.home;
        let name = |text: &str| text.parse().unwrap();
        let bridge = LinkSpec { name: name("br0"), kind: LinkType::Bridge, mac: None, mtu: None };
        home.nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
        home.nas
            .apply(&[
                Step::AddLink { place: Place::Host, link: bridge },
                Step::SetMaster {
                    place: Place::Host,
                    link: name("eth0"),
                    master: Some(name("br0")),
                    was: None,
                },
                Step::SetUp { place: Place::Host, link: name("br0"), up: true },
            ])
            .unwrap();
        home.nas.add_address("br0", "192.168.88.9/24".parse().unwrap()).unwrap();
        site.ok(
            "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
             --gateway 192.168.88.1 -o parent=br0 -o kind=bridge lan",
        );
        site.start("web", "");
        let (web, _) = site.address_of("web");
        reaches(&home.laptop, ip(&web));
        reaches(&home.nas, ip(&web));
        site.ok("exec web ping -c 1 -w 2 192.168.88.9");
        site.ok("rm -f web");
        site.ok("network rm lan");
        eventually("nothing is left", || home.made_links() == ["br0"]);
    });
}

#[test]
fn what_is_wrong_with_a_network_stands_in_the_engines_own_error() {
    on_every_engine("docker, refusals", |site| {
        let create = "network create -d ashore --ipam-driver ashore";
        let lan = "--subnet 192.168.88.0/24 --gateway 192.168.88.1";
        let router = ip("192.168.88.1");
        site.home.nas.del_default_route("eth0", router).unwrap();
        site.engine_refuses(
            &format!("{create} lan"),
            &["no default route", "eth0 (192.168.88.9/24", "--ipam-opt parent=eth0"],
        );
        site.home.nas.add_default_route("eth0", router).unwrap();
        site.engine_refuses(
            &format!("{create} {lan} -o parent=eth7 lan"),
            &["`eth7` does not exist", "has eth0"],
        );
        site.engine_refuses(
            &format!("{create} {lan} -o parnet=eth0 lan"),
            &["`parnet`", "did you mean `parent`"],
        );
        site.engine_refuses(
            &format!("{create} {lan} -o parent=eth0 -o macvlan_mode=brige lan"),
            &["macvlan_mode=brige"],
        );
        site.engine_refuses(
            &format!("{create} --subnet 10.7.0.0/24 --gateway 10.7.0.1 -o parent=eth0 lan"),
            &["10.7.0.0/24", "192.168.88.9/24"],
        );
        site.engine_refuses(&format!("{create} {lan} --ipam-opt a=b -o parent=eth0 lan"), &["--ipam-opt a"]);
        let names = site.ok("network ls --format {{.Name}}");
        assert!(!names.lines().any(|name| name == "lan"), "{names}");
        site.assert_nothing_left();
    });
}

#[test]
fn a_network_needs_no_options_where_the_host_knows_the_lan() {
    on_every_engine("docker, zero configuration", |site| {
        // The first block from the end contains a machine.
        site.home.laptop.add_address("eth0", "192.168.88.240/24".parse().unwrap()).unwrap();
        site.ok("network create -d ashore --ipam-driver ashore lan");
        site.start("web", "");
        let web = site.address_of("web");
        // 20.10 declines the first offer, because the host has a route into it, and keeps it until it has
        // taken another.
        let range = site.on("192.168.88.192/27", "192.168.88.160/27");
        assert_eq!(web.0, range.trim_end_matches("/27"));
        reaches(&site.home.laptop, ip(&web.0));
        reaches(&site.home.nas, ip(&web.0));
        assert!(site.home.ok("status").contains(range), "{}", site.home.ok("status"));
        assert!(site.home.daemon().log().contains(range));
        site.ok("exec web ping -c 1 -w 2 192.168.88.1");

        // An engine that restarts names only the subnet, and means the same pool.
        site.ok("stop -t 1 web");
        site.docker.kill_dockerd().unwrap();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        site.ok("start web");
        assert_eq!(site.address_of("web"), web);
        site.start("db", "");
        let db = site.on("192.168.88.193", "192.168.88.161");
        assert_eq!(site.address_of("db").0, db);
        reaches(&site.home.laptop, ip(db));
        site.ok("rm -f web db");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}
