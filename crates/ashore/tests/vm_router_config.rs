//! A VLAN from the container to the internet, by what `ashore router-config` prints for a network that is there: typed into
//! a router that Debian's ifupdown or systemd-networkd configures. In the virtual machine, whose kernel has VLANs.

mod home;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use ashore_lab::{Engines, Machine, Nas, Ran, World, cannot_run};
use home::typed::{INTERNET, NETWORKD, Typed, all_reach, dhcp_gives, internet, none_reach};
use home::{Home, PROGRAM, eventually, ip};

fn a_vlan_behind_the_router(system: &str, before: &str) {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run(&format!("router-config, {system}"), &why),
    };
    let home = Home::new();
    let _internet = internet(&home.world, &home.router);
    home.laptop.add_default_route("eth0", ip("fd88::1")).unwrap();
    home.ok(
        "network create iot --parent eth0 --vlan 200 --subnet 10.0.200.0/24 --ip-range 10.0.200.192/27 --gateway \
         10.0.200.1 --subnet fd88:200::/64 --ip-range fd88:200::c0/122 --gateway fd88:200::1",
    );
    let container = home.world.container("container").unwrap();
    home.attach("iot", &container, "--ip 10.0.200.200 --ip fd88:200::c8");

    let script = home.ok(&format!("router-config iot --lan-interface eth0 --for {system}"));
    let _typed = Typed::on(&home.router, &engines, home.directory.path(), before, &script);
    all_reach(&container, INTERNET);
    all_reach(&home.laptop, ["10.0.200.200", "fd88:200::c8"]);
    all_reach(&home.laptop, INTERNET);
    none_reach(&container, ["192.168.88.50", "fd88::50"]);

    // Another machine in the VLAN gets an address of the router's, and none of Ashore's.
    home.laptop.add_vlan("eth0", 200, "10.0.200.50/24".parse().unwrap()).unwrap();
    let gives = |wanted| dhcp_gives(&home.laptop, "eth0.200", &engines, wanted);
    assert_eq!(gives("10.0.200.224"), ip("10.0.200.224"));
    assert_ne!(gives("10.0.200.223"), ip("10.0.200.223"));
}

#[test]
fn ifupdown() {
    a_vlan_behind_the_router("ifupdown", "");
}

#[test]
fn systemd_networkd() {
    a_vlan_behind_the_router("systemd-networkd", NETWORKD);
}

/// A router that boots: systemd, and on it whoever makes its interfaces. What iptables has at boot, as netfilter-persistent
/// loads it, is its home's NAT.
struct BootedRouter {
    nas: Nas,
    machine: Machine,
    laptop: Machine,
    engines: Engines,
    _directory: tempfile::TempDir,
    _world: World,
}

const NETWORKING: [(&str, &str, &str, &str); 4] = [
    (
        "systemd-networkd",
        "systemd-networkd.service",
        "systemd/network/20-wired.network",
        "[Match]\nName=eth0\n\n[Network]\nAddress=192.168.88.9/24\nGateway=192.168.88.1\n",
    ),
    (
        "ifupdown",
        "networking.service",
        "network/interfaces",
        "source /etc/network/interfaces.d/*\n\nauto lo eth0\niface lo inet loopback\niface eth0 inet static\n    address \
         192.168.88.9/24\n    gateway 192.168.88.1\n",
    ),
    (
        "netplan",
        "systemd-networkd.service",
        "netplan/01-lan.yaml",
        "network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses:\n        - 192.168.88.9/24\n",
    ),
    (
        "networkmanager",
        "NetworkManager.service",
        "NetworkManager/system-connections/lan.nmconnection",
        "[connection]\nid=lan\nuuid=7d3b6d2c-0000-4000-8000-000000000001\ntype=ethernet\ninterface-name=eth0\n\n[ipv4]\n\
         method=manual\naddress1=192.168.88.9/24,192.168.88.1\n\n[ipv6]\nmethod=link-local\n",
    ),
];

