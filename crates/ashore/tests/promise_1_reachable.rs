//! Promise 1: a container answers on its own address from every LAN machine, from every container on the LAN
//! and from its own host. It reaches them all, and the gateway.

use std::collections::BTreeSet;

use ashore_lab::Machine;
use home::untouched::{is_untouched, untouched};
use home::{
    BEYOND, HOST, HOST6, Home, addresses, does_not_reach, ip, mac_known_to, reaches, type_on, who_answers,
};

/// Two containers on the NAS, and one on a second NAS with its own daemon.
fn everybody_reaches_everybody(options: &str, rp_filter: i32) {
    let home = Home::new();
    home.nas.set_ipv4_conf("all", "rp_filter", rp_filter).unwrap();
    home.nas.set_ipv4_conf("eth0", "rp_filter", rp_filter).unwrap();
    let before = untouched(&home);
    home.ok(&format!(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 \
         --ip-range fd88::c0/122 --gateway 192.168.88.1 --gateway fd88::1 {options}"
    ));
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let (at_web, at_db) = (home.attach("lan", &web, ""), home.attach("lan", &db, ""));

    let other = home.world.machine("nas2", 10).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let daemon = ashore_lab::Daemon::start(home::PROGRAM.as_ref(), &other, directory.path()).unwrap();
    let run = |line: &str| daemon.run(&line.split_whitespace().collect::<Vec<_>>()).unwrap().expect_success();
    run(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.224/28 \
         --ip-range fd88::e0/124 --gateway 192.168.88.1 --gateway fd88::1",
    );
    let backup = home.world.container("backup").unwrap();
    let path = backup.namespace().path().display().to_string();
    let at_backup: serde_json::Value =
        serde_json::from_str(&run(&format!("attach lan --netns {path} --name backup --json"))).unwrap();

    for family in [0, 1] {
        let [web_ip, db_ip, backup_ip] =
            [&at_web, &at_db, &at_backup].map(|report| addresses(report)[family]);
        let host = ip([HOST, HOST6][family]);
        let laptop = ip(["192.168.88.50", "fd88::50"][family]);
        let gateway = ip(["192.168.88.1", "fd88::1"][family]);
        let others: [(&Machine, &[std::net::IpAddr]); 6] = [
            (&home.laptop, &[web_ip, db_ip, backup_ip, host]),
            (&home.nas, &[web_ip, db_ip, backup_ip, laptop, gateway]),
            (&home.router, &[web_ip, db_ip, backup_ip, host]),
            (&web, &[db_ip, backup_ip, host, laptop, gateway]),
            (&db, &[web_ip, backup_ip, host, laptop, gateway]),
            (&backup, &[web_ip, db_ip, host, laptop, gateway]),
        ];
        for (from, targets) in others {
            for to in targets {
                reaches(from, *to);
            }
        }
    }
    for from in [&home.nas, &web, &db] {
        reaches(from, ip(BEYOND));
    }
    // Whichever way the host's packets take, the LAN sends its packets to the NIC.
    assert_eq!(who_answers(&home.laptop, "eth0", ip(HOST)), BTreeSet::from([home.nic()]));
    for from in [&home.laptop, &home.router] {
        for host in [HOST, HOST6] {
            assert_eq!(mac_known_to(from, ip(host)), home.nic(), "{host} to {}", from.name());
        }
        for at in addresses(&at_web) {
            assert_eq!(mac_known_to(from, at), at_web["mac"].as_str().unwrap());
        }
    }
    is_untouched(&home, &before);
}

#[test]
fn by_the_unnumbered_shim() {
    everybody_reaches_everybody("", 0);
}

#[test]
fn by_the_unnumbered_shim_under_strict_reverse_path_filtering() {
    everybody_reaches_everybody("", 1);
}

#[test]
fn by_the_unnumbered_shim_under_loose_reverse_path_filtering() {
    everybody_reaches_everybody("", 2);
}

#[test]
fn by_a_host_address_of_its_own() {
    everybody_reaches_everybody("--aux-address host=192.168.88.222", 1);
}

