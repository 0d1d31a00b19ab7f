//! What happens to a parent happens to its networks: down and up, removed and back, another address of the
//! host.

use ashore_lab::{Engines, World, cannot_run};
use home::dhcp::Server;
use home::{Home, addresses, does_not_reach, eventually, ip, reaches, type_on};

fn attached(home: &Home) -> (ashore_lab::Machine, std::net::IpAddr) {
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""))[0];
    reaches(&home.laptop, at);
    reaches(&home.nas, at);
    (web, at)
}

/// Asserts that the status says that the network is off the LAN, and why.
#[track_caller]
fn is_said(home: &Home, words: &str) {
    eventually("the status says so", || {
        let troubles = home.troubles().to_string();
        troubles.contains("network `lan` is off the LAN") && troubles.contains(words)
    });
}

/// Asserts that the answer to an attach says something, and says it once.
#[track_caller]
fn is_answered(report: &serde_json::Value, words: &str) {
    assert_eq!(report["warnings"].to_string().matches(words).count(), 1, "{report}");
}

#[test]
fn a_bridge_whose_link_to_the_lan_is_cut_off() {
    let home = Home::bridged();
    home.ok("network create lan --parent br0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27");
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""))[0];
    reaches(&home.laptop, at);
    assert_eq!(home.troubles().as_array().unwrap().len(), 0, "{}", home.status());
    home.world.set_cable(&home.nas, false).unwrap();
    is_said(&home, "no link of the bridge `br0` to the LAN has a carrier: `eth0`");
    home.world.set_cable(&home.nas, true).unwrap();
    eventually("no trouble is left", || home.troubles().as_array().unwrap().is_empty());
    home.nas.set_up("br0", false).unwrap();
    is_said(&home, "the parent `br0` is down");
}

#[test]
fn down_and_up() {
    let home = Home::new();
    let (web, at) = attached(&home);
    home.nas.set_up("eth0", false).unwrap();
    does_not_reach(&home.laptop, at);
    is_said(&home, "ip link set dev eth0 up");
    home.nas.set_up("eth0", true).unwrap();
    // The host's own routes are the administrator's business.
    eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
    eventually("the host reaches it again", || home.nas.ping(at).is_some());
    reaches(&web, ip(home::HOST));
}

#[test]
fn who_starts_while_the_parent_is_down_is_on_the_lan_once_it_is_up() {
    let home = Home::new();
    home.create_lan();
    home.nas.set_up("eth0", false).unwrap();
    let web = home.world.container("web").unwrap();
    let report = home.attach("lan", &web, "");
    let at = addresses(&report)[0];
    is_answered(&report, "the parent `eth0` is down");
    is_said(&home, "the parent `eth0` is down");
    home.nas.set_up("eth0", true).unwrap();
    eventually("the LAN reaches it", || home.laptop.ping(at).is_some());
    eventually("the host reaches it", || home.nas.ping(at).is_some());
    reaches(&web, ip(home::HOST));
    eventually("no trouble is left", || home.troubles().as_array().unwrap().is_empty());
}

#[test]
fn a_lan_that_has_other_addresses_by_now_is_told_where_a_network_hands_out_the_old_ones() {
    let home = Home::new();
    let (_web, _) = attached(&home);
    let [old, new] = ["192.168.88.9/24", "192.168.1.9/24"].map(|net| net.parse().unwrap());
    let told = "the subnet 192.168.88.0/24 is not that of the parent `eth0`, which has 192.168.1.9/24";
    home.nas.add_address("eth0", new).unwrap();
    home.nas.del_address("eth0", old).unwrap();
    let troubles = || home.troubles().to_string();
    eventually("the status says so", || troubles().contains(told));
    let db = home.world.container("db").unwrap();
    let report = home.attach("lan", &db, "");
    assert!(report["warnings"].to_string().contains(told), "{report}");
    // Without an address, the host is not on the LAN.
    home.nas.del_address("eth0", new).unwrap();
    eventually("nothing is known of it", || troubles() == "[]");
    home.nas.add_address("eth0", old).unwrap();
    eventually("all is as it was", || troubles() == "[]");
}

