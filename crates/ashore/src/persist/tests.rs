//! What is written for each system, in full, and that it is removed without a trace.

use std::collections::BTreeMap;

use ashore_core::net::link::{LinkType, Place};

use super::*;

/// A host's files, by their paths.
type Files = BTreeMap<String, String>;

fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let index = [("/sys/class/net/eth0/ifindex", "2\n")];
    for (path, text) in files.iter().chain(&index) {
        let path = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

/// All files below a directory, except the backups and the kernel's.
fn files(root: &Path) -> Files {
    let mut files = Files::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            let name = format!("/{}", path.strip_prefix(root).unwrap().display());
            if name == "/var" || name == "/sys" {
                continue;
            }
            if path.is_dir() {
                files.insert(name + "/", String::new());
                open.push(path);
            } else {
                files.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

fn moved(direction: Direction) -> Move {
    let (nic, bridge): (IfName, IfName) = ("eth0".parse().unwrap(), "br0".parse().unwrap());
    let mac = Some(Mac([0x52, 0x54, 0, 0, 0, 1]));
    let link = LinkSpec { name: bridge.clone(), kind: LinkType::Bridge, mac, mtu: None };
    let first = vec![Step::AddLink { place: Place::Host, link }];
    let (then, last, router) = (Vec::new(), Vec::new(), None);
    Move { direction, nic, bridge, first, then, last, router, leased: true }
}

/// Writes the configuration, returns what has changed, and restores it byte by byte.
fn written(before: &[(&str, &str)]) -> (&'static str, String) {
    let root = host(before);
    let there = files(root.path());
    let adopting = configuration(root.path(), &moved(Direction::Adopt)).unwrap().expect("it is recognised");
    let bridge = moved(Direction::Adopt).bridge;
    adopting.write(root.path(), &bridge).unwrap();
    let now = files(root.path());
    let changed = now.iter().filter(|(path, text)| !path.ends_with('/') && there.get(*path) != Some(text));
    let shown = changed.fold(String::new(), |shown, (path, text)| shown + &format!("==> {path}\n{text}"));
    for path in adopting.files.iter().map(|file| root.path().join(file.path.strip_prefix("/").unwrap())) {
        assert!(fs::metadata(path).is_ok());
    }

    let again = configuration(root.path(), &moved(Direction::Adopt)).unwrap().unwrap();
    assert_eq!(again.files, [], "asked a second time");
    let undo = configuration(root.path(), &moved(Direction::Release)).unwrap().unwrap();
    undo.write(root.path(), &bridge).unwrap();
    let mut left = files(root.path());
    left.retain(|path, _| !path.ends_with('/') || there.contains_key(path));
    assert_eq!(left, there);
    assert_eq!(configuration(root.path(), &moved(Direction::Release)).unwrap(), None);
    (adopting.system, shown)
}

#[test]
fn networkd_gets_files_that_sort_first_and_stays_the_same_client() {
    let (system, shown) = written(&[
        (
            "/run/systemd/netif/links/2",
            "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/20-wired.network\n\
             NETWORK_FILE_DROPINS=\"\"\n",
        ),
        ("/run/systemd/netif/leases/2", "ADDRESS=192.168.88.9\nCLIENTID=ffb6220feb00020000ab11\n"),
        (
            "/etc/systemd/network/20-wired.network",
            "[Match]\nName=en*\n\n[Link]\nMTUBytes=9000\n\n[Network]\n# the router's\nDHCP=yes\nDNS=192.168.88.1\n\n\
             [DHCPv4]\nUseDomains=yes\n",
        ),
    ]);
    assert_eq!(system, "systemd-networkd");
    assert_eq!(
        shown,
        "\
==> /etc/systemd/network/05-ashore-br0.netdev
# made by ashore bridge adopt eth0 br0
[NetDev]
Name=br0
Kind=bridge
MACAddress=52:54:00:00:00:01

[Bridge]
STP=no
ForwardDelaySec=0
==> /etc/systemd/network/05-ashore-br0.network
# made by ashore bridge adopt eth0 br0
# the settings of /etc/systemd/network/20-wired.network
[Match]
Name=br0

[Network]
DHCP=yes
DNS=192.168.88.1

[DHCPv4]
UseDomains=yes

[DHCPv4]
IAID=3055685611
==> /etc/systemd/network/05-ashore-eth0.network
# made by ashore bridge adopt eth0 br0
[Match]
Name=eth0

[Network]
Bridge=br0
LinkLocalAddressing=no

[Link]
MTUBytes=9000
"
    );
}

#[test]
fn what_networkd_leaves_alone_is_not_its() {
    let root = host(&[("/run/systemd/netif/links/2", "ADMIN_STATE=unmanaged\n")]);
    assert_eq!(configuration(root.path(), &moved(Direction::Adopt)).unwrap(), None);
}

#[test]
fn network_manager_gets_two_connections_that_come_first() {
    let (system, shown) = written(&[
        (
            "/run/NetworkManager/devices/2",
            "[device]\nmanaged=true\nconnection-uuid=7d3b6d2c-0000-4000-8000-000000000001\n",
        ),
        (
            "/etc/NetworkManager/system-connections/Wired.nmconnection",
            "[connection]\nid=Wired\nuuid=7d3b6d2c-0000-4000-8000-000000000001\ntype=ethernet\n\n[ethernet]\nmtu=9000\n\n\
             [ipv4]\nmethod=manual\naddress1=192.168.88.9/24,192.168.88.1\ndns=192.168.88.1;\n\n[ipv6]\nmethod=auto\n",
        ),
    ]);
    assert_eq!(system, "NetworkManager");
    assert_eq!(
        shown,
        "\
==> /etc/NetworkManager/system-connections/ashore-br0.nmconnection
# made by ashore bridge adopt eth0 br0
# the addressing of /etc/NetworkManager/system-connections/Wired.nmconnection
[connection]
id=ashore-br0
uuid=80d7f77e-b900-8754-918f-880276e1f479
type=bridge
interface-name=br0
autoconnect-priority=999

[ethernet]
cloned-mac-address=52:54:00:00:00:01

[bridge]
stp=false

[ipv4]
method=manual
address1=192.168.88.9/24,192.168.88.1
dns=192.168.88.1;

[ipv6]
method=auto
==> /etc/NetworkManager/system-connections/ashore-eth0.nmconnection
# made by ashore bridge adopt eth0 br0
[connection]
id=ashore-eth0
uuid=549cf2d4-6cd1-8043-bfe5-cfd102d154c8
type=ethernet
interface-name=eth0
autoconnect-priority=999
master=br0
slave-type=bridge

[ethernet]
mtu=9000
"
    );
}

#[test]
fn ifupdown_gets_a_file_and_the_nics_stanzas_are_out_of_force() {
    let interfaces = "\
# This file describes the network interfaces
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

# The primary network interface
allow-hotplug eth0
iface eth0 inet static
\taddress 192.168.88.9/24
\tgateway 192.168.88.1
\tdns-nameservers 192.168.88.1

iface eth0 inet6 auto
";
    let (system, shown) = written(&[("/etc/network/interfaces", interfaces)]);
    assert_eq!(system, "ifupdown");
    assert_eq!(
        shown,
        "\
==> /etc/network/interfaces
# This file describes the network interfaces
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

# The primary network interface
allow-hotplug eth0
#ashore-br0# iface eth0 inet static
#ashore-br0# \taddress 192.168.88.9/24
#ashore-br0# \tgateway 192.168.88.1
#ashore-br0# \tdns-nameservers 192.168.88.1

#ashore-br0# iface eth0 inet6 auto
==> /etc/network/interfaces.d/ashore-br0
# made by ashore bridge adopt eth0 br0
iface eth0 inet manual

auto br0
iface br0 inet static
    pre-up ip link show dev br0 >/dev/null 2>&1 || ip link add name br0 address 52:54:00:00:00:01 type bridge
    pre-up ip link set dev eth0 up
    pre-up ip link set dev eth0 master br0
    post-down ip link del dev br0
    address 192.168.88.9/24
    gateway 192.168.88.1
    dns-nameservers 192.168.88.1
iface br0 inet6 auto
"
    );
}

#[test]
fn ifupdown_is_told_of_the_file_where_it_reads_no_directory() {
    let (_, shown) = written(&[("/etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n")]);
    assert!(
        shown.starts_with(
            "==> /etc/network/interfaces\nauto eth0\n#ashore-br0# iface eth0 inet dhcp\n\
             source /etc/network/interfaces.d/ashore-br0\n==>"
        ),
        "{shown}"
    );
}

#[test]
fn netplan_moves_the_nics_own_words_below_the_bridge() {
    let cloud = "\
# by the installer
network:
  version: 2
  renderer: networkd
  ethernets:
    lan0:
      match:
        macaddress: 52:54:00:00:00:01
      set-name: eth0
      addresses:
      - 192.168.88.9/24
      routes:
        - to: default
          via: 192.168.88.1
      mtu: 9000
";
    let (system, shown) = written(&[
        ("/etc/netplan/50-cloud-init.yaml", cloud),
        ("/run/systemd/netif/leases/2", "CLIENTID=ff00000007000200\n"),
    ]);
    assert_eq!(system, "netplan");
    assert_eq!(
        shown,
        "\
==> /etc/netplan/50-cloud-init.yaml
# by the installer
network:
  version: 2
  renderer: networkd
#ashore-br0#   ethernets:
#ashore-br0#     lan0:
#ashore-br0#       match:
#ashore-br0#         macaddress: 52:54:00:00:00:01
#ashore-br0#       set-name: eth0
#ashore-br0#       addresses:
#ashore-br0#       - 192.168.88.9/24
#ashore-br0#       routes:
#ashore-br0#         - to: default
#ashore-br0#           via: 192.168.88.1
#ashore-br0#       mtu: 9000
==> /etc/netplan/90-ashore-br0.yaml
# made by ashore bridge adopt eth0 br0
network:
  version: 2
  ethernets:
    lan0:
      dhcp4: false
      dhcp6: false
      match:
        macaddress: 52:54:00:00:00:01
      set-name: eth0
      mtu: 9000
  bridges:
    br0:
      interfaces: [lan0]
      macaddress: 52:54:00:00:00:01
      parameters:
        stp: false
        forward-delay: 0
      addresses:
      - 192.168.88.9/24
      routes:
        - to: default
          via: 192.168.88.1
==> /etc/systemd/network/10-netplan-br0.network.d/ashore.conf
# made by ashore bridge adopt eth0 br0

[DHCPv4]
IAID=7
"
    );
}

#[test]
fn netplan_keeps_other_interfaces_in_force() {
    let (_, shown) = written(&[(
        "/etc/netplan/01.yaml",
        "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n    eth1:\n      dhcp4: true\n",
    )]);
    let kept = "network:\n  ethernets:\n#ashore-br0#     eth0:\n#ashore-br0#       dhcp4: true\n    eth1:\n      dhcp4: true\n";
    assert!(shown.contains(kept), "{shown}");
}

#[test]
fn yaml_that_is_not_understood_is_left_to_the_user() {
    for text in [
        "network: {version: 2, ethernets: {eth0: {dhcp4: true}}}\n",
        "network:\n  ethernets:\n    eth1:\n      dhcp4: true\n",
    ] {
        let root = host(&[("/etc/netplan/01.yaml", text)]);
        let before = files(root.path());
        let refusal = configuration(root.path(), &moved(Direction::Adopt)).unwrap_err();
        assert!(refusal.remedy.unwrap().to_string().contains("interfaces: [eth0]"));
        assert_eq!(files(root.path()), before);
    }
}

#[test]
fn a_host_that_nobody_known_manages_gets_nothing() {
    let root = host(&[("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")]);
    assert_eq!(configuration(root.path(), &moved(Direction::Adopt)).unwrap(), None);
    assert_eq!(configuration(root.path(), &moved(Direction::Release)).unwrap(), None);
}

#[test]
fn what_cannot_be_written_leaves_all_as_it_was() {
    let root = host(&[
        ("/etc/network/interfaces", "source /etc/network/interfaces.d/*\niface eth0 inet dhcp\n"),
        // Blocks the backup of the file that is written last.
        ("/var/backups/ashore-br0/etc", "a file"),
    ]);
    let before = files(root.path());
    let adopting = configuration(root.path(), &moved(Direction::Adopt)).unwrap().unwrap();
    let refusal = adopting.write(root.path(), &"br0".parse().unwrap()).unwrap_err();
    assert_eq!(refusal.code, Code::SettingsNotWritten);
    let mut after = files(root.path());
    after.retain(|path, _| !path.ends_with('/') || before.contains_key(path));
    assert_eq!(after, before);
}
