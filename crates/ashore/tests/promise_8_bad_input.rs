//! Promise 8: bad input is refused before anything changes. The error says what is wrong, why, and what to
//! do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::observed::Standing;
use ashore_core::net::step::Step;
use ashore_lab::{Machine, Ran, cannot_run};
use home::Home;
use home::fake_engine::plugin_call;

/// A request that must be refused: the command, its exit code, and words that the error must contain.
type Row<'a> = (&'a str, i32, &'a [&'a str]);

/// Everything that a refused request must leave as it was.
fn all(home: &Home, container: &Machine) -> String {
    let view = |machine: &Machine| {
        let mut view = machine.kernel().observe(&[]).unwrap().host;
        view.neighbours.clear();
        // The kernel ends its own duplicate address detection at its own pace.
        view.addresses.iter_mut().for_each(|address| address.standing = Standing::Steady);
        // The kernel notices late that a bridge without ports has no carrier.
        view.links.iter_mut().for_each(|link| link.carrier = false);
        format!("{view:?}")
    };
    let state = home.ok("state export");
    format!("{}\n{}\n{state}", view(&home.nas), view(container))
}

fn refused(home: &Home, container: &Machine, rows: &[Row]) {
    let netns = container.namespace().path().display().to_string();
    let before = all(home, container);
    for (command, code, words) in rows {
        let ran = home.run(&command.replace("NETNS", &netns));
        let said = format!("{command}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, Some(*code), "{said}");
        for word in *words {
            assert!(ran.stderr.contains(word), "{word:?} is not in {said}");
        }
        assert_eq!(all(home, container), before, "{command}");
    }
}

fn name(text: &str) -> ashore_core::net::name::IfName {
    text.parse().unwrap()
}

#[test]
fn networks_that_do_not_fit_the_host() {
    let home = Home::new();
    let bridge = LinkSpec { name: name("br9"), kind: LinkType::Bridge, mac: None, mtu: None };
    let wire = LinkType::Veth { peer: name("down1"), peer_place: Place::Host, peer_mac: None };
    let down = LinkSpec { name: name("down0"), kind: wire, mac: None, mtu: None };
    home.nas
        .apply(&[
            Step::AddLink { place: Place::Host, link: bridge },
            Step::SetUp { place: Place::Host, link: name("br9"), up: true },
            Step::AddLink { place: Place::Host, link: down },
            Step::SetMaster { place: Place::Host, link: name("down1"), master: Some(name("br9")), was: None },
        ])
        .unwrap();
    let web = home.world.container("web").unwrap();
    let lan = "--subnet 192.168.88.0/24 --gateway 192.168.88.1";
    let create = |options: &str| format!("network create lan {options}");
    let rows = [
        (create(&format!("--parent eth7 {lan}")), 3, &["`eth7` does not exist", "has", "eth0", "try:"][..]),
        (create(&format!("--parent down0 {lan}")), 3, &["`down0` is down", "ip link set dev down0 up"]),
        (
            create(&format!("--parent eth0 --kind bridge {lan}")),
            3,
            &["`eth0` is not a bridge", "--kind macvlan"],
        ),
        (create(&format!("--parent down1 {lan}")), 3, &["port of `br9`", "--parent br9"]),
        (create(&format!("--parent lo {lan}")), 3, &["loopback", "NIC"]),
        (
            create("--parent eth0 --subnet 10.7.0.0/24"),
            3,
            &["10.7.0.0/24", "`eth0`, which has 192.168.88.9/24", "ip addr"],
        ),
        // The subnet must be that of the host's address, no wider and no narrower.
        (create("--parent eth0 --subnet 192.168.0.0/16"), 3, &["192.168.0.0/16", "192.168.88.9/24"]),
        (create("--parent eth0 --subnet 192.168.88.0/25"), 3, &["192.168.88.0/25", "192.168.88.9/24"]),
        (
            create("--parent eth0 --subnet 192.168.88.0/255.255.255.0"),
            2,
            &["not a subnet", "write 192.168.88.0/24"],
        ),
        (create("--parent eth0 --subnet 0.0.0.0/0"), 3, &["0.0.0.0/0", "cannot be a LAN's"]),
        (create("--parent eth0 --subnet 224.0.0.0/24"), 3, &["224.0.0.0/24", "cannot be a LAN's"]),
        (create("--parent eth0 --subnet ff02::/64"), 3, &["ff02::/64", "cannot be a LAN's"]),
        (
            create(&format!("--parent eth0 {lan} --aux-address host=192.168.88.9")),
            3,
            &["host 192.168.88.9", "has it already"],
        ),
        (
            create(&format!("--parent eth0 {lan} --mtu 9000")),
            3,
            &["9000", "`eth0` has 1500", "ip link set dev eth0 mtu 9000"],
        ),
        (create(&format!("--parent eth0 {lan} --mtu 60")), 3, &["60", "IPv4", "68"]),
        (
            create(&format!("--parent eth0.4095 {lan}")),
            3,
            &["`eth0.4095` does not exist", "`4095`", "1 to 4094"],
        ),
        (
            create(&format!("--parent eth0.abc {lan}")),
            3,
            &["`eth0.abc` does not exist", "`abc`", "1 to 4094"],
        ),
        (create(&format!("--parent eth7.200 {lan}")), 3, &["`eth7.200` does not exist", "has", "eth0"]),
        (create(&format!("--parent eth7 --vlan 200 {lan}")), 3, &["`eth7` does not exist", "has", "eth0"]),
        (create(&format!("--parent down0.200 {lan}")), 3, &["`down0` is down", "ip link set dev down0 up"]),
        (create(&format!("--parent down1.200 {lan}")), 3, &["port of `br9`", "--parent br9 --vlan 200"]),
        (create(&format!("--parent lo --vlan 200 {lan}")), 3, &["`lo`", "loopback"]),
        (create("--parent eth0.200"), 3, &["`eth0.200` has no IPv4 address", "--subnet", "--gateway"]),
        (create(&format!("--parent eth0.200 --kind bridge {lan}")), 3, &["`eth0.200` is not a bridge"]),
        (create(&format!("--parent eth0.200 --mtu 9000 {lan}")), 3, &["9000", "`eth0` has 1500"]),
        (create(&format!("--parent eth0 --gvrp {lan}")), 3, &["--gvrp", "--vlan ID"]),
        (
            create(&format!("--parent eth0 {lan} --kind macvlan:private --host-access yes")),
            3,
            &["private", "--host-access no"],
        ),
        (create(&format!("--parent eth0 {lan} --isolated")), 3, &["--isolated", "macvlan:private"]),
        (create(&format!("--parent eth0 {lan} --kind ipvlan --hairpin")), 3, &["--hairpin", "--kind bridge"]),
    ];
    let rows: Vec<Row> =
        rows.iter().map(|(command, code, words)| (command.as_str(), *code, *words)).collect();
    refused(&home, &web, &rows);
}

#[test]
fn beside_a_users_own_link_in_another_namespace() {
    let home = Home::new();
    let [container, theirs] = ["web", "theirs"].map(|name| home.world.container(name).unwrap());
    let place = Place::Netns(theirs.namespace().identity());
    let kind = LinkType::Macvlan {
        parent: name("eth0"),
        mode: ashore_core::net::kind::MacvlanMode::Passthru,
        bc_queue_len: None,
        bc_limit: None,
    };
    let spec = LinkSpec { name: name("own0"), kind, mac: None, mtu: None };
    home.nas.apply(&[Step::AddLink { place, link: spec }]).unwrap();
    let create = "network create new --parent eth0 --subnet 192.168.88.0/24";
    refused(
        &home,
        &container,
        &[(create, 3, &["macvlan:passthru link `own0` in /proc/", "--kind macvlan:passthru"])],
    );
    theirs.remove_link("own0").unwrap();
    home.ok(create);
}

#[test]
fn what_is_left_out_and_cannot_be_found() {
    let home = Home::new();
    let web = home.world.container("web").unwrap();
    home.nas.del_default_route("eth0", home::ip("192.168.88.1")).unwrap();
    let rows: [Row; 5] = [
        ("network create lan", 3, &["no default route", "eth0 (192.168.88.9/24", "--parent eth0"]),
        ("network create lan --parent eth7", 3, &["`eth7` does not exist", "eth0"]),
        (
            "network create lan --subnet 10.7.0.0/24",
            3,
            &["no interface", "10.7.0.0/24", "eth0 (192.168.88.9/24"],
        ),
        (
            "network create lan --internal --subnet 10.7.0.0/24",
            3,
            &["10.7.0.0/24", "internal network needs a LAN", "docker network create --internal"],
        ),
        ("network create lan --parent lo", 3, &["lo"]),
    ];
    refused(&home, &web, &rows);
    // With only the parent or only the subnet, the rest is found.
    home.ok("network create lan --parent eth0");
    home.ok("network create other --subnet 192.168.88.0/24 --ip-range 192.168.88.64/27");
    let found: serde_json::Value = serde_json::from_str(&home.ok("network inspect lan --json")).unwrap();
    assert_eq!(found["subnets"][0]["range"], "192.168.88.224/27", "{found}");
    assert_eq!(found["subnets"][0]["gateway"], serde_json::Value::Null, "{found}");
}

#[test]
fn networks_that_are_wrong_in_themselves() {
    let home = Home::new();
    let web = home.world.container("web").unwrap();
    home.ok("network create taken --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.64/27");
    let lan = "network create lan --parent eth0 --subnet 192.168.88.0/24";
    let rows: Vec<(String, i32, &[&str])> = vec![
        (format!("{lan} --ip-range 192.168.89.0/27"), 3, &["192.168.89.0/27", "192.168.88.0/24"]),
        (format!("{lan} --ip-range 192.168.88.250-192.168.89.5"), 3, &["192.168.88.250-192.168.89.5"]),
        (
            format!("{lan} --ip-range 192.168.88.80/28 --aux-address host=192.168.88.81"),
            5,
            &["overlaps 192.168.88.64/27", "network `taken`", "`host` address", "ashore network ls"],
        ),
        (
            format!("{lan} --ip-range 192.168.88.255/32"),
            3,
            &["192.168.88.255/32", "broadcast address", "--ip-range"],
        ),
        (
            format!("{lan} --ip-range 192.168.88.0-192.168.88.1 --gateway 192.168.88.1"),
            3,
            &["no address of the range", "the first, 192.168.88.0", "the subnet's own address"],
        ),
        (format!("{lan} --ip-range 192.168.88.9/32"), 3, &["this host's own"]),
        (format!("{lan} --ip-range 192.168.88.20-192.168.88.10"), 2, &["192.168.88.20-192.168.88.10"]),
        (format!("{lan} --gateway 192.168.1.1"), 3, &["the gateway 192.168.1.1", "192.168.88.0/24"]),
        (format!("{lan} --gateway 192.168.88.255"), 3, &["192.168.88.255", "broadcast"]),
        (
            format!("{lan} --aux-address nas=10.0.0.1"),
            3,
            &["--aux-address nas", "10.0.0.1", "192.168.88.0/24"],
        ),
        (format!("{lan} --aux-address host"), 2, &["NAME=IP"]),
        (format!("{lan} --gateway 192.168.88.1 --aux-address a=192.168.88.1"), 3, &["192.168.88.1", "twice"]),
        (format!("{lan} --aux-address host=192.168.88.222 --host-access no"), 3, &["--host-access no"]),
        (format!("{lan} --subnet 192.168.88.128/25"), 3, &["192.168.88.128/25", "overlap"]),
        (
            "network create taken --parent eth0 --subnet 192.168.88.0/24".into(),
            5,
            &["`taken` already", "inspect"],
        ),
        ("network create a/b --parent eth0 --subnet 192.168.88.0/24".into(), 2, &["a/b", "contains '/'"]),
        ("network create ../../etc --parent eth0 --subnet 192.168.88.0/24".into(), 2, &["../../etc"]),
        (
            format!("network create {} --parent eth0 --subnet 192.168.88.0/24", "n".repeat(64)),
            2,
            &["64", "63"],
        ),
        ("network create lan --parent eth0/1 --subnet 192.168.88.0/24".into(), 2, &["eth0/1"]),
        ("network create lan --parent sixteen-bytes-xx --subnet 192.168.88.0/24".into(), 2, &["16", "15"]),
        (format!("{lan} --kind macvlan:brige"), 2, &["brige"]),
        (format!("{lan} --vlan 0"), 2, &["`0` is not a VLAN ID", "1 to 4094"]),
        (format!("{lan} --vlan 4095"), 2, &["`4095` is not a VLAN ID"]),
        (format!("{lan} --vlan abc"), 2, &["`abc` is not a VLAN ID"]),
        ("network rm nothing".into(), 4, &["no network `nothing`", "ashore network ls"]),
        ("network inspect nothing".into(), 4, &["no network `nothing`"]),
    ];
    let rows: Vec<Row> =
        rows.iter().map(|(command, code, words)| (command.as_str(), *code, *words)).collect();
    refused(&home, &web, &rows);
}

/// The kernel's lack of VLANs shows at the first step, and everything is undone.
#[test]
fn a_vlan_on_a_kernel_that_has_none() {
    let home = Home::new();
    let web = home.world.container("web").unwrap();
    let before = all(&home, &web);
    let ran = home.run("network create iot --parent eth0.200 --subnet 10.0.200.0/24");
    let made = || home.made_links().contains(&"eth0.200".to_owned());
    if ran.code == Some(0) {
        // The kernel has VLANs: there is nothing to refuse, and nothing stays.
        assert!(made());
        home.ok("network rm iot");
        home::eventually("the VLAN is gone", || !made());
    } else {
        assert!(ran.code == Some(6) && ran.stderr.contains("modprobe 8021q"), "{}", ran.stderr);
        assert_eq!(all(&home, &web), before);
    }
}

#[test]
fn attaches_that_cannot_be() {
    let home = Home::new();
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1 \
         --aux-address printer=192.168.88.200",
    );
    home.ok(
        "network create two --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.160/28 --gateway 192.168.88.2 \
         --aux-address host=192.168.88.222",
    );
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let report = home.attach("lan", &db, "");
    let (at_db, mac_db) = (home::addresses(&report)[0], report["mac"].as_str().unwrap().to_owned());
    home.laptop.add_address("eth0", "192.168.88.201/24".parse().unwrap()).unwrap();
    let netns_db = db.namespace().path().display().to_string();
    let attach = "attach lan --netns NETNS --name web";
    let rows: Vec<(String, i32, &[&str])> = vec![
        (format!("{attach} --ip {at_db}"), 5, &["held by the endpoint `db`", "ashore detach lan db"]),
        (format!("{attach} --ip 192.168.88.201"), 5, &["192.168.88.201 is in use on the LAN by", "try:"]),
        (format!("{attach} --ip 192.168.88.9"), 5, &["this host's own"]),
        (format!("{attach} --ip 192.168.88.1"), 3, &["it is the gateway"]),
        (format!("{attach} --ip 192.168.88.200"), 3, &["--aux-address printer"]),
        (format!("{attach} --ip 192.168.88.2"), 3, &["network `two`", "it is the gateway"]),
        (format!("{attach} --ip 192.168.88.222"), 3, &["network `two`", "--aux-address host"]),
        (format!("{attach} --ip 192.168.88.255"), 3, &["broadcast"]),
        (format!("{attach} --ip 10.0.0.7"), 3, &["10.0.0.7", "192.168.88.0/24"]),
        (format!("{attach} --ip fd88::7"), 3, &["fd88::7", "192.168.88.0/24"]),
        (format!("{attach} --ip 192.168.88.193 --ip 192.168.88.194"), 3, &["one address per family"]),
        (format!("{attach} --mac 01:00:5e:00:00:07"), 3, &["multicast", "02"]),
        (format!("{attach} --mac ff:ff:ff:ff:ff:ff"), 3, &["multicast, broadcast or zero"]),
        (format!("{attach} --mac {mac_db}"), 5, &["the endpoint `db`", "--mac out"]),
        (format!("{attach} --mac {}", home.nic()), 5, &["this host's `eth0`"]),
        (format!("{attach} --mac 02:00"), 2, &["02:00"]),
        ("attach lan --netns NETNS --name a/b".into(), 2, &["a/b", "contains '/'"]),
        (format!("{attach} --ifname all"), 2, &["an interface must not be called `all`"]),
        (format!("{attach} --ifname default"), 2, &["an interface must not be called `default`"]),
        (format!("attach lan --netns NETNS --name {}", "n".repeat(64)), 2, &["64", "63"]),
        ("attach lan --netns /run/netns/no-such --name web".into(), 3, &["/run/netns/no-such", "ip netns"]),
        ("attach lan --netns /etc/passwd --name web".into(), 3, &["/etc/passwd", "/run/netns/NAME"]),
        ("attach lan --pid 999999999 --name web".into(), 3, &["999999999", "/proc/PID/ns/net"]),
        (format!("attach lan --netns {netns_db} --name other"), 3, &["a link `eth0` already", "--ifname"]),
        ("attach lan --netns NETNS --name db".into(), 5, &["`db` already", "ashore detach lan db"]),
        ("attach nothing --netns NETNS --name web".into(), 4, &["no network `nothing`", "ashore network ls"]),
        ("attach lan --name web".into(), 2, &["--netns", "--pid"]),
        ("detach nothing web".into(), 4, &["no network `nothing`"]),
        ("network rm lan".into(), 5, &["1 endpoint", "`db`", "ashore detach lan db"]),
    ];
    let rows: Vec<Row> =
        rows.iter().map(|(command, code, words)| (command.as_str(), *code, *words)).collect();
    refused(&home, &web, &rows);
    home::reaches(&home.laptop, at_db);
}