const HOME_NAT: &str = "[Unit]\nDefaultDependencies=no\nBefore=network-pre.target nftables.service\n\
                        [Service]\nType=oneshot\nRemainAfterExit=yes\n\
                        ExecStart=iptables-nft -t nat -A POSTROUTING -o wan -j MASQUERADE\n";

/// There is no udev, for whose word on each link networkd waits.
const NO_UDEV: &str = "[Service]\nExecStartPre=+busybox sh -c 'busybox mkdir -p /run/udev/data; for link in 1 2 3 4 5 6 7 8 9; do \
                       echo I:1 >/run/udev/data/n$$link; done'\n";

impl BootedRouter {
    fn new(engines: Engines, system: &str) -> BootedRouter {
        let (_, unit, file, text) = NETWORKING.iter().find(|(name, ..)| *name == system).unwrap();
        let world = World::new(None).expect("namespaces (run as root)");
        let (machine, laptop) = (world.machine("router", 9).unwrap(), world.machine("laptop", 50).unwrap());
        laptop.add_vlan("eth0", 200, "10.0.200.50/24".parse().unwrap()).unwrap();
        // The virtual machine's own tree is an overlay, on which no other one's changes can lie.
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let nas = Nas::new(&engines, "bookworm", directory.path()).unwrap();
        let changed = directory.path().join("changed");
        let put = |path: &str, text: &str| {
            let path = changed.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let mode = if path.extension().is_some_and(|of| of == "nmconnection") { 0o600 } else { 0o644 };
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let units = changed.join("etc/systemd/system");
        for engine in ["docker.service", "docker.socket"] {
            symlink("/dev/null", units.join(engine)).unwrap();
        }
        for masked in ["systemd-networkd.service", "systemd-networkd.socket"] {
            std::fs::remove_file(units.join(masked)).unwrap();
        }
        put(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nsystemd-network:x:998:998::/:/bin/false\nmessagebus:x:997:997::/:/bin/false\ndnsmasq:x:996:996::/:/bin/false\n",
        );
        put(
            "etc/group",
            "root:x:0:\nsystemd-network:x:998:\nmessagebus:x:997:\ndnsmasq:x:996:\nnogroup:x:65534:\n",
        );
        put("etc/systemd/system/systemd-networkd.service.d/lab.conf", NO_UDEV);
        put("etc/systemd/system/home-nat.service", HOME_NAT);
        put(
            "etc/dnsmasq.d/lan.conf",
            "no-ping\nno-resolv\ninterface=eth0\ndhcp-range=192.168.88.100,192.168.88.150\n",
        );
        put(&format!("etc/{file}"), text);
        for unit in [unit, "home-nat.service", "dnsmasq.service"] {
            put(
                &format!("etc/systemd/system/multi-user.target.d/{unit}.conf"),
                &format!("[Unit]\nWants={unit}\n"),
            );
        }
        for made in ["var/lib/misc", "root", "usr/bin", "etc/network/interfaces.d"] {
            std::fs::create_dir_all(changed.join(made)).unwrap();
        }
        // Essential packages are in no tree. The shell is Debian's: busybox's takes its own `ifup` before any other.
        for (tool, is) in [("sh", "dash"), ("grep", "busybox"), ("sysctl", "busybox")] {
            symlink(is, changed.join("usr/bin").join(tool)).unwrap();
        }
        let mut router = BootedRouter { nas, machine, laptop, engines, _directory: directory, _world: world };
        router.boot();
        router
    }

    /// The kernel of a machine that was off has nothing of what it had.
    fn boot(&mut self) {
        let host = self.machine.kernel().observe(&[]).unwrap().host;
        for link in
            host.links.iter().map(|link| link.name.to_string()).filter(|name| name != "lo" && name != "eth0")
        {
            self.machine.remove_link(&link).unwrap();
        }
        for address in host.addresses.iter().filter(|there| there.net.addr() == ip("192.168.88.9")) {
            self.machine.del_address("eth0", address.net).unwrap();
        }
        let mut nft = self.machine.command(self.engines.path("usr/sbin/nft")).unwrap();
        assert!(self.engines.equip(&mut nft).args(["flush", "ruleset"]).status().unwrap().success());
        self.nas.boot(&self.machine).unwrap();
        eventually("the router has its LAN", || self.laptop.ping(ip("192.168.88.9")).is_some());
        eventually("it gives leases", || self.shell("systemctl is-active dnsmasq").code == Some(0));
    }

    fn shell(&self, text: &str) -> Ran {
        self.nas.run(&["sh", "-ec", text]).unwrap()
    }

    #[track_caller]
    fn ok(&self, text: &str) -> String {
        let ran = self.shell(text);
        assert_eq!(ran.code, Some(0), "{text}: {}{}\n{}", ran.stdout, ran.stderr, self.nas.journal("*"));
        ran.stdout
    }

    /// What everybody at home has, whatever was typed.
    #[track_caller]
    fn home_is_as_it_was(&self) {
        assert!(self.ok("iptables-nft -t nat -S").contains("-o wan -j MASQUERADE"), "the home has its NAT");
        assert!(self.shell("systemctl is-enabled nftables").stdout.contains("disabled"));
        let gives = dhcp_gives(&self.laptop, "eth0", &self.engines, "192.168.88.120");
        assert_eq!(gives, ip("192.168.88.120"), "and DHCP");
    }

    #[track_caller]
    fn vlan_is_there(&self) {
        eventually("the VLAN's router answers", || self.laptop.ping(ip("10.0.200.1")).is_some());
        eventually("its DHCP", || self.ok("systemctl is-active dnsmasq").contains("active"));
        let gives = |wanted| dhcp_gives(&self.laptop, "eth0.200", &self.engines, wanted);
        assert_eq!(gives("10.0.200.224"), ip("10.0.200.224"));
        assert_ne!(gives("10.0.200.200"), ip("10.0.200.200"), "that is Ashore's");
        let rules = self.ok("nft list table inet vlan200");
        assert!(rules.contains("reject") && rules.contains("eth0.200"), "{rules}");
    }
}

/// What is typed lasts over a reboot, takes nothing away that was there, and goes away again.
fn over_a_reboot(system: &str) {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run(&format!("router-config over a reboot, {system}"), &why),
    };
    let mut router = BootedRouter::new(engines, system);
    router.home_is_as_it_was();
    let mut ashore = Command::new(PROGRAM);
    let options = "router-config --vlan 200 --subnet 10.0.200.0/24 --ip-range 10.0.200.192/27 --lan-interface eth0 --for";
    let output = Ran::of(ashore.args(options.split(' ')).arg(system)).unwrap().expect_success();
    router.ok(&output);
    router.vlan_is_there();
    router.home_is_as_it_was();
    assert!(router.ok("systemctl list-timers --all").contains("vlan200-back"), "a way back waits");

