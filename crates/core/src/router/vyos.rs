//! VyOS 1.4 (sagitta) and 1.5 (circinus), in configuration mode.

use super::linux::PRIVATE;
use super::page::Page;
use super::{Policy, RouterPlan, RouterSubnet};
use crate::vlan::VlanId;

pub(super) fn render(plan: &RouterPlan, page: &mut Page) {
    page.gap();
    page.line("configure");
    match plan.vlan {
        Some(vlan) => with_vlan(plan, vlan, page),
        None => untagged(plan, page),
    }
    page.gap();
    page.line("compare");
    page.line("commit");
    page.line("save");
    page.line("exit");
}

fn with_vlan(plan: &RouterPlan, vlan: VlanId, page: &mut Page) {
    let lan = plan.lan_or("eth1");
    interface(plan, lan, vlan, page);
    dhcp(plan, vlan, page);
    dns(plan, page);
    firewall(plan, lan, vlan, page);
    page.gap();
    page.note(
        "The source NAT of the WAN has to cover these subnets, as in (eth0 being the WAN, 100 a free rule):",
    );
    for subnet in plan.v4() {
        page.line("# set nat source rule 100 outbound-interface name 'eth0'");
        page.line(format_args!("# set nat source rule 100 source address '{}'", subnet.net));
        page.line("# set nat source rule 100 translation address 'masquerade'");
    }
}

fn interface(plan: &RouterPlan, lan: &str, vlan: VlanId, page: &mut Page) {
    page.gap();
    let kind = ["br", "bond"].into_iter().find(|kind| lan.starts_with(kind));
    let kind = match kind {
        Some("br") => "bridge",
        Some(_) => "bonding",
        None => "ethernet",
    };
    if kind == "bridge" {
        page.note(&format!(
            "With enable-vlan a member carries only what is listed: give every other member of {lan} its native-vlan 1 too, \
             or it falls off the LAN at the commit."
        ));
        page.line(format_args!("set interfaces bridge {lan} enable-vlan"));
        for port in plan.ports_or("eth2") {
            page.line(format_args!("set interfaces bridge {lan} member interface {port} native-vlan '1'"));
            page.line(format_args!(
                "set interfaces bridge {lan} member interface {port} allowed-vlan '{vlan}'"
            ));
        }
    } else {
        page.note(&format!("The VLAN on {lan}, beside the LAN."));
    }
    for subnet in &plan.subnets {
        page.line(format_args!(
            "set interfaces {kind} {lan} vif {vlan} address '{}'",
            subnet.interface_address()
        ));
    }
    page.line(format_args!("set interfaces {kind} {lan} vif {vlan} description '{}'", plan.description()));
    for subnet in plan.v6() {
        page.line(format_args!("set service router-advert interface {lan}.{vlan} prefix {}", subnet.net));
    }
}

fn dhcp(plan: &RouterPlan, vlan: VlanId, page: &mut Page) {
    let served = plan.served();
    if served.is_empty() {
        return;
    }
    page.gap();
    page.note(
        "DHCP for everybody else on the VLAN, clear of Ashore's range. On 1.4 leave out the lines with subnet-id and the \
         word `option`.",
    );
    for (at, subnet) in served.into_iter().enumerate() {
        let at_subnet =
            format!("set service dhcp-server shared-network-name {} subnet {}", plan.name, subnet.net);
        // A number for each subnet of the whole configuration: the VLAN's own is nobody else's.
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

fn firewall(plan: &RouterPlan, lan: &str, vlan: VlanId, page: &mut Page) {
    page.gap();
    if plan.policy == Some(Policy::Open) {
        page.note("No rule: VyOS forwards what no rule forbids. With a default-action of drop, accept the VLAN as the LAN.");
        return;
    }
    page.note(&format!(
        "What the VLAN may, in rule sets of its own; the rules from {vlan}0 on that lead to them have to stand before such as \
         accept all."
    ));
    let group = plan.name.to_uppercase();
    for (family, groups, icmp) in
        [("ipv4", "network-group", "icmp"), ("ipv6", "ipv6-network-group", "ipv6-icmp")]
    {
        let v4 = family == "ipv4";
        if plan.subnets.iter().all(|subnet| subnet.is_v4() != v4) {
            continue;
        }
        for net in PRIVATE.iter().filter(|net| net.contains(':') != v4) {
            page.line(format_args!("set firewall group {groups} {group}-PRIVATE network '{net}'"));
        }
        let set = format!("set firewall {family}");
        let from = format!("{set} name {group}-FROM");
        page.line(format_args!("{from} default-action 'accept'"));
        established(&from, page);
        page.line(format_args!("{from} rule 20 action 'reject'"));
        page.line(format_args!("{from} rule 20 destination group network-group '{group}-PRIVATE'"));
        page.line(format_args!("{from} rule 30 action 'reject'"));
        page.line(format_args!("{from} rule 30 outbound-interface name '{lan}'"));
        jump(&format!("{set} forward filter rule {vlan}0"), &group, "FROM", page);
        page.line(format_args!("{set} forward filter rule {vlan}0 inbound-interface name '{lan}.{vlan}'"));
        if plan.policy == Some(Policy::Closed) {
            let to = format!("{set} name {group}-TO");
            page.line(format_args!("{to} default-action 'drop'"));
            established(&to, page);
            jump(&format!("{set} forward filter rule {vlan}1"), &group, "TO", page);
            page.line(format_args!(
                "{set} forward filter rule {vlan}1 outbound-interface name '{lan}.{vlan}'"
            ));
        }
        let local = format!("{set} name {group}-LOCAL");
        page.line(format_args!("{local} default-action 'drop'"));
        established(&local, page);
        page.line(format_args!("{local} rule 20 action 'accept'"));
        page.line(format_args!("{local} rule 20 protocol 'tcp_udp'"));
        page.line(format_args!("{local} rule 20 destination port '53'"));
        page.line(format_args!("{local} rule 30 action 'accept'"));
        page.line(format_args!("{local} rule 30 protocol '{icmp}'"));
        if v4 {
            page.line(format_args!("{local} rule 40 action 'accept'"));
            page.line(format_args!("{local} rule 40 protocol 'udp'"));
            page.line(format_args!("{local} rule 40 destination port '67'"));
        }
        jump(&format!("{set} input filter rule {vlan}0"), &group, "LOCAL", page);
        page.line(format_args!("{set} input filter rule {vlan}0 inbound-interface name '{lan}.{vlan}'"));
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
        "In place of the ranges that the LAN's pool has; `show service dhcp-server` tells what it is called.",
    );
    for subnet in plan.v4() {
        let at_subnet = format!("service dhcp-server shared-network-name LAN subnet {}", subnet.net);
        page.line(format_args!("delete {at_subnet} range"));
        ranges(&format!("set {at_subnet}"), subnet, page);
    }
}
