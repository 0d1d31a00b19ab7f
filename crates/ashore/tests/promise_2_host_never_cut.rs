//! Promise 2: the host's own connectivity is never cut. The LAN knows the host by its NIC's MAC throughout.

use std::time::Duration;

use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::Step;
use home::tracer::Tracer;
use home::untouched::{is_untouched, untouched};
use home::{HOST, HOST6, Home, Watched, addresses, ip, mac_known_to, reaches};

/// The comparison in the other tests would notice a change.
#[test]
fn what_is_done_to_the_host_is_seen() {
    if let Err(why) = ashore_lab::Engines::find() {
        return ashore_lab::cannot_run("promise 2, what is seen", &why);
    }
    let home = Home::new();
    let mut before = untouched(&home);
    is_untouched(&home, &before);
    for command in [
        "ip route del default",
        "ip route add 10.9.0.0/24 via 192.168.88.1",
        "ip route change 10.9.0.0/24 via 192.168.88.1 mtu 1300",
        "ip route add 10.9.0.0/24 via 192.168.88.50 metric 7",
        "ip route add 10.9.1.0/24 via 192.168.88.1 table 7",
        "ip -6 route add fd99::/64 via fd88::1",
        "ip rule add from 192.168.88.9 lookup 7",
        "ip neigh add 192.168.88.77 lladdr 02:00:00:00:00:77 dev eth0",
        "ip link set eth0 mtu 1400",
        "ip link add by-hand type bridge",
        "ip addr add 10.9.0.1/24 dev eth0",
        "sysctl -w net.ipv4.conf.eth0.proxy_arp=1",
        "sysctl -w net.ipv4.neigh.eth0.gc_stale_time=61",
        "sysctl -w net.ipv6.conf.all.forwarding=1",
    ] {
        match command.strip_prefix("sysctl -w ") {
            None => home::type_on(&home.nas, command),
            Some(set) => {
                let (key, value) = set.split_once('=').unwrap();
                let path = format!("/proc/sys/{}", key.replace('.', "/"));
                home.nas.inside(|| std::fs::write(path, value)).unwrap().unwrap();
            }
        }
        let after = untouched(&home);
        assert_ne!(after, before, "{command}");
        before = after;
    }
}

