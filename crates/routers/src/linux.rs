//! A plain Linux machine as the router. Any of several programs creates its interfaces, dnsmasq does DHCP,
//! and nftables enforces the policy.
//!
//! The rules are in a separate table, which a separate unit loads at boot, after anything that loads or
//! flushes the machine's own rules. No unit is enabled that was not: Debian's `nftables.service`, for
//! example, starts by flushing the rules of iptables, ufw and Docker.

use ashore_core::net::vlan::VlanId;

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{Policy, RouterPlan, RouterSubnet, private};

mod guard;
mod links;

pub(super) use links::Links;

/// The time until the way back runs, in seconds.
const TRIAL: u32 = 600;

/// What the parts of a script share.
struct Names<'a> {
    plan: &'a RouterPlan,
    vlan: VlanId,
    /// The LAN's interface.
    lan: &'a str,
    /// The interface on which VLANs are created. It is the LAN's interface, unless the LAN is in a VLAN
    /// itself.
    trunk: &'a str,
    /// The VLAN's interface on the trunk.
    interface: String,
}

pub(super) fn render(plan: &RouterPlan, links: Links) -> Parts {
    let Some(vlan) = plan.vlan else { return untagged(plan, links) };
    let (lan, trunk) = (plan.lan_or("eth1"), plan.trunk_or("eth1"));
    let names = Names { plan, vlan, lan, trunk, interface: interface_name(plan, vlan, trunk) };
    let (name, mut parts) = (&plan.name, Parts::default());
    let minutes = TRIAL / 60;

    parts.before.note(&format!(
        "Run this as root. {lan} is the interface that carries the LAN; set another one with --lan-interface. \
         First the script is written that removes everything again. A timer runs it in {minutes} minutes \
         unless you stop the timer; a reboot stops it too. {}",
        links.touches()
    ));
    parts.before.file(&format!("/root/{name}-away.sh"), &away(&names, links), "AWAY");
    parts.before.line(format_args!("systemctl stop {name}-back.timer 2>/dev/null || true"));
    parts.before.line(format_args!(
        "systemd-run --quiet --collect --on-active={TRIAL} --unit={name}-back sh /root/{name}-away.sh"
    ));

    parts.lines.file(&format!("/root/{name}.sh"), &script(&names, links), "SCRIPT");
    parts.lines.line(format_args!("sh /root/{name}.sh"));
    parts.lines.note(&format!(
        "If LAN and internet work as before, keep the changes with this command. Without it, everything is \
         removed in {minutes} minutes:"
    ));
    parts.lines.shown(format_args!("systemctl stop {name}-back.timer"));
    parts.lines.note(
        "The WAN's masquerade must cover the new subnet. It does if its rule names the WAN's interface and no \
         source.",
    );
    guard::to_let_pass(plan, &names.interface, &mut parts.lines);

    parts.away.note(
        "This works at any time, also after the timer was stopped. Forwarding itself stays on until the next \
         boot, because something else may need it by now.",
    );
    parts.away.shown(format_args!("sh /root/{name}-away.sh"));
    guard::to_let_pass_no_more(plan, &names.interface, &mut parts.away);
    parts
}

/// The name of the VLAN's interface: the usual one, if the kernel accepts a name of that length (`IFNAMSIZ`).
fn interface_name(plan: &RouterPlan, vlan: VlanId, trunk: &str) -> String {
    let usual = format!("{trunk}.{vlan}");
    if usual.len() > 15 { plan.name.clone() } else { usual }
}

/// The file that shows that existing files are from an earlier run of the same script.
fn marker(name: &str) -> String {
    format!("/etc/nftables.d/{name}.nft")
}

/// The whole script, which stops at the first line that fails. The rules are loaded before their interface
/// exists.
fn script(names: &Names<'_>, links: Links) -> Page {
    let mut page = Page::default();
    page.line("set -eu");
    page.line("umask 022");
    page.line("stop() { echo \"$*\" >&2; exit 1; }");
    guard::checks(names, links, &mut page);
    page.gap();
    firewall(names, &mut page);
    page.gap();
    forwarding(names.plan, &mut page);
    page.gap();
    page.note(&format!("The VLAN on {}.", names.trunk));
    links.make(names, &mut page);
    page.gap();
    dnsmasq(names, &mut page);
    page
}

