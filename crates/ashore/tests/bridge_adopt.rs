//! `ashore bridge adopt` moves the host's only NIC into a bridge. No machine loses the host for good,
//! whichever process dies during the move.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::Step;
use ashore_lab::{Engines, Machine, Ran, cannot_run};
use ashore_wire::Mac;
use home::{HOST, HOST6, Home, Watched, addresses, eventually, ip, mac_known_to, reaches};

fn name(text: &str) -> ashore_core::net::name::IfName {
    text.parse().unwrap()
}

/// The host as others see it: links, addresses and routes, without what the kernel changes at its own pace.
fn seen(home: &Home) -> Vec<String> {
    let host = home.nas.kernel().observe(&[]).unwrap().host;
    let mut lines = Vec::new();
    for link in &host.links {
        let master = link.master.and_then(|master| host.link_at(master)).map(|master| &master.name);
        let sysctls = (link.accept_ra, link.disable_ipv6);
        lines
            .push(format!("{} {:?} {:?} {} {master:?} {sysctls:?}", link.name, link.kind, link.mac, link.up));
        for there in host.addresses_of(link) {
            lines.push(format!("  {} {}", there.net, there.life.is_some()));
        }
    }
    let routes = host.routes.iter();
    lines.extend(routes.map(|there| format!("{} {} {}", there.route.way(), there.protocol, there.metric)));
    lines.sort();
    lines
}

/// A command with `--root`, so that it leaves this machine's own configuration alone.
fn rooted(home: &Home, command: &str) -> String {
    format!("{command} --root {}", home.directory.path().display())
}

fn in_bridge(home: &Home) -> bool {
    let host = home.nas.kernel().observe(&[]).unwrap().host;
    let Some(bridge) = host.link(&name("br0")) else { return false };
    host.link(&name("eth0")).unwrap().master == Some(bridge.index)
}

/// A connection from the laptop to the host that sends bytes back and forth when asked.
struct Connection {
    stream: TcpStream,
}

impl Connection {
    fn begin(home: &Home) -> Connection {
        let listener = home.nas.inside(|| TcpListener::bind((ip(HOST), 7007))).unwrap().unwrap();
        let stream = home.laptop.inside(|| TcpStream::connect((ip(HOST), 7007))).unwrap().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (mut served, _) = listener.accept().unwrap();
        std::thread::spawn(move || {
            let mut byte = [0];
            while served.read_exact(&mut byte).and_then(|()| served.write_all(&byte)).is_ok() {}
        });
        Connection { stream }
    }

    #[track_caller]
    fn is_alive(&mut self) {
        for byte in 0..10 {
            self.stream.write_all(&[byte]).unwrap();
            let mut back = [0];
            self.stream.read_exact(&mut back).expect("the connection is alive");
            assert_eq!(back, [byte]);
        }
    }
}

/// The guards' process ids.
fn guards() -> Vec<i32> {
    let ours = |process: std::fs::DirEntry| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let is = words.get(1) == Some(&b"guard".as_slice());
        process.file_name().to_str()?.parse().ok().filter(|_| is)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(ours).collect()
}

fn guard_of(home: &Home) -> i32 {
    let trial = home.directory.path().join("bridge-trial").display().to_string();
    let ours = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(&trial))
    };
    guards().into_iter().find(ours).expect("the guard runs")
}

fn kill(pid: i32) {
    Ran::of(std::process::Command::new("kill").args(["-9", &pid.to_string()])).unwrap().expect_success();
}

