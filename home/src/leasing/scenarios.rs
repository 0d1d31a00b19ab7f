//! Scenarios: what happens to leases.

use super::{
    At, IpAddr, Ipv4Addr, Leasing, LinkSpec, LinkType, PATIENCE, Place, Relay, Said, Step, What, address_of,
    dns, endpoint, eventually, eventually_within, is_defended, mac_known_to, reaches, takes,
};

/// The messages go in the RFC's order and come from the container's own MAC. The server's table and the LAN
/// agree.
pub fn first_lease<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    on.is_listed("web", at);
    for machine in [&on.home().laptop, &on.home().nas, &on.home().router] {
        reaches(machine, at.into());
    }
    let mac = on.mac_of("web");
    assert_eq!(mac_known_to(&on.home().laptop, at.into()), mac);
    let asked = on.wire.asked();
    assert!(asked.iter().all(|said| said.mac.to_string() == mac), "{asked:?}");
    let mut whats: Vec<What> = asked.iter().map(|said| said.what).collect();
    // A server that probes the address first may get the DISCOVER twice.
    whats.dedup();
    assert_eq!(whats, [What::Discover, What::Select]);
    let acks = on.wire.answered().into_iter().filter(|said| said.what == What::Ack);
    assert_eq!(acks.map(|ack| ack.ip()).collect::<Vec<_>>(), [at]);
}

/// The router's DNS answers for the container. It does so after the daemon, the container, and the router's
/// table are lost.
pub fn answered_by_dns<P: Place>(on: &mut Leasing<P>) {
    let (web, db) = (on.place.start("web"), on.place.start("shop_db_1"));
    on.dns_knows("web", web);
    // Compose before version 2 names containers like this. An underscore is not valid in a host name (RFC
    // 1123, 2.1).
    on.dns_knows("shop-db-1", db);
    on.place.stop("web");
    assert_eq!(on.place.start("web"), web);
    on.dns_knows("web", web);
    // The router starts again with an empty table. The daemon has the lease confirmed, and so tells the
    // router the name.
    on.server.take().expect("it runs").lose_table();
    on.serve();
    assert!(dns::addresses_of(&on.engines, &on.home().laptop, "web.lan").is_empty());
    on.place.kill_daemon();
    on.dns_knows("web", web);
    on.dns_knows("shop-db-1", db);
}

/// A container that comes back confirms its lease in one exchange.
pub fn comes_back<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let discovers = on.wire.count(What::Discover);
    on.place.stop("web");
    on.place.kill_daemon();
    assert_eq!(on.place.start("web"), at);
    assert_eq!(on.wire.count(What::Discover), discovers);
    let asked = on.wire.asked();
    let reboot = asked.iter().rfind(|said| said.what == What::Reboot).expect("it asked for what it had");
    assert_eq!(reboot.ip(), at);
    on.is_listed("web", at);
    reaches(&on.home().laptop, at.into());
}

/// The NAS loses power. The container gets its former address again, and the server lists it once.
pub fn host_reboot<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let mac = on.mac_of("web");
    assert_eq!(on.place.reboot(&on.engines, "web"), at);
    assert_eq!(on.mac_of("web"), mac);
    reaches(&on.home().laptop, at.into());
    on.is_listed("web", at);
}

/// The container stays reachable while the daemon is dead. The next daemon renews the lease.
pub fn daemon_killed<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let pings = on.home().laptop.pings(at.into());
    on.wire.wait_for(What::Renew);
    on.place.kill_daemon();
    on.wire.wait_for(What::Renew);
    let acks = on.wire.answers(What::Ack);
    eventually("the new daemon renews the lease", || on.wire.answers(What::Ack) > acks);
    on.is_listed("web", at);
    let counted = pings.end();
    assert_eq!(counted.lost, 0, "{counted:?}");
}

/// Ten containers that start together get ten addresses. All are reachable and listed.
pub fn ten_at_once<P: Place>(on: &mut Leasing<P>) {
    let names: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    let all = on.place.start_all(&names);
    for (name, at) in names.iter().zip(&all) {
        reaches(&on.home().laptop, (*at).into());
        on.is_listed(name, *at);
    }
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), 10, "{all:?}");
}

