//! What `ashore router-config` prints does what it says, typed into a real router: Debian's ifupdown, dnsmasq, nftables and
//! Kea. The VLAN itself needs a kernel that has them (`vm_router_config.rs`); here a plain wire stands for it.

mod home;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use ashore_lab::{Engines, Machine, Ran, World, cannot_run};
use home::typed::{INTERNET, Typed, all_reach, dhcp_gives, internet, none_reach, wire};
use home::{Home, PROGRAM, ip, reaches};

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

/// A router between the LAN, a wire in the VLAN's place, and the internet; a machine on each.
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

    /// Another time, on the interface that there is by now.
    fn type_again(&self, engines: &Engines, policy: &str) -> Typed {
        let script = ashore(&format!("{ROUTED} --firewall {policy} --for ifupdown")).expect_success();
        let script = script.replace("\nifup eth0.200\n", "\n");
        Typed::on(&self.router, engines, self.directory.path(), "", &script)
    }

    /// Whether the container can open a connection to a port of the router's.
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

        // Of the router itself, DNS and DHCP.
        let _web = routed.router.inside(|| TcpListener::bind("0.0.0.0:8080")).unwrap().unwrap();
        assert!(routed.opens(53) && !routed.opens(8080));
        let gives = |wanted| dhcp_gives(&routed.container, "eth0", engines, wanted);
        assert_eq!(gives("10.0.200.191"), ip("10.0.200.191"));
        assert_ne!(gives("10.0.200.192"), ip("10.0.200.192"), "that is Ashore's");

        // The same again makes the same, and another policy takes its place.
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
fn the_routers_dhcp_server_keeps_clear_of_a_network_that_is_there() {
    with_engines("router-config, dnsmasq", |engines| {
        let home = Home::new();
        home.create_lan();
        let lines = home.ok("router-config lan --for dnsmasq");
        let write = format!(
            "cat > /etc/dnsmasq.d/lan.conf <<'EOF'\n{lines}EOF\ndnsmasq --test -C /etc/dnsmasq.d/lan.conf"
        );
        let directory = home.directory.path();
        let _typed = Typed::on(&home.router, engines, directory, "", &write);
        let gives = |wanted| dhcp_gives(&home.laptop, "eth0", engines, wanted);
        for free in ["192.168.88.191", "192.168.88.224"] {
            assert_eq!(gives(free), ip(free));
        }
        for taken in ["192.168.88.192", "192.168.88.200", "192.168.88.223", "192.168.88.1"] {
            assert_ne!(gives(taken), ip(taken));
        }
    });
}