fn away(names: &Names<'_>, links: Links) -> Page {
    let (name, mut page) = (&names.plan.name, Page::default());
    let marker = marker(name);
    page.line(format_args!("systemctl stop {name}-back.timer 2>/dev/null || true"));
    page.line(format_args!("scripts='/root/{name}.sh /root/{name}-away.sh'"));
    page.line(format_args!("[ -e {marker} ] || {{ rm -f $scripts; exit 0; }}"));
    page.line(format_args!("if [ -e /etc/dnsmasq.d/{name}.conf ]; then"));
    page.line(format_args!("  rm /etc/dnsmasq.d/{name}.conf"));
    page.line("  systemctl restart dnsmasq");
    page.line("fi");
    links.remove(names, &mut page);
    page.line(format_args!("systemctl disable --now {name}-firewall.service"));
    page.line(format_args!("rm -f {} {marker}", guard::own_files(name).join(" ")));
    page.line("rmdir /etc/nftables.d /etc/systemd/system/nftables.service.d 2>/dev/null || true");
    page.line("systemctl daemon-reload");
    page.line(format_args!("nft delete table inet {name} 2>/dev/null || true"));
    page.line("rm -f $scripts");
    page
}

fn firewall(names: &Names<'_>, page: &mut Page) {
    let name = &names.plan.name;
    let (marker, vlan) = (marker(name), names.vlan);
    page.note(
        "The policy, in a separate table that only blocks. Traffic that passes here must still pass the \
         existing tables, which do not change. A unit loads the table at boot, after the machine's own \
         firewall, and again whenever that firewall restarts.",
    );
    page.line("mkdir -p /etc/nftables.d");
    page.file(&marker, &nftables(names), "EOF");
    page.line(format_args!("nft -f {marker}"));
    let mut unit = Page::default();
    unit.lines(&format!(
        "[Unit]\n\
         Description=What VLAN {vlan} may\n\
         DefaultDependencies=no\n\
         After=local-fs.target nftables.service netfilter-persistent.service ufw.service firewalld.service\n\
         Before=network-pre.target shutdown.target\n\
         Wants=network-pre.target\n\
         Conflicts=shutdown.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart=nft -f {marker}\n\
         ExecStop=nft delete table inet {name}\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target"
    ));
    page.file(&format!("/etc/systemd/system/{name}-firewall.service"), &unit, "EOF");
    page.note(
        "Debian's nftables.service, if it is used, flushes everything when it starts, reloads or stops. \
               Then this loads the table again.",
    );
    let again = format!("-nft -f {marker}");
    let mut dropin = Page::default();
    dropin.lines(&format!("[Service]\nExecStartPost={again}\nExecReload={again}\nExecStopPost={again}"));
    page.line("mkdir -p /etc/systemd/system/nftables.service.d");
    page.file(&format!("/etc/systemd/system/nftables.service.d/{name}.conf"), &dropin, "EOF");
    page.line("systemctl daemon-reload");
    page.line(format_args!("systemctl enable --now {name}-firewall.service"));
}

/// The sysctls that a Linux router needs.
fn forwarding(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    page.note("Make this machine a router, if it is not one yet.");
    let mut sysctls = Page::default();
    if plan.v4().next().is_some() {
        sysctls.line("net.ipv4.ip_forward = 1");
    }
    if plan.v6().next().is_some() {
        sysctls.line("net.ipv6.conf.all.forwarding = 1");
    }
    page.file(&format!("/etc/sysctl.d/60-{name}.conf"), &sysctls, "EOF");
    page.line(format_args!("sysctl -p /etc/sysctl.d/60-{name}.conf"));
}

