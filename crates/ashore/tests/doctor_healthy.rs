//! `ashore doctor` on set-ups of which nothing is wrong: it says so, and ends well. A false alarm is a fault.

use std::path::Path;

use ashore_lab::{Engines, cannot_run};
use home::both::{SUBNET as RANGE, with_both};
use home::dhcp::Server;
use home::podman::with_ashore;
use home::router::Router;
use home::site::on_an_engine;
use home::told::Told;
use home::{Home, eventually, ip, is_root, reaches, type_on};

const SUBNET: &str = "--parent eth0 --subnet 192.168.88.0/24 --gateway 192.168.88.1";

/// Runs a test where the routers' programs can run.
fn with(test: &str, run: impl FnOnce(Home, &Engines)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a router needs root"),
        Ok(engines) => run(Home::new(), &engines),
    }
}

#[test]
fn each_kind_that_this_kernel_has() {
    let home = Home::new();
    for kind in ["macvlan:bridge", "macvlan:private", "macvlan:vepa", "ipvlan:l2", "ipvlan:l3", "ipvlan:l3s"]
    {
        let create = format!("network create lan {SUBNET} --ip-range 192.168.88.192/27 --kind {kind}");
        let made = home.run(&create);
        let web = home.world.container("web").unwrap();
        if made.code == Some(0) {
            let netns = web.namespace().path().display().to_string();
            if home.run(&format!("attach lan --netns {netns} --name web")).code == Some(0) {
                Told::of(&home, "").is_well();
                home.ok("detach lan web");
            } else {
                assert!(kind.starts_with("ipvlan"), "{kind}");
            }
            home.ok("network rm lan");
        } else {
            assert!(kind.starts_with("ipvlan"), "{kind}: {}", made.stderr);
        }
    }
}

#[test]
fn asking_does_not_tell_containers_a_wrong_mac_of_the_host() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "--ip 192.168.88.192");
    // A container that knows the host by the NIC's own MAC does not reach it for half a minute.
    for _ in 0..4 {
        reaches(&web, ip("192.168.88.9"));
        Told::of(&home, "").is_well();
        reaches(&home.nas, ip("192.168.88.192"));
    }
}

#[test]
fn passthru_on_a_nic_that_the_host_does_not_use() {
    let home = Home::new();
    for address in ["192.168.88.9/24", "fd88::9/64"] {
        home.nas.del_address("eth0", address.parse().unwrap()).unwrap();
    }
    home.ok(&format!("network create lan {SUBNET} --ip-range 192.168.88.192/27 --kind macvlan:passthru"));
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    reaches(&home.laptop, ip("192.168.88.192"));
    Told::of(&home, "").is_well();
}

#[test]
fn addresses_by_hand_of_both_families_and_a_host_address_of_its_own() {
    let home = Home::new();
    home.ok(&format!(
        "network create lan {SUBNET} --ip-range 192.168.88.192/27 --aux-address host=192.168.88.222 --subnet fd88::/64 \
         --ip-range fd88::c0/123"
    ));
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    reaches(&home.nas, ip("fd88::c0"));
    Told::of(&home, "").is_well();
}

#[test]
fn reverse_path_filters_and_arp_settings_that_do_no_harm() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "--ip 192.168.88.192");
    let set = |key: &str, value: &str| {
        let path = Path::new("/proc/sys/net/ipv4/conf").join(key);
        home.nas.inside(|| std::fs::write(&path, value)).unwrap().unwrap();
    };
    for (key, value) in [
        ("all/rp_filter", "1"),
        ("all/rp_filter", "2"),
        ("eth0/rp_filter", "1"),
        ("shim-eth0/rp_filter", "1"),
        ("eth0/arp_ignore", "1"),
        ("all/arp_announce", "2"),
        ("all/arp_filter", "1"),
    ] {
        let was = home.nas.inside(|| std::fs::read_to_string(Path::new("/proc/sys/net/ipv4/conf").join(key)));
        set(key, value);
        reaches(&home.nas, ip("192.168.88.192"));
        reaches(&web, ip("192.168.88.9"));
        Told::of(&home, "").is_well();
        set(key, was.unwrap().unwrap().trim());
    }
}

#[test]
fn leases_of_the_lans_server() {
    with("doctor, healthy leases", |home, engines| {
        let pool = "192.168.88.100,192.168.88.120,255.255.255.0,2m";
        let _server = Server::dnsmasq(engines, &home.router, home.directory.path(), pool, &[]);
        home.ok("network create lan --dhcp --parent eth0");
        home.ok("network create more --dhcp --parent eth0");
        let _containers = ["lan", "more"].map(|network| {
            let one = home.world.container(&format!("on-{network}")).unwrap();
            home.attach(network, &one, "");
            one
        });
        let told = Told::of(&home, "");
        told.is_well();
        for network in ["lan", "more"] {
            let line = format!("a DHCP server answers for network `{network}`");
            assert!(told.ran.stdout.contains(&line), "{line}: {}", told.ran.stdout);
        }
        // A range beside the pool.
        home.ok(&format!("network create own {SUBNET} --ip-range 192.168.88.192/27"));
        Told::of(&home, "").is_well();
    });
}