#[test]
fn the_host_moves_with_all_that_it_has_and_stays_reachable() {
    let home = Home::new();
    let before = seen(&home);
    let nic = home.nic();
    reaches(&home.laptop, ip(HOST));
    let mut connection = Connection::begin(&home);
    // A move may cost the ping that is on its way when the link below it changes.
    let watched = Watched::begin(&home);
    let said = home.ok(&rooted(&home, "bridge adopt eth0 br0"));
    assert!(said.contains("the router 192.168.88.1 answers there"), "{said}");
    assert!(home.troubles().to_string().contains("ashore bridge confirm"));
    connection.is_alive();
    let kept = home.ok(&rooted(&home, "bridge confirm"));
    assert!(kept.contains("eth0 is in the bridge br0"), "{kept}");
    assert_eq!(home.ok(&rooted(&home, "bridge confirm")), kept, "a client that lost the answer asks again");
    assert_eq!(home.troubles(), serde_json::json!([]));
    eventually("the guard has ended", || !home.directory.path().join("bridge-trial").exists());

    let host = home.nas.kernel().observe(&[]).unwrap().host;
    let bridge = host.link(&name("br0")).unwrap();
    assert_eq!(bridge.mac.unwrap().to_string(), nic, "the router's lease stays");
    assert_eq!(host.addresses_of(host.link(&name("eth0")).unwrap()).count(), 0);
    reaches(&home.laptop, ip(HOST));
    assert_eq!(mac_known_to(&home.laptop, ip(HOST)), nic);
    reaches(&home.world.machine("guest", 60).unwrap(), ip(HOST6));

    // The bridge can be used as the parent that it was created to be.
    assert!(home.ok("network create lan").contains("on br0 by bridge"));
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""))[0];
    reaches(&home.laptop, at);
    reaches(&home.nas, at);
    reaches(&web, ip(HOST));
    let refused = home.run(&rooted(&home, "bridge adopt eth0 br0 --undo"));
    assert_eq!(refused.code, Some(5), "{}", refused.stderr);
    assert!(refused.stderr.contains("ashore network rm lan"), "{}", refused.stderr);
    home.ok("detach lan web");
    home.ok("network rm lan");

    // The NIC leaves the bridge again, with everything it has.
    home.ok(&rooted(&home, "bridge adopt eth0 br0 --undo"));
    connection.is_alive();
    home.ok(&rooted(&home, "bridge confirm"));
    connection.is_alive();
    watched.end_with_lost(2);
    assert_eq!(seen(&home), before);
}

#[test]
fn what_is_not_confirmed_is_put_back() {
    put_back_unconfirmed(0);
}

#[test]
fn what_is_not_confirmed_is_put_back_under_strict_reverse_path_filtering() {
    put_back_unconfirmed(1);
}

fn put_back_unconfirmed(rp_filter: i32) {
    let home = Home::new();
    for link in ["all", "eth0"] {
        home.nas.set_ipv4_conf(link, "rp_filter", rp_filter).unwrap();
    }
    let before = seen(&home);
    let mut connection = Connection::begin(&home);
    let watched = Watched::begin(&home);
    home.ok(&rooted(&home, "bridge adopt eth0 br0 --timeout 2"));
    connection.is_alive();
    eventually("the NIC is put back", || seen(&home) == before);
    connection.is_alive();
    let late = home.run(&rooted(&home, "bridge confirm"));
    assert_eq!(late.code, Some(4), "{}", late.stderr);
    assert!(late.stderr.contains("not confirmed in time is put back"), "{}", late.stderr);

    // The way out of the bridge is undone in the same way.
    home.ok(&rooted(&home, "bridge adopt eth0 br0"));
    home.ok(&rooted(&home, "bridge confirm"));
    let inside = seen(&home);
    home.ok(&rooted(&home, "bridge adopt eth0 br0 --undo --timeout 2"));
    assert_ne!(seen(&home), inside);
    eventually("the NIC is in the bridge again", || seen(&home) == inside);
    connection.is_alive();
    watched.end_with_lost(5);
}

