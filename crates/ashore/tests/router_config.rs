//! The output of `ashore router-config` does what it says on a real router with Debian's ifupdown, dnsmasq,
//! nftables and Kea. The VLAN itself needs a kernel with VLANs (`vm_router_config.rs`); here a plain wire
//! stands in for it.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use ashore_lab::{Engines, Machine, Ran, World, cannot_run};
use home::dhcp::Server;
use home::openwrt::OpenWrt;
use home::typed::{INTERNET, Typed, all_reach, dhcp_gives, internet, none_reach, wire};
use home::{Home, PROGRAM, eventually, ip, reaches, type_on};

const VLAN: &str = "--vlan 200 --subnet 10.0.200.0/24 --ip-range 10.0.200.192/27 --subnet fd88:200::/64 --ip-range fd88:200::c0/122";
const ROUTED: &str = "router-config --vlan 200 --subnet 10.0.200.0/24 --ip-range 10.0.200.192/27 --subnet fd88:200::/64 \
                      --ip-range fd88:200::c0/122 --lan-interface eth0";

fn ashore(command: &str) -> Ran {
    Ran::of(Command::new(PROGRAM).args(command.split_whitespace()).env("ASHORE_SOCKET", "/nowhere")).unwrap()
}

fn with_engines(test: &str, run: impl FnOnce(&Engines)) {
    match Engines::find() {
        Ok(engines) => run(&engines),
        Err(why) => cannot_run(test, &why),
    }
}

/// A router between the LAN, a wire in place of the VLAN, and the internet, with a machine on each.
struct Routed {
    _world: World,
    router: Machine,
    laptop: Machine,
    container: Machine,
    internet: Machine,
    directory: tempfile::TempDir,
}

impl Routed {
    fn new() -> Routed {
        let world = World::new(None).expect("namespaces (run as root, or under `unshare -Urn`)");
        let router = world.machine("router", 1).unwrap();
        let laptop = world.machine("laptop", 50).unwrap();
        laptop.add_default_route("eth0", ip("fd88::1")).unwrap();
        let container = world.container("container").unwrap();
        let internet = internet(&world, &router);
        wire(
            &router,
            "eth0.200",
            &container,
            ["10.0.200.200/24", "fd88:200::c8/64"],
            ["10.0.200.1", "fd88:200::1"],
        );
        let directory = tempfile::tempdir().unwrap();
        Routed { _world: world, router, laptop, container, internet, directory }
    }

    fn type_on_router(&self, engines: &Engines, policy: &str) -> Typed {
        let script = ashore(&format!("{ROUTED} --firewall {policy} --for ifupdown")).expect_success();
        Typed::on(&self.router, engines, self.directory.path(), "", &script)
    }

    /// Runs the script again, on the interface that exists by now.
    fn type_again(&self, engines: &Engines, policy: &str) -> Typed {
        let script = ashore(&format!("{ROUTED} --firewall {policy} --for ifupdown")).expect_success();
        let script = script.replace("\nifup eth0.200\n", "\n");
        Typed::on(&self.router, engines, self.directory.path(), "", &script)
    }

    /// Returns whether the container can connect to a TCP port of the router.
    fn opens(&self, port: u16) -> bool {
        let at = SocketAddr::new(ip("10.0.200.1"), port);
        let connect = || TcpStream::connect_timeout(&at, Duration::from_secs(5)).is_ok();
        self.container.inside(connect).unwrap()
    }
}

const CONTAINER: [&str; 2] = ["10.0.200.200", "fd88:200::c8"];
const LAPTOP: [&str; 2] = ["192.168.88.50", "fd88::50"];