#[test]
fn the_hosts_bridge_keeps_its_mtu_whatever_its_containers_have() {
    let home = Home::new();
    let name = |text: &str| -> ashore_core::net::name::IfName { text.parse().unwrap() };
    let wire = LinkType::Veth { peer: name("far"), peer_place: Place::Host, peer_mac: None };
    for (mtu, own) in [(9000, None), (1400, None), (9000, Some(1500))] {
        let bridge = format!("br{mtu}");
        let place = Place::Host;
        let steps = [
            Step::AddLink {
                place: place.clone(),
                link: LinkSpec { name: name(&bridge), kind: LinkType::Bridge, mac: None, mtu: None },
            },
            Step::AddLink {
                place: place.clone(),
                link: LinkSpec { name: name("nic"), kind: wire.clone(), mac: None, mtu: Some(mtu) },
            },
            Step::SetMaster {
                place: place.clone(),
                link: name("nic"),
                master: Some(name(&bridge)),
                was: None,
            },
            Step::SetUp { place: place.clone(), link: name("nic"), up: true },
            Step::SetUp { place: place.clone(), link: name("far"), up: true },
            Step::SetUp { place, link: name(&bridge), up: true },
        ];
        home.nas.apply(&steps).unwrap();
        let own = own.map_or_else(String::new, |own: u32| format!("--mtu {own}"));
        home.ok(&format!("network create lan --parent {bridge} --kind bridge --subnet 10.7.0.0/24 {own}"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let mtu_of = |machine: &ashore_lab::Machine, link: &str| {
            machine.kernel().observe(&[]).unwrap().host.link(&name(link)).unwrap().mtu
        };
        assert_eq!(mtu_of(&home.nas, &bridge), mtu);
        assert_eq!(mtu_of(&web, "eth0"), if own.is_empty() { mtu } else { 1500 });
        assert!(home.ok("plan").contains("nothing to change"));
        home.ok("detach lan web");
        assert_eq!(mtu_of(&home.nas, &bridge), mtu);
        home.ok("network rm lan");
        home.nas.remove_link("nic").unwrap();
        home.nas.remove_link(&bridge).unwrap();
    }
}

/// A machine that joins the LAN now finds the host, at its NIC's MAC.
fn newcomer_finds_the_host(home: &Home, last: u8) {
    let newcomer = home.world.machine(&format!("guest{last}"), last).unwrap();
    reaches(&newcomer, ip(HOST));
    reaches(&newcomer, ip(HOST6));
    assert_eq!(mac_known_to(&newcomer, ip(HOST)), home.nic());
}

fn all_of_life(options: &str, rp_filter: i32) {
    let mut home = Home::new();
    home.nas.set_ipv4_conf("all", "rp_filter", rp_filter).unwrap();
    home.nas.set_ipv4_conf("eth0", "rp_filter", rp_filter).unwrap();
    let before = untouched(&home);
    let watched = Watched::begin(&home);
    home.ok(&format!(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 \
         --ip-range fd88::c0/122 --gateway 192.168.88.1 --gateway fd88::1 {options}"
    ));
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""));
    reaches(&home.laptop, at[0]);
    is_untouched(&home, &before);
    newcomer_finds_the_host(&home, 60);

    // Failures: a namespace that has an eth0, and an address in use.
    let netns = home.laptop.namespace().path().display().to_string();
    assert_ne!(home.run(&format!("attach lan --netns {netns} --name laptop")).code, Some(0));
    let other = home.world.container("other").unwrap();
    let netns = other.namespace().path().display().to_string();
    assert_ne!(home.run(&format!("attach lan --netns {netns} --name other --ip {HOST}")).code, Some(0));

    home.restart();
    home.ok("detach lan web");
    home.ok("network rm lan");
    assert!(home.made_links().is_empty());
    newcomer_finds_the_host(&home, 61);
    watched.end_with_lost(0);
    is_untouched(&home, &before);
}

#[test]
fn while_containers_come_fail_and_go() {
    all_of_life("", 0);
}

#[test]
fn under_strict_reverse_path_filtering() {
    all_of_life("", 1);
}

#[test]
fn with_an_address_of_its_own_on_the_shim() {
    all_of_life("--aux-address host=192.168.88.222", 1);
}

#[test]
fn making_a_network_touches_nothing_in_the_kernel() {
    let home = Home::new();
    let before_all = untouched(&home);
    let seen = || {
        let mut host = home.nas.kernel().observe(&[]).unwrap().host;
        host.neighbours.clear();
        host
    };
    let before = seen();
    home.create_lan();
    assert_eq!(seen(), before);
    is_untouched(&home, &before_all);
}

#[test]
fn a_daemon_that_dies_in_an_attach_leaves_the_host_reachable() {
    let mut home = Home::new();
    home.create_lan();
    let before = untouched(&home);
    let watched = Watched::begin(&home);
    // The daemon dies before it has begun, when the shim is half created, or when only the answer is missing:
    // at a system call that changes the kernel or the disk, which is not executed.
    for at in [1, 4, 7, 10, 12] {
        let web = home.world.container("web").unwrap();
        let tracer = Tracer::kill_at(home.daemon().pid(), at);
        let ran = home.run(&format!("attach lan --netns {} --name web", web.namespace().path().display()));
        assert_ne!(ran.code, Some(0), "it was to die at its call {at}");
        assert_eq!(tracer.end().len(), at);
        assert!(home.daemon.as_mut().unwrap().ended_within(Duration::from_secs(10)).unwrap());
        home.daemon = None;
        is_untouched(&home, &before);
        home.start();
        home.run("detach lan web");
        is_untouched(&home, &before);
    }
    watched.end_with_lost(0);
}
