//! The programs that create a Linux router's interfaces, and how each learns of the VLAN's interface.

use ashore_core::net::range::Range;

use super::{Names, marker};
use crate::page::Page;
use crate::plan::{RouterPlan, RouterSubnet};

/// The program that creates the interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Links {
    /// systemd-networkd.
    Networkd,
    /// Debian's default. ifupdown2 (Proxmox) understands the same configuration.
    Ifupdown,
    /// netplan, with any backend.
    Netplan,
    /// `NetworkManager`.
    NetworkManager,
}

impl Links {
    /// What it touches of the existing configuration.
    pub(super) fn touches(self) -> &'static str {
        match self {
            Links::Networkd => {
                "The .network file of the LAN's interface gets a drop-in; nothing else that exists is changed."
            }
            Links::Netplan => {
                "The script only adds files, but `netplan apply` also applies whatever else is pending in \
                 /etc/netplan."
            }
            Links::Ifupdown | Links::NetworkManager => {
                "The script only adds; it changes nothing that exists."
            }
        }
    }

    /// Stops the script before any change if this program does not create the LAN's interface.
    pub(super) fn check(self, names: &Names<'_>, page: &mut Page) {
        let Names { plan: RouterPlan { name, .. }, trunk, .. } = names;
        match self {
            Links::Networkd => {
                page.line(format_args!(
                    "lan_file=$(networkctl status {trunk} --no-pager | sed -n 's/^ *Network File: *//p')"
                ));
                page.line(format_args!(
                    "[ -e \"$lan_file\" ] || stop '{trunk} is not configured by systemd-networkd'"
                ));
            }
            Links::Ifupdown => page.line("command -v ifup >/dev/null || stop 'ifupdown is not installed'"),
            Links::Netplan => page.line("command -v netplan >/dev/null || stop 'netplan is not installed'"),
            Links::NetworkManager => {
                page.line("command -v nmcli >/dev/null || stop 'NetworkManager is not installed'");
                page.line(format_args!(
                    "[ -e {} ] || ! nmcli -g NAME connection show | grep -qx {name} || stop 'there is a connection {name} already'",
                    marker(name)
                ));
            }
        }
    }

    /// The files that the script creates for this program.
    pub(super) fn own_files(self, name: &str) -> Vec<String> {
        match self {
            Links::Networkd => {
                ["netdev", "network"].map(|kind| format!("/etc/systemd/network/20-{name}.{kind}")).to_vec()
            }
            Links::Ifupdown => vec![format!("/etc/network/interfaces.d/{name}")],
            Links::Netplan => vec![format!("/etc/netplan/60-{name}.yaml")],
            Links::NetworkManager => Vec::new(),
        }
    }

    /// Creates the VLAN's interface, now and at every boot.
    pub(super) fn make(self, names: &Names<'_>, page: &mut Page) {
        match self {
            Links::Networkd => networkd(names, page),
            Links::Ifupdown => ifupdown(names, page),
            Links::Netplan => netplan(names, page),
            Links::NetworkManager => network_manager(names, page),
        }
    }

    pub(super) fn remove(self, names: &Names<'_>, page: &mut Page) {
        let Names { plan: RouterPlan { name, .. }, interface, .. } = names;
        let own = self.own_files(name).join(" ");
        match self {
            Links::Networkd => {
                page.line(format_args!("rm -f {own} /etc/systemd/network/*.network.d/{name}.conf"));
                page.line("rmdir /etc/systemd/network/*.network.d 2>/dev/null || true");
                page.line("networkctl reload");
                page.line(format_args!("ip link delete {interface}"));
            }
            Links::Ifupdown => {
                page.line(format_args!("ifdown {interface}"));
                page.line(format_args!("rm -f {own}"));
            }
            Links::Netplan => {
                page.line(format_args!("rm -f {own}"));
                page.line("netplan apply");
                // netplan does not remove an interface that is no longer in its files.
                page.line(format_args!("ip link delete {interface} 2>/dev/null || true"));
            }
            Links::NetworkManager => page.line(format_args!("nmcli connection delete {name}")),
        }
    }

    /// Describes the settings of the program's own DHCP server, if it has one.
    pub(super) fn own_server(self, subnet: &RouterSubnet, page: &mut Page) {
        let (Links::Networkd, Some(pool)) = (self, subnet.largest_pool()) else { return };
        let before = Range::of_net(&subnet.net).offset_of(pool.first()).unwrap_or_default();
        page.note(&format!(
            "With systemd-networkd's own DHCP server, which takes one pool: set PoolOffset={before} and \
             PoolSize={} in the section [DHCPServer] of the LAN's .network file, then run networkctl reload.",
            pool.len()
        ));
    }
}

