//! A VLAN from the container to the internet, from the output of `ashore router-config` for an existing
//! network, run on a router that Debian's ifupdown or systemd-networkd configures. Runs in the virtual
//! machine, whose kernel has VLANs.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ashore_lab::{Engines, Machine, Nas, Ran, World, cannot_run};
use home::typed::{INTERNET, NETWORKD, Typed, all_reach, dhcp_gives, internet, none_reach};
use home::{Home, PROGRAM, eventually, ip, type_on};

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

    // Another machine in the VLAN gets an address from the router, and none of Ashore's.
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

/// The router's LAN may be a VLAN of its interface. The new VLAN is not created inside that one, where the
/// NAS would not receive it.
#[test]
fn beside_a_lan_that_is_in_a_vlan_itself() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("router-config, LAN in a VLAN", &why),
    };
    let home = Home::new();
    home.router.add_vlan("eth0", 10, "192.168.10.1/24".parse().unwrap()).unwrap();
    home.laptop.add_vlan("eth0", 10, "192.168.10.50/24".parse().unwrap()).unwrap();
    home.ok(
        "network create iot --parent eth0 --vlan 200 --subnet 10.0.200.0/24 --ip-range 10.0.200.192/27 --gateway \
         10.0.200.1",
    );
    let container = home.world.container("container").unwrap();
    home.attach("iot", &container, "--ip 10.0.200.200");
    let script = home.ok("router-config iot --lan-interface eth0.10 --for ifupdown");
    let _typed = Typed::on(&home.router, &engines, home.directory.path(), "", &script);
    type_on(&home.laptop, "ip route add 10.0.200.0/24 via 192.168.10.1");
    all_reach(&home.laptop, ["10.0.200.1", "10.0.200.200"]);
    none_reach(&container, ["192.168.10.50", "192.168.88.50"]);
}