#[test]
fn a_parent_that_went_down_or_away() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    // A network that needs nothing from the LAN can be created before the LAN is up.
    home.ok("network create leased --parent eth0 --subnet 192.168.88.0/24 --dhcp");
    home.nas.set_up("eth0", false).unwrap();
    let attach = "attach leased --netns NETNS --name web";
    refused(&home, &web, &[(attach, 3, &["`eth0` is down", "ip link set dev eth0 up"])]);
    home.nas.remove_link("eth0").unwrap();
    let attach = "attach lan --netns NETNS --name web";
    refused(
        &home,
        &web,
        &[(attach, 3, &["the parent `eth0` of network `lan` is gone", "ashore network move lan"])],
    );
}

#[test]
fn an_ipv6_address_where_ipv6_is_off() {
    let home = Home::new();
    home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64");
    let web = home.world.container("web").unwrap();
    let off = |value: &str| {
        let write = || std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", value);
        web.inside(write).unwrap().unwrap();
    };
    off("1");
    let words = ["IPv6 is off there: nsenter --net=", "sysctl -w net.ipv6.conf.all.disable_ipv6=0"];
    refused(&home, &web, &[("attach lan --netns NETNS --name web", 6, &words)]);
    off("0");
    let at = home::addresses(&home.attach("lan", &web, ""));
    assert_eq!(at.len(), 2);
    for at in at {
        home::reaches(&home.laptop, at);
    }
}

