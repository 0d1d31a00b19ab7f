//! Podman as it is, before Ashore comes in: its own macvlan on the lab's LAN.

use ashore_lab::Engines;
use home::podman::{ALL, on_every_podman};
use home::{ip, reaches};

/// With a MAC of its own choice at each start, the laptop would go on with the last for a while.
const WEB: &str = "--network lan --ip 192.168.88.200 --mac-address 02:00:00:00:00:c8";

#[test]
fn its_own_macvlan_is_on_the_lan() {
    on_every_podman("podman, macvlan", &ALL, |site| {
        let (laptop, web, both) = (&site.home.laptop, ip("192.168.88.200"), ip("192.168.88.201"));
        site.ok(
            "network create -d macvlan -o parent=eth0 --subnet 192.168.88.0/24 --gateway 192.168.88.1 lan",
        );
        site.start("web", WEB);
        reaches(laptop, web);
        let links = site.podman.exec("web", &["ip", "addr", "show", "eth0"]).unwrap().expect_success();
        assert!(links.contains("192.168.88.200/24"), "{links}");
        site.container_reaches("web", "192.168.88.50");

        site.ok("stop -t 0 web");
        assert_eq!(laptop.ping(web), None);
        site.ok("start web");
        reaches(laptop, web);
        site.ok("rm -f -t 0 web");
        assert_eq!(laptop.ping(web), None);

        site.ok("pod create --name both --network lan --ip 192.168.88.201");
        site.ok("run -d --pod both box sleep 1000");
        reaches(laptop, both);
        site.podman.remove_all().unwrap().expect_success();
        assert_eq!(site.ok("ps --all --quiet"), "");
        assert_eq!(site.ok("network ls --format {{.Name}}"), "podman");
        assert_eq!(site.home.made_links(), Vec::<String>::new());
    });
}

#[test]
fn after_a_boot_its_networks_and_containers_are_there_and_none_runs() {
    on_every_podman("podman, boot", &ALL, |site| {
        let create = "network create -d macvlan -o parent=eth0 --subnet 192.168.88.0/24 lan";
        site.ok(create);
        site.start("web", WEB);
        reaches(&site.home.laptop, ip("192.168.88.200"));
        let site = site.reboot(&Engines::find().unwrap());
        assert_eq!(site.ok("ps --quiet"), "");
        site.ok("start web");
        reaches(&site.home.laptop, ip("192.168.88.200"));
    });
}