/// A router that boots systemd and one of the programs that create interfaces. Its iptables rules at boot, as
/// netfilter-persistent loads them, are the home's NAT.
struct BootedRouter {
    nas: Nas,
    machine: Machine,
    laptop: Machine,
    engines: Engines,
    /// The unit of its DHCP server.
    dhcp: &'static str,
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

/// The DHCP servers: the unit, the configuration file, and its content for the LAN.
const DHCP: [(&str, &str, &str); 2] = [
    (
        "dnsmasq",
        "dnsmasq.d/lan.conf",
        "no-ping\nno-resolv\ninterface=eth0\ndhcp-range=192.168.88.100,192.168.88.150\n",
    ),
    (
        "kea-dhcp4-server",
        "kea/kea-dhcp4.conf",
        "{ \"Dhcp4\": { \"interfaces-config\": { \"interfaces\": [\"eth0\"] }, \"subnet4\": [\n{ \"id\": 1, \"subnet\": \
         \"192.168.88.0/24\", \"pools\": [ { \"pool\": \"192.168.88.100 - 192.168.88.150\" } ] }\n] } }\n",
    ),
];

/// Kea waits for `network-online.target`, which the lab masks.
const AFTER_NETWORKING: &str = "[Unit]\nAfter=networking.service\n";

const HOME_NAT: &str = "[Unit]\nDefaultDependencies=no\nBefore=network-pre.target nftables.service\n\
                        [Service]\nType=oneshot\nRemainAfterExit=yes\n\
                        ExecStart=iptables-nft -t nat -A POSTROUTING -o wan -j MASQUERADE\n";

/// netplan's Python code finds its library through this. No tree has the package of the C library's own
/// programs.
const LDCONFIG: &str = "#!/bin/sh\n[ \"$1\" != -p ] || for so in /usr/lib/x86_64-linux-gnu/lib*.so.*; do echo \"\t${so##*/} (libc6,x86-64) => $so\"; done\n";

/// There is no udev, and networkd waits for udev's record of each link.
const NO_UDEV: &str = "[Service]\nExecStartPre=+busybox sh -c 'busybox mkdir -p /run/udev/data; for link in 1 2 3 4 5 6 7 8 9; do \
                       echo I:1 >/run/udev/data/n$$link; done'\n";

impl BootedRouter {
    fn new(engines: Engines, system: &str, dhcp: &'static str) -> BootedRouter {
        let (_, unit, file, text) = NETWORKING.iter().find(|(name, ..)| *name == system).unwrap();
        let (_, dhcp_file, dhcp_text) = DHCP.iter().find(|(name, ..)| *name == dhcp).unwrap();
        let world = World::new(None).expect("namespaces (run as root)");
        let (machine, laptop) = (world.machine("router", 9).unwrap(), world.machine("laptop", 50).unwrap());
        laptop.add_vlan("eth0", 200, "10.0.200.50/24".parse().unwrap()).unwrap();
        // The virtual machine's own root is an overlay, which cannot be the upper layer of another overlay.
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let nas = Nas::new(&engines, "bookworm", directory.path()).unwrap();
        let changed = directory.path().join("changed");
        let put = |path: &str, text: &str| {
            let mode = if path.starts_with("usr/") { 0o755 } else { 0o600 };
            let mode = if path.ends_with(".nmconnection") { mode } else { mode | 0o44 };
            let path = changed.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
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
            "root:x:0:0:root:/root:/bin/sh\nsystemd-network:x:998:998::/:/bin/false\nmessagebus:x:997:997::/:/bin/false\ndnsmasq:x:996:996::/:/bin/false\n\
             _kea:x:995:995::/:/bin/false\n",
        );
        put(
            "etc/group",
            "root:x:0:\nsystemd-network:x:998:\nmessagebus:x:997:\ndnsmasq:x:996:\n_kea:x:995:\nnogroup:x:65534:\n",
        );
        for unit in ["systemd-networkd", "NetworkManager"] {
            put(&format!("etc/systemd/system/{unit}.service.d/lab.conf"), NO_UDEV);
        }
        for (tool, text) in [("sbin/ldconfig", LDCONFIG), ("local/bin/udevadm", "#!/bin/sh\n")] {
            put(&format!("usr/{tool}"), text);
        }
        put("etc/systemd/system/home-nat.service", HOME_NAT);
        put("etc/systemd/system/kea-dhcp4-server.service.d/lab.conf", AFTER_NETWORKING);
        put(&format!("etc/{dhcp_file}"), dhcp_text);
        put(&format!("etc/{file}"), text);
        for unit in [unit, "home-nat.service", &*format!("{dhcp}.service")] {
            put(
                &format!("etc/systemd/system/multi-user.target.d/{unit}.conf"),
                &format!("[Unit]\nWants={unit}\n"),
            );
        }
        for made in ["var/lib/misc", "root", "usr/bin", "etc/network/interfaces.d"] {
            std::fs::create_dir_all(changed.join(made)).unwrap();
        }
        // No tree has the essential packages. The shell is Debian's dash: busybox's shell would prefer its
        // own `ifup`.
        for (tool, is) in [("sh", "dash"), ("grep", "busybox"), ("sysctl", "busybox")] {
            symlink(is, changed.join("usr/bin").join(tool)).unwrap();
        }
        let mut router =
            BootedRouter { nas, machine, laptop, engines, dhcp, _directory: directory, _world: world };
        router.boot();
        router
    }

    /// Boots the router. First removes what the kernel of a machine that was off does not have.
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
        self.machine.set_up("eth0", false).unwrap();
        let mut nft = self.machine.command(self.engines.path("usr/sbin/nft")).unwrap();
        assert!(self.engines.equip(&mut nft).args(["flush", "ruleset"]).status().unwrap().success());
        self.nas.boot(&self.machine).unwrap();
        let has_lan = || self.laptop.ping(ip("192.168.88.9")).is_some();
        let gives_leases = || self.shell(&format!("systemctl is-active {}", self.dhcp)).code == Some(0);
        let end = Instant::now() + Duration::from_secs(60);
        while !(has_lan() && gives_leases()) {
            assert!(Instant::now() < end, "no LAN, or no leases: {}", self.nas.journal("*"));
            sleep(Duration::from_millis(200));
        }
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

    /// Asserts that the home has its NAT and DHCP, whatever was run.
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
        self.vlan_has_dhcp();
        let rules = self.ok("nft list table inet vlan200");
        assert!(rules.contains("reject") && rules.contains("eth0.200"), "{rules}");
    }

    #[track_caller]
    fn vlan_has_dhcp(&self) {
        let gives = |wanted| dhcp_gives(&self.laptop, "eth0.200", &self.engines, wanted);
        assert_eq!(gives("10.0.200.224"), ip("10.0.200.224"));
        assert_ne!(gives("10.0.200.200"), ip("10.0.200.200"), "that address is Ashore's");
    }