#[test]
fn a_host_that_does_not_answer_by_the_shim_is_told_with_what_makes_it() {
    let home = Home::new();
    let (web, _) = attached(&home);
    home.nas.set_ipv4_conf("all", "arp_ignore", 1).unwrap();
    let told = "net.ipv4.conf.all.arp_ignore is 1";
    assert!(home.troubles().to_string().contains(told), "{}", home.status());
    let db = home.world.container("db").unwrap();
    is_answered(&home.attach("lan", &db, ""), told);
    does_not_reach(&db, ip(home::HOST));
    let other = "network create other --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.64/28";
    assert!(home.run(other).stderr.contains(told));
    home.nas.set_ipv4_conf("all", "arp_ignore", 3).unwrap();
    assert_eq!(home.troubles().to_string(), "[]");
    reaches(&db, ip(home::HOST));
    reaches(&web, ip(home::HOST));
}

#[test]
fn a_pulled_cable_is_forgotten_once_it_is_plugged_in_again() {
    let home = Home::new();
    let (_web, at) = attached(&home);
    home.world.set_cable(&home.nas, false).unwrap();
    does_not_reach(&home.laptop, at);
    is_said(&home, "`eth0` has no carrier");
    // A container that starts meanwhile is on the LAN as soon as there is one. A NAS may be up before its
    // switch.
    let db = home.world.container("db").unwrap();
    let report = home.attach("lan", &db, "");
    let at_db = addresses(&report)[0];
    is_answered(&report, "`eth0` has no carrier");
    home.world.set_cable(&home.nas, true).unwrap();
    for at in [at, at_db] {
        eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
        reaches(&home.nas, at);
    }
}

#[test]
fn gone_and_back() {
    let home = Home::new();
    let (web, at) = attached(&home);
    home.nas.remove_link("eth0").unwrap();
    eventually("the status says what it waits for", || {
        home.troubles().to_string().contains("waits for its parent `eth0`")
    });
    home.world.plug_in(&home.nas).unwrap();
    home.nas.add_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
    eventually("the LAN reaches it again", || home.laptop.ping(at).is_some());
    eventually("the host reaches it again", || home.nas.ping(at).is_some());
    reaches(&web, ip(home::HOST));
    assert_eq!(home.troubles().as_array().unwrap().len(), 0);
}

#[test]
fn the_shim_follows_the_hosts_address() {
    let home = Home::new();
    let (web, at) = attached(&home);
    home.nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
    home.nas.add_address("eth0", "192.168.88.19/24".parse().unwrap()).unwrap();
    eventually("the host reaches it from its new address", || home.nas.ping(at).is_some());
    eventually("it reaches the host at its new address", || web.ping(ip("192.168.88.19")).is_some());
    reaches(&home.laptop, at);
    assert_eq!(home.made_routes(), [format!("{at}/32 dev shim-eth0 src 192.168.88.19 proto 65")]);
}

#[test]
fn the_ways_by_ipv6_follow_the_hosts_address() {
    let home = Home::new();
    home.ok("network create six --parent eth0 --subnet fd88::/64 --ip-range fd88::c0/122 --gateway fd88::1");
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("six", &web, ""))[0];
    reaches(&home.nas, at);
    reaches(&web, ip(home::HOST6));
    home.nas.del_address("eth0", "fd88::9/64".parse().unwrap()).unwrap();
    home.nas.add_address("eth0", "fd88::19/64".parse().unwrap()).unwrap();
    eventually("the host reaches it from its new address", || home.nas.ping(at).is_some());
    eventually("it reaches the host at its new address", || web.ping(ip("fd88::19")).is_some());
    reaches(&home.laptop, at);
    assert_eq!(home.made_routes(), [format!("{at}/128 dev shim-eth0 src fd88::19 proto 65")]);
    let routes = web.kernel().observe(&[]).unwrap().host.routes;
    let ways: Vec<String> = routes.iter().map(|route| route.route.to_string()).collect();
    assert!(ways.iter().any(|way| way.starts_with("fd88::19/128 via fe80::")), "{ways:?}");
    assert!(!ways.iter().any(|way| way.starts_with("fd88::9/128")), "{ways:?}");
}