#[test]
fn one_way_the_lan_reaches_the_vlan_and_not_the_other_way_round() {
    with_engines("router-config, one-way", |engines| {
        let routed = Routed::new();
        let _typed = routed.type_on_router(engines, "one-way");
        all_reach(&routed.laptop, CONTAINER);
        none_reach(&routed.container, LAPTOP);
        all_reach(&routed.container, INTERNET);
        all_reach(&routed.laptop, INTERNET);
        none_reach(&routed.internet, CONTAINER);
        reaches(&routed.container, ip("10.0.200.1"));

        // On the router itself, only DNS and DHCP are open.
        let _web = routed.router.inside(|| TcpListener::bind("0.0.0.0:8080")).unwrap().unwrap();
        assert!(routed.opens(53) && !routed.opens(8080));
        let gives = |wanted| dhcp_gives(&routed.container, "eth0", engines, wanted);
        assert_eq!(gives("10.0.200.191"), ip("10.0.200.191"));
        assert_ne!(gives("10.0.200.192"), ip("10.0.200.192"), "that address is Ashore's");

        // The same script again has the same result, and another policy replaces the first.
        let _again = routed.type_again(engines, "one-way");
        all_reach(&routed.laptop, CONTAINER);
        let _closed = routed.type_again(engines, "closed");
        none_reach(&routed.laptop, CONTAINER);
    });
}

#[test]
fn closed_the_vlan_has_the_internet_alone() {
    with_engines("router-config, closed", |engines| {
        let routed = Routed::new();
        let _typed = routed.type_on_router(engines, "closed");
        all_reach(&routed.container, INTERNET);
        all_reach(&routed.laptop, INTERNET);
        none_reach(&routed.laptop, CONTAINER);
        none_reach(&routed.container, LAPTOP);
        none_reach(&routed.internet, CONTAINER);
    });
}

#[test]
fn open_both_reach_each_other_and_the_internet_reaches_neither() {
    with_engines("router-config, open", |engines| {
        let routed = Routed::new();
        let _typed = routed.type_on_router(engines, "open");
        all_reach(&routed.laptop, CONTAINER);
        all_reach(&routed.container, LAPTOP);
        all_reach(&routed.container, INTERNET);
        none_reach(&routed.internet, CONTAINER);
        let _web = routed.router.inside(|| TcpListener::bind("0.0.0.0:8080")).unwrap().unwrap();
        assert!(routed.opens(8080));
    });
}

