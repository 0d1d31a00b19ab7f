//! What a Linux router is looked at for before anything is written, so that the script changes nothing where it would do
//! harm: another's VLAN, another's files, a DHCP server that would not come back.

use super::links::Links;
use super::{Names, marker};
use crate::page::Page;
use crate::plan::RouterPlan;

/// Stops the script where this is another router than the lines are for.
pub(super) fn checks(names: &Names<'_>, links: Links, page: &mut Page) {
    let Names { plan, vlan, lan, trunk, .. } = names;
    page.line(format_args!(
        "[ -e /sys/class/net/{lan} ] || stop 'there is no interface {lan}: --lan-interface names the one that carries the LAN'"
    ));
    // The LAN's frames come in by what it is a port of, and that is what the rules have to name.
    page.line(format_args!(
        "if [ -e /sys/class/net/{lan}/brport ] || [ -e /sys/class/net/{lan}/bonding_slave ]; then"
    ));
    page.line(format_args!(
        "  stop \"{lan} is a port of $(basename \"$(readlink /sys/class/net/{lan}/master)\"): --lan-interface has to name that\""
    ));
    page.line("fi");
    links.check(names, page);
    page.line("command -v nft >/dev/null || stop 'there is no nft here (package nftables)'");
    page.line(
        "systemctl is-active --quiet dnsmasq || stop 'no dnsmasq.service runs here: these lines are for a router whose DHCP server \
         it is; ashore router-config list shows others'",
    );
    page.line(
        "! grep -qs '^ *bind-interfaces' /etc/dnsmasq.conf /etc/dnsmasq.d/* || stop 'dnsmasq has bind-interfaces, and would not start at a \
         boot at which the VLAN comes later: make that bind-dynamic first'",
    );
    page.note("What is called so already and is not of an earlier run stays what it is.");
    page.line(format_args!("if [ ! -e {} ]; then", marker(&plan.name)));
    let files = [own_files(&plan.name), links.own_files(&plan.name)].concat();
    page.line(format_args!(
        "  for file in {}; do [ ! -e $file ] || stop \"$file is there already\"; done",
        files.join(" ")
    ));
    page.line(format_args!(
        "  ! grep -qs '| {vlan}  *| {trunk}$' /proc/net/vlan/config || stop '{trunk} has a VLAN {vlan} already'"
    ));
    page.line("fi");
    if plan.v6().next().is_some() {
        default_route_stays(page);
    }
}

/// The files that are written whoever makes the interfaces.
pub(super) fn own_files(name: &str) -> Vec<String> {
    vec![
        format!("/etc/dnsmasq.d/{name}.conf"),
        format!("/etc/systemd/system/{name}-firewall.service"),
        format!("/etc/systemd/system/nftables.service.d/{name}.conf"),
        format!("/etc/sysctl.d/60-{name}.conf"),
    ]
}

/// A kernel that forwards IPv6 drops the default routes that it has of advertisements, unless `accept_ra` is 2
/// (networking/ip-sysctl). networkd and `NetworkManager` read advertisements themselves, and set it to 0.
fn default_route_stays(page: &mut Page) {
    page.note("The way to the internet by IPv6 must not go when the kernel begins to forward.");
    page.line("if [ \"$(cat /proc/sys/net/ipv6/conf/all/forwarding)\" = 0 ]; then");
    page.line(
        "  for wan in $(ip -6 route show default proto ra | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p'); do",
    );
    page.line(
        "    [ \"$(cat /proc/sys/net/ipv6/conf/$wan/accept_ra)\" != 1 ] || stop \"$wan would lose its IPv6 default route: give it \
         net.ipv6.conf.$wan.accept_ra = 2 first, now and in /etc/sysctl.d\"",
    );
    page.line("  done");
    page.line("fi");
}

/// A firewall that is there has to let the VLAN pass as well.
pub(super) fn to_let_pass(plan: &RouterPlan, interface: &str, page: &mut Page) {
    page.note(
        "The table only forbids: a firewall that is there has to let the VLAN pass as well, all of it, since the table says what of \
         it. With ufw:",
    );
    for rule in ufw(plan, interface) {
        page.shown(format_args!("ufw {rule}"));
    }
    page.note(
        "With Docker on the router, if `iptables -S FORWARD` begins with -P FORWARD DROP (from the next boot on it finds that the kernel \
         forwards already, and leaves that be):",
    );
    page.shown(format_args!("iptables -I DOCKER-USER -i {interface} -j ACCEPT"));
    page.shown(format_args!("iptables -I DOCKER-USER -o {interface} -j ACCEPT"));
}

/// And what of that goes again.
pub(super) fn to_let_pass_no_more(plan: &RouterPlan, interface: &str, page: &mut Page) {
    page.note("What you told ufw, and Docker's chain, is not among it:");
    for rule in ufw(plan, interface) {
        let rule = rule
            .strip_prefix("route ")
            .map_or_else(|| format!("delete {rule}"), |of| format!("route delete {of}"));
        page.shown(format_args!("ufw {rule}"));
    }
    page.shown(format_args!("iptables -D DOCKER-USER -i {interface} -j ACCEPT"));
    page.shown(format_args!("iptables -D DOCKER-USER -o {interface} -j ACCEPT"));
}

fn ufw(plan: &RouterPlan, interface: &str) -> Vec<String> {
    let mut rules = vec![format!("allow in on {interface}"), format!("route allow in on {interface}")];
    if plan.policy != Some(super::Policy::Closed) {
        rules.push(format!("route allow out on {interface}"));
    }
    rules
}