#[test]
fn who_starts_while_the_host_gets_and_loses_addresses_is_on_the_lan_and_has_a_way_to_each() {
    let home = Home::new();
    home.ok(
        "network create six --parent eth0 --subnet fd88::/64 --ip-range fd88::c0/122 --gateway fd88::1 --conflict off",
    );
    let web = home.world.container("web").unwrap();
    // The host's first address stays the one by which it speaks.
    let changes = "while ip addr add fd88::77/64 dev eth0 nodad preferred_lft 0; do ip addr del fd88::77/64 dev eth0; done";
    let mut changing = home.nas.command("sh").unwrap();
    let mut changing = Engines::find().unwrap().equip(&mut changing).args(["-c", changes]).spawn().unwrap();
    let attached =
        || home.run(&format!("attach six --netns {} --name web", web.namespace().path().display()));
    // No attach is refused, whether the address comes or goes between its plan and its last look.
    let refused: Vec<String> = (0..40)
        .map(|_| attached())
        .inspect(|_| drop(home.run("detach six web")))
        .filter(|ran| ran.code != Some(0))
        .map(|ran| ran.stderr)
        .collect();
    assert_eq!(changing.try_wait().unwrap(), None, "the address still comes and goes");
    changing.kill().unwrap();
    changing.wait().unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    home.attach("six", &web, "");
    type_on(&home.nas, "ip addr replace fd88::77/64 dev eth0 nodad");
    for at in [home::HOST6, "fd88::77"] {
        eventually("it reaches the host at each of its addresses", || web.ping(ip(at)).is_some());
    }
}

fn inspected(home: &Home) -> serde_json::Value {
    serde_json::from_str(&home.ok("network inspect lan --json")).unwrap()
}

#[test]
fn a_parent_by_its_alternative_name() {
    let home = Home::new();
    type_on(&home.nas, "ip link property add dev eth0 altname enp1s0");
    for parent in ["enp1s0", "eth0"] {
        home.ok(&format!(
            "network create lan --parent {parent} --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27"
        ));
        assert_eq!(inspected(&home)["parent"], "eth0");
        assert_eq!(home.ok(&format!("network move lan --parent {parent}")), "network lan is on eth0\n");
        home.ok("network rm lan");
    }
    home.ok("pool-check --parent enp1s0 --ip-range 192.168.88.192/27");
    home.ok("network create lan --parent enp1s0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27");
    for parent in ["enp1s0", "eth0"] {
        let shown = home.ok(&format!("doctor --parent {parent}"));
        assert!(shown.contains("network `lan`"), "{parent}: {shown}");
    }
    home.ok("network rm lan");
    let set_up = home.run_on_nas("setup --parent enp1s0 --engine ashore --dry-run").expect_success();
    assert!(set_up.contains("eth0 faces the LAN 192.168.88.0/24"), "{set_up}");
    // The kernel allows longer ones than names of interfaces are, and shows what the interface's own is.
    let long = "enp0s20f0u1u2i5n12";
    type_on(&home.nas, &format!("ip link property add dev eth0 altname {long}"));
    let ran = home.run(&format!("network create lan --parent {long}"));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("ip link show dev {long}")), "{}", ran.stderr);
    assert!(home::shown_on(&home.nas, &format!("ip link show dev {long}")).contains("eth0"));
    let ran = home.run("network create lan --parent enp2s0");
    assert!(ran.stderr.contains("`enp2s0` does not exist"), "{}", ran.stderr);
}

#[test]
fn renamed_while_containers_are_on_it() {
    for altname in [false, true] {
        let home = Home::new();
        let (web, at) = attached(&home);
        let lan = home.laptop.pings(at);
        if altname {
            // As udev does if the name is already in use.
            type_on(&home.nas, "ip link property add dev eth0 altname lan1");
        }
        type_on(&home.nas, "ip link set dev eth0 name lan0");
        eventually("the network follows its parent", || inspected(&home)["parent"] == "lan0");
        eventually("the host reaches it again", || home.nas.ping(at).is_some());
        reaches(&web, ip(home::HOST));
        let counted = lan.end();
        assert_eq!(counted.lost, 0, "{counted:?}");
        let db = home.world.container("db").unwrap();
        let at_db = addresses(&home.attach("lan", &db, ""))[0];
        for machine in [&home.laptop, &home.nas, &web] {
            reaches(machine, at_db);
        }
        assert_eq!(home.troubles(), serde_json::json!([]));
        let mut made = home.made_links();
        made.retain(|link| link != "lan0");
        assert_eq!(made, ["shim-lan0"]);
    }
}