#[test]
fn addresses_keep_their_ends_and_routes_their_ways() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("bridge adopt, leases", &why),
    };
    let home = Home::new();
    let typed = |lines: &str| {
        let mut shell = home.nas.command("sh").unwrap();
        Ran::of(engines.equip(shell.args(["-ec", lines]))).unwrap().expect_success()
    };
    typed(
        "ip route del default
         ip addr replace 192.168.88.9/24 brd + dev eth0 valid_lft 3600 preferred_lft 1800
         ip addr add 192.168.88.19/24 dev eth0
         ip addr add 10.7.0.9/24 dev eth0 noprefixroute
         ip route add 10.7.0.0/24 dev eth0 src 10.7.0.9 proto kernel metric 100
         ip route add default via 192.168.88.1 dev eth0 proto dhcp metric 100 src 192.168.88.9
         ip route add default via 192.168.88.50 dev eth0 metric 700
         ip route add 10.8.0.0/24 via 192.168.88.50 dev eth0
         ip route add 10.9.0.0/24 via 172.31.1.1 dev eth0 onlink
         ip -6 addr add fd88::77/64 dev eth0 nodad valid_lft 7200 preferred_lft 7200
         ip -6 route add default via fd88::1 dev eth0 metric 512
         ip -6 route add fd99::/64 via fd88::50 dev eth0
         sysctl -qw net.ipv4.conf.eth0.rp_filter=2",
    );
    let shown = |link: &str| {
        let lines = typed(&format!(
            "ip -4 addr show dev {link}; ip -6 addr show dev {link}; \
             ip -4 route show dev {link}; ip -6 route show dev {link}"
        ));
        // The remaining seconds, the kernel's own numbers, and the label, which is the link's name.
        let lines = lines.lines().filter(|line| !line.contains("link/") && !line.contains("mtu"));
        let tidy = |line: &str| {
            let words = line
                .split_whitespace()
                .filter(|word| ![link, "linkdown", "nodad", "tentative"].contains(word));
            let digits = |word: &str| {
                word.strip_suffix("sec").map_or_else(|| word.to_owned(), |left| format!("{}ksec", left.len()))
            };
            words.map(digits).collect::<Vec<_>>().join(" ")
        };
        let mut lines: Vec<String> =
            lines.map(tidy).filter(|line| line.contains('.') || line.contains("::")).collect();
        lines.sort();
        lines
    };
    let (before, all) = (shown("eth0"), seen(&home));
    home.ok(&rooted(&home, "bridge adopt eth0 br0 --timeout 3"));
    assert_eq!(shown("br0"), before);
    assert_eq!(shown("eth0"), [""; 0]);
    assert_eq!(typed("sysctl -n net.ipv4.conf.br0.rp_filter").trim(), "2");
    eventually("all is as before", || seen(&home) == all);
    assert_eq!(shown("eth0"), before);
}

#[test]
fn the_plan_is_what_a_person_would_type() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("bridge adopt, typed", &why),
    };
    let mut home = Home::new();
    let before = seen(&home);
    let mac = home.nic();
    let link_local = home.nas.kernel().observe(&[]).unwrap().host;
    let link_local = link_local.addresses.iter().find(|there| there.link_scope).unwrap().net;
    let plan = home.ok("plan bridge adopt eth0 br0");
    let expected = format!(
        "\
ip link add name br0 address {mac} type bridge
sysctl -w net.ipv4.conf.br0.rp_filter=0
sysctl -w net.ipv4.conf.br0.arp_filter=0
sysctl -w net.ipv6.conf.br0.accept_ra=1
sysctl -w net.ipv6.conf.br0.disable_ipv6=0
ip link set dev br0 up
ip addr replace {link_local} dev br0 nodad
ip link set dev eth0 master br0
ip addr replace 192.168.88.9/24 dev br0 brd 192.168.88.255
ip addr replace fd88::9/64 dev br0 nodad
ip route replace default via 192.168.88.1 dev br0 proto 4
ip addr del fd88::9/64 dev eth0
ip addr del {link_local} dev eth0
ip addr del 192.168.88.9/24 dev eth0
sysctl -w net.ipv6.conf.eth0.disable_ipv6=1
"
    );
    assert_eq!(plan, expected);
    assert_eq!(seen(&home), before, "a plan changes nothing");
    home.ok(&rooted(&home, "bridge adopt eth0 br0"));
    home.ok(&rooted(&home, "bridge confirm"));
    let adopted = seen(&home);
    let undo = home.ok("plan bridge adopt eth0 br0 --undo");
    home.daemon = None;
    let typed = |lines: &str| {
        let mut shell = home.nas.command("sh").unwrap();
        Ran::of(engines.equip(shell.args(["-ec", lines]))).unwrap().expect_success()
    };
    typed(&undo);
    assert_eq!(seen(&home), before, "{undo}");
    typed(&plan);
    assert_eq!(seen(&home), adopted, "{plan}");
    reaches(&home.laptop, ip(HOST));
}

