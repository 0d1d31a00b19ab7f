//! VyOS 1.4 (sagitta) and 1.5 (circinus), in configuration mode.

use ashore_core::net::vlan::VlanId;

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{Policy, RouterPlan, RouterSubnet, private};

/// The time in which a commit must be confirmed, in minutes.
const TRIAL: u32 = 5;

pub(super) fn render(plan: &RouterPlan) -> Parts {
    let mut parts = Parts::default();
    parts.before.note(&format!(
        "The lines end in commit-confirm: unless you type `confirm` within {TRIAL} minutes, the router reboots \
         into the configuration that was saved last. (On 1.5, `set system config-management commit-confirm \
         action reload` avoids the reboot.) So first save the current configuration, and look at what exists:"
    ));
    parts.before.shown("configure; save; exit");
    parts.before.shown("show configuration commands | match 'dhcp-server|firewall|vif|native-vlan'");
    if let Some(vlan) = plan.vlan {
        parts.before.note(&format!(
            "If that shows a vif {vlan}, a dhcp-server network {} or one of the rules {vlan}0 and {vlan}1, \
             they are already in use: choose another number.",
            plan.name
        ));
    }
    let has_lines = plan.vlan.is_some() || !plan.served().is_empty();
    if plan.vlan.is_none() {
        lan_pool::unknown(
            plan,
            "`show configuration commands | match 'dhcp-server.*range'`.",
            &mut parts.lines,
        );
    }
    if has_lines {
        parts.lines.line("configure");
        match plan.vlan {
            Some(vlan) => with_vlan(plan, vlan, &mut parts.lines),
            None => untagged(plan, &mut parts.lines),
        }
        parts.lines.gap();
        parts.lines.line("compare");
        parts.lines.line(format_args!("commit-confirm {TRIAL}"));
        parts
            .lines
            .note("It asks whether to proceed. If LAN and internet still work, keep the changes with:");
        for line in ["confirm", "save", "exit"] {
            parts.lines.shown(line);
        }
    }
    match plan.vlan {
        Some(vlan) => away(plan, vlan, &mut parts.away),
        None => parts.away.note(
            "Set the previous ranges again with the `set …` lines shown before, then commit and save. \
             `rollback N` goes back to an earlier commit (`show system commit` lists them).",
        ),
    }
    parts
}

fn with_vlan(plan: &RouterPlan, vlan: VlanId, page: &mut Page) {
    let trunk = plan.trunk_or("eth1");
    interface(plan, trunk, vlan, page);
    dhcp(plan, vlan, page);
    dns(plan, page);
    firewall(plan, plan.lan_or("eth1"), &format!("{trunk}.{vlan}"), vlan, page);
    page.gap();
    page.note(
        "The source NAT of the WAN must cover these subnets, for example (eth0 is the WAN, 100 an unused \
         rule):",
    );
    for subnet in plan.v4() {
        page.shown("set nat source rule 100 outbound-interface name 'eth0'");
        page.shown(format_args!("set nat source rule 100 source address '{}'", subnet.net));
        page.shown("set nat source rule 100 translation address 'masquerade'");
    }
}

fn kind(lan: &str) -> &'static str {
    match ["br", "bond"].into_iter().find(|kind| lan.starts_with(kind)) {
        Some("br") => "bridge",
        Some(_) => "bonding",
        None => "ethernet",
    }
}

fn interface(plan: &RouterPlan, trunk: &str, vlan: VlanId, page: &mut Page) {
    page.gap();
    let kind = kind(trunk);
    if kind == "bridge" {
        page.note(&format!(
            "With enable-vlan, a member of {trunk} carries only the VLANs that are listed. If {trunk} already \
             has enable-vlan (`show interfaces bridge {trunk}` in this mode), that does not change. Otherwise \
             enable it together with a native VLAN for each member of {trunk}, or that member loses the LAN at \
             the commit. Without these lines the commit fails and changes nothing:"
        ));
        page.shown(format_args!("set interfaces bridge {trunk} enable-vlan"));
        page.shown(format_args!("set interfaces bridge {trunk} member interface EACH native-vlan '1'"));
        for port in plan.ports_or("eth2") {
            page.line(format_args!(
                "set interfaces bridge {trunk} member interface {port} allowed-vlan '{vlan}'"
            ));
        }
    } else {
        page.note(&format!("The VLAN on {trunk}, beside the LAN."));
    }
    for subnet in &plan.subnets {
        page.line(format_args!(
            "set interfaces {kind} {trunk} vif {vlan} address '{}'",
            subnet.interface_address()
        ));
    }
    page.line(format_args!("set interfaces {kind} {trunk} vif {vlan} description '{}'", plan.description()));
    for subnet in plan.advertised() {
        page.line(format_args!("set service router-advert interface {trunk}.{vlan} prefix {}", subnet.net));
    }
}