/// A route to the whole range would duplicate the parent's own route, and hide the LAN's machines from the
/// host.
#[test]
fn by_a_host_address_of_its_own_where_the_range_is_the_whole_subnet() {
    let home = Home::new();
    let before = untouched(&home);
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.0/24 --gateway 192.168.88.1 \
         --aux-address host=192.168.88.222",
    );
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, "--ip 192.168.88.200"))[0];
    let newcomer = home.world.machine("guest", 60).unwrap();
    for to in [at, ip("192.168.88.60"), ip("192.168.88.1"), ip(BEYOND)] {
        reaches(&home.nas, to);
    }
    reaches(&newcomer, ip(HOST));
    is_untouched(&home, &before);
}

#[test]
fn without_host_access_the_host_is_left_out_as_with_plain_macvlan() {
    let home = Home::new();
    let before = untouched(&home);
    home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --host-access no");
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, "--ip 192.168.88.200"))[0];
    reaches(&home.laptop, at);
    does_not_reach(&home.nas, at);
    assert_eq!(home.made_links(), [""; 0]);
    is_untouched(&home, &before);
}

#[test]
fn a_veth_into_a_bridge_that_holds_the_nic_reaches_everybody_without_a_shim() {
    use ashore_core::net::link::{LinkSpec, LinkType, Place};
    use ashore_core::net::step::Step;
    let home = Home::new();
    let br0: ashore_core::net::name::IfName = "br0".parse().unwrap();
    let eth0: ashore_core::net::name::IfName = "eth0".parse().unwrap();
    let bridge = LinkSpec { name: br0.clone(), kind: LinkType::Bridge, mac: None, mtu: None };
    home.nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
    home.nas
        .apply(&[
            Step::AddLink { place: Place::Host, link: bridge },
            Step::SetMaster { place: Place::Host, link: eth0, master: Some(br0.clone()), was: None },
            Step::SetUp { place: Place::Host, link: br0, up: true },
        ])
        .unwrap();
    home.nas.add_address("br0", "192.168.88.9/24".parse().unwrap()).unwrap();
    let before = untouched(&home);
    home.ok("network create lan --kind bridge --parent br0 --subnet 192.168.88.0/24 --gateway 192.168.88.1");
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, "--ip 192.168.88.200"))[0];
    reaches(&home.laptop, at);
    reaches(&home.nas, at);
    reaches(&web, ip(HOST));
    reaches(&web, ip("192.168.88.1"));
    is_untouched(&home, &before);
    home.ok("detach lan web");
    assert_eq!(home.made_links(), ["br0"]);
}

/// The host's kernel does not receive what it sends itself, so it would keep the MAC that an address had
/// before.
fn the_host_follows_an_address_to_another_mac(home: &Home, options: &str) {
    let subnets = "--subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range fd88::c0/122";
    home.ok(&format!("network create lan {subnets} {options}"));
    // The user's own entry stays as it is.
    let parent = options.split_whitespace().next_back().unwrap();
    type_on(&home.nas, &format!("ip neigh add 192.168.88.211 lladdr 02:00:00:00:00:0d dev {parent}"));
    for (name, mac) in [("web", "aa"), ("db", "bb"), ("web", "cc")] {
        let container = home.world.container(name).unwrap();
        let mac = format!("02:00:00:00:00:{mac}");
        home.attach("lan", &container, &format!("--ip 192.168.88.210 --ip fd88::d0 --mac {mac}"));
        for at in ["192.168.88.210", "fd88::d0"] {
            reaches(&home.nas, ip(at));
            reaches(&home.laptop, ip(at));
        }
        assert_eq!(mac_known_to(&home.nas, ip("192.168.88.210")), mac);
        home.ok(&format!("detach lan {name}"));
        drop(container);
    }
    let container = home.world.container("other").unwrap();
    home.attach("lan", &container, "--ip 192.168.88.211");
    assert_eq!(mac_known_to(&home.nas, ip("192.168.88.211")), "02:00:00:00:00:0d");
}

#[test]
fn the_host_follows_an_address_to_another_mac_at_once() {
    the_host_follows_an_address_to_another_mac(&Home::new(), "--parent eth0");
}

#[test]
fn the_host_follows_an_address_to_another_mac_at_once_on_a_bridge_of_its_own() {
    let home = Home::bridged();
    type_on(&home.nas, "ip addr del fd88::9/64 dev eth0");
    type_on(&home.nas, "ip addr add fd88::9/64 dev br0 nodad");
    the_host_follows_an_address_to_another_mac(&home, "--kind bridge --parent br0");
}