/// Kills processes right after the change. The host is restored all the same.
fn with_killed(kill_all: impl FnOnce(&mut Home)) {
    let mut home = Home::new();
    let before = seen(&home);
    home.ok(&rooted(&home, "bridge adopt eth0 br0 --timeout 3"));
    assert!(in_bridge(&home));
    kill_all(&mut home);
    eventually("the host is put back", || seen(&home) == before);
    reaches(&home.laptop, ip(HOST));
    reaches(&home.laptop, ip(HOST6));
    eventually("nothing is left to do", || !home.directory.path().join("bridge-trial").exists());
}

#[test]
fn the_guard_puts_the_host_back_when_the_daemon_is_killed() {
    with_killed(|home| home.daemon.take().unwrap().kill().unwrap());
}

#[test]
fn the_daemon_puts_the_host_back_when_the_guard_is_killed() {
    with_killed(|home| kill(guard_of(home)));
}

#[test]
fn a_daemon_that_was_started_anew_goes_on_with_the_trial() {
    with_killed(|home| {
        home.daemon.take().unwrap().kill().unwrap();
        kill(guard_of(home));
        home.start();
        assert!(in_bridge(home), "it is as it was left");
    });
}

#[test]
fn a_guard_that_is_asked_to_end_puts_the_host_back_at_once() {
    let home = Home::new();
    let before = seen(&home);
    home.ok(&rooted(&home, "bridge adopt eth0 br0 --timeout 3600"));
    let pid = guard_of(&home).to_string();
    Ran::of(std::process::Command::new("kill").arg(pid)).unwrap().expect_success();
    eventually("the host is put back", || seen(&home) == before);
}

#[test]
fn a_client_that_is_killed_changes_nothing() {
    let home = Home::new();
    let before = seen(&home);
    let mut client = std::process::Command::new(home::PROGRAM)
        .args(["bridge", "adopt", "eth0", "br0", "--timeout", "3", "--root", "/nowhere"])
        .env("ASHORE_SOCKET", home.daemon().socket())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the change has begun", || in_bridge(&home));
    client.kill().unwrap();
    client.wait().unwrap();
    eventually("the host is put back", || seen(&home) == before);
    reaches(&home.laptop, ip(HOST));
}

/// The daemon dies at each step of the change itself.
#[test]
fn a_daemon_that_dies_in_the_change_leaves_the_guard_to_mend_it() {
    for moment in 0..6 {
        let mut home = Home::new();
        let before = seen(&home);
        let mut client = std::process::Command::new(home::PROGRAM)
            .args(["bridge", "adopt", "eth0", "br0", "--timeout", "2", "--root", "/nowhere"])
            .env("ASHORE_SOCKET", home.daemon().socket())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let trial = home.directory.path().join("bridge-trial");
        eventually("the trial is written down", || trial.exists());
        std::thread::sleep(Duration::from_millis(4 * moment));
        home.daemon.take().unwrap().kill().unwrap();
        client.wait().unwrap();
        // A guard that was not ready had nothing to guard: the change comes after it.
        eventually("the host is as before", || seen(&home) == before);
        reaches(&home.laptop, ip(HOST));
    }
}