fn dhcp(plan: &RouterPlan, vlan: VlanId, page: &mut Page) {
    let served = plan.served();
    if served.is_empty() {
        return;
    }
    page.gap();
    page.note(
        "DHCP for all other machines in the VLAN, clear of Ashore's range. On 1.4, leave out the lines with \
         subnet-id, and the word `option`.",
    );
    for (at, subnet) in served.into_iter().enumerate() {
        let at_subnet =
            format!("set service dhcp-server shared-network-name {} subnet {}", plan.name, subnet.net);
        // A subnet id must be unique in the whole configuration. The VLAN's number is used by nothing else.
        page.line(format_args!("{at_subnet} subnet-id '{}'", usize::from(vlan.get()) + 10_000 * at));
        page.line(format_args!("{at_subnet} option default-router '{}'", subnet.router));
        page.line(format_args!("{at_subnet} option name-server '{}'", subnet.router));
        page.line(format_args!("{at_subnet} lease '43200'"));
        ranges(&at_subnet, subnet, page);
    }
}

fn ranges(at_subnet: &str, subnet: &RouterSubnet, page: &mut Page) {
    for (number, pool) in subnet.pools.iter().enumerate() {
        page.line(format_args!("{at_subnet} range {number} start '{}'", pool.first()));
        page.line(format_args!("{at_subnet} range {number} stop '{}'", pool.last()));
    }
}

fn dns(plan: &RouterPlan, page: &mut Page) {
    page.gap();
    page.note("The router answers the VLAN's DNS queries.");
    for subnet in &plan.subnets {
        page.line(format_args!("set service dns forwarding listen-address '{}'", subnet.router));
        page.line(format_args!("set service dns forwarding allow-from '{}'", subnet.net));
    }
}

/// VyOS forwards what no rule forbids. With IPv6, that includes traffic from the internet.
fn firewall(plan: &RouterPlan, lan: &str, vif: &str, vlan: VlanId, page: &mut Page) {
    page.gap();
    page.note(&format!(
        "What the VLAN may do, and who reaches it, is in separate rule sets. The rules from {vlan}0 on, which \
         jump to them, must come before any rule that accepts everything. Do not use a rule number twice. \
         These lines are not for a zone-based firewall (`show firewall zone` in this mode): there, create a \
         zone for the VLAN."
    ));
    let policy = plan.policy.unwrap_or_default();
    let group = plan.name.to_uppercase();
    for v4 in [true, false] {
        if plan.subnets.iter().all(|subnet| subnet.is_v4() != v4) {
            continue;
        }
        let set = format!("set firewall {}", family(v4));
        reached(&format!("{set} name {group}-TO"), lan, policy, page);
        jump(&format!("{set} forward filter rule {vlan}1"), &group, "TO", page);
        page.line(format_args!("{set} forward filter rule {vlan}1 outbound-interface name '{vif}'"));
        if policy == Policy::Open {
            continue;
        }
        sent(&format!("{set} name {group}-FROM"), lan, &group, v4, page);
        jump(&format!("{set} forward filter rule {vlan}0"), &group, "FROM", page);
        page.line(format_args!("{set} forward filter rule {vlan}0 inbound-interface name '{vif}'"));
        local(&format!("{set} name {group}-LOCAL"), v4, page);
        jump(&format!("{set} input filter rule {vlan}0"), &group, "LOCAL", page);
        page.line(format_args!("{set} input filter rule {vlan}0 inbound-interface name '{vif}'"));
    }
}

fn family(v4: bool) -> &'static str {
    if v4 { "ipv4" } else { "ipv6" }
}

/// The rules for traffic to the VLAN.
fn reached(to: &str, lan: &str, policy: Policy, page: &mut Page) {
    page.line(format_args!("{to} default-action 'drop'"));
    established(to, page);
    page.line(format_args!("{to} rule 20 action 'accept'"));
    page.line(format_args!("{to} rule 20 connection-status nat 'destination'"));
    if policy != Policy::Closed {
        page.line(format_args!("{to} rule 30 action 'accept'"));
        page.line(format_args!("{to} rule 30 inbound-interface name '{lan}'"));
    }
}