    router.nas.shut_down().unwrap();
    router.boot();
    router.vlan_is_there();
    router.home_is_as_it_was();

    // Whoever begins his rules anew with Debian's file, which flushes all, has these again too.
    for does in ["start", "reload", "restart", "stop"] {
        router.ok(&format!("systemctl {does} nftables"));
        assert!(router.ok("nft list ruleset").contains("table inet vlan200"), "{does}");
    }
    router.ok("systemctl restart home-nat");

    router.ok("sh /root/vlan200-away.sh");
    router.home_is_as_it_was();
    assert!(router.laptop.ping(ip("10.0.200.1")).is_none());
    let left = router
        .ok("nft list ruleset; ls /etc/systemd/system /etc/dnsmasq.d /etc/nftables.d /etc/sysctl.d; ip link");
    assert!(!left.contains("vlan200") && !left.contains("eth0.200"), "{left}");
}

#[test]
fn systemd_networkd_over_a_reboot() {
    over_a_reboot("systemd-networkd");
}

#[test]
fn ifupdown_over_a_reboot() {
    over_a_reboot("ifupdown");
}

#[test]
fn netplan_over_a_reboot() {
    over_a_reboot("netplan");
}

#[test]
fn network_manager_over_a_reboot() {
    over_a_reboot("networkmanager");
}