#[test]
fn a_router_that_is_out_of_reach_then_has_everything_put_back_at_once() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("bridge adopt, router out of reach", &why),
    };
    let home = Home::new();
    // A firewall for bridges, which had no bridge until now.
    let mut shell = home.nas.command("sh").unwrap();
    let line = "nft 'add table bridge none; add chain bridge none in0 { type filter hook prerouting priority 0; policy drop; }'";
    Ran::of(engines.equip(shell.args(["-ec", line]))).unwrap().expect_success();
    let before = seen(&home);
    let refused = home.run(&rooted(&home, "bridge adopt eth0 br0 --timeout 3600"));
    assert_eq!(refused.code, Some(6), "{}", refused.stderr);
    assert!(refused.stderr.contains("192.168.88.1 did not answer on `br0`"), "{}", refused.stderr);
    assert_eq!(seen(&home), before);
    reaches(&home.laptop, ip(HOST));
}

#[test]
fn after_a_reboot_nothing_is_left_of_a_trial() {
    let mut home = Home::new();
    home.ok(&rooted(&home, "bridge adopt eth0 br0 --timeout 3600"));
    home.daemon.take().unwrap().kill().unwrap();
    kill(guard_of(&home));
    home.nas = home.world.container("off").unwrap();
    home.nas = home.world.container("again").unwrap();
    home.world.plug_in(&home.nas).unwrap();
    home.nas.add_address("eth0", format!("{HOST}/24").parse().unwrap()).unwrap();
    let before = seen(&home);
    home.start();
    assert_eq!(home.run(&rooted(&home, "bridge confirm")).code, Some(4));
    assert_eq!(home.troubles(), serde_json::json!([]));
    assert_eq!(seen(&home), before);
}