#[test]
fn renamed_while_no_daemon_ran() {
    let mut home = Home::new();
    let (web, at) = attached(&home);
    home.daemon = None;
    type_on(&home.nas, "ip link set dev eth0 name lan0");
    home.start();
    let told = "`eth0` to come back; try: its subnet is on `lan0` now";
    eventually("the status says where the LAN is", || home.troubles().to_string().contains(told));
    let troubles = home.troubles().to_string();
    assert!(troubles.contains("ashore network move lan --parent lan0"), "{troubles}");
    let status = home.status();
    let waiting = status["troubles"].as_array().unwrap().iter().find(|one| one["code"] == "parent-missing");
    let waiting = waiting.unwrap_or_else(|| panic!("{status}"));
    assert_eq!(waiting["severity"], "broken");
    assert_eq!(waiting["about"], serde_json::json!({ "network": "lan", "parent": "eth0" }));
    let printed = home.ok("status");
    let line = format!(
        "\n! {}; try: {}\n",
        waiting["message"].as_str().unwrap(),
        waiting["remedy"].as_str().unwrap()
    );
    assert!(printed.contains(&line), "{printed}");
    reaches(&home.laptop, at);
    for (parent, said) in [("lan1", "`lan1` does not exist"), ("lo", "loopback")] {
        let ran = home.run(&format!("network move lan --parent {parent}"));
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    home.ok("network move lan --parent lan0");
    assert_eq!(inspected(&home)["parent"], "lan0");
    eventually("the host reaches it again", || home.nas.ping(at).is_some());
    reaches(&web, ip(home::HOST));
    reaches(&home.laptop, at);
    assert_eq!(home.troubles(), serde_json::json!([]));
    // The container keeps its identity.
    home.ok("detach lan web");
    assert_eq!(addresses(&home.attach("lan", &web, ""))[0], at);
}

#[test]
fn moved_to_another_interface_with_all_that_is_remembered() {
    let home = Home::new();
    let (web, at) = attached(&home);
    let other = World::new(None).unwrap();
    other.plug_in_by(&home.nas, "eth1").unwrap();
    let on = other.machine("printer", 60).unwrap();
    let ran = home.run("network move lan --parent eth1");
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("`eth0`, which still exists") && ran.stderr.contains("ashore detach"),
        "{}",
        ran.stderr
    );
    home.ok("detach lan web");
    home.ok("network move lan --parent eth1");
    assert_eq!(addresses(&home.attach("lan", &web, ""))[0], at);
    reaches(&on, at);
    does_not_reach(&home.laptop, at);
    // And back, with what is on it.
    assert!(ran.stderr.contains("--reconnect"), "{}", ran.stderr);
    let plan = home.ok("plan move lan --parent eth0 --reconnect");
    assert!(plan.contains("link del"), "{plan}");
    assert_eq!(home.ok("network move lan --parent eth0 --reconnect"), "network lan is on eth0\n");
    reaches(&home.laptop, at);
    reaches(&home.nas, at);
    does_not_reach(&on, at);
}

