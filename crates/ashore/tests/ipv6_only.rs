//! Networks with IPv6 only, and hosts without IPv4.

use ashore_lab::{Engines, Machine, cannot_run};
use home::site::on_engine;
use home::{HOST6, Home, addresses, ip, reaches, type_on};

/// Asserts that every machine on the LAN reaches a container by IPv6 and the reverse, and that the container
/// has no IPv4.
fn is_on_the_lan(home: &Home, container: &Machine, report: &serde_json::Value) {
    let [at] = addresses(report).try_into().expect("it has one address");
    assert!(at.is_ipv6(), "{at}");
    for machine in [&home.laptop, &home.nas, &home.router] {
        reaches(machine, at);
    }
    for to in ["fd88::50", HOST6, "fd88::1"] {
        reaches(container, ip(to));
    }
    let inside = container.kernel().observe(&[]).unwrap().host;
    let mut of_ipv4 = inside.addresses.iter().filter(|there| there.net.addr().is_ipv4());
    assert!(of_ipv4.all(|there| there.net.addr().is_loopback()));
}

/// Removes IPv4 from the NAS.
fn without_ipv4(home: &Home) {
    home.nas.del_default_route("eth0", ip("192.168.88.1")).unwrap();
    home.nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
}

const CREATE: &str = "network create lan --parent eth0 --subnet fd88::/64 --gateway fd88::1";

#[test]
fn a_network_has_ipv6_alone_if_its_subnet_is() {
    let mut home = Home::new();
    home.ok(CREATE);
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let report = home.attach("lan", &web, "");
    is_on_the_lan(&home, &web, &report);
    is_on_the_lan(&home, &db, &home.attach("lan", &db, ""));
    reaches(&db, addresses(&report)[0]);
    let other = home.world.container("other").unwrap();
    let netns = other.namespace().path().display();
    let ran = home.run(&format!("attach lan --netns {netns} --name other --ip fd88::50"));
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    assert!(ran.stderr.contains("fd88::50 is in use on the LAN"), "{}", ran.stderr);
    home.restart();
    home.ok("detach lan web");
    let again = home.attach("lan", &web, "");
    assert_eq!(addresses(&again), addresses(&report));
    is_on_the_lan(&home, &web, &again);
    for name in ["web", "db"] {
        home.ok(&format!("detach lan {name}"));
    }
    home.ok("network rm lan");
    assert!(home.made_links().is_empty() && home.made_routes().is_empty());
}

#[test]
fn a_host_without_ipv4_has_such_networks_and_is_told_so() {
    let home = Home::new();
    without_ipv4(&home);
    for options in ["", "--dhcp"] {
        let ran = home.run(&format!("network create lan --parent eth0 {options}"));
        assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
        for words in ["`eth0` has no IPv4 address", "for IPv6 alone, --subnet fd88::/64"] {
            assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
        }
    }
    assert_eq!(home.ok("network ls --json").trim(), "[]");
    home.ok("network create lan --parent eth0 --subnet fd88::/64");
    let web = home.world.container("web").unwrap();
    is_on_the_lan(&home, &web, &home.attach("lan", &web, ""));
}

#[test]
fn a_default_route_of_somebody_elses_in_the_container_is_named_and_left_alone() {
    if let Err(why) = Engines::find() {
        return cannot_run("IPv6 default route of somebody else's", &why);
    }
    let home = Home::new();
    home.ok(CREATE);
    let web = home.world.container("web").unwrap();
    for command in [
        "ip link add other0 type veth peer name other1",
        "ip link set other1 up",
        "ip link set other0 up",
        "ip -6 route add default via fe80::1 dev other0",
    ] {
        type_on(&web, command);
    }
    let before = web.kernel().observe(&[]).unwrap().host.links.len();
    let netns = web.namespace().path().display();
    let ran = home.run(&format!("attach lan --netns {netns} --name web"));
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    for words in ["default via fe80::1 dev other0", "--no-default-route"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert_eq!(web.kernel().observe(&[]).unwrap().host.links.len(), before);
    let report = home.attach("lan", &web, "--no-default-route");
    is_on_the_lan(&home, &web, &report);
    // Once the default route is gone, the attach succeeds.
    home.ok("detach lan web");
    type_on(&web, "ip link del other0");
    home.attach("lan", &web, "");
    let routes = web.kernel().observe(&[]).unwrap().host.routes;
    let default = routes.iter().find(|there| there.route.to.to_string() == "::/0").unwrap();
    assert_eq!(default.route.via, Some(ip("fd88::1")));
}

#[test]
fn dockers_containers_have_ipv6_alone_where_it_can_leave_ipv4_away() {
    on_engine("sid", "docker, IPv6 alone", |site| {
        let create = "network create -d ashore --ipam-driver ashore --ipv4=false --ipv6 -o parent=eth0";
        site.engine_refuses(
            &format!("{create} lan"),
            &["the IPv6 subnet is not named", "--subnet fd88::/64"],
        );
        site.engine_refuses(
            &format!("{create} --subnet fd88::/64 lan"),
            &["no default route in fd88::/64", "--gateway"],
        );
        site.ok(&format!("{create} --subnet fd88::/64 --gateway fd88::1 lan"));
        site.start("web", "");
        let before = addresses(&site.endpoint("web"));
        let [at] = before.as_slice() else { panic!("{before:?}") };
        for machine in [&site.home.laptop, &site.home.nas, &site.home.router] {
            reaches(machine, *at);
        }
        for to in ["fd88::50", HOST6, "fd88::1"] {
            site.container_reaches("web", to);
        }
        assert!(!site.ok("exec web ip -4 addr show dev eth0").contains("inet"));
        site.ok("restart -t 0 web");
        assert_eq!(addresses(&site.endpoint("web")), before);
        reaches(&site.home.laptop, *at);
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}