/// A host on which every wrong request is possible.
fn crowded() -> (Home, Machine) {
    let home = Home::new();
    let place = || Place::Host;
    let add = |link: &str, kind| {
        // A bridge without a MAC of its own takes its port's MAC.
        let mac = (kind == LinkType::Bridge).then_some(Mac([2, 0, 0, 0, 0, 9]));
        Step::AddLink { place: place(), link: LinkSpec { name: name(link), kind, mac, mtu: None } }
    };
    let up = |link: &str| Step::SetUp { place: place(), link: name(link), up: true };
    let wire = |far: &str| LinkType::Veth { peer: name(far), peer_place: place(), peer_mac: None };
    let macvlan = LinkType::Macvlan {
        parent: name("uplink"),
        mode: MacvlanMode::Bridge,
        bc_queue_len: None,
        bc_limit: None,
    };
    home.nas
        .apply(&[
            add("br9", LinkType::Bridge),
            add("down0", wire("down1")),
            add("uplink", wire("far")),
            up("uplink"),
            up("far"),
            add("child", macvlan),
            add("port", wire("wall")),
            Step::SetMaster { place: place(), link: name("port"), master: Some(name("br9")), was: None },
            up("port"),
            up("wall"),
        ])
        .unwrap();
    let web = home.world.container("web").unwrap();
    (home, web)
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_touched() {
    let (home, web) = crowded();
    let before = seen(&home);
    let refused = |command: &str, code: i32, words: &[&str]| {
        let ran = home.run(&rooted(&home, command));
        assert_eq!(ran.code, Some(code), "{command}: {}{}", ran.stdout, ran.stderr);
        for word in words {
            assert!(ran.stderr.contains(word), "{command}: {word:?} is not in {}", ran.stderr);
        }
        assert!(!home.directory.path().join("bridge-trial").exists());
    };
    refused("bridge adopt eth7 br0", 3, &["no interface `eth7`", "eth0"]);
    refused("bridge adopt lo br0", 3, &["loopback"]);
    refused("bridge adopt br9 br0", 3, &["a bridge itself"]);
    refused("bridge adopt child br0", 3, &["macvlan"]);
    refused("bridge adopt down0 br0", 3, &["`down0` is down", "ip link set dev down0 up"]);
    refused("bridge adopt port br0", 5, &["port of `br9`", "--parent br9 --kind bridge"]);
    refused("bridge adopt uplink br0", 5, &["carries `child`", "ip link del dev child"]);
    refused("bridge adopt eth0 br9", 5, &["a link `br9` already"]);
    refused("bridge adopt eth0 br0 --undo", 3, &["no bridge `br0`"]);
    refused("bridge adopt eth0 br9 --undo", 3, &["not a port of `br9`, which holds port"]);
    refused("bridge adopt port br9 --undo", 3, &["another MAC"]);
    refused("bridge adopt eth0 br0 --timeout 0", 2, &["--timeout"]);
    refused("bridge confirm", 4, &["no move", "ashore bridge adopt"]);
    assert_eq!(seen(&home), before);

    home.create_lan();
    refused("bridge adopt eth0 br0", 5, &["network `lan` of kind macvlan:bridge", "ashore network rm lan"]);
    home.attach("lan", &web, "");
    refused("plan bridge adopt eth0 br0", 5, &["ashore network rm lan"]);
    home.ok("detach lan web");
    home.ok("network rm lan");

    home.world.set_cable(&home.router, false).unwrap();
    refused("bridge adopt eth0 br0", 3, &["192.168.88.1 does not answer on `eth0` now"]);
    home.world.set_cable(&home.router, true).unwrap();
    home.world.set_cable(&home.nas, false).unwrap();
    refused("bridge adopt eth0 br0", 3, &["its cable is out"]);
    home.world.set_cable(&home.nas, true).unwrap();
    eventually("the cable is in", || home.nas.ping(ip("192.168.88.1")).is_some());

    home.ok(&rooted(&home, "bridge adopt eth0 br0"));
    let ran = home.run(&rooted(&home, "bridge adopt uplink br1"));
    assert_eq!((ran.code, ran.stderr.contains("on trial")), (Some(5), true), "{}", ran.stderr);
    let ran = home.run("network create lan --parent br0 --kind bridge --subnet 192.168.88.0/24");
    assert_eq!((ran.code, ran.stderr.contains("on trial")), (Some(5), true), "{}", ran.stderr);
    home.ok(&rooted(&home, "bridge confirm"));
}

#[test]
fn routes_and_rules_that_no_step_moves_are_named() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("bridge adopt, policy routing", &why),
    };
    let home = Home::new();
    let typed = |lines: &str| {
        let mut shell = home.nas.command("sh").unwrap();
        Ran::of(engines.equip(shell.args(["-ec", lines]))).unwrap().expect_success()
    };
    for (make, undo, word) in [
        (
            "ip route add default via 192.168.88.1 dev eth0 table 200",
            "ip route flush table 200",
            "the table 200",
        ),
        ("ip rule add iif eth0 table 200 pref 99", "ip rule del pref 99", "the routing rule 99"),
        (
            "ip route add 10.7.0.0/24 nexthop via 192.168.88.1 dev eth0 nexthop via 192.168.88.50 dev eth0",
            "ip route del 10.7.0.0/24",
            "a route to 10.7.0.0/24",
        ),
        (
            "ip route add 10.7.0.0/24 via 192.168.88.1 dev eth0 mtu 1400",
            "ip route del 10.7.0.0/24",
            "a route to 10.7.0.0/24",
        ),
        (
            "ip addr add 10.7.0.1 peer 10.7.0.2 dev eth0",
            "ip addr del 10.7.0.1 peer 10.7.0.2 dev eth0",
            "the point-to-point address",
        ),
    ] {
        typed(make);
        let ran = home.run(&rooted(&home, "bridge adopt eth0 br0"));
        assert_eq!((ran.code, ran.stderr.contains(word)), (Some(3), true), "{make}: {}", ran.stderr);
        typed(undo);
    }
    home.ok(&rooted(&home, "bridge adopt eth0 br0"));
    home.ok(&rooted(&home, "bridge confirm"));
}