#[test]
fn without_the_privilege() {
    if !home::is_root() {
        return cannot_run("promise 8, privilege", "only root can become another user");
    }
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let before = all(&home, &web);
    // Every user may run the program and reach the socket's directory, but not the socket.
    let directory = home.directory.path();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.join("ashore");
    std::fs::copy(home::PROGRAM, &program).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(&program);
        Ran::of(command.args(arguments).env("ASHORE_SOCKET", home.daemon().socket())).unwrap()
    };
    let ran = as_nobody(&["network", "ls"]);
    assert_eq!(ran.code, Some(9), "{}", ran.stderr);
    assert!(ran.stderr.contains("only the owner of") && ran.stderr.contains("sudo"), "{}", ran.stderr);

    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::set_permissions(elsewhere.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let at = |file: &str| elsewhere.path().join(file).display().to_string();
    let ran = as_nobody(&[
        "daemon",
        "--state",
        &at("state"),
        "--run",
        &at("run"),
        "--docker-plugin",
        &at("p.sock"),
    ]);
    assert_eq!(ran.code, Some(9), "{}", ran.stderr);
    assert!(ran.stderr.contains("CAP_SYS_ADMIN is missing"), "{}", ran.stderr);
    assert_eq!(all(&home, &web), before);
}

#[test]
fn no_daemon_and_a_second_daemon() {
    let mut home = Home::new();
    let second =
        ashore_lab::Daemon::start(Path::new(home::PROGRAM), &home.nas, tempfile::tempdir().unwrap().path());
    let said = second.err().expect("one daemon for one namespace").to_string();
    assert!(said.contains("stop that one first"), "{said}");
    let socket = home.daemon().socket();
    home.daemon = None;
    let ran = Ran::of(Command::new(home::PROGRAM).args(["status"]).env("ASHORE_SOCKET", socket)).unwrap();
    assert_eq!(ran.code, Some(8), "{}", ran.stderr);
    assert!(ran.stderr.contains("ashore daemon"), "{}", ran.stderr);
}