#[test]
fn kea_takes_its_entry() {
    with_engines("router-config, Kea", |engines| {
        for options in ["--vlan 200 --subnet 10.0.200.0/24", "--subnet 192.168.88.0/24 --subnet 10.0.0.0/8"] {
            let range = if options.contains("vlan") {
                "10.0.200.192/27"
            } else {
                "192.168.88.192/27 --ip-range 10.0.0.0/9"
            };
            let entry =
                ashore(&format!("router-config {options} --ip-range {range} --for kea")).expect_success();
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("kea.conf");
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

/// The systems whose output is for a shell.
#[test]
fn what_is_for_a_shell_is_a_shells() {
    for system in ["openwrt", "systemd-networkd", "ifupdown"] {
        for policy in ["open", "one-way", "closed"] {
            let script =
                ashore(&format!("{ROUTED} --firewall {policy} --port lan1 --for {system}")).expect_success();
            let mut shell = Command::new("sh").args(["-n"]).stdin(Stdio::piped()).spawn().unwrap();
            shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(shell.wait().unwrap().success(), "{script}");
        }
    }
}

/// No package of Debian's has uci, so its grammar is all that can be asked of OpenWrt's commands: a section is made before
/// it is filled, values are quoted, and the files are those that there are.
#[test]
fn openwrt_commands_are_uci() {
    for policy in ["open", "one-way", "closed"] {
        let script =
            ashore(&format!("{ROUTED} --firewall {policy} --port lan1 --for openwrt")).expect_success();
        let mut sections = BTreeSet::from(["network.lan".to_owned()]);
        let commands = script.lines().map(str::trim).filter(|line| line.starts_with("uci "));
        for command in commands {
            let words: Vec<&str> = command.splitn(3, ' ').collect();
            let (verb, rest) = (words[1], words.get(2).copied().unwrap_or_default());
            match verb {
                "commit" => continue,
                "-q" => {
                    let section = rest.strip_prefix("delete ").unwrap_or_else(|| panic!("{command}"));
                    sections.remove(section);
                    continue;
                }
                "set" | "add_list" => {}
                _ => panic!("{command}"),
            }
            let (name, value) = rest.split_once('=').unwrap_or_else(|| panic!("{command}"));
            let parts: Vec<&str> = name.split('.').collect();
            let word =
                |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            assert!(
                parts.iter().all(word) && ["network", "dhcp", "firewall"].contains(&parts[0]),
                "{command}"
            );
            match parts.as_slice() {
                [_, _] => assert!(
                    sections.insert(name.to_owned()) && verb == "set" && !value.contains('\''),
                    "{command}"
                ),
                [file, section, _] => {
                    assert!(sections.contains(&format!("{file}.{section}")), "{command}");
                    let quoted =
                        |quote| value.len() > 2 && value.starts_with(quote) && value.ends_with(quote);
                    assert!(quoted('\'') || quoted('"'), "{command}");
                }
                _ => panic!("{command}"),
            }
        }
        assert!(
            sections.contains("firewall.vlan200") && sections.contains("network.vlan200_ports"),
            "{script}"
        );
    }
}

#[test]
fn a_network_is_asked_of_the_daemon_and_needs_none_but_for_that() {
    let home = Home::new();
    home.create_lan();
    let plan: serde_json::Value = serde_json::from_str(&home.ok("router-config lan --json")).unwrap();
    assert_eq!(plan["subnets"][0]["range"], "192.168.88.192/27");
    assert_eq!(plan["subnets"][0]["router"], "192.168.88.1");
    assert_eq!(plan["vlan"], serde_json::Value::Null);
    let pools = plan["subnets"][0]["pools"].as_array().unwrap();
    assert_eq!(pools, &["192.168.88.2-192.168.88.191", "192.168.88.224-192.168.88.254"]);
    assert!(home.ok("router-config").contains("routeros"));

    for (command, code, words) in [
        ("router-config nas --for kea", 4, "there is no network `nas`"),
        ("router-config lan --for kea --firewall open", 3, "without a VLAN"),
        (
            "router-config lan --for kea --pool 192.168.88.100-192.168.88.200",
            3,
            "--pool 192.168.88.100-192.168.88.191",
        ),
        ("router-config lan --for kea --gateway 192.168.88.2", 3, "sends by 192.168.88.1"),
        ("router-config lan --for keaa", 2, "a similar value exists: 'kea'"),
        ("router-config lan --subnet 10.0.0.0/8", 2, "cannot be used with"),
        ("router-config --for kea", 3, "--vlan 200 --subnet 10.0.200.0/24"),
        ("router-config --for kea --vlan 0 --subnet 10.0.200.0/24", 2, "from 1 to 4094"),
        ("router-config --for kea --vlan 4095 --subnet 10.0.200.0/24", 2, "from 1 to 4094"),
        ("router-config --for switch --vlan 200 --subnet 10.0.200.0/24 --port $(id)", 2, "contains '$'"),
        ("router-config --for switch --vlan 200 --subnet 10.0.200.0/24 --firewall onway", 2, "'one-way'"),
    ] {
        let ran = home.run(command);
        assert_eq!(ran.code, Some(code), "{command}: {}", ran.stderr);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(words), "{command}: {}", ran.stderr);
    }
    assert_eq!(home.made_links(), [""; 0]);
    assert_eq!(ashore("router-config lan --for kea").code, Some(8));
}
