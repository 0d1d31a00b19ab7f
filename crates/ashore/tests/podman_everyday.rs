//! Containers on the LAN through real Podman engines.

use home::inside::Inside;
use home::podman::{with_ashore, with_ashore_on_all};
use home::{HOST, eventually, ip, mac_known_to, reaches, type_on};

#[test]
fn a_container_answers_the_lan_and_its_host_and_keeps_its_address() {
    with_ashore_on_all("podman", |site| {
        let home = &site.home;
        site.ok("network create -d ashore lan");
        let network = site.ok("network inspect lan");
        for shown in
            ["\"192.168.88.0/24\"", "\"192.168.88.1\"", "\"network_interface\": \"eth0\"", "start_ip"]
        {
            assert!(network.contains(shown), "{shown} is not in {network}");
        }
        site.start_on_lan("web", "");
        let (web, mac) = site.address_of("web");
        reaches(&home.laptop, ip(&web));
        reaches(&home.nas, ip(&web));
        site.ok(&format!("exec web ping -c 1 -w 2 {HOST}"));
        site.ok("exec web ping -c 1 -w 2 192.168.88.1");

        site.ok("restart -t 0 web");
        assert_eq!(site.address_of("web"), (web.clone(), mac.clone()));
        reaches(&home.laptop, ip(&web));

        site.start_on_lan("db", "");
        let (db, _) = site.address_of("db");
        assert_ne!(db, web);
        site.ok(&format!("exec web ping -c 1 -w 2 {db}"));

        site.ok("rm -f -t 0 web");
        eventually("the LAN does not reach it any more", || home.laptop.ping(ip(&web)).is_none());
        site.start_on_lan("web", "");
        assert_eq!(site.address_of("web"), (web.clone(), mac));
        reaches(&home.laptop, ip(&web));

        site.ok("rm -f -t 0 web db");
        eventually("nothing is left", || site.endpoints().is_empty());
    });
}

#[test]
fn what_its_user_chose_is_what_the_lan_sees() {
    with_ashore_on_all("podman, chosen address", |site| {
        let home = &site.home;
        site.ok("network create -d ashore --subnet 192.168.88.0/24 --gateway 192.168.88.1 --ip-range 192.168.88.192/27 lan");
        site.start_on_lan("web", "--ip 192.168.88.200 --mac-address 02:aa:bb:cc:dd:ee");
        assert_eq!(site.address_of("web"), ("192.168.88.200".into(), "02:aa:bb:cc:dd:ee".into()));
        reaches(&home.laptop, ip("192.168.88.200"));
        // Two machines never have one address.
        site.podman_refuses(
            "run -d --name other --network lan:ip=192.168.88.50 box sleep 9",
            &["192.168.88.50"],
        );
        site.podman_refuses(
            "run -d --name third --network lan:ip=192.168.88.200 box sleep 9",
            &["192.168.88.200"],
        );
        site.podman_refuses("run -d --name fourth --network lan:ip=10.1.2.3 box sleep 9", &["10.1.2.3"]);
        assert_eq!(site.endpoints(), ["web"]);
        site.podman_refuses("network create -d ashore -o parnt=eth0 other", &["parnt", "parent"]);
        site.podman_refuses("network create -d ashore -o parent=eth7 other", &["eth7", "-o parent="]);
    });
}

#[test]
fn a_reload_keeps_link_address_and_mac() {
    with_ashore_on_all("podman, reload", |site| {
        let home = &site.home;
        site.ok("network create -d ashore lan");
        site.start_on_lan("web", "");
        let before = site.address_of("web");
        let link = |site: &home::podman::PodmanSite| {
            site.podman.exec("web", &["cat", "/sys/class/net/eth0/ifindex"]).unwrap().expect_success()
        };
        let index = link(site);
        site.ok("network reload web");
        assert_eq!((site.address_of("web"), link(site)), (before.clone(), index));
        std::thread::sleep(std::time::Duration::from_millis(1500));
        reaches(&home.laptop, ip(&before.0));
        site.ok("network disconnect lan web");
        eventually("it is off the LAN", || home.laptop.ping(ip(&before.0)).is_none());
        site.ok("network connect lan web");
        assert_eq!(site.address_of("web"), before);
        reaches(&home.laptop, ip(&before.0));
    });
}

#[test]
fn a_container_that_changes_its_mac_keeps_its_link_and_is_reached() {
    const OTHER_MAC: &str = "02:00:00:00:00:77";
    with_ashore("podman, another MAC", |site| {
        site.ok("network create -d ashore lan");
        site.start_on_lan("web", "");
        let before = site.address_of("web");
        let at = ip(&before.0);
        let key = site.ok("inspect --format {{.NetworkSettings.SandboxKey}} web");
        let inside = Inside::at(&site.podman.at(&key));
        let links = inside.children();
        inside.types(&format!("ip link set eth0 address {OTHER_MAC}"));
        type_on(&site.home.laptop, &format!("ip neigh flush to {at} dev eth0"));
        eventually("the laptop reaches it", || site.home.laptop.ping(at).is_some());
        assert_eq!(mac_known_to(&site.home.laptop, at), OTHER_MAC);
        site.home.nudge();
        eventually("the host reaches it", || site.home.nas.ping(at).is_some());
        let pings = [&site.home.laptop, &site.home.nas].map(|from| from.pings(at));
        site.home.daemon = None;
        site.start_daemon();
        site.home.nudge();
        for counted in pings.map(ashore_lab::Pings::end) {
            assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
        }
        assert_eq!(inside.children(), links);
        let endpoint = site.home.status()["endpoints"][0].clone();
        assert_eq!(endpoint["seen_mac"], OTHER_MAC, "{endpoint}");
        assert!(endpoint["conflicts"].as_object().unwrap().is_empty(), "{endpoint}");
        // Its name keeps the MAC that it has for the next start.
        site.ok("restart -t 0 web");
        assert_eq!(site.address_of("web"), before);
        type_on(&site.home.laptop, &format!("ip neigh flush to {at} dev eth0"));
        eventually("the laptop reaches it again", || site.home.laptop.ping(at).is_some());
        assert_eq!(mac_known_to(&site.home.laptop, at), before.1);
        site.ok("rm -f -t 0 web");
        eventually("nothing is left", || site.endpoints().is_empty());
    });
}