/// DHCP and router advertisements, in a file that stays only if dnsmasq accepts it. Without dnsmasq, the LAN
/// has no DHCP either.
fn dnsmasq(names: &Names<'_>, page: &mut Page) {
    let Names { plan, interface, .. } = names;
    let name = &plan.name;
    page.note("DHCP and DNS, if dnsmasq reads /etc/dnsmasq.d, as Debian's does.");
    page.line("file=$(mktemp)");
    let mut file = Page::default();
    if plan.v4().next().is_some() && plan.served().is_empty() {
        file.note("No addresses are left for DHCP.");
        file.line(format_args!("no-dhcp-interface={interface}"));
    }
    for subnet in plan.served() {
        ranges(subnet, "", &mut file);
    }
    for subnet in plan.advertised() {
        file.line(format_args!("dhcp-range={},ra-only,64,12h", subnet.net.network()));
    }
    page.file("\"$file\"", &file, "EOF");
    page.line(format_args!(
        "if grep -ls -e '^interface=' -e '^listen-address=' /etc/dnsmasq.conf /etc/dnsmasq.d/* | grep -qv '/{name}\\.conf$'; then echo \
         'interface={interface}' >> \"$file\"; fi"
    ));
    page.line("dnsmasq --test -C \"$file\"");
    page.line("mkdir -p /etc/dnsmasq.d");
    page.line(format_args!("install -m 644 \"$file\" /etc/dnsmasq.d/{name}.conf"));
    page.line("rm \"$file\"");
    page.line("if ! systemctl restart dnsmasq; then");
    page.line(format_args!("  rm /etc/dnsmasq.d/{name}.conf"));
    page.line("  systemctl restart dnsmasq");
    page.line(
        "  stop 'dnsmasq does not start with the VLAN, so its old configuration was restored: journalctl \
               -u dnsmasq'",
    );
    page.line("fi");
}

/// dnsmasq's lines for a subnet: one range for each pool, because dnsmasq cannot leave out a part of a range.
fn ranges(subnet: &RouterSubnet, tag: &str, page: &mut Page) {
    let mask = subnet.net.netmask();
    for pool in &subnet.pools {
        page.line(format_args!("dhcp-range={tag}{},{},{mask},12h", pool.first(), pool.last()));
    }
}

/// The command that shows what dnsmasq hands out.
const READ: &str = "grep -rn '^dhcp-range' /etc/dnsmasq.conf /etc/dnsmasq.d";

/// What to do with an existing range. Options refer to its tag.
const IN_PLACE: &str = "replace the subnet's dhcp-range with these lines, which get its lease time and its set:TAG, if it has one";

/// The lines alone, for users who run only dnsmasq as a DHCP server.
pub(super) fn dnsmasq_alone(plan: &RouterPlan) -> Parts {
    let (name, mut parts) = (&plan.name, Parts::default());
    parts.before.note(
        "Keep a copy; with Pi-hole 6: Settings > Teleporter > Export. dnsmasq reads its files only when it starts, so nothing changes \
         before the restart.",
    );
    parts.before.shown("cp -a /etc/dnsmasq.conf /etc/dnsmasq.d /root/");
    let lines = &mut parts.lines;
    let unknown = lan_pool::unknown(plan, READ, lines);
    if !unknown.is_empty() {
        lines.note("For Pi-hole's own DHCP server, whose pool is one piece (Settings > DHCP):");
        lan_pool::in_words(plan, "From", "To", lines);
    }
    let served = plan.served();
    if served.is_empty() {
        if unknown.is_empty() {
            lines.note("Nothing: no addresses are left for DHCP.");
        }
    } else if plan.vlan.is_some() {
        lines.note(&format!(
            "Put these lines into a new file, /etc/dnsmasq.d/{name}.conf, which Pi-hole 6 reads if \
             misc.etc_dnsmasq_d is on. The machine needs an address in the VLAN, or the router must relay to \
             it."
        ));
    } else {
        for (subnet, pool) in served.iter().filter_map(|subnet| Some((subnet, subnet.largest_pool()?))) {
            lines.note(&format!(
                "With Pi-hole's own DHCP server for {}, whose pool is one piece, use none of these lines. Set \
                 in Settings > DHCP: From {}, To {}.",
                subnet.net,
                pool.first(),
                pool.last()
            ));
        }
        lines.note(&format!("With dnsmasq itself, {IN_PLACE}:"));
    }
    for subnet in &served {
        if plan.vlan.is_none() {
            // The LAN's clients already get their router from elsewhere.
            ranges(subnet, "", lines);
            continue;
        }
        ranges(subnet, &format!("set:{name},"), lines);
        // Without this option, dnsmasq sends its clients to its own host.
        lines.line(format_args!("dhcp-option=tag:{name},option:router,{}", subnet.router));
    }
    if !served.is_empty() {
        lines.note(
            "Check, then restart (in Pi-hole: pihole-FTL dnsmasq-test, then systemctl restart pihole-FTL):",
        );
        lines.shown("dnsmasq --test && systemctl restart dnsmasq");
    }
    parts.away.note(match plan.vlan {
        Some(_) => "Remove the file, and restart dnsmasq.",
        None => "Restore the old lines, and restart dnsmasq. Leases that it assigned meanwhile stay valid.",
    });
    parts
}

