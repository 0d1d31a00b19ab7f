//! Containers on the LAN through real Podman engines.

use home::podman::with_ashore_on_all;
use home::{HOST, eventually, ip, reaches};

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