#[test]
fn ipv6_by_advertisements() {
    with("doctor, healthy advertisements", |home, engines| {
        let says = "prefix fd88::/64 { AdvValidLifetime 7200; AdvPreferredLifetime 3600; };";
        let _router = Router::start(engines, &home.router, home.directory.path(), says);
        home.ok(&format!("network create lan {SUBNET} --ip-range 192.168.88.192/27 --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        eventually("it has an address", || home.ok("status").contains("fd88:"));
        let told = Told::of(&home, "");
        told.is_well();
        assert!(!told.unknown().iter().any(|why| why.contains("advertise")), "{:?}", told.unknown());
    });
}

#[test]
fn containers_of_dockers() {
    on_an_engine("doctor, healthy Docker", |site| {
        site.create_lan();
        site.start("web", "");
        let told = Told::of(&site.home, "");
        told.is_well();
        for line in ["Docker answers", "the socket for Docker's calls answers"] {
            assert!(told.ran.stdout.contains(line), "{line}: {}", told.ran.stdout);
        }
    });
}

#[test]
fn containers_of_podmans() {
    with_ashore("doctor, healthy Podman", |site| {
        site.ok("network create -d ashore lan");
        site.start_on_lan("web", "");
        site.home.status();
        Told::of(&site.home, "").is_well();
    });
}

#[test]
fn ports_of_a_bridge_that_lease_their_addresses() {
    with("doctor, healthy bridge with leases", |_, engines| {
        let home = Home::bridged();
        let pool = "192.168.88.100,192.168.88.120,255.255.255.0,2m";
        let _server = Server::dnsmasq(engines, &home.router, home.directory.path(), pool, &[]);
        home.ok("network create lan --parent br0 --kind bridge --dhcp");
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        reaches(&web, ip("192.168.88.1"));
        Told::of(&home, "").is_well();
    });
}

#[test]
fn isolated_ports_of_both_families() {
    let home = Home::bridged();
    home.ok(
        "network create lan --parent br0 --kind bridge --isolated --hairpin --subnet 192.168.88.0/24 --gateway 192.168.88.1 \
         --ip-range 192.168.88.192/27 --subnet fd88::/64 --ip-range fd88::c0/123",
    );
    let _containers = ["web", "db"].map(|name| {
        let one = home.world.container(name).unwrap();
        home.attach("lan", &one, "");
        reaches(&one, ip("192.168.88.1"));
        one
    });
    Told::of(&home, "").is_well();
}

#[test]
fn ipv6_alone() {
    let home = Home::new();
    home.ok("network create six --parent eth0 --subnet fd88::/64 --ip-range fd88::c0/123 --gateway fd88::1");
    let web = home.world.container("web").unwrap();
    home.attach("six", &web, "");
    reaches(&home.laptop, ip("fd88::c0"));
    reaches(&web, ip("fd88::9"));
    Told::of(&home, "").is_well();
}

#[test]
fn a_network_without_a_way_out_on_a_nic_by_its_other_name() {
    let home = Home::new();
    type_on(&home.nas, "ip link property add dev eth0 altname enp1s0");
    home.ok(
        "network create inside --parent enp1s0 --internal --host-access no --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27",
    );
    let db = home.world.container("db").unwrap();
    home.attach("inside", &db, "");
    reaches(&home.laptop, ip("192.168.88.192"));
    for about in ["", "inside", "db", "--parent enp1s0", "--parent eth0"] {
        Told::of(&home, about).is_well();
    }
}

#[test]
fn dockers_own_addresses_an_adopted_network_and_a_bridge_of_dockers_besides() {
    on_an_engine("doctor, healthy adopted network", |site| {
        let parent = "-o parent=eth0 --subnet 192.168.88.0/24 --gateway 192.168.88.1";
        site.ok(&format!("network create -d ashore {parent} --ip-range 192.168.88.208/28 own"));
        site.ok("network create --subnet 10.9.0.0/24 side");
        site.ok("run -d --init --name web --network own -p 8080:80 box sleep 1000");
        site.ok("network connect side web");
        site.ok("network create -d macvlan -o parent=eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/28 old");
        site.ok("run -d --init --name old --network old box sleep 1000");
        site.home.ok("adopt old");
        for name in ["web", "old"] {
            let at = site.home.status()["endpoints"]
                .as_array()
                .unwrap()
                .iter()
                .find_map(|one| (one["name"] == name).then(|| home::addresses(one)[0]));
            reaches(&site.home.nas, at.unwrap_or_else(|| panic!("{name}")));
        }
        Told::of(&site.home, "").is_well();
    });
}

#[test]
fn leases_of_dockers_containers() {
    on_an_engine("doctor, healthy Docker with leases", |site| {
        let engines = Engines::find().unwrap();
        let pool = "192.168.88.100,192.168.88.120,255.255.255.0,2m";
        let _server = Server::dnsmasq(&engines, &site.home.router, site.home.directory.path(), pool, &[]);
        site.ok("network create -d ashore --ipam-driver ashore --ipam-opt addressing=dhcp --subnet 192.168.88.0/24 lan");
        site.start("web", "");
        Told::of(&site.home, "").is_well();
    });
}

#[test]
fn one_network_of_both_engines_and_of_the_command_line() {
    with_both("doctor, healthy engines together", |nas, _| {
        nas.docker(&format!("network create -d ashore --ipam-driver ashore {RANGE} -o parent=eth0 lan"));
        nas.podman(&format!("network create -d ashore {RANGE} -o parent=eth0 lan"));
        nas.docker("run -d --init --name web --network lan box sleep 1000");
        nas.podman("run -d --name db --network lan box sleep 1000");
        nas.home.ok(&format!("network create bare {SUBNET} --ip-range 192.168.88.128/28"));
        // Another container of a name, on a network of another name: each is one for itself.
        let bare = nas.home.world.container("web").unwrap();
        nas.home.attach("bare", &bare, "");
        let told = Told::of(&nas.home, "");
        told.is_well();
    });
}
