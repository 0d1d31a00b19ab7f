//! `ashore doctor`: each trouble is made on a real LAN, and found with what helps; a healthy LAN has none.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use ashore_lab::{Engines, cannot_run};
use ashore_wire::Mac;
use home::site::on_an_engine;
use home::told::Told;
use home::voice::Answering;
use home::{Home, eventually_within, ip, is_root, type_on};

fn with_tools(test: &str, run: impl FnOnce()) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) => run(),
    }
}

/// A home with the usual network and a container on it.
fn with_web() -> (Home, ashore_lab::Machine) {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    (home, web)
}

#[test]
fn on_a_healthy_lan_nothing_stands_in_the_way() {
    let (home, _web) = with_web();
    Told::of(&home, "").is_well();
    let shown = home.ok("doctor");
    assert!(shown.ends_with("nothing stands in the way\n"), "{shown}");
    assert!(shown.contains("✓ the router 192.168.88.1 of network `lan` answers"), "{shown}");
    for name in ["lan", "web", "--parent eth0", "--to 192.168.88.50"] {
        Told::of(&home, name).is_well();
    }
    assert_eq!(Told::of(&home, "nobody").ran.code, Some(4));
    // What was found is kept for those who may only read.
    assert!(home.ok("doctor --last").ends_with("nothing stands in the way\n"));
}

#[test]
fn on_other_healthy_networks_neither() {
    let home = Home::bridged();
    let kinds = ["bridge", "macvlan:bridge", "macvlan:private"];
    for (at, kind) in kinds.into_iter().enumerate() {
        let range = format!("192.168.88.{}/28", 192 + 16 * at);
        let parent = "--parent br0 --subnet 192.168.88.0/24 --gateway 192.168.88.1";
        home.ok(&format!("network create n{at} {parent} --kind {kind} --ip-range {range}"));
        let one = home.world.container(&format!("c{at}")).unwrap();
        home.attach(&format!("n{at}"), &one, "");
        Told::of(&home, &format!("n{at}")).is_well();
        if kind == "bridge" {
            home.ok(&format!("detach n{at} c{at}"));
            home.ok(&format!("network rm n{at}"));
        }
    }
    home.ok(
        "network create inside --parent br0 --subnet 192.168.88.0/24 --ip-range 192.168.88.240/28 --internal",
    );
    Told::of(&home, "").is_well();
}

#[test]
fn a_switch_that_drops_the_macs_of_containers_is_found_and_found_mended() {
    with_tools("doctor, port security", || {
        let home = Home::new();
        let nic = home.nic();
        home.create_lan();
        // A port that is locked passes frames of the MACs alone that its administrator has entered.
        type_on(home.world.switch(), &format!("bridge fdb replace {nic} dev p-nas master static"));
        type_on(home.world.switch(), "bridge link set dev p-nas learning off locked on");
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        assert!(web.ping(ip("192.168.88.1")).is_none(), "the switch does not let it through");
        eventually_within(Duration::from_secs(40), "status shows it by itself", || {
            home.codes().contains(&"mac-dropped".to_owned())
        });
        let words = ["192.168.88.1", "`web`", "port security", "--kind ipvlan:l2"];
        Told::of(&home, "").is_only("mac-dropped", 11, &words);
        // Who starts another container there hears of it at once.
        let db = home.world.container("db").unwrap();
        let report = home.attach("lan", &db, "");
        let warnings = report["warnings"].to_string();
        assert!(warnings.contains("192.168.88.1 answers this host, and not"), "{warnings}");
        home.ok("detach lan db");

        type_on(home.world.switch(), "bridge link set dev p-nas learning on locked off");
        Told::of(&home, "web").is_well();
        assert!(web.ping(ip("192.168.88.1")).is_some());
        assert!(!home.codes().contains(&"mac-dropped".to_owned()));
    });
}

#[test]
fn a_router_where_nobody_is_is_named_with_the_hosts_own() {
    let home = Home::new();
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.2",
    );
    let words = ["192.168.88.2", "own router is 192.168.88.1", "--gateway 192.168.88.1"];
    Told::of(&home, "").is_only("router-silent", 10, &words);
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    eventually_within(Duration::from_secs(40), "status shows it by itself", || {
        home.codes().contains(&"router-silent".to_owned())
    });
    Told::of(&home, "").is_only("router-silent", 10, &words);
    // The router comes back.
    home.router.add_address("eth0", "192.168.88.2/24".parse().unwrap()).unwrap();
    Told::of(&home, "").is_well();
}

