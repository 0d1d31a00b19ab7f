//! The checks on a Linux router before anything is written. The script changes nothing where it would do
//! harm: a VLAN or files that belong to others, or a DHCP server that would not come back.

use super::links::Links;
use super::{Names, marker};
use crate::page::Page;
use crate::plan::RouterPlan;

/// Stops the script if this is not the router that the lines are for.
pub(super) fn checks(names: &Names<'_>, links: Links, page: &mut Page) {
    let Names { plan, vlan, lan, trunk, .. } = names;
    page.line(format_args!(
        "[ -e /sys/class/net/{lan} ] || stop 'there is no interface {lan}: set the one that carries the LAN \
         with --lan-interface'"
    ));
    // The LAN's frames come in through the bridge or bond of which the interface is a port, so the rules have
    // to name that.
    page.line(format_args!(
        "if [ -e /sys/class/net/{lan}/brport ] || [ -e /sys/class/net/{lan}/bonding_slave ]; then"
    ));
    page.line(format_args!(
        "  stop \"{lan} is a port of $(basename \"$(readlink /sys/class/net/{lan}/master)\"): --lan-interface \
         must name that one\""
    ));
    page.line("fi");
    links.check(names, page);
    page.line("command -v nft >/dev/null || stop 'nft is not installed (package nftables)'");
    page.line(
        "systemctl is-active --quiet dnsmasq || stop 'dnsmasq.service does not run here: this script is for a \
         router whose DHCP server is dnsmasq; ashore router-config list shows others'",
    );
    page.line(
        "! grep -qs '^ *bind-interfaces' /etc/dnsmasq.conf /etc/dnsmasq.d/* || stop 'dnsmasq has \
         bind-interfaces, and would not start at a boot at which the VLAN comes up later: change that to \
         bind-dynamic first'",
    );
    page.note("Stop if one of these names is already in use and not from an earlier run.");
    page.line(format_args!("if [ ! -e {} ]; then", marker(&plan.name)));
    let files = [own_files(&plan.name), links.own_files(&plan.name)].concat();
    page.line(format_args!(
        "  for file in {}; do [ ! -e $file ] || stop \"$file exists already\"; done",
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

/// The files that are written with any of the programs.
pub(super) fn own_files(name: &str) -> Vec<String> {
    vec![
        format!("/etc/dnsmasq.d/{name}.conf"),
        format!("/etc/systemd/system/{name}-firewall.service"),
        format!("/etc/systemd/system/nftables.service.d/{name}.conf"),
        format!("/etc/sysctl.d/60-{name}.conf"),
    ]
}

/// A kernel that forwards IPv6 drops its default routes from advertisements, unless `accept_ra` is 2
/// (networking/ip-sysctl). networkd and `NetworkManager` read advertisements themselves, and set it to 0.
fn default_route_stays(page: &mut Page) {
    page.note("The IPv6 default route must not disappear when the kernel starts to forward.");
    page.line("if [ \"$(cat /proc/sys/net/ipv6/conf/all/forwarding)\" = 0 ]; then");
    page.line(
        "  for wan in $(ip -6 route show default proto ra | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p'); do",
    );
    page.line(
        "    [ \"$(cat /proc/sys/net/ipv6/conf/$wan/accept_ra)\" != 1 ] || stop \"$wan would lose its IPv6 \
         default route: set net.ipv6.conf.$wan.accept_ra = 2 first, now and in /etc/sysctl.d\"",
    );
    page.line("  done");
    page.line("fi");
}

/// Prints the rules with which an existing firewall lets the VLAN pass.
pub(super) fn to_let_pass(plan: &RouterPlan, interface: &str, page: &mut Page) {
    page.note(
        "The table only blocks. An existing firewall must let all traffic of the VLAN pass as well; the table \
         decides what of it passes. With ufw:",
    );
    for rule in ufw(plan, interface) {
        page.shown(format_args!("ufw {rule}"));
    }
    page.note(
        "With Docker on the router, if `iptables -S FORWARD` begins with -P FORWARD DROP (from the next boot \
         on, Docker finds that the kernel forwards already, and leaves the policy alone):",
    );
    page.shown(format_args!("iptables -I DOCKER-USER -i {interface} -j ACCEPT"));
    page.shown(format_args!("iptables -I DOCKER-USER -o {interface} -j ACCEPT"));
}

/// Prints how to remove these rules.
pub(super) fn to_let_pass_no_more(plan: &RouterPlan, interface: &str, page: &mut Page) {
    page.note(
        "The script does not remove the rules that you gave to ufw and to Docker's chain. Remove them \
               with:",
    );
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
