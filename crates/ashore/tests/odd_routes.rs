//! Default routes that are not one next hop on one link. Ashore sees them where it looks for the LAN, and
//! where one of its own routes would conflict with them.

use home::{Home, addresses, does_not_reach, eventually, ip, reaches, type_on};

/// Ways to configure a default route with two routers, or with one of the other family.
const DEFAULTS: [&[&str]; 4] = [
    &["ip route add default nexthop via 192.168.88.1 dev eth0 nexthop via 192.168.88.2 dev eth0"],
    &["ip nexthop add id 7 via 192.168.88.1 dev eth0", "ip route add default nhid 7"],
    &[
        "ip nexthop add id 7 via 192.168.88.1 dev eth0",
        "ip nexthop add id 8 via 192.168.88.2 dev eth0",
        "ip nexthop add id 9 group 7/8",
        "ip route add default nhid 9",
    ],
    &["ip -4 route add default via inet6 fe80::1 dev eth0"],
];

fn number_of_next_hops_alone(home: &Home, alone: bool) {
    let value = if alone { "0" } else { "1" };
    let write = || std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", value);
    home.nas.inside(write).unwrap().unwrap();
}

#[test]
fn the_parent_is_found_by_every_kind_of_default_route() {
    let home = Home::new();
    home.nas.del_default_route("eth0", ip("192.168.88.1")).unwrap();
    for alone in [false, true] {
        number_of_next_hops_alone(&home, alone);
        for commands in DEFAULTS {
            for command in commands {
                type_on(&home.nas, command);
            }
            home.ok("network create lan --ip-range 192.168.88.192/27 --conflict off");
            let lan: serde_json::Value =
                serde_json::from_str(&home.ok("network inspect lan --json")).unwrap();
            assert_eq!(lan["parent"], "eth0", "{lan}");
            let subnet = &lan["subnets"][0];
            assert_eq!(subnet["net"], "192.168.88.0/24");
            let router = if commands[0].contains("inet6") { None } else { Some("192.168.88.1") };
            assert_eq!(subnet["gateway"].as_str(), router, "{commands:?}");
            home.ok("network rm lan");
            type_on(&home.nas, "ip route del default");
            type_on(&home.nas, "ip nexthop flush");
        }
    }
}

#[test]
fn one_that_is_in_a_container_already_is_named_before_anything_is_touched() {
    let home = Home::new();
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 \
         --gateway 192.168.88.1 --gateway fd88::1",
    );
    let before = home.made_links();
    for (command, said) in [
        ("ip route add blackhole default", "blackhole default"),
        ("ip route add unreachable default", "unreachable default"),
        ("ip route add prohibit default", "prohibit default"),
        ("ip route add throw default", "throw default"),
        ("ip -6 route add unreachable default metric 1024", "unreachable default"),
        ("ip route add default nexthop dev br0 nexthop dev br1", "default nexthop dev br0"),
        ("ip route add default nhid 7", "default nexthop via 10.7.0.1 dev br0"),
        ("ip -4 route add default via inet6 fe80::7 dev br0", "default via inet6 fe80::7 dev br0"),
    ] {
        let web = home.world.container("web").unwrap();
        for prepare in [
            "ip link add br0 up type bridge",
            "ip link add br1 up type bridge",
            "ip addr add 10.7.0.2/24 dev br0",
            "ip nexthop add id 7 via 10.7.0.1 dev br0",
        ] {
            type_on(&web, prepare);
        }
        type_on(&web, command);
        let netns = web.namespace().path().display();
        let attach = format!("attach lan --netns {netns} --name web");
        let ran = home.run(&attach);
        assert_eq!(ran.code, Some(5), "{command}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("there is a route `{said}` already")), "{}", ran.stderr);
        assert!(web.kernel().observe(&[]).unwrap().host.link(&"eth0".parse().unwrap()).is_none());
        assert_eq!(
            home.made_links().len(),
            before.len() + usize::from(home.made_links().contains(&"shim-eth0".into()))
        );

        home.ok(&format!("{attach} --no-default-route"));
        reaches(&web, ip("192.168.88.50"));
        home.ok("detach lan web");
    }
}

/// They can be neither changed nor removed like Ashore's own routes.
#[test]
fn a_route_of_several_ways_is_not_ashores_whatever_its_protocol() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""))[0];
    type_on(&web, "ip nexthop add id 7 via 192.168.88.1 dev eth0");
    type_on(&web, "ip route add 10.1.0.0/16 nhid 7 proto 65");
    type_on(&web, "ip route add 10.2.0.0/16 proto 65 nexthop via 192.168.88.1 nexthop via 192.168.88.2");
    type_on(&web, "ip route add blackhole 10.3.0.0/16 proto 65");
    home.nudge();
    eventually("nothing is to do", || home.ok("plan").trim() == "# nothing to change");
    assert_eq!(home.troubles(), serde_json::json!([]));
    reaches(&home.laptop, at);
    home.ok("detach lan web");
    does_not_reach(&home.laptop, at);
}

#[test]
fn of_what_the_host_has_learnt_of_routers_only_default_routes_matter() {
    let home = Home::new();
    for number in 0..50 {
        type_on(&home.nas, &format!("ip -6 route add fd99:{number}::/64 via fe80::1 dev eth0 proto ra"));
    }
    type_on(&home.nas, "ip -6 route add default via fe80::1 dev eth0 proto ra metric 2048");
    let routes = home.nas.kernel().observe(&[]).unwrap().host.routes;
    let learnt: Vec<_> = routes.iter().filter(|there| there.protocol == 9).collect();
    assert_eq!(learnt.len(), 1, "{learnt:?}");
    assert_eq!(learnt[0].route.to.prefix_len(), 0);
}