/// At T1 the container asks its own server, by unicast, and sends no option that RFC 2131, table 5, forbids.
pub fn renewed_at_t1<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let pings = on.home().laptop.pings(at.into());
    for _ in 0..2 {
        on.wire.wait_for(What::Renew);
    }
    let acks = on.wire.answers(What::Ack);
    eventually("the renewal is answered", || on.wire.answers(What::Ack) > acks);
    let asked = on.wire.asked();
    let renew = asked.iter().find(|said| said.what == What::Renew).expect("it was waited for");
    assert_eq!((renew.from, renew.to, renew.message.ciaddr), (at, [192, 168, 88, 1].into(), at));
    assert_eq!(renew.mac.to_string(), on.mac_of("web"));
    assert!(!renew.message.broadcast);
    assert_eq!((on.wire.count(What::Rebind), on.wire.count(What::Discover)), (0, 1));
    let counted = pings.end();
    assert_eq!(counted.lost, 0, "{counted:?}");
    on.is_listed("web", at);
    // The RELEASE for a removed container also reaches the server, through the router.
    on.place.stop("web");
    on.home().ok("forget web");
    eventually("the server's table is empty", || on.rows().is_empty());
}

/// The server is down at T1 and back for T2. The LAN notices nothing.
pub fn server_down_past_t1<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let pings = on.home().laptop.pings(at.into());
    on.server = None;
    on.wire.wait_for(What::Renew);
    on.serve();
    let before = on.wire.answers(What::Ack);
    eventually_within(PATIENCE, "a server renews the lease", || {
        on.wire.count(What::Rebind) > 0 && on.wire.answers(What::Ack) > before
    });
    on.is_listed("web", at);
    let counted = pings.end();
    assert_eq!(counted.lost, 0, "{counted:?}");
    assert_eq!(on.wire.count(What::Discover), 1);
}

/// The server is down until the lease expires, so the address leaves the LAN. When the server is back, the
/// container is too.
pub fn server_down_past_expiry<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    on.server = None;
    on.leaves_the_lan(at);
    let troubles = || on.home().troubles().to_string();
    eventually("the status shows the trouble", || troubles().contains("`web` has no IPv4 address"));
    on.serve();
    let now = on.comes_to_have_another("web", Ipv4Addr::UNSPECIFIED);
    on.is_listed("web", now);
}

/// The server loses its table. The container ends up with an address that the server knows.
pub fn lease_file_lost<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    on.is_listed("web", at);
    on.server.take().expect("it runs").lose_table();
    on.serve();
    let mac = on.mac_of("web");
    eventually_within(PATIENCE, "the server lists the container again", || {
        let mut rows = on.rows().into_iter().filter(|row| row.mac == mac);
        rows.next().is_some_and(|row| address_of(on.home(), "web").is_some_and(|at| row.ip == at.to_string()))
    });
    let now = address_of(on.home(), "web").expect("it was waited for");
    reaches(&on.home().laptop, now.into());
    on.is_listed("web", now);
}

/// The router is replaced by one with another subnet. The container follows and leaves its old address.
pub fn renumbered<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    on.server.take().expect("it runs").lose_table();
    on.home().router.add_address("eth0", "10.77.0.1/24".parse().unwrap()).unwrap();
    on.home().router.del_address("eth0", "192.168.88.1/24".parse().unwrap()).unwrap();
    on.setup.pool = ([10, 77, 0, 100].into(), [10, 77, 0, 120].into());
    on.serve();
    let now = on.comes_to_have_another("web", at);
    assert_eq!(now.octets()[..3], [10, 77, 0]);
    on.is_listed("web", now);
    on.leaves_the_lan(at);
    eventually("the container's default route leads to the new router", || {
        on.place.router_of("web") == Some([10, 77, 0, 1].into())
    });
    // The host moves to the new subnet too.
    let nas = &on.home().nas;
    nas.add_address("eth0", "10.77.0.9/24".parse().unwrap()).unwrap();
    nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
    eventually("the host reaches the container", || nas.ping(now.into()).is_some());
    let route = format!("{now}/32 dev shim-eth0 src 10.77.0.9 proto 65");
    assert_eq!(on.home().made_routes(), [route]);
    for shown in [on.home().ok("status"), on.home().ok("network ls")] {
        assert!(shown.contains("10.77.0.0/24") && !shown.contains("192.168.88."), "{shown}");
    }
}

/// A pool of one address: the second container is refused with a reason, and the first is not disturbed.
pub fn pool_exhausted<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let said = on.place.is_refused("db");
    assert!(said.contains("has free addresses") && said.contains("no DHCP server"), "{said}");
    assert!(endpoint(on.home(), "db").is_none());
    reaches(&on.home().laptop, at.into());
    on.is_listed("web", at);
    assert_eq!(on.rows().len(), 1, "{:?}", on.rows());
}