/// As a USB adapter does when a NIC is broken.
#[test]
fn another_nic_takes_the_place_of_one_that_has_gone() {
    let mut home = Home::new();
    let (web, at) = attached(&home);
    let usb = "enx0250b6000001";
    let troubles = |home: &Home| home.troubles().to_string();
    for (gone, new) in [("eth0", usb), (usb, "eth0")] {
        home.nas.remove_link(gone).unwrap();
        let waits = format!("waits for its parent `{gone}`");
        eventually("the status says what it waits for", || troubles(&home).contains(&waits));
        home.world.plug_in_by(&home.nas, new).unwrap();
        home.nas.add_address(new, "192.168.88.9/24".parse().unwrap()).unwrap();
        let told = format!("ashore network move lan --parent {new}");
        eventually("the status says where the LAN is", || troubles(&home).contains(&told));
        let plan = home.ok(&format!("plan move lan --parent {new}"));
        assert!(plan.contains(&format!("link {new} ")) && plan.contains("shim"), "{plan}");
        assert_eq!(inspected(&home)["parent"], gone, "a plan changes nothing");
        // A repeated move, or one after a kill, has the same result.
        for _ in 0..2 {
            let said = home.ok(&format!("network move lan --parent {new}"));
            assert_eq!(said, format!("network lan is on {new}\n"));
            home.restart();
        }
        assert_eq!(home.ok(&format!("plan move lan --parent {new}")).trim(), "# nothing to change");
        eventually("the LAN reaches it", || home.laptop.ping(at).is_some());
        eventually("the host reaches it", || home.nas.ping(at).is_some());
        reaches(&web, ip(home::HOST));
        eventually("no trouble is left", || troubles(&home) == "[]");
    }
    assert_eq!(home.made_links(), ["shim-eth0"]);
}

#[test]
fn a_parent_that_has_become_a_port_is_told_with_the_move_that_helps() {
    let home = Home::new();
    home.create_lan();
    home.bridge();
    let helps = "ashore network move lan --parent br0";
    is_said(&home, helps);
    let web = home.world.container("web").unwrap();
    let netns = web.namespace().path().display().to_string();
    let ran = home.run(&format!("attach lan --netns {netns} --name web"));
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let words = ["the parent `eth0` of network `lan` is now a port of `br0`", helps];
    assert!(words.iter().all(|word| ran.stderr.contains(word)), "{}", ran.stderr);
    let ran = home.run("network move lan --parent eth0");
    assert!(ran.code == Some(3) && ran.stderr.contains(helps), "{}", ran.stderr);
    home.ok(&helps["ashore ".len()..]);
    let at = addresses(&home.attach("lan", &web, ""))[0];
    reaches(&home.laptop, at);
    reaches(&home.nas, at);
    assert_eq!(home.troubles(), serde_json::json!([]));
}

/// Options of `ashore network create` do not help with an existing network.
#[test]
fn what_a_move_cannot_change_is_made_anew() {
    let home = Home::bridged();
    home.ok("network create ports --parent br0 --kind bridge --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27");
    let other = World::new(None).unwrap();
    other.plug_in_by(&home.nas, "eth1").unwrap();
    for command in ["plan move", "network move"] {
        let ran = home.run(&format!("{command} ports --parent eth1"));
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        let words = ["`eth1` is not a bridge", "network again under the same name", "--kind macvlan"];
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{}", ran.stderr);
    }
}

#[test]
fn a_dhcp_server_on_the_other_lan_is_heard_before_a_network_moves_there() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("moved into a pool", &why),
    };
    let home = Home::new();
    let (web, _) = attached(&home);
    home.ok("detach lan web");
    let other = World::new(None).unwrap();
    other.plug_in_by(&home.nas, "eth1").unwrap();
    let router = other.machine("router", 1).unwrap();
    let pool = "192.168.88.200,192.168.88.210,255.255.255.0,2m";
    let _server = Server::dnsmasq(&engines, &router, home.directory.path(), pool, &[]);
    eventually("the server answers", || {
        let ran = home.run("pool-check --parent eth1 --ip-range 192.168.88.192/27");
        ran.stdout.contains("192.168.88.1 offers")
    });
    let overlaps = "192.168.88.192/27 overlaps the pool of the DHCP server 192.168.88.1";
    for command in ["plan move", "network move"] {
        let ran = home.run(&format!("{command} lan --parent eth1"));
        assert_eq!(ran.code, Some(5), "{command}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(overlaps) && ran.stderr.contains("create the network again on `eth1`"),
            "{}",
            ran.stderr
        );
        assert_eq!(inspected(&home)["parent"], "eth0");
    }
    // A container that is on no LAN at all comes back first.
    let at = addresses(&home.attach("lan", &web, ""))[0];
    home.nas.remove_link("eth0").unwrap();
    let ran = home.run("network move lan --parent eth1");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains(overlaps) && ran.stderr.contains("ashore pool-check lan"), "{}", ran.stderr);
    eventually("the other LAN reaches it", || router.ping(at).is_some());
}