    #[track_caller]
    fn has_nothing_of_it(&self) {
        let left = self.ok(
            "nft list ruleset; ip link; systemctl list-timers --all; busybox find /etc /root -name '*vlan200*' -o -name 'nftables*.d'",
        );
        assert!(!["vlan200", "eth0.200", "nftables"].iter().any(|of| left.contains(of)), "{left}");
    }
}

fn printed_for(system: &str) -> String {
    let mut ashore = Command::new(PROGRAM);
    let options = "router-config --vlan 200 --subnet 10.0.200.0/24 --ip-range 10.0.200.192/27 --lan-interface eth0 --for";
    Ran::of(ashore.args(options.split(' ')).arg(system)).unwrap().expect_success()
}

/// The configuration survives a reboot, removes nothing that existed, and can be removed again.
fn over_a_reboot(system: &str) {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run(&format!("router-config over a reboot, {system}"), &why),
    };
    let mut router = BootedRouter::new(engines, system, "dnsmasq");
    router.home_is_as_it_was();
    let output = printed_for(system);

    // A VLAN that belongs to others stays, although the way back runs too.
    router.ok("ip link add link eth0 name other type vlan id 200");
    let ran = router.shell(&output);
    assert!(ran.code != Some(0) && ran.stderr.contains("eth0 has a VLAN 200 already"), "{}", ran.stderr);
    router.ok("sh /root/vlan200-away.sh; ip link show other; ip link delete other");
    router.has_nothing_of_it();

    router.ok(&output);
    router.vlan_is_there();
    router.home_is_as_it_was();
    assert!(router.ok("systemctl list-timers --all").contains("vlan200-back"), "a way back waits");

    router.nas.shut_down().unwrap();
    router.boot();
    router.vlan_is_there();
    router.home_is_as_it_was();

    // If the administrator reloads the rules with Debian's file, which flushes all, Ashore's rules come back
    // too.
    for does in ["start", "reload", "restart", "stop"] {
        router.ok(&format!("systemctl {does} nftables"));
        assert!(router.ok("nft list ruleset").contains("table inet vlan200"), "{does}");
    }
    router.ok("systemctl restart home-nat");

    router.ok("sh /root/vlan200-away.sh");
    router.home_is_as_it_was();
    assert!(router.laptop.ping(ip("10.0.200.1")).is_none());
    router.has_nothing_of_it();
}

#[test]
fn systemd_networkd_over_a_reboot() {
    over_a_reboot("systemd-networkd");
}

/// Each takes a minute or two in the virtual machine, so these run only with the long tests.
#[test]
fn the_others_over_a_reboot() {
    let all = std::env::var_os("ASHORE_TEST_ALL").is_some();
    ["ifupdown", "netplan", "networkmanager"].into_iter().filter(|_| all).for_each(over_a_reboot);
}

/// Kea's entry stands beside the LAN's. The administrator creates the VLAN's interface.
#[test]
fn kea_over_a_reboot() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("router-config over a reboot, Kea", &why),
    };
    let mut router = BootedRouter::new(engines, "ifupdown", "kea-dhcp4-server");
    router.home_is_as_it_was();
    router.ok("cp -a /etc/kea/kea-dhcp4.conf /root/");
    let stanza =
        "auto eth0.200\niface eth0.200 inet static\n    address 10.0.200.1/24\n    vlan-raw-device eth0\n";
    router.ok(&format!("cat > /etc/network/interfaces.d/iot <<'EOF'\n{stanza}EOF\nifup eth0.200"));
    let [.., (_, file, lan)] = DHCP;
    let entry = format!("\"subnet4\": [\n{}\n,", printed_for("kea"));
    let config = lan.replace("\"subnet4\": [", &entry).replace("[\"eth0\"]", "[\"eth0\", \"eth0.200\"]");
    let restart = format!("kea-dhcp4 -t /etc/{file} && systemctl restart kea-dhcp4-server");
    router.ok(&format!("cat > /etc/{file} <<'EOF'\n{config}EOF\n{restart}"));
    router.vlan_has_dhcp();
    router.home_is_as_it_was();

    router.nas.shut_down().unwrap();
    router.boot();
    router.vlan_has_dhcp();
    router.home_is_as_it_was();

    router.ok(&format!("cp -a /root/kea-dhcp4.conf /etc/kea/ && {restart}"));
    router.home_is_as_it_was();
}
