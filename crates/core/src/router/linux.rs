//! What routers on a plain Linux share, whoever makes their interfaces: dnsmasq for DHCP, nftables for the policy.

use super::page::Page;
use super::{Policy, RouterPlan, RouterSubnet};
use crate::vlan::VlanId;

/// What is not the internet (RFC 1918, RFC 4193).
pub(super) const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// The LAN's interface and the VLAN's on it, with the words that begin the script.
pub(super) fn interfaces<'a>(plan: &'a RouterPlan, vlan: VlanId, page: &mut Page) -> (&'a str, String) {
    let lan = plan.lan_or("eth1");
    page.gap();
    page.note(&format!(
        "As root. {lan} is the interface that carries the LAN; --lan-interface names another."
    ));
    (lan, format!("{lan}.{vlan}"))
}

/// DHCP and the policy for the VLAN's interface, files and commands.
pub(super) fn services(plan: &RouterPlan, lan: &str, interface: &str, page: &mut Page) {
    let name = &plan.name;
    page.gap();
    page.note(
        "DHCP and DNS by dnsmasq. If its configuration names its interfaces (interface=), name this one too.",
    );
    page.file(&format!("/etc/dnsmasq.d/{name}.conf"), &dnsmasq_file(plan, interface));
    page.line(format_args!("dnsmasq --test -C /etc/dnsmasq.d/{name}.conf && systemctl restart dnsmasq"));
    page.gap();
    page.note(&format!(
        "The policy by nftables, in a table of its own, which only forbids: what passes here still has to pass the tables \
         that are there, and the masquerade of the WAN has to cover the new subnet. `nft delete table inet {name}` takes it \
         away."
    ));
    page.line("mkdir -p /etc/nftables.d");
    page.file(&format!("/etc/nftables.d/{name}.nft"), &nftables(plan, lan, interface));
    page.line(format_args!("nft -f /etc/nftables.d/{name}.nft"));
    page.line(
        "grep -q '/etc/nftables.d/' /etc/nftables.conf || echo 'include \"/etc/nftables.d/*.nft\"' >> /etc/nftables.conf",
    );
    page.line("systemctl enable nftables");
}

/// The sysctls without which a Linux machine is no router.
pub(super) fn forwarding(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    page.gap();
    page.note("What makes it a router, if it is none yet.");
    let mut sysctls = Page::default();
    if plan.v4().next().is_some() {
        sysctls.line("net.ipv4.ip_forward = 1");
    }
    if plan.v6().next().is_some() {
        sysctls.line("net.ipv6.conf.all.forwarding = 1");
    }
    page.file(&format!("/etc/sysctl.d/60-{name}.conf"), &sysctls);
    page.line(format_args!("sysctl -p /etc/sysctl.d/60-{name}.conf"));
}

/// The lines of dnsmasq for a subnet: one range for each pool, since it leaves out nothing of a range.
fn ranges(subnet: &RouterSubnet, tag: &str, page: &mut Page) {
    let mask = subnet.net.netmask();
    for pool in &subnet.pools {
        page.line(format_args!("dhcp-range={tag}{},{},{mask},12h", pool.first(), pool.last()));
    }
}

fn dnsmasq_file(plan: &RouterPlan, interface: &str) -> Page {
    let mut file = Page::default();
    if plan.v4().next().is_some() && plan.served().is_empty() {
        file.note("Ashore hands out all that there is.");
        file.line(format_args!("no-dhcp-interface={interface}"));
    }
    for subnet in plan.served() {
        ranges(subnet, "", &mut file);
    }
    for subnet in plan.v6() {
        let (first, length) = (subnet.net.network(), subnet.net.prefix_len());
        file.line(format_args!("dhcp-range={first},ra-only,{length},12h"));
    }
    file
}

/// The lines alone, for whoever runs dnsmasq as a DHCP server and nothing else of this.
pub(super) fn dnsmasq_alone(plan: &RouterPlan, page: &mut Page) {
    page.gap();
    page.note(
        "In place of the dhcp-range that this subnet has (Pi-hole: Settings > DHCP off, and these in \
         /etc/dnsmasq.d/99-ashore.conf with misc.etc_dnsmasq_d on). dnsmasq --test checks, a restart takes them in.",
    );
    let name = &plan.name;
    if plan.served().is_empty() {
        page.note("Nothing: Ashore hands out all that there is.");
    }
    for subnet in plan.served() {
        ranges(subnet, &format!("set:{name},"), page);
        // Unless told, dnsmasq sends its clients to its own host.
        page.line(format_args!("dhcp-option=tag:{name},option:router,{}", subnet.router));
    }
}

/// The dnsmasq lines of the LAN itself, for the systems that leave DHCP to it.
pub(super) fn untagged(plan: &RouterPlan, page: &mut Page) {
    page.gap();
    page.note("In /etc/dnsmasq.conf or /etc/dnsmasq.d, in place of the dhcp-range that this subnet has:");
    for subnet in plan.v4() {
        ranges(subnet, "", page);
    }
    page.note("Then: dnsmasq --test && systemctl restart dnsmasq");
}

fn nftables(plan: &RouterPlan, lan: &str, interface: &str) -> Page {
    let name = &plan.name;
    let mut file = Page::default();
    // The same file again takes the place of what it made before.
    file.line(format_args!("table inet {name}"));
    file.line(format_args!("delete table inet {name}"));
    file.gap();
    file.line(format_args!("table inet {name} {{"));
    let policy = plan.policy.unwrap_or_default();
    chain("forward", &forward_rules(policy, lan, interface), &mut file);
    if policy != Policy::Open {
        file.gap();
        chain("input", &input_rules(interface), &mut file);
    }
    file.line("}");
    file
}

fn forward_rules(policy: Policy, lan: &str, interface: &str) -> Vec<String> {
    let (v4, v6): (Vec<&str>, Vec<&str>) = PRIVATE.iter().partition(|net| !net.contains(':'));
    let from = format!("iifname \"{interface}\"");
    let mut rules = vec!["ct state established,related accept".to_owned()];
    // From the internet nobody opens connections here, whatever else the router lets in.
    rules.push(match policy {
        Policy::Closed => format!("oifname \"{interface}\" drop"),
        Policy::Open | Policy::OneWay => format!("oifname \"{interface}\" iifname != \"{lan}\" drop"),
    });
    if policy != Policy::Open {
        rules.push(format!("{from} oifname \"{lan}\" reject"));
        rules.push(format!("{from} ip daddr {{ {} }} reject", v4.join(", ")));
        rules.push(format!("{from} ip6 daddr {{ {} }} reject", v6.join(", ")));
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
