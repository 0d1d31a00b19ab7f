//! A plain Linux as the router: whoever makes its interfaces, dnsmasq does DHCP and nftables the policy.
//!
//! The rules are in a table of their own, which a unit of their own loads at boot, after whatever loads or flushes the
//! machine's own. Nothing is enabled that was not: Debian's `nftables.service`, say, begins by flushing what iptables, ufw or
//! Docker have.

use ashore_core::net::vlan::VlanId;

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{Policy, RouterPlan, RouterSubnet, private};

mod guard;
mod links;

pub(super) use links::Links;

/// For how long the way back waits, in seconds.
const TRIAL: u32 = 600;

/// What the pieces of a script share.
struct Names<'a> {
    plan: &'a RouterPlan,
    vlan: VlanId,
    /// The LAN's interface.
    lan: &'a str,
    /// The one on which VLANs are made, which is the same unless the LAN is in a VLAN itself.
    trunk: &'a str,
    /// The VLAN's, on that.
    interface: String,
}

pub(super) fn render(plan: &RouterPlan, links: Links) -> Parts {
    let Some(vlan) = plan.vlan else { return untagged(plan, links) };
    let (lan, trunk) = (plan.lan_or("eth1"), plan.trunk_or("eth1"));
    let names = Names { plan, vlan, lan, trunk, interface: interface_name(plan, vlan, trunk) };
    let (name, mut parts) = (&plan.name, Parts::default());
    let minutes = TRIAL / 60;

    parts.before.note(&format!(
        "As root. {lan} is the interface that carries the LAN; --lan-interface names another. The script that takes all away \
         again is written first, and a timer runs it in {minutes} minutes unless you stop that; a reboot stops it too. {}",
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
        "LAN and internet work as before? Then this keeps it; without it all is taken away in {minutes} minutes:"
    ));
    parts.lines.shown(format_args!("systemctl stop {name}-back.timer"));
    parts.lines.note(
        "The masquerade of the WAN has to cover the new subnet: it does where its rule names the WAN's interface and no source.",
    );
    guard::to_let_pass(plan, &names.interface, &mut parts.lines);

    parts.away.note(
        "At any time, also if the timer was stopped. Forwarding as such stays on until the next boot: something else may need it by \
         now.",
    );
    parts.away.shown(format_args!("sh /root/{name}-away.sh"));
    guard::to_let_pass_no_more(plan, &names.interface, &mut parts.away);
    parts
}

/// What the VLAN's interface is called: as everybody calls it, where the kernel takes so long a name (`IFNAMSIZ`).
fn interface_name(plan: &RouterPlan, vlan: VlanId, trunk: &str) -> String {
    let usual = format!("{trunk}.{vlan}");
    if usual.len() > 15 { plan.name.clone() } else { usual }
}

/// The file by which it is told that what is there is of an earlier run of the same.
fn marker(name: &str) -> String {
    format!("/etc/nftables.d/{name}.nft")
}

/// All of it, up to the first line that fails. The rules are in force before there is an interface for them.
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
        "The policy, in a table of its own, which only forbids: what passes here still has to pass the tables that are there, \
         none of which is touched. Its unit loads it at boot, after those of the machine's own firewall, and again whenever \
         that one begins anew.",
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
    page.note("Debian's nftables.service flushes all when it starts, reloads or stops, if somebody uses it: then these come back.");
    let again = format!("-nft -f {marker}");
    let mut dropin = Page::default();
    dropin.lines(&format!("[Service]\nExecStartPost={again}\nExecReload={again}\nExecStopPost={again}"));
    page.line("mkdir -p /etc/systemd/system/nftables.service.d");
    page.file(&format!("/etc/systemd/system/nftables.service.d/{name}.conf"), &dropin, "EOF");
    page.line("systemctl daemon-reload");
    page.line(format_args!("systemctl enable --now {name}-firewall.service"));
}