#[test]
fn a_linux_routers_interface_that_is_a_port_is_not_its_lan_and_nothing_is_done() {
    let world = World::new(None).expect("namespaces (run as root, or under `unshare -Urn`)");
    let router = world.machine("router", 1).unwrap();
    for step in ["add br0 type bridge", "set eth0 master br0"] {
        type_on(&router, &format!("ip link {step}"));
    }
    let script = ashore(&format!("{ROUTED} --for ifupdown")).expect_success();
    // The script writes no file of this machine, and starts no unit of it.
    let text = format!(
        "mount -t tmpfs tmpfs /root; mount -t tmpfs tmpfs /etc; mount -t sysfs sysfs /sys; mkdir /root/bin; PATH=/root/bin:$PATH\n\
         for tool in systemctl systemd-run; do printf '#!/bin/sh\\n' > /root/bin/$tool; chmod +x /root/bin/$tool; done\n{script}\nfind /etc -type f"
    );
    let mut command = router.command("unshare").unwrap();
    let ran = Ran::of(command.args(["--mount", "sh", "-c", &text])).unwrap();
    assert!(
        ran.stderr.contains("eth0 is a port of br0: --lan-interface must name that one"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
}

#[test]
fn the_routers_dhcp_server_keeps_clear_of_a_network_that_is_there() {
    with_engines("router-config, dnsmasq", |engines| {
        let home = Home::new();
        home.create_lan();
        let lines = home.ok("router-config lan --for dnsmasq --pool 192.168.88.180-192.168.88.240");
        let write = format!(
            "cat > /etc/dnsmasq.d/lan.conf <<'EOF'\n{lines}EOF\ndnsmasq --test -C /etc/dnsmasq.d/lan.conf"
        );
        let directory = home.directory.path();
        let _typed = Typed::on(&home.router, engines, directory, "", &write);
        let gives = |wanted| dhcp_gives(&home.laptop, "eth0", engines, wanted);
        for free in ["192.168.88.191", "192.168.88.224"] {
            assert_eq!(gives(free), ip(free));
        }
        // Ashore's addresses, the router's, and those that were in no pool before.
        let others = ["192.168.88.192", "192.168.88.200", "192.168.88.223", "192.168.88.1"];
        for taken in others.into_iter().chain(["192.168.88.179", "192.168.88.241"]) {
            assert_ne!(gives(taken), ip(taken));
        }
    });
}

const KEA_LAN: &str = "--subnet 192.168.88.0/24 --subnet 10.0.0.0/8 --pool 192.168.88.2-192.168.88.254 --pool 10.9.0.0-10.199.0.0";

#[test]
fn kea_takes_its_entry() {
    with_engines("router-config, Kea", |engines| {
        for options in ["--vlan 200 --subnet 10.0.200.0/24", KEA_LAN] {
            let range = if options.contains("vlan") {
                "10.0.200.192/27"
            } else {
                "192.168.88.192/27 --ip-range 10.0.0.0/9"
            };
            let entry =
                ashore(&format!("router-config {options} --ip-range {range} --for kea")).expect_success();
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("kea.conf");
            // An existing entry gets only other pools.
            let entry = match entry.split("\"pools\": [").collect::<Vec<_>>()[..] {
                [_, one, other] => [("192.168.88.0/24", one), ("10.0.0.0/8", other)]
                    .map(|(net, pools)| {
                        let pools = pools.split(']').next().unwrap();
                        format!("{{ \"id\": {}, \"subnet\": \"{net}\", \"pools\": [{pools}] }}", net.len())
                    })
                    .join(","),
                _ => entry,
            };
            let config = format!(
                "{{ \"Dhcp4\": {{ \"interfaces-config\": {{ \"interfaces\": [] }}, \"lease-database\": {{ \"type\": \
                 \"memfile\", \"persist\": false }}, \"subnet4\": [\n{entry}\n] }} }}\n"
            );
            std::fs::write(&file, &config).unwrap();
            let mut kea = Command::new(engines.path("usr/sbin/kea-dhcp4"));
            let kea = engines.equip(&mut kea).arg("-t").arg(&file).env("KEA_LOCKFILE_DIR", "none");
            let ran = Ran::of(kea.env("KEA_PIDFILE_DIR", directory.path())).unwrap();
            assert_eq!(ran.code, Some(0), "{config}\n{}{}", ran.stdout, ran.stderr);
        }
    });
}

/// The systems whose output is a shell script.
#[test]
fn what_is_for_a_shell_is_a_shells() {
    for system in ["openwrt", "systemd-networkd", "ifupdown", "netplan", "networkmanager"] {
        for policy in ["open", "one-way", "closed"] {
            let script =
                ashore(&format!("{ROUTED} --firewall {policy} --port lan1 --for {system}")).expect_success();
            let mut shell = Command::new("sh").args(["-n"]).stdin(Stdio::piped()).spawn().unwrap();
            shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(shell.wait().unwrap().success(), "{script}");
        }
    }
}

fn openwrt(options: &str) -> String {
    ashore(&format!("router-config {options} --for openwrt")).expect_success()
}

/// No Debian package has `uci`, so a stand-in runs the lines.
#[test]
fn on_openwrt_the_lan_stays_and_the_vlan_stands_beside_it() {
    for policy in ["open", "one-way", "closed"] {
        let router = OpenWrt::new();
        let output = openwrt(&format!("{VLAN} --firewall {policy} --port lan1"));
        for _ in 0..2 {
            router.paste(&output).expect_success();
            let network = router.config("network");
            assert_eq!(network["lan.device"], "br-lan.1");
            assert_eq!(network["ashore_lan.ports"], "lan1:u* lan2:u*", "not Wi-Fi's, which joins by itself");
            assert_eq!(network["vlan200_ports.ports"], "lan1:t");
            assert_eq!(network["vlan200.ipaddr"], "10.0.200.1/24");
            assert_eq!(
                (&*router.option("dhcp", "vlan200.start"), &*router.option("dhcp", "vlan200.limit")),
                ("10", "182")
            );
            assert_eq!(router.option("dhcp", "vlan200.ra"), "server");
            assert_eq!(router.option("dhcp", "lan.start"), "100");
            let firewall = router.config("firewall");
            assert_eq!(firewall.contains_key("lan_vlan200"), policy != "closed");
            assert_eq!(firewall.contains_key("vlan200_lan"), policy == "open");
            let private = firewall.get("vlan200_private.dest_ip").map_or("", String::as_str);
            assert_eq!(private.contains("192.168.0.0/16") && private.contains("fc00::/7"), policy != "open");
        }
    }
}

#[test]
fn on_openwrt_the_old_files_come_back_unless_it_is_told_that_all_is_well() {
    let output = openwrt(&format!("{VLAN} --port lan1"));
    let router = OpenWrt::new();
    router.paste(&output).expect_success();
    assert!(!router.is_untouched());
    router.trial_ends();
    eventually("the old files are back", || router.is_untouched());

    let router = OpenWrt::new();
    router.paste(&output).expect_success();
    std::fs::remove_file(router.at("vlan200.trial")).unwrap();
    router.trial_ends();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!router.is_untouched());
}

#[test]
fn on_openwrt_all_of_it_goes_again_and_the_lan_is_on_its_bridge_as_it_was() {
    let away = |name: &str| format!("rm -f /tmp/{name}.trial\nsh /root/{name}-away.sh\nrm /tmp/{name}.trial");
    let output = openwrt(&format!("{VLAN} --port lan1"));
    let router = OpenWrt::new();
    router.paste(&output).expect_success();
    router.paste(&output).expect_success();
    router.paste(&away("vlan200")).expect_success();
    assert!(router.has_what_it_was_made_with());

    // A second VLAN of Ashore still needs the LAN as a VLAN.
    router.paste(&output).expect_success();
    router.paste(&openwrt("--vlan 201 --subnet 10.0.201.0/24 --port lan1")).expect_success();
    router.paste(&away("vlan200")).expect_success();
    assert_eq!(router.option("network", "lan.device"), "br-lan.1");
    router.paste(&away("vlan201")).expect_success();
    assert!(router.has_what_it_was_made_with());

    // A LAN that was in a VLAN before stays there.
    let router = OpenWrt::new();
    let own = "lan_vlan=bridge-vlan\nlan_vlan.device=br-lan\nlan_vlan.vlan=1\n";
    router.add("network", own);
    let before = router.config("network");
    router.paste(&output).expect_success();
    router.paste(&away("vlan200")).expect_success();
    assert_eq!(router.config("network"), before);
}

/// A preparation of the router, and the words with which the script stops on it.
type OtherRouter = (fn(&OpenWrt), &'static str);

#[test]
fn on_another_openwrt_than_is_meant_the_script_stops_and_has_changed_nothing() {
    let others: [OtherRouter; 9] = [
        (|router| router.install("swconfig", "#!/bin/sh\necho switch0\n"), "swconfig instead of DSA"),
        (|router| router.add("network", "vlan200=interface\n"), "there is an interface vlan200 already"),
        (
            |router| router.add("firewall", "@zone[2]=zone\n@zone[2].name=vlan200\n"),
            "the firewall has a zone vlan200 already",
        ),
        (|_| {}, "lan3 is no port of br-lan, which has: lan1 lan2 wlan0"),
        (|router| std::fs::remove_dir_all(router.at("net/br-lan")).unwrap(), "there is no bridge br-lan"),
        (
            |router| std::fs::write(router.at("staged/dhcp"), "lan=dhcp\n").unwrap(),
            "there are changes that are not committed",
        ),
        (
            |router| {
                router.add(
                    "network",
                    "@bridge-vlan[0]=bridge-vlan\n@bridge-vlan[0].device=br-lan\n@bridge-vlan[0].vlan=200\n",
                );
            },
            "br-lan has a VLAN 200 already",
        ),
        (
            |router| {
                std::fs::write(router.at("config/network"), "lan=interface\nlan.device=br-home\n").unwrap();
            },
            "no interface has the device br-lan",
        ),
        (
            |router| {
                std::fs::write(router.at("config/firewall"), "@zone[0]=zone\n@zone[0].name=lan\n").unwrap();
            },
            "the firewall has no zone wan",
        ),
    ];
    for (prepare, words) in others {
        let router = OpenWrt::new();
        prepare(&router);
        let before = ["network", "dhcp", "firewall"].map(|file| router.config(file));
        let port = if words.starts_with("lan3") { "lan3" } else { "lan1" };
        let ran = router.paste(&openwrt(&format!("{VLAN} --port {port}")));
        assert!(
            ran.stderr.contains(words) && ran.stderr.contains("nothing was changed"),
            "{words}: {}",
            ran.stderr
        );
        assert_eq!(["network", "dhcp", "firewall"].map(|file| router.config(file)), before);
    }
}

#[test]
fn on_openwrt_another_bridges_vlans_are_not_the_lans() {
    let router = OpenWrt::new();
    router.add(
        "network",
        "@bridge-vlan[0]=bridge-vlan\n@bridge-vlan[0].device=br-iptv\n@bridge-vlan[0].vlan=200\n",
    );
    router.add("network", "guest=interface\nguest.device=br-lan\n");
    router.paste(&openwrt(&format!("{VLAN} --port lan1"))).expect_success();
    assert_eq!(router.option("network", "lan.device"), "br-lan.1");
    assert_eq!(router.option("network", "guest.device"), "br-lan.1", "whatever is on the bridge as a whole");

    let router = OpenWrt::new();
    router.add(
        "network",
        "@bridge-vlan[0]=bridge-vlan\n@bridge-vlan[0].device=br-lan\n@bridge-vlan[0].vlan=7\n",
    );
    router.paste(&openwrt(&format!("{VLAN} --port lan1"))).expect_success();
    assert_eq!(
        router.option("network", "lan.device"),
        "br-lan",
        "whoever has VLANs has put the LAN into one"
    );
}

fn option(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("lan.{name}={value}\n") }
}

#[test]
fn on_openwrt_the_range_is_taken_out_of_the_pool_that_is_there() {
    let pool = |start: &str, limit: &str, range: &str| {
        let router = OpenWrt::new();
        let dhcp =
            format!("lan=dhcp\nlan.interface=lan\n{}{}", option("start", start), option("limit", limit));
        std::fs::write(router.at("config/dhcp"), dhcp).unwrap();
        let output = openwrt(&format!("--subnet 192.168.88.0/24 --ip-range {range} --gateway 192.168.88.1"));
        let ran = router.paste(&output);
        let left = (router.option("dhcp", "lan.start"), router.option("dhcp", "lan.limit"));
        router.paste("[ ! -e /root/lan-pool-away.sh ] || sh /root/lan-pool-away.sh").expect_success();
        let back = |of: &str, was: &str, usual: &str| {
            let now = router.option("dhcp", of);
            assert!(now == was || was.is_empty() && now == usual, "{of} was {was}, and is {now}");
        };
        back("lan.start", start, "100");
        back("lan.limit", limit, "150");
        (left.0, left.1, ran.stdout + &ran.stderr)
    };
    for (start, limit, range, left) in [
        ("100", "150", "192.168.88.192/27", ("100", "92")),
        ("", "", "192.168.88.192/27", ("100", "92")),
        ("2", "253", "192.168.88.192/27", ("2", "190")),
        ("100", "150", "192.168.88.96-192.168.88.119", ("120", "130")),
        ("2", "900", "192.168.88.2-192.168.88.99", ("100", "155")),
        ("10", "80", "192.168.88.192/27", ("10", "80")),
        ("230", "20", "192.168.88.192/27", ("230", "20")),
        ("200", "10", "192.168.88.192/27", ("200", "10")),
    ] {
        let (start_now, limit_now, said) = pool(start, limit, range);
        assert_eq!((&*start_now, &*limit_now), left, "{start} {limit} {range}: {said}");
    }
    let (.., said) = pool("200", "10", "192.168.88.192/27");
    assert!(said.contains("the pool lies inside the range"), "{said}");
    let (.., said) = pool("10", "80", "192.168.88.192/27");
    assert!(said.contains("nothing has to change"), "{said}");
}

#[test]
fn on_openwrt_a_pool_that_hands_out_nothing_does_not_count_and_of_several_none_is_chosen() {
    let pasted = |dhcp: &str| {
        let router = OpenWrt::new();
        std::fs::write(router.at("config/dhcp"), dhcp).unwrap();
        let ran = router.paste(&openwrt("--subnet 192.168.88.0/24 --ip-range 192.168.88.192/27"));
        (router.config("dhcp"), ran.stdout + &ran.stderr)
    };
    let pool = |name: &str, more: &str| {
        let option = |more: &str| format!("{name}.{more}\n");
        let more: String = more.split_whitespace().map(option).collect();
        format!("{name}=dhcp\n{name}.interface=lan\n{more}")
    };
    let (low, wide) = ("start=10 limit=50", "start=100 limit=150");
    for (dhcp, words) in [
        (pool("lan", "ignore=1"), "lan has no pool here: nothing has to change"),
        (pool("lan", "ignore=on"), "lan has no pool here: nothing has to change"),
        (pool("lan", "dhcpv4=disabled"), "lan has no pool here: nothing has to change"),
        (pool("lan", "dynamicdhcp=0"), "lan has no pool here: nothing has to change"),
        (
            pool("lan", low) + &pool("guests", wide),
            "lan has several pools (lan guests): none of them may contain the numbers 192 to 223; nothing was changed",
        ),
        (
            pool("lan", "start=192.168.88.100 limit=150"),
            "start and limit of the pool lan have to be numbers, and are 192.168.88.100 and 150; nothing was changed",
        ),
    ] {
        let before: Vec<String> = dhcp.lines().map(str::to_owned).collect();
        let (now, said) = pasted(&dhcp);
        let now: Vec<String> = now.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert!(
            said.contains(words) && before.iter().all(|line| now.contains(line)),
            "{dhcp}: {said} {now:?}"
        );
    }
    let (now, said) = pasted(&(pool("lan", wide) + &pool("guests", "start=10 limit=50 ignore=1")));
    assert_eq!((&*now["lan.limit"], &*now["guests.limit"]), ("92", "50"), "{said}");
}

#[test]
fn a_lan_whose_server_offers_nothing_of_the_range_needs_no_change() {
    with_engines("router-config, asked", |engines| {
        let home = Home::new();
        home.create_lan();
        let directory = home.directory.path();
        let serve = |pool: &str| {
            let pool = format!("{pool},255.255.255.0,2m");
            Server::dnsmasq(engines, &home.router, directory, &pool, &[])
        };
        let present = || {
            let plan: serde_json::Value = serde_json::from_str(&home.ok("router-config lan --json")).unwrap();
            assert_eq!(plan["subnets"][0]["pools"].as_array().unwrap().len(), 0, "{plan}");
            plan["subnets"][0]["present"].clone()
        };
        assert_eq!(present(), "unknown", "nobody has answered");
        let server = serve("192.168.88.100,192.168.88.150");
        eventually("the server answers", || present()["clear"][0] == "192.168.88.1");
        let text = home.ok("router-config lan --for openwrt");
        assert!(text.contains("nothing changes"), "{text}");
        drop(server);
        let _server = serve("192.168.88.100,192.168.88.200");
        eventually("it offers what Ashore hands out", || present()["offers"]["server"] == "192.168.88.1");
    });
}

#[test]
fn a_network_is_asked_of_the_daemon_and_needs_none_but_for_that() {
    let home = Home::new();
    home.create_lan();
    let plan: serde_json::Value = serde_json::from_str(&home.ok("router-config lan --json")).unwrap();
    assert_eq!(plan["subnets"][0]["range"], "192.168.88.192/27");
    assert_eq!(plan["subnets"][0]["router"], "192.168.88.1");
    assert_eq!(plan["vlan"], serde_json::Value::Null);
    // No DHCP server on this LAN tells its pool, so the plan contains none.
    assert_eq!(plan["subnets"][0]["present"], "unknown");
    assert_eq!(plan["subnets"][0]["pools"].as_array().unwrap().len(), 0);
    assert!(home.ok("router-config").contains("routeros"));

    for (command, code, words) in [
        ("router-config nas --for kea", 4, "there is no network `nas`"),
        ("router-config lan --for kea --firewall open", 3, "without a VLAN"),
        (
            "router-config lan --for kea --pool 192.168.88.193-192.168.88.200",
            3,
            "`ashore pool-check` names one",
        ),
        ("router-config --for kea --vlan 1 --subnet 10.0.1.0/24", 3, "would cut off every machine on it"),
        ("router-config lan --for kea --gateway 192.168.88.2", 3, "has the gateway 192.168.88.1"),
        ("router-config lan --for keaa", 2, "try: kea"),
        ("router-config lan --subnet 10.0.0.0/8", 2, "cannot be used with"),
        ("router-config --for kea", 3, "--vlan 200 --subnet 10.0.200.0/24"),
        ("router-config --for kea --vlan 0 --subnet 10.0.200.0/24", 2, "1 to 4094"),
        ("router-config --for kea --vlan 4095 --subnet 10.0.200.0/24", 2, "1 to 4094"),
        ("router-config --for switch --vlan 200 --subnet 10.0.200.0/24 --port $(id)", 2, "contains '$'"),
        ("router-config --for switch --vlan 200 --subnet 10.0.200.0/24 --firewall onway", 2, "try: one-way"),
    ] {
        let ran = home.run(command);
        assert_eq!(ran.code, Some(code), "{command}: {}", ran.stderr);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(words), "{command}: {}", ran.stderr);
    }
    assert_eq!(home.made_links(), [""; 0]);
    assert_eq!(ashore("router-config lan --for kea").code, Some(8));
}

#[test]
fn what_this_machine_has_is_in_no_pool_and_its_lan_in_no_vlan() {
    let home = Home::new();
    let on_nas = |options: &str| {
        let mut command = home.nas.command(PROGRAM).unwrap();
        Ran::of(command.arg("router-config").args(options.split(' '))).unwrap()
    };
    let lan = "--subnet 192.168.88.0/24 --ip-range 192.168.88.192/27";
    let told = on_nas(&format!("{lan} --pool 192.168.88.5-192.168.88.250 --json")).expect_success();
    let plan: serde_json::Value = serde_json::from_str(&told).unwrap();
    let left = ["192.168.88.5-192.168.88.8", "192.168.88.10-192.168.88.191", "192.168.88.224-192.168.88.250"];
    assert_eq!(plan["subnets"][0]["pools"].as_array().unwrap(), &left);
    let refused = on_nas(&format!("{lan} --vlan 200 --for kea"));
    let words =
        "192.168.88.0/24 cannot be in VLAN 200: this machine has 192.168.88.0/24 on eth0, without a tag";
    assert!(refused.code == Some(3) && refused.stderr.contains(words), "{}", refused.stderr);
}
