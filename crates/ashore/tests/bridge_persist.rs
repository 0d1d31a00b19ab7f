//! A NIC's move into a bridge survives the host's next boot. Under a real systemd, with the real programs
//! that configure a host's network.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use ashore_core::net::name::IfName;
use ashore_lab::{Engines, cannot_run};
use home::booted::Booted;
use home::{HOST, ip};

/// A program that configures a host's network.
struct System {
    test: &'static str,
    name: &'static str,
    /// The Debian releases whose trees have it.
    suites: &'static [&'static str],
    /// The program's units.
    units: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
    /// Where the program shows that it has set the NIC up.
    settled: &'static str,
    /// The command with which the program removes the bridge, where Ashore does not do that.
    undo: Option<&'static str>,
}

const NETWORKD: &str = "systemd-networkd.service";

const SYSTEMS: [System; 5] = [
    System {
        test: "systemd-networkd",
        name: "systemd-networkd",
        suites: &["bookworm", "sid"],
        units: &[NETWORKD],
        files: &[(
            "/etc/systemd/network/20-wired.network",
            "[Match]\nName=eth*\n\n[Network]\nAddress=192.168.88.9/24\nGateway=192.168.88.1\n",
        )],
        settled: "/run/systemd/netif/links/INDEX",
        undo: None,
    },
    System {
        test: "systemd-networkd, leased",
        name: "systemd-networkd",
        suites: &["bookworm", "sid"],
        units: &[NETWORKD],
        files: &[("/etc/systemd/network/20-wired.network", "[Match]\nName=eth*\n\n[Network]\nDHCP=ipv4\n")],
        settled: "/run/systemd/netif/links/INDEX",
        undo: None,
    },
    System {
        test: "ifupdown",
        name: "ifupdown",
        suites: &["bookworm"],
        units: &["networking.service"],
        files: &[(
            "/etc/network/interfaces",
            "source /etc/network/interfaces.d/*\n\nauto lo eth0\niface lo inet loopback\niface eth0 inet static\n    \
             address 192.168.88.9/24\n    gateway 192.168.88.1\n",
        )],
        settled: "/run/network/ifstate.eth0",
        undo: None,
    },
    System {
        test: "netplan",
        name: "netplan",
        suites: &["bookworm"],
        units: &[NETWORKD],
        files: &[(
            "/etc/netplan/01-lan.yaml",
            "network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses:\n        - 192.168.88.9/24\n      routes:\n        \
             - to: default\n          via: 192.168.88.1\n",
        )],
        settled: "/run/systemd/netif/links/INDEX",
        undo: None,
    },
    System {
        test: "NetworkManager",
        name: "NetworkManager",
        suites: &["bookworm"],
        units: &["NetworkManager.service"],
        files: &[(
            "/etc/NetworkManager/system-connections/lan.nmconnection",
            "[connection]\nid=lan\nuuid=7d3b6d2c-0000-4000-8000-000000000001\ntype=ethernet\ninterface-name=eth0\n\n\
             [ipv4]\nmethod=manual\naddress1=192.168.88.9/24,192.168.88.1\n\n[ipv6]\nmethod=link-local\n",
        )],
        settled: "/run/NetworkManager/devices/INDEX",
        undo: Some("nmcli connection delete ashore-br0 ashore-eth0"),
    },
];

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn put(booted: &Booted, path: &str, text: &str) {
    let path = booted.at(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    // NetworkManager ignores connections that others may read.
    let mode =
        if path.extension().is_some_and(|extension| extension == "nmconnection") { 0o600 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The NIC's master, and the links that have the host's address.
fn seen(booted: &Booted) -> (Option<String>, Vec<String>) {
    let host = booted.machine.kernel().observe(&[]).unwrap().host;
    let nic = host.link(&name("eth0")).unwrap();
    let master = nic.master.and_then(|master| host.link_at(master)).map(|master| master.name.to_string());
    let has = |link: &&ashore_core::net::observed::Link| {
        host.addresses_of(link).any(|there| there.net.addr() == ip(HOST))
    };
    (master, host.links.iter().filter(has).map(|link| link.name.to_string()).collect())
}

fn reboot(booted: &mut Booted, system: &System, expected: &(Option<String>, Vec<String>)) {
    booted.shut_down();
    booted.machine.set_up("eth0", false).unwrap();
    for address in ["192.168.88.9/24", "fd88::9/64"] {
        booted.machine.del_address("eth0", address.parse().unwrap()).unwrap();
    }
    assert_eq!(seen(booted), (None, Vec::new()), "a host that is off has nothing");
    booted.boot();
    until(&format!("{} has set it up", system.name), || {
        if seen(booted) == *expected && booted.laptop.ping(ip(HOST)).is_some() {
            return Ok(());
        }
        let journals: String = system.units.iter().map(|unit| booted.nas.journal(unit)).collect();
        Err(format!("{:?}\n{journals}", seen(booted)))
    });
}

/// Waits for the result of a boot, and shows the present state otherwise.
fn until(what: &str, mut is: impl FnMut() -> Result<(), String>) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while let Err(instead) = is() {
        assert!(std::time::Instant::now() < end, "not within 60 s: {what}: {instead}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn outlives(engines: &Engines, system: &System, suite: &str) {
    let mut booted = Booted::new(engines, suite);
    for file in ["passwd", "group"] {
        let path = booted.at(&format!("/etc/{file}"));
        let text = std::fs::read_to_string(&path).unwrap();
        let more = if file == "passwd" {
            "systemd-network:x:998:998::/:/usr/sbin/nologin\nmessagebus:x:997:997::/:/usr/sbin/nologin\n"
        } else {
            "systemd-network:x:998:\nmessagebus:x:997:\n"
        };
        std::fs::write(path, text + more).unwrap();
    }
    // Essential packages appear in no dependencies, so the tree has no shell.
    let _ = std::os::unix::fs::symlink("busybox", booted.at("/usr/bin/sh"));
    // There is no udev, and networkd waits for udev's record of each link.
    let known = "[Service]\nExecStartPre=+busybox sh -c 'busybox mkdir -p /run/udev/data; \
                 for link in 1 2 3 4 5 6 7 8 9; do echo I:1 >/run/udev/data/n$$link; done'\n";
    put(&booted, &format!("/etc/systemd/system/{NETWORKD}.d/lab.conf"), known);
    for unit in ["systemd-networkd.service", "systemd-networkd.socket"] {
        std::fs::remove_file(booted.at(&format!("/etc/systemd/system/{unit}"))).unwrap();
    }
    for (path, text) in system.files {
        put(&booted, path, text);
    }
    booted.ok("systemctl daemon-reload");
    // As `systemctl enable` does. For units with a SysV script it needs tools that this NAS does not have.
    for unit in system.units {
        put(
            &booted,
            &format!("/etc/systemd/system/multi-user.target.d/{unit}.conf"),
            &format!("[Unit]\nWants={unit}\n"),
        );
    }
    let leased = system.test.ends_with("leased");
    let _dhcp = leased.then(|| serve_leases(engines, &booted));
    let alone = (None, vec!["eth0".to_owned()]);
    reboot(&mut booted, system, &alone);
    let host = booted.machine.kernel().observe(&[]).unwrap().host;
    let index = host.link(&name("eth0")).unwrap().index.to_string();
    until(&format!("{} has set the NIC up", system.name), || {
        let notes = booted.at(&system.settled.replace("INDEX", &index));
        let notes = std::fs::read_to_string(notes).unwrap_or_default();
        let settled = ["ADMIN_STATE=configured", "connection-uuid="].iter().any(|word| notes.contains(word))
            || notes.trim() == "eth0";
        if settled { Ok(()) } else { Err(notes) }
    });

    booted.install();
    if leased {
        until("networkd has its lease", || {
            client_id(&booted, "eth0").map(drop).ok_or_else(|| booted.nas.journal(NETWORKD))
        });
    }
    let client = client_id(&booted, "eth0");
    let mac = host.link(&name("eth0")).unwrap().mac;
    let told = booted.ok("ashore bridge adopt eth0 br0");
    assert!(told.contains(&format!("({})", system.name)), "{told}");
    let confirmed = booted.ok("ashore bridge confirm");
    let wrote: Vec<&str> = confirmed.lines().filter_map(|line| line.trim().strip_prefix("wrote ")).collect();
    assert!(!wrote.is_empty(), "{confirmed}");
    // The program that configures the network sees the change, and leaves it alone.
    for _ in 0..20 {
        assert!(booted.laptop.ping(ip(HOST)).is_some());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let bridged = (Some("br0".to_owned()), vec!["br0".to_owned()]);
    assert_eq!(seen(&booted), bridged);

    reboot(&mut booted, system, &bridged);
    let host = booted.machine.kernel().observe(&[]).unwrap().host;
    assert_eq!(host.link(&name("br0")).unwrap().mac, mac);
    if leased {
        let network = booted.at("/etc/systemd/network/05-ashore-br0.network");
        assert!(std::fs::read_to_string(network).unwrap().contains("\nIAID="));
        assert!(confirmed.contains("to hand over the lease before that: networkctl reload"), "{confirmed}");
        assert_eq!(client_id(&booted, "br0"), client, "the same client to the server");
    }
    assert!(host.default_gateway(&"192.168.88.0/24".parse().unwrap()).is_some());

    until("the daemon answers", || match booted.run("ashore status") {
        answer if answer.code == Some(0) => Ok(()),
        answer => Err(answer.stderr),
    });
    match system.undo {
        None => {
            let told = booted.ok("ashore bridge adopt eth0 br0 --undo");
            assert!(told.contains("eth0 is out of the bridge br0"), "{told}");
            booted.ok("ashore bridge confirm");
            assert_eq!(seen(&booted), alone);
        }
        Some(undo) => {
            let refused = booted.run("ashore bridge adopt eth0 br0 --undo");
            assert_eq!((refused.code, refused.stderr.contains(undo)), (Some(5), true), "{}", refused.stderr);
            assert_eq!(seen(&booted), bridged);
            booted.ok(undo);
            until("it has taken the bridge away", || {
                if seen(&booted) == alone { Ok(()) } else { Err(format!("{:?}", seen(&booted))) }
            });
        }
    }
    for path in wrote {
        let original = system.files.iter().find(|(there, _)| *there == path);
        let now = std::fs::read_to_string(booted.at(path)).ok();
        assert_eq!(now.as_deref(), original.map(|(_, text)| *text), "{path}");
    }
    reboot(&mut booted, system, &alone);
    assert!(!Path::new("/sys/class/net/br0").exists(), "this machine's own network is left alone");
}

/// The router's DHCP server, which has one address.
fn serve_leases(engines: &Engines, booted: &Booted) -> (Child, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let (leases, conf) = (directory.path().join("leases"), directory.path().join("udhcpd.conf"));
    std::fs::write(&leases, "").unwrap();
    let text = format!(
        "start {HOST}\nend {HOST}\ninterface eth0\nlease_file {}\noption subnet 255.255.255.0\noption router 192.168.88.1\n\
         option lease 3600\n",
        leases.display()
    );
    std::fs::write(&conf, text).unwrap();
    let mut server = booted.router.command(engines.path("bin/busybox")).unwrap();
    let server = server.args(["udhcpd", "-f"]).arg(conf).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    (server.unwrap(), directory)
}

/// The client identifier that networkd sends to a DHCP server: systemd 252 has it in a file, 262 tells it on
/// request.
fn client_id(booted: &Booted, link: &str) -> Option<Vec<u8>> {
    let host = booted.machine.kernel().observe(&[]).unwrap().host;
    let index = host.link(&name(link))?.index;
    if let Ok(lease) = std::fs::read_to_string(booted.at(&format!("/run/systemd/netif/leases/{index}"))) {
        let id = lease.lines().find_map(|line| line.strip_prefix("CLIENTID="))?;
        let byte = |at: usize| u8::from_str_radix(id.get(2 * at..2 * at + 2)?, 16).ok();
        return (0..id.len() / 2).map(byte).collect();
    }
    let told = booted.run(&format!("networkctl --json=short status {link}")).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).ok()?;
    let lease = &told["DHCPv4Client"];
    let id = lease["ClientIdentifier"].as_array().filter(|_| lease["Lease"].is_object())?;
    id.iter().map(|byte| byte.as_u64()?.try_into().ok()).collect()
}

fn every_suite(of: &str) {
    let system = SYSTEMS.iter().find(|system| system.test == of).unwrap();
    match Engines::find() {
        Ok(engines) => system.suites.iter().for_each(|suite| outlives(&engines, system, suite)),
        Err(why) => cannot_run(of, &why),
    }
}

#[test]
fn with_systemd_networkd() {
    every_suite("systemd-networkd");
}

#[test]
fn with_systemd_networkd_and_a_lease() {
    every_suite("systemd-networkd, leased");
}

#[test]
fn with_ifupdown() {
    every_suite("ifupdown");
}

#[test]
fn with_netplan() {
    every_suite("netplan");
}

#[test]
fn with_network_manager() {
    every_suite("NetworkManager");
}