#[test]
fn calls_of_an_engine_that_make_no_sense() {
    let home = Home::new();
    let web = home.world.container("web").unwrap();
    let before = all(&home, &web);
    let network = |options: &str| {
        format!(
            r#"{{"NetworkID":"66150cdfa0c94d73","Options":{{"com.docker.network.generic":{options}}},
                "IPv4Data":[{{"Pool":"192.168.88.0/24","Gateway":"192.168.88.1/24"}}]}}"#
        )
    };
    let create = "/NetworkDriver.CreateNetwork";
    let rows: Vec<(&str, String, &[&str])> = vec![
        (create, String::new(), &["Err", "no body"]),
        (create, "{\"NetworkID\":".into(), &["Err", "cannot be parsed"]),
        (create, network(r#"{"parnet":"eth0"}"#), &["Err", "parnet", "parent"]),
        (create, network(r#"{"parent":"eth7"}"#), &["Err", "`eth7` does not exist"]),
        (create, network(r#"{"parent":"eth0","mtu":"many"}"#), &["Err", "mtu=many"]),
        (
            create,
            network(r#"{"parent":"eth0","host_access":"perhaps"}"#),
            &["Err", "host_access=perhaps", "yes or no"],
        ),
        (
            create,
            network(r#"{"parent":"eth0","macvlan_mode":"bridge","ipvlan_mode":"l2"}"#),
            &["Err", "twice"],
        ),
        (
            "/IpamDriver.RequestPool",
            r#"{"Pool":"192.168.88.0/24","SubPool":"192.168.89.0/27"}"#.into(),
            &["Error", "192.168.89.0/27"],
        ),
        ("/IpamDriver.RequestPool", r#"{"Pool":"home"}"#.into(), &["Error", "home"]),
        ("/IpamDriver.RequestAddress", r#"{"PoolID":"nonsense"}"#.into(), &["Error", "nonsense"]),
        (
            "/IpamDriver.RequestAddress",
            r#"{"PoolID":"192.168.88.0/24"}"#.into(),
            &["Error", "docker network create"],
        ),
        ("/NetworkDriver.Join", r#"{"NetworkID":"a","EndpointID":"b"}"#.into(), &["Err", "no endpoint b"]),
        (
            "/NetworkDriver.CreateEndpoint",
            r#"{"NetworkID":"a","EndpointID":"b","Interface":{"Address":"x"}}"#.into(),
            &["Err", "x"],
        ),
        ("/NetworkDriver.NoSuchCall", "{}".into(), &["Err", "NoSuchCall"]),
        ("/Nonsense", "{}".into(), &["Err", "Nonsense"]),
    ];
    for (path, body, words) in rows {
        let answer = plugin_call(&home, path, &body);
        for word in words {
            assert!(answer.contains(word), "{word:?} is not in the answer to {path} {body}: {answer}");
        }
        assert_eq!(all(&home, &web), before, "{path} {body}");
    }
    // Removing something twice is no error: an engine repeats its calls.
    for (path, body) in [
        ("/NetworkDriver.DeleteNetwork", r#"{"NetworkID":"a"}"#),
        ("/NetworkDriver.Leave", r#"{"NetworkID":"a","EndpointID":"b"}"#),
        ("/NetworkDriver.DeleteEndpoint", r#"{"NetworkID":"a","EndpointID":"b"}"#),
        ("/IpamDriver.ReleasePool", r#"{"PoolID":"192.168.88.0/24"}"#),
        ("/IpamDriver.ReleaseAddress", r#"{"PoolID":"192.168.88.0/24","Address":"192.168.88.7"}"#),
    ] {
        assert_eq!(plugin_call(&home, path, body), "{}", "{path}");
    }
    assert_eq!(all(&home, &web), before);
}

/// An engine's user reads the options by their names in Docker, and the network is made once they are followed.
#[test]
fn an_engine_is_told_what_helps_in_its_own_words() {
    let home = Home::new();
    let create = |options: &str| {
        let body = format!(
            r#"{{"NetworkID":"66150cdfa0c94d73","Options":{{"com.docker.network.generic":{{{options}}}}},
                "IPv4Data":[{{"Pool":"192.168.88.0/24","Gateway":"192.168.88.1/24"}}]}}"#
        );
        plugin_call(&home, "/NetworkDriver.CreateNetwork", &body)
    };
    let rows = [
        (r#""parent":"eth7""#, "with -o parent=", r#""parent":"eth0""#),
        (
            r#""parent":"eth0","kind":"bridge""#,
            "use -o kind=macvlan on",
            r#""parent":"eth0","kind":"macvlan""#,
        ),
        (
            r#""parent":"eth0","macvlan_mode":"private","host_access":"yes""#,
            "give -o host_access=no",
            r#""parent":"eth0","macvlan_mode":"private","host_access":"no""#,
        ),
        (
            r#""parent":"eth0","isolated":"yes""#,
            "use -o kind=macvlan:private",
            r#""parent":"eth0","kind":"macvlan:private""#,
        ),
        (r#""parent":"eth0","hairpin":"yes""#, "leave -o hairpin=yes out", r#""parent":"eth0""#),
        (r#""parent":"eth0","tagged":"yes""#, "give -o kind=bridge and -o vlan=ID", r#""parent":"eth0""#),
        (r#""parent":"eth0","gvrp":"yes""#, "give -o vlan=ID with -o gvrp=yes", r#""parent":"eth0""#),
        (
            r#""parent":"eth0","mtu":"9000""#,
            "ip link set dev eth0 mtu 9000",
            r#""parent":"eth0","mtu":"1500""#,
        ),
    ];
    for (wrong, helps, right) in rows {
        let answer = create(wrong);
        assert!(answer.contains("try: ") && answer.contains(helps), "{helps:?} is not in {wrong}: {answer}");
        for flag in ["--parent", "--kind", "--host-access", "--isolated", "--hairpin", "--tagged", "--gvrp"] {
            assert!(!answer.contains(flag), "{wrong}: {answer}");
        }
        assert_eq!(create(right), "{}", "{wrong}: {answer}");
        let removed =
            plugin_call(&home, "/NetworkDriver.DeleteNetwork", r#"{"NetworkID":"66150cdfa0c94d73"}"#);
        assert_eq!(removed, "{}");
    }
}

#[test]
fn a_program_reads_a_refusal_as_json() {
    let home = Home::new();
    let ran = home.run("network inspect nolan --json");
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    let printed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let refused = &printed["refused"];
    assert_eq!(
        (&refused["code"], &refused["kind"]),
        (&"no-network".into(), &"not-found".into()),
        "{printed}"
    );
    assert_eq!(refused["about"]["network"], "nolan", "{printed}");
    // The sentence and what helps are on standard error as ever.
    assert_eq!(ran.stderr.lines().next().unwrap(), "ashore: there is no network `nolan`");
    let remedy = refused["remedy"].as_str().unwrap();
    assert_eq!(ran.stderr.lines().nth(1).unwrap(), format!("  try: {remedy}"));
    assert!(home.run("network inspect nolan").stdout.is_empty());
}