/// Another machine takes the address while the container is away. The container declines it and uses another
/// one.
pub fn squatter_before<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    on.place.stop("web");
    let laptop = &on.home().laptop;
    laptop.add_address("eth0", ipnet::IpNet::new(at.into(), 24).unwrap()).unwrap();
    let now = on.place.start("web");
    assert_ne!(now, at);
    let asked = on.wire.asked();
    let declined = asked.iter().filter(|said| said.what == What::Decline);
    assert_eq!(declined.map(Said::ip).collect::<Vec<_>>(), [at]);
    reaches(&on.home().router, now.into());
    on.is_listed("web", now);
}

/// Another machine takes the address while the container has it. The container defends and renews it, and the
/// status shows the conflict.
pub fn squatter_after<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let mac = on.mac_of("web");
    reaches(&on.home().router, at.into());
    let shown = || on.home().troubles().to_string().contains("claims the address of `web`");
    takes(&on.home().laptop, at.into(), shown);
    is_defended(&on.home().router, at.into(), &mac, &on.home().laptop);
    on.wire.wait_for(What::Renew);
    on.is_listed("web", at);
}

/// The router reserves another address for the container's MAC.
pub fn reservation<P: Place>(on: &mut Leasing<P>) {
    let at = on.place.start("web");
    let (mac, reserved) = (on.mac_of("web"), Ipv4Addr::new(192, 168, 88, 66));
    on.place.stop("web");
    on.server = None;
    on.setup.reserved = vec![(mac, reserved)];
    on.serve();
    let mut now = on.place.start("web");
    if now == at {
        // The server took more than two seconds to answer, so the container used its recorded address until
        // then.
        now = on.comes_to_have_another("web", at);
    }
    assert_eq!(now, reserved);
    reaches(&on.home().laptop, reserved.into());
    let answered = on.wire.answered();
    assert_eq!(answered.iter().rfind(|said| said.what == What::Ack).map(Said::ip), Some(reserved));
}

/// The server is on another LAN, behind a relay. The first exchange goes through the relay, the renewal at T1
/// directly by unicast.
pub fn relayed<P: Place>(on: &mut Leasing<P>) {
    on.server = None;
    let home = on.place.home();
    let beyond = home.world.container("beyond").unwrap();
    let name = |text: &str| text.parse::<ashore_core::net::name::IfName>().unwrap();
    let kind = LinkType::Veth {
        peer: name("eth0"),
        peer_place: At::Netns(beyond.namespace().identity()),
        peer_mac: None,
    };
    let link = LinkSpec { name: name("eth1"), kind, mac: None, mtu: None };
    home.router.apply(&[Step::AddLink { place: At::Host, link }]).unwrap();
    for (machine, link, net) in [(&home.router, "eth1", "10.9.0.1/24"), (&beyond, "eth0", "10.9.0.2/24")] {
        machine.set_up(link, true).unwrap();
        machine.add_address(link, net.parse().unwrap()).unwrap();
    }
    beyond.add_default_route("eth0", IpAddr::from([10, 9, 0, 1])).unwrap();
    home.router.set_ipv4_conf("all", "forwarding", 1).unwrap();
    let server = Ipv4Addr::new(10, 9, 0, 2);
    on.setup.beyond_relay = Some(server);
    let serving = on.brand.serve(&on.engines, &beyond, home.directory.path(), &on.setup);
    let _relay = Relay::start(&on.engines, &home.router, server);
    on.server = Some(serving);
    let at = on.place.start("web");
    on.is_listed("web", at);
    let offer = on.wire.answered().into_iter().find(|said| said.what == What::Offer).expect("there was one");
    assert_eq!(offer.message.giaddr, Ipv4Addr::new(192, 168, 88, 1), "the offer comes through the relay");
    let pings = on.home().laptop.pings(at.into());
    on.wire.wait_for(What::Renew);
    on.wire.wait_for(What::Renew);
    let asked = on.wire.asked();
    assert!(asked.iter().filter(|said| said.what == What::Renew).all(|said| said.to == server), "{asked:?}");
    assert_eq!(on.wire.count(What::Rebind), 0, "the renewals must be answered before T2");
    let counted = pings.end();
    assert_eq!(counted.lost, 0, "{counted:?}");
    on.is_listed("web", at);
}
