//! A network for which the user changed only the driver to Ashore: Docker's own IPAM chooses the addresses.

use home::site::on_an_engine;
use home::together::{Together, rounds};
use home::{HOST, eventually, ip, mac_known_to, reaches};

const CREATE: &str =
    "network create -d ashore --subnet 192.168.88.0/24 --gateway 192.168.88.1 -o parent=eth0 lan";

#[test]
fn a_container_has_its_name_its_mac_and_its_host() {
    on_an_engine("docker's own IPAM", |site| {
        let home = &site.home;
        site.ok(&CREATE.replace(" -o", " --ipv6 --subnet fd88::/64 --gateway fd88::1 -o"));
        // A stopped container is on the network too, but is not the one that starts.
        site.start("old", "");
        site.ok("stop -t 1 old");
        site.start("web", "");
        let (web, mac) = site.address_of("web");
        assert_eq!(web, "192.168.88.2");
        reaches(&home.laptop, ip("fd88::2"));
        eventually("the host reaches it by IPv6", || home.nas.ping(ip("fd88::2")).is_some());
        reaches(&home.laptop, ip(&web));
        assert_eq!(mac_known_to(&home.laptop, ip(&web)), mac);
        reaches(&home.nas, ip(&web));
        site.container_reaches("web", HOST);
        site.container_reaches("web", "192.168.88.1");
        let shown = site.endpoint("web");
        assert_eq!((&shown["source"], &shown["network"]), (&"engine".into(), &"lan".into()));

        // Docker chooses the address; the MAC belongs to the name.
        site.ok("rm -f web");
        site.start("db", "--ip 192.168.88.2");
        site.start("web", "");
        let (another, same) = site.address_of("web");
        assert!(another != web && same == mac, "{another} {same}");
        site.ok("restart -t 1 web");
        assert_eq!(site.address_of("web").1, mac);
        site.start("fixed", "--mac-address 02:00:00:00:00:07");
        assert_eq!(site.address_of("fixed").1, "02:00:00:00:00:07");

        // The same across a restart of the daemon, of which Docker does not know.
        let daemon = site.home.daemon.take().unwrap();
        daemon.kill().unwrap();
        site.start_daemon();
        reaches(&site.home.laptop, ip(&another));
        site.ok("rm -f old web db fixed");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn containers_that_start_at_once_keep_their_macs_every_time() {
    on_an_engine("docker's own IPAM, started at once", |site| {
        site.ok(CREATE);
        site.start("web", "--restart always");
        site.start("db", "--restart always");
        site.start("mail", "--restart always");
        site.start("own", "--restart always --mac-address 02:42:aa:00:00:01");
        let all = Together::of(site, &["web", "db", "mail", "own"]);
        for round in rounds() {
            if round % 3 == 0 {
                site.docker.stop_dockerd().unwrap();
                site.docker.start_dockerd(&site.home.nas).unwrap();
            } else {
                all.start_anew(site);
            }
            all.have_their_macs(site, &format!("start {round}"));
        }
        site.ok("rm -f web db mail own");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn an_address_that_another_machine_has_is_refused_with_what_helps() {
    on_an_engine("docker's own IPAM, conflicts", |site| {
        site.home.laptop.add_address("eth0", "192.168.88.2/24".parse().unwrap()).unwrap();
        site.ok(CREATE);
        site.engine_refuses(
            "run -d --init --name web --network lan box sleep 1000",
            &["192.168.88.2 is in use on the LAN by", "--ipam-driver ashore"],
        );
        site.engine_refuses(
            "run --rm --init --name nas --network lan --ip 192.168.88.9 box sleep 0",
            &["this host's own address", "--ipam-driver ashore"],
        );
        let left = site.home.status()["endpoints"].clone();
        assert_eq!(left, serde_json::json!([]));
        // Docker 20.10 chooses the same address again until it is told.
        site.ok("rm -f web nas");
        site.ok("network rm lan");
        site.ok(&format!("{CREATE} --aux-address laptop=192.168.88.2"));
        site.start("web", "");
        assert_eq!(site.address_of("web").0, "192.168.88.3");
        reaches(&site.home.laptop, ip("192.168.88.3"));
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}