/// The sysctls without which a Linux machine is no router.
fn forwarding(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    page.note("What makes it a router, if it is none yet.");
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

/// DHCP, and advertisements, by a file that stays only if dnsmasq takes it: without dnsmasq the LAN has no DHCP either.
fn dnsmasq(names: &Names<'_>, page: &mut Page) {
    let Names { plan, interface, .. } = names;
    let name = &plan.name;
    page.note("DHCP and DNS, where dnsmasq reads /etc/dnsmasq.d, as Debian's does.");
    page.line("file=$(mktemp)");
    let mut file = Page::default();
    if plan.v4().next().is_some() && plan.served().is_empty() {
        file.note("Ashore hands out all that there is.");
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
    page.line("  stop 'dnsmasq does not start with the VLAN, and was put back: journalctl -u dnsmasq'");
    page.line("fi");
}

/// The lines of dnsmasq for a subnet: one range for each pool, since it leaves out nothing of a range.
fn ranges(subnet: &RouterSubnet, tag: &str, page: &mut Page) {
    let mask = subnet.net.netmask();
    for pool in &subnet.pools {
        page.line(format_args!("dhcp-range={tag}{},{},{mask},12h", pool.first(), pool.last()));
    }
}

/// How to see what dnsmasq hands out.
const READ: &str = "grep -rn '^dhcp-range' /etc/dnsmasq.conf /etc/dnsmasq.d";

/// What becomes of a range that is there. Options hang on its tag.
const IN_PLACE: &str =
    "in place of the dhcp-range that the subnet has, whose lease time and set:TAG, if it has one, these get";

/// The lines alone, for whoever runs dnsmasq as a DHCP server and nothing else of this.
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
        lines.note("With Pi-hole's own DHCP server, whose pool is one piece (Settings > DHCP), in words:");
        lan_pool::in_words(plan, "From", "To", lines);
    }
    let served = plan.served();
    if served.is_empty() {
        if unknown.is_empty() {
            lines.note("Nothing: Ashore hands out all that there is.");
        }
    } else if plan.vlan.is_some() {
        lines.note(&format!(
            "In a file of its own, /etc/dnsmasq.d/{name}.conf, which Pi-hole 6 reads with misc.etc_dnsmasq_d on. The machine needs an \
             address in the VLAN, or the router has to relay to it."
        ));
    } else {
        for (subnet, pool) in served.iter().filter_map(|subnet| Some((subnet, subnet.largest_pool()?))) {
            lines.note(&format!(
                "With Pi-hole's own DHCP server for {}, whose pool is one piece, none of these lines, but in Settings > DHCP: From {}, \
                 To {}.",
                subnet.net,
                pool.first(),
                pool.last()
            ));
        }
        lines.note(&format!("With dnsmasq itself, {IN_PLACE}:"));
    }
    for subnet in &served {
        if plan.vlan.is_none() {
            // Which router its clients are sent to is told by now.
            ranges(subnet, "", lines);
            continue;
        }
        ranges(subnet, &format!("set:{name},"), lines);
        // Unless told, dnsmasq sends its clients to its own host.
        lines.line(format_args!("dhcp-option=tag:{name},option:router,{}", subnet.router));
    }
    if !served.is_empty() {
        lines.note(
            "Check, then restart (in Pi-hole: pihole-FTL dnsmasq-test, then systemctl restart pihole-FTL):",
        );
        lines.shown("dnsmasq --test && systemctl restart dnsmasq");
    }
    parts.away.note(match plan.vlan {
        Some(_) => "Remove the file, and restart it.",
        None => "Put back what was there, and restart it. Leases that it gave meanwhile stay good.",
    });
    parts
}

/// The dnsmasq lines of the LAN itself.
fn untagged(plan: &RouterPlan, links: Links) -> Parts {
    let mut parts = Parts::default();
    parts.before.note("Keep a copy of the files that have the dhcp-range now, such as:");
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
    parts.away.note("Put back the copy, and restart dnsmasq. Leases that it gave meanwhile stay good.");
    parts
}

fn nftables(names: &Names<'_>) -> Page {
    let name = &names.plan.name;
    let mut file = Page::default();
    // The same file again takes the place of what it made before.
    file.line(format_args!("table inet {name}"));
    file.line(format_args!("delete table inet {name}"));
    file.gap();
    file.line(format_args!("table inet {name} {{"));
    file.line("\t# The LAN. A VPN whose peers are to count as the LAN stands here too, after a comma.");
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
        // From one of its subnets to another.
        format!("{from} oifname \"{interface}\" accept"),
        // A port forward that somebody made is what he wants.
        "ct status dnat accept".to_owned(),
    ];
    // From the internet nobody opens connections here, whatever else the router lets in.
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

/// What the VLAN may want of the router itself.
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
