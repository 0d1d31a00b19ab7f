//! The lab's router as an administrator uses it. The tests run the output of `ashore router-config` in a
//! shell on it. The programs that the output configures are Debian's own.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::Step;
use ashore_lab::{Engines, Machine, World};

use super::{does_not_reach, eventually, ip};

/// A router on which a script has run, with its DHCP server running. When this is dropped, all processes end.
/// What the kernel was told stays with the machine.
pub struct Typed {
    shell: Child,
}

/// What an installed Debian has and a namespace lacks: an `/etc` of its own with the packages' files, a
/// `/run` of its own, a `/sys` that is read-only and so says that there is no udev, and stubs for the init
/// system, whose part the test plays.
const INSTALLED: &str = r#"
mount -t tmpfs tmpfs "$OWN"
mkdir "$OWN/upper" "$OWN/work" "$OWN/bin"
mount -t overlay overlay -o "lowerdir=$TOOLS/etc:/etc,upperdir=$OWN/upper,workdir=$OWN/work" /etc
mount -t sysfs -o ro sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /etc/network/interfaces.d /etc/dnsmasq.d
echo 'source /etc/network/interfaces.d/*' > /etc/network/interfaces
for tool in systemctl systemd-run; do printf '#!/bin/sh\nexit 0\n' > "$OWN/bin/$tool"; chmod +x "$OWN/bin/$tool"; done
PATH="$OWN/bin:$PATH"
"#;

/// The DHCP server as Debian starts it, with the files in its directory. It does not ping to find a free
/// address, which takes three seconds for each.
const DNSMASQ: &str = "exec dnsmasq --keep-in-foreground --conf-dir=/etc/dnsmasq.d --no-ping --user=root --group=root \
                       --dhcp-leasefile=\"$OWN/leases\" --pid-file=\"$OWN/pid\" --no-resolv";

/// A router whose LAN systemd-networkd configures: starts the bus that networkctl uses, and the daemon.
pub const NETWORKD: &str = r#"
export LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$TOOLS/usr/lib/$(uname -m)-linux-gnu/systemd"
grep -q '^systemd-network:' /etc/group || echo 'systemd-network:x:998:' >> /etc/group
grep -q '^systemd-network:' /etc/passwd || echo 'systemd-network:x:998:998::/:/usr/sbin/nologin' >> /etc/passwd
mkdir -p /run/dbus /run/systemd/netif /etc/systemd/network
chown -R systemd-network:systemd-network /run/systemd/netif
cat > "$OWN/bus.conf" <<'END'
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/></policy></busconfig>
END
dbus-daemon --config-file="$OWN/bus.conf" --fork
cat > /etc/systemd/network/10-lan.network <<'END'
[Match]
Name=eth0

[Network]
Address=192.168.88.1/24
Address=fd88::1/64
END
"$TOOLS/usr/lib/systemd/systemd-networkd" >&2 &
until networkctl status eth0 --no-pager | grep -q 10-lan.network; do sleep 0.2; done
"#;

impl Typed {
    /// Runs a script on a machine, each line of which must succeed, and starts the DHCP server. `before` is
    /// what the administrator had set up already.
    pub fn on(machine: &Machine, engines: &Engines, directory: &Path, before: &str, script: &str) -> Typed {
        let own = directory.join(format!("typed-{}", machine.name()));
        std::fs::create_dir_all(&own).unwrap();
        // Root's home here is that of the user who runs the test.
        let script = script.replace("/root/", &format!("{}/", own.display()));
        let text = format!("{INSTALLED}\n{before}\n{script}\necho typed\n{DNSMASQ}\n");
        let mut command = machine.command("unshare").unwrap();
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-e",
            "-u",
            "-c",
            &text,
        ]);
        command.env("OWN", &own).env("TOOLS", engines.path("/"));
        let log = directory.join("typed.log");
        let log_file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let mut shell = engines.equip(&mut command).spawn().unwrap();
        let lines = BufReader::new(shell.stdout.take().unwrap()).lines().map_while(Result::ok);
        let typed = Typed { shell };
        let done = lines.into_iter().any(|line| line == "typed");
        assert!(done, "{script}\n{}", std::fs::read_to_string(&log).unwrap());
        typed
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Connects a machine's `eth0` to a new link of a router.
pub fn wire(router: &Machine, link: &str, machine: &Machine, addresses: [&str; 2], routers: [&str; 2]) {
    let peer_place = Place::Netns(machine.namespace().identity());
    let kind = LinkType::Veth { peer: "eth0".parse().unwrap(), peer_place, peer_mac: None };
    let spec = LinkSpec { name: link.parse().unwrap(), kind, mac: None, mtu: None };
    router.apply(&[Step::AddLink { place: Place::Host, link: spec }]).unwrap();
    router.set_up(link, true).unwrap();
    machine.set_up("eth0", true).unwrap();
    for net in addresses {
        machine.add_address("eth0", net.parse().unwrap()).unwrap();
    }
    for via in routers {
        machine.add_default_route("eth0", ip(via)).unwrap();
    }
}

pub const INTERNET: [&str; 2] = ["203.0.113.9", "2001:db8::9"];

/// A machine on the other side of a router's `wan`.
pub fn internet(world: &World, router: &Machine) -> Machine {
    let internet = world.container("internet").unwrap();
    wire(router, "wan", &internet, ["203.0.113.9/24", "2001:db8::9/64"], ["203.0.113.1", "2001:db8::1"]);
    for net in ["203.0.113.1/24", "2001:db8::1/64"] {
        router.add_address("wan", net.parse().unwrap()).unwrap();
    }
    internet
}

/// Waits until both addresses are reached. A link that has just come up cannot resolve IPv6 neighbours until
/// duplicate address detection of its own address has ended.
#[track_caller]
pub fn all_reach(from: &Machine, to: [&str; 2]) {
    for to in to {
        eventually(&format!("{} reaches {to}", from.name()), || from.ping(ip(to)).is_some());
    }
}

#[track_caller]
pub fn none_reach(from: &Machine, to: [&str; 2]) {
    for to in to {
        does_not_reach(from, ip(to));
    }
}

/// Requests one address from the DHCP server on a machine's link, with a client identifier that depends on
/// the address. Returns the address that the server assigns.
pub fn dhcp_gives(machine: &Machine, link: &str, engines: &Engines, wanted: &str) -> IpAddr {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let wanted = ip(wanted);
    let script = directory.join("bound");
    std::fs::write(&script, "#!/bin/sh\n[ \"$1\" != bound ] || echo \"$ip\"\n").unwrap();
    let mut chmod = Command::new("chmod");
    assert!(chmod.arg("+x").arg(&script).status().unwrap().success());
    let IpAddr::V4(number) = wanted else { panic!("{wanted} is not an IPv4 address") };
    let mut udhcpc = machine.command(engines.path("usr/bin/busybox")).unwrap();
    udhcpc.args(["udhcpc", "-i", link, "-f", "-q", "-n", "-t", "10", "-T", "2", "-C"]);
    udhcpc.args(["-x", &format!("0x3d:00{:08x}", u32::from(number)), "-r", &wanted.to_string(), "-s"]);
    let output = udhcpc.arg(&script).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let given = text.lines().find_map(|line| line.parse().ok());
    given.unwrap_or_else(|| panic!("no lease: {text}{}", String::from_utf8_lossy(&output.stderr)))
}