/// The rules for traffic from the VLAN to other networks.
fn sent(from: &str, lan: &str, group: &str, v4: bool, page: &mut Page) {
    let groups = if v4 { "network-group" } else { "ipv6-network-group" };
    for net in private(v4) {
        page.line(format_args!("set firewall group {groups} {group}-PRIVATE network '{net}'"));
    }
    page.line(format_args!("{from} default-action 'accept'"));
    established(from, page);
    page.line(format_args!("{from} rule 20 action 'reject'"));
    page.line(format_args!("{from} rule 20 destination group network-group '{group}-PRIVATE'"));
    page.line(format_args!("{from} rule 30 action 'reject'"));
    page.line(format_args!("{from} rule 30 outbound-interface name '{lan}'"));
}

/// The rules for traffic from the VLAN to the router itself.
fn local(local: &str, v4: bool, page: &mut Page) {
    page.line(format_args!("{local} default-action 'drop'"));
    established(local, page);
    page.line(format_args!("{local} rule 20 action 'accept'"));
    page.line(format_args!("{local} rule 20 protocol 'tcp_udp'"));
    page.line(format_args!("{local} rule 20 destination port '53'"));
    page.line(format_args!("{local} rule 30 action 'accept'"));
    page.line(format_args!("{local} rule 30 protocol '{}'", if v4 { "icmp" } else { "ipv6-icmp" }));
    if v4 {
        page.line(format_args!("{local} rule 40 action 'accept'"));
        page.line(format_args!("{local} rule 40 protocol 'udp'"));
        page.line(format_args!("{local} rule 40 destination port '67'"));
    }
}

fn established(rules: &str, page: &mut Page) {
    page.line(format_args!("{rules} rule 10 action 'accept'"));
    page.line(format_args!("{rules} rule 10 state 'established'"));
    page.line(format_args!("{rules} rule 10 state 'related'"));
}

fn jump(rule: &str, group: &str, target: &str, page: &mut Page) {
    page.line(format_args!("{rule} action 'jump'"));
    page.line(format_args!("{rule} jump-target '{group}-{target}'"));
}

fn untagged(plan: &RouterPlan, page: &mut Page) {
    page.gap();
    page.note(
        "This replaces the ranges of the LAN's pool. If `show service dhcp-server` shows another name than \
         LAN, use that name here.",
    );
    for subnet in plan.served() {
        let at_subnet = format!("service dhcp-server shared-network-name LAN subnet {}", subnet.net);
        page.line(format_args!("delete {at_subnet} range"));
        ranges(&format!("set {at_subnet}"), subnet, page);
    }
}

fn away(plan: &RouterPlan, vlan: VlanId, page: &mut Page) {
    let (trunk, group) = (plan.trunk_or("eth1"), plan.name.to_uppercase());
    page.note(
        "In configuration mode. A line for something that was never created prints a message and does no harm. \
         A service that was created only for the VLAN is empty then: delete it as a whole (`delete service \
         dhcp-server`, `delete service dns forwarding`, `delete service router-advert`); commit names it. Then \
         commit-confirm, confirm and save.",
    );
    for v4 in [true, false] {
        let delete = format!("delete firewall {}", family(v4));
        for rule in [
            format!("forward filter rule {vlan}0"),
            format!("forward filter rule {vlan}1"),
            format!("input filter rule {vlan}0"),
        ] {
            page.shown(format_args!("{delete} {rule}"));
        }
        for set in ["FROM", "TO", "LOCAL"] {
            page.shown(format_args!("{delete} name {group}-{set}"));
        }
    }
    page.shown(format_args!("delete firewall group network-group {group}-PRIVATE"));
    page.shown(format_args!("delete firewall group ipv6-network-group {group}-PRIVATE"));
    page.shown(format_args!("delete service dhcp-server shared-network-name {}", plan.name));
    page.shown(format_args!("delete service router-advert interface {trunk}.{vlan}"));
    for subnet in &plan.subnets {
        page.shown(format_args!("delete service dns forwarding listen-address '{}'", subnet.router));
        page.shown(format_args!("delete service dns forwarding allow-from '{}'", subnet.net));
    }
    page.shown(format_args!("delete interfaces {} {trunk} vif {vlan}", kind(trunk)));
    page.note("Also delete the source NAT rule, if you created one: delete nat source rule 100.");
    if kind(trunk) == "bridge" {
        for port in plan.ports_or("eth2") {
            page.shown(format_args!(
                "delete interfaces bridge {trunk} member interface {port} allowed-vlan '{vlan}'"
            ));
        }
        page.note(
            "enable-vlan may stay, and must stay if other VLANs use it. If you enabled it for this, delete it \
             in the same commit, together with each member's native-vlan.",
        );
    }
}