/// The dnsmasq lines for the LAN itself.
fn untagged(plan: &RouterPlan, links: Links) -> Parts {
    let mut parts = Parts::default();
    parts.before.note("Keep a copy of the files that contain the dhcp-range, for example:");
    parts.before.shown("cp -a /etc/dnsmasq.conf /etc/dnsmasq.d /root/");
    lan_pool::unknown(plan, READ, &mut parts.lines);
    let served = plan.served();
    if !served.is_empty() {
        parts.lines.note(&format!("In /etc/dnsmasq.conf or /etc/dnsmasq.d, {IN_PLACE}:"));
        for subnet in served {
            ranges(subnet, "", &mut parts.lines);
            links.own_server(subnet, &mut parts.lines);
        }
        parts.lines.note("Then:");
        parts.lines.shown("dnsmasq --test && systemctl restart dnsmasq");
    }
    parts.away.note("Restore the copy, and restart dnsmasq. Leases that it assigned meanwhile stay valid.");
    parts
}

fn nftables(names: &Names<'_>) -> Page {
    let name = &names.plan.name;
    let mut file = Page::default();
    // Loading the same file again replaces the old table.
    file.line(format_args!("table inet {name}"));
    file.line(format_args!("delete table inet {name}"));
    file.gap();
    file.line(format_args!("table inet {name} {{"));
    file.line("\t# The LAN. Add a VPN whose peers count as the LAN here, after a comma.");
    file.line("\tset lan {");
    file.line("\t\ttype ifname");
    file.line(format_args!("\t\telements = {{ \"{}\" }}", names.lan));
    file.line("\t}");
    file.gap();
    let policy = names.plan.policy.unwrap_or_default();
    chain("forward", &forward_rules(policy, &names.interface), &mut file);
    if policy != Policy::Open {
        file.gap();
        chain("input", &input_rules(&names.interface), &mut file);
    }
    file.line("}");
    file
}

fn forward_rules(policy: Policy, interface: &str) -> Vec<String> {
    let from = format!("iifname \"{interface}\"");
    let mut rules = vec![
        "ct state established,related accept".to_owned(),
        // From one of the VLAN's subnets to another.
        format!("{from} oifname \"{interface}\" accept"),
        // A port forward is what the user wants.
        "ct status dnat accept".to_owned(),
    ];
    // Nothing opens connections from the internet to the VLAN, whatever else the router lets in.
    rules.push(match policy {
        Policy::Closed => format!("oifname \"{interface}\" drop"),
        Policy::Open | Policy::OneWay => format!("oifname \"{interface}\" iifname != @lan drop"),
    });
    if policy != Policy::Open {
        rules.push(format!("{from} oifname @lan reject"));
        rules.push(format!("{from} ip daddr {{ {} }} reject", private(true).join(", ")));
        rules.push(format!("{from} ip6 daddr {{ {} }} reject", private(false).join(", ")));
    }
    rules
}

/// The rules for traffic from the VLAN to the router itself.
fn input_rules(interface: &str) -> Vec<String> {
    let rules = [
        &format!("iifname != \"{interface}\" accept"),
        "ct state established,related accept",
        "meta l4proto { icmp, ipv6-icmp } accept",
        "udp dport { 53, 67 } accept",
        "tcp dport 53 accept",
        "reject",
    ];
    rules.map(str::to_owned).to_vec()
}

fn chain(hook: &str, rules: &[String], file: &mut Page) {
    file.line(format_args!("\tchain {hook} {{"));
    file.line(format_args!("\t\ttype filter hook {hook} priority filter; policy accept;"));
    for rule in rules {
        file.line(format_args!("\t\t{rule}"));
    }
    file.line("\t}");
}