/// Whoever has the address answers for it, as a printer does when its address was typed.
#[test]
fn a_router_that_is_another_machine_is_named_with_the_hosts_own() {
    let home = Home::new();
    let words = ["is 192.168.88.50", "own router is 192.168.88.1:", "--gateway 192.168.88.1"];
    let made = home.run(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.50",
    );
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let said = made.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    // It may be meant.
    let told = Told::of(&home, "");
    assert!(told.codes().is_empty(), "{:?}", told.codes());
    assert!(
        told.unknown().iter().any(|said| words.iter().all(|word| said.contains(word))),
        "{:?}",
        told.unknown()
    );
    home.ok("explain other-router");
}

#[test]
fn a_router_that_is_this_host_is_told_apart() {
    let home = Home::new();
    home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.9");
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    Told::of(&home, "").is_only("router-is-host", 10, &["192.168.88.9", "--gateway"]);
    home.nas.inside(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap().unwrap();
    Told::of(&home, "").is_well();
}

#[test]
fn a_machine_with_an_address_of_the_range_is_named() {
    let (home, _web) = with_web();
    home.laptop.add_address("eth0", "192.168.88.200/24".parse().unwrap()).unwrap();
    Told::of(&home, "lan").is_only("address-in-use", 10, &["192.168.88.200", "outside the range"]);
}

/// The test answers itself, because Linux as a proxy answers no question whose asker has no address yet
/// (`arp_process`), and addresses are looked for in this way (RFC 5227, 2.1.1).
#[test]
fn a_machine_that_answers_for_all_free_addresses_is_named_by_its_mac() {
    let home = Home::new();
    home.create_lan();
    let in_range = |at: IpAddr| at >= ip("192.168.88.192") && at <= ip("192.168.88.223");
    let answering = Answering::that_has(&home.laptop, Mac([2, 0, 0, 0, 0, 7]), in_range);
    let words = ["02:00:00:00:00:07", "free addresses of network `lan`", "turn proxy ARP off"];
    Told::of(&home, "").is_only("proxy-arp", 10, &words);
    // It is turned off.
    drop(answering);
    Told::of(&home, "").is_well();
}

#[test]
fn a_machine_that_should_answer_and_does_not_is_told() {
    let (home, _web) = with_web();
    let asked = "--to 192.168.88.77";
    Told::of(&home, asked).is_only(
        "machine-silent",
        10,
        &["192.168.88.77", "check the address on that machine"],
    );
    assert!(!home.codes().contains(&"machine-silent".to_owned()), "only who asks for it is told");
    home.laptop.add_address("eth0", "192.168.88.77/24".parse().unwrap()).unwrap();
    Told::of(&home, asked).is_well();
    // The host, a container, and a machine beyond the router, which nobody asks by ARP.
    for (to, words) in [
        ("192.168.88.9", "192.168.88.9 is this host's own"),
        ("192.168.88.192", "192.168.88.192 is the address of `web`"),
        (home::BEYOND, "203.0.113.7 is in no subnet of these networks"),
    ] {
        let told = Told::of(&home, &format!("--to {to}"));
        told.is_well();
        assert!(told.ran.stdout.contains(words), "{words}: {}", told.ran.stdout);
    }
}

#[test]
fn what_a_script_for_macvlan_left_is_named() {
    with_tools("doctor, another shim", || {
        let home = Home::new();
        type_on(&home.nas, "ip link add my-shim link eth0 type macvlan mode bridge");
        type_on(&home.nas, "ip addr add 192.168.88.240/32 dev my-shim");
        type_on(&home.nas, "ip link set my-shim up");
        type_on(&home.nas, "ip route add 192.168.88.208/28 dev my-shim");
        // Before there is a network, nothing is wrong with it.
        let told = Told::of(&home, "");
        told.is_well();
        let is_named =
            |what: &&str| what.contains("`my-shim` on `eth0`") && what.contains("192.168.88.208/28");
        assert!(told.unknown().iter().any(is_named), "{}", told.ran.stdout);
        home.create_lan();
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let words = ["my-shim", "ip link del dev my-shim"];
        Told::of(&home, "").is_only("other-shim", 10, &words);
        type_on(&home.nas, "ip link del dev my-shim");
        Told::of(&home, "").is_well();
    });
}

#[test]
fn larger_frames_than_the_parents_are_found() {
    with_tools("doctor, mtu", || {
        let home = Home::new();
        home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1 --mtu 1500");
        Told::of(&home, "").is_well();
        type_on(&home.nas, "ip link set dev eth0 mtu 1400");
        Told::of(&home, "lan").is_only("mtu-too-large", 10, &["1500", "1400", "--mtu 1400"]);
    });
}

#[test]
fn ipv6_that_is_off_at_the_parent_is_found() {
    let home = Home::new();
    home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1 --subnet fd88::/64 --ip-range fd88::c0/123");
    assert_eq!(Told::of(&home, "").codes(), [""; 0]);
    home.nas.inside(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1")).unwrap().unwrap();
    let told = Told::of(&home, "lan");
    assert!(told.trouble("ipv6-off").contains("disable_ipv6=0"), "{}", told.ran.stdout);
}

#[test]
fn a_bridge_with_spanning_tree_and_a_lan_without_a_dhcp_server_are_found() {
    with_tools("doctor, spanning tree", || {
        let home = Home::bridged();
        home.ok("network create lan --parent br0 --subnet 192.168.88.0/24 --gateway 192.168.88.1 --dhcp");
        Told::of(&home, "").is_only("no-dhcp-server", 10, &["`lan`", "br0"]);
        type_on(&home.nas, "ip link set dev br0 type bridge stp_state 1");
        let told = Told::of(&home, "lan");
        assert!(told.trouble("bridge-waits").contains("30 s"), "{}", told.ran.stdout);
    });
}

#[test]
fn a_cable_that_is_out_comes_first_and_what_cannot_be_asked_is_not_called_silent() {
    let (home, _web) = with_web();
    home.world.set_cable(&home.nas, false).unwrap();
    eventually_within(Duration::from_secs(10), "the daemon sees it", || {
        home.codes().contains(&"no-carrier".to_owned())
    });
    let told = Told::of(&home, "");
    assert_eq!(told.ran.code, Some(11));
    assert_eq!(told.findings[0]["what"]["code"], "no-carrier", "{}", told.ran.stdout);
    assert!(!told.codes().contains(&"router-silent"), "nobody was asked: {}", told.ran.stdout);
    home.world.set_cable(&home.nas, true).unwrap();
    eventually_within(Duration::from_secs(60), "all is well again", || {
        Told::of(&home, "").ran.code == Some(0)
    });
}

#[test]
fn an_engine_that_runs_and_cannot_be_asked_is_no_matter_without_a_network_of_its_own() {
    if !is_root() {
        return cannot_run("doctor, engine", "other processes are not seen without root");
    }
    let (home, _web) = with_web();
    let mut stuck = engine_that_does_not_listen(&home);
    std::thread::sleep(Duration::from_secs(20));
    Told::of(&home, "").is_well();
    stuck.kill().unwrap();
    stuck.wait().unwrap();
}

/// A program of the engine's name that does not listen. It ends with the test at the latest.
fn engine_that_does_not_listen(home: &Home) -> Child {
    let dockerd = home.directory.path().join("dockerd");
    std::fs::copy("/bin/sleep", &dockerd).unwrap();
    std::fs::set_permissions(&dockerd, std::fs::Permissions::from_mode(0o755)).unwrap();
    home.nas.command(&dockerd).unwrap().arg("300").stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn an_engine_that_cannot_be_asked_is_told_until_the_daemon_has_its_socket() {
    on_an_engine("doctor, an engine's API", |site| {
        site.create_lan();
        site.silent = true;
        site.home.daemon = None;
        site.start_daemon();
        // The lab's engine is in a PID namespace of its own, and so is not taken for this host's.
        let mut stuck = engine_that_does_not_listen(&site.home);
        eventually_within(Duration::from_secs(60), "status shows it by itself", || {
            site.home.codes().contains(&"engine-unreachable".to_owned())
        });
        let words = ["the API of Docker", "nobody.sock", "ashore daemon --docker-host unix://SOCKET"];
        Told::of(&site.home, "").is_only("engine-unreachable", 10, &words);
        // The daemon is given the engine's socket.
        site.silent = false;
        site.home.daemon = None;
        site.start_daemon();
        eventually_within(Duration::from_secs(60), "the engine answers", || {
            Told::of(&site.home, "").ran.stdout.contains("Docker answers")
        });
        Told::of(&site.home, "").is_well();
        stuck.kill().unwrap();
        stuck.wait().unwrap();
    });
}