fn networkd(names: &Names<'_>, page: &mut Page) {
    let Names { plan, vlan, trunk, interface, .. } = names;
    let name = &plan.name;
    let mut netdev = Page::default();
    netdev.lines(&format!("[NetDev]\nName={interface}\nKind=vlan\n\n[VLAN]\nId={vlan}"));
    page.file(&format!("/etc/systemd/network/20-{name}.netdev"), &netdev, "EOF");
    let mut network = Page::default();
    network.lines(&format!("[Match]\nName={interface}\n\n[Network]"));
    for subnet in &plan.subnets {
        network.line(format_args!("Address={}", subnet.interface_address()));
    }
    page.file(&format!("/etc/systemd/network/20-{name}.network"), &network, "EOF");
    page.line("dropin=\"/etc/systemd/network/${lan_file##*/}.d\"");
    page.line("mkdir -p \"$dropin\"");
    let mut text = Page::default();
    text.lines(&format!("[Network]\nVLAN={interface}"));
    page.file(&format!("\"$dropin/{name}.conf\""), &text, "EOF");
    page.line("networkctl reload");
    page.line(format_args!("networkctl reconfigure {trunk}"));
    // systemd has renamed its option for forwarding (`IPForward=` until 255, `IPv4Forwarding=` since). For
    // IPv6, the setting of one link has no effect without the one for all links (Linux 6.1, `ip6_forward`).
    // Hence the sysctls.
}

/// The file's name has no dot: `source-directory` reads only names of letters, digits, `_` and `-`
/// (interfaces(5)).
fn ifupdown(names: &Names<'_>, page: &mut Page) {
    let Names { plan, trunk, interface, .. } = names;
    let name = &plan.name;
    let mut stanzas = Page::default();
    stanzas.line(format_args!("auto {interface}"));
    for subnet in &plan.subnets {
        let family = if subnet.is_v4() { "inet" } else { "inet6" };
        stanzas.line(format_args!("iface {interface} {family} static"));
        stanzas.line(format_args!("    address {}", subnet.interface_address()));
        stanzas.line(format_args!("    vlan-raw-device {trunk}"));
    }
    page.line("mkdir -p /etc/network/interfaces.d");
    page.file(&format!("/etc/network/interfaces.d/{name}"), &stanzas, "EOF");
    page.line(format_args!("if ! ifquery {interface} >/dev/null; then"));
    page.line(format_args!("  rm /etc/network/interfaces.d/{name}"));
    page.line(
        "  stop '/etc/network/interfaces does not read interfaces.d: add the line  source /etc/network/interfaces.d/*'",
    );
    page.line("fi");
    page.line(format_args!("ifup {interface}"));
}

fn netplan(names: &Names<'_>, page: &mut Page) {
    let Names { plan, vlan, trunk, interface, .. } = names;
    let name = &plan.name;
    let addresses: Vec<String> =
        plan.subnets.iter().map(|subnet| format!("\"{}\"", subnet.interface_address())).collect();
    let mut yaml = Page::default();
    yaml.lines(&format!(
        "network:\n  version: 2\n  vlans:\n    {interface}:\n      id: {vlan}\n      link: {trunk}\n      addresses: [{}]",
        addresses.join(", ")
    ));
    let path = format!("/etc/netplan/60-{name}.yaml");
    page.file(&path, &yaml, "EOF");
    page.line(format_args!("chmod 600 {path}"));
    page.line("if ! netplan generate; then");
    page.line(format_args!("  rm {path}"));
    page.line(format_args!("  stop 'netplan rejects the file; its other files have to define {trunk}'"));
    page.line("fi");
    page.line("netplan apply");
}

fn network_manager(names: &Names<'_>, page: &mut Page) {
    let Names { plan, vlan, trunk, interface, .. } = names;
    let name = &plan.name;
    page.line(format_args!("nmcli connection delete {name} 2>/dev/null || true"));
    let mut command =
        format!("nmcli connection add type vlan con-name {name} ifname {interface} dev {trunk} id {vlan}");
    for v4 in [true, false] {
        let addresses: Vec<String> = plan
            .subnets
            .iter()
            .filter(|subnet| subnet.is_v4() == v4)
            .map(|subnet| subnet.interface_address().to_string())
            .collect();
        let family = if v4 { "ipv4" } else { "ipv6" };
        let method = if addresses.is_empty() { "disabled" } else { "manual" };
        command.extend([" ", family, ".method ", method]);
        if !addresses.is_empty() {
            command.extend([" ", family, ".addresses ", &addresses.join(",")]);
        }
    }
    page.line(command);
    page.line(format_args!("nmcli connection up {name}"));
}
