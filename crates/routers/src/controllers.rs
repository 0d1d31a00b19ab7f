//! Gateways (`UniFi`, Omada, iKuai) with VLANs and a firewall that are configured only in menus, with one
//! pool for each network.

use ashore_core::net::name::PortName;
use ashore_core::net::vlan::VlanId;

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{Policy, RouterPlan, RouterSubnet, private};
use crate::system::System;

pub(super) fn render(plan: &RouterPlan, system: System) -> Parts {
    let mut parts = Parts::default();
    parts.before.note(match system {
        System::UniFi => {
            "Settings > Control Plane > Backups: download one. Settings > Networks does not undo \
                          a change by itself."
        }
        System::Omada => {
            "Settings > Maintenance (or Global View > Settings > Maintenance) > Backup: download one."
        }
        _ => "系统设置 > 备份管理 (System > Backup): make one, and download it.",
    });
    let Some(vlan) = plan.vlan else {
        untagged(plan, system, &mut parts);
        return parts;
    };
    if plan.subnets.len() > plan.v4().take(1).count() + plan.v6().take(1).count() {
        parts
            .lines
            .note("A network there holds one subnet of each family. These steps are for the first one.");
    }
    match system {
        System::UniFi => unifi(plan, vlan, &mut parts.lines),
        System::Omada => omada(plan, vlan, &mut parts.lines),
        _ => ikuai(plan, vlan, &mut parts.lines),
    }
    parts.away.note(&format!(
        "Remove the rules first{}, then VLAN {vlan} from the ports, then the network {}: an object in use \
         cannot be deleted.",
        if system == System::UniFi { ", then the zone" } else { "" },
        plan.name
    ));
    parts
}

/// Where a network's pool is, and the names of its two fields.
fn fields(system: System) -> [&'static str; 3] {
    match system {
        System::UniFi => ["Settings > Networks > the LAN's > DHCP Range", "Start", "Stop"],
        System::Omada => {
            ["Settings > Wired Networks > LAN > Networks > the LAN's > DHCP Range", "the first", "the last"]
        }
        _ => [
            "网络设置 > DHCP 设置 > DHCP 服务端 (Network > DHCP > DHCP server), 客户端地址",
            "起始地址",
            "结束地址",
        ],
    }
}

fn untagged(plan: &RouterPlan, system: System, parts: &mut Parts) {
    let [page, first, last] = fields(system);
    for subnet in plan.unknown() {
        lan_pool::first_advice(plan, subnet, &mut parts.lines);
    }
    parts.lines.step(&format!("Open {page}, and write down the current values."));
    lan_pool::in_words(plan, first, last, &mut parts.lines);
    parts.away.note("Set the same two fields back to what you wrote down.");
}

/// The largest pool of the first subnet, as the network's page asks for it.
fn pool(plan: &RouterPlan) -> String {
    match plan.v4().next().and_then(RouterSubnet::largest_pool) {
        Some(pool) => format!("DHCP server on, {} to {}", pool.first(), pool.last()),
        None => "DHCP server off".to_owned(),
    }
}

fn address(plan: &RouterPlan) -> String {
    let first = plan.v4().next().or_else(|| plan.v6().next()).expect("a network has a subnet");
    first.interface_address().to_string()
}

fn towards_nas(plan: &RouterPlan) -> String {
    if plan.ports.is_empty() {
        return "those towards the NAS".to_owned();
    }
    plan.ports.iter().map(PortName::as_str).collect::<Vec<_>>().join(", ")
}

fn v6(plan: &RouterPlan, page: &mut Page) {
    if let Some(subnet) = plan.advertised().first() {
        page.step(&format!(
            "IPv6 of that network: static, {}; router advertisement on, SLAAC, no DHCPv6.",
            subnet.interface_address()
        ));
    }
}

fn unifi(plan: &RouterPlan, vlan: VlanId, page: &mut Page) {
    let name = &plan.name;
    page.step(&format!(
        "Settings > Networks > New Virtual Network: name {name}; Auto-Scale Network off; Host Address {}; Advanced: Manual; VLAN ID \
         {vlan}; {}. Add.",
        address(plan),
        pool(plan)
    ));
    v6(plan, page);
    page.step(&format!(
        "UniFi Devices > the switch or gateway > Ports: on {}, do not change Native VLAN (Default); Tagged \
         VLAN Management: Allow All, or Custom with {name}.",
        towards_nas(plan)
    ));
    let policy = plan.policy.unwrap_or_default();
    if policy == Policy::Open {
        page.step("Networks of the zone Internal reach each other: nothing more to do.");
        return;
    }
    page.step(&format!(
        "Settings > Security > Firewall (Policy Engine > Zones), with zones: create a zone {name} with only \
         the network {name}. From the zone to External: allow; to Gateway: allow DNS, DHCP and ICMP, block the \
         rest; to Internal: block. {}",
        match policy {
            Policy::Closed => "From Internal to it: block.",
            _ => "From Internal to it: allow, with return traffic.",
        }
    ));
    page.step(&format!(
        "If this router is behind another one: block from {name} to External for destinations {}.",
        private(true).join(", ")
    ));
}

fn omada(plan: &RouterPlan, vlan: VlanId, page: &mut Page) {
    let name = &plan.name;
    page.step(&format!(
        "Settings > Wired Networks > LAN > Networks > Create New LAN: name {name}; Purpose Interface; LAN interfaces: the ports towards the \
         NAS; VLAN {vlan}; Gateway/Subnet {}; {}. Save.",
        address(plan),
        pool(plan)
    ));
    v6(plan, page);
    page.step(&format!(
        "The switch's ports, {}: use a profile whose native network is LAN and whose tagged networks include \
         {name} (All does).",
        towards_nas(plan)
    ));
    let policy = plan.policy.unwrap_or_default();
    if policy == Policy::Open {
        page.step("Networks reach each other unless an ACL forbids it: nothing more to do.");
        return;
    }
    page.step(&format!(
        "Settings > Network Security > ACL > Gateway ACL, direction LAN to LAN: deny, all protocols, from \
         network {name} to network LAN; if the page has states, only New. Without states the rule also blocks \
         replies, so the LAN does not reach {name} either. {}",
        if policy == Policy::Closed { "Add the same rule from LAN to the VLAN." } else { "Test it from the LAN." }
    ));
    page.step(&format!(
        "For the gateway's own page, and for another router in front of it: deny from {name} to the gateway's \
         management page, and to an IP group of {}, except the VLAN's own subnet.",
        private(true).join(", ")
    ));
}

fn ikuai(plan: &RouterPlan, vlan: VlanId, page: &mut Page) {
    let name = &plan.name;
    page.step(&format!(
        "网络设置 > VLAN 设置 (Network > VLAN) > 添加: VLAN ID {vlan}; VLAN 名称 {name}; 线路 lan1, or the port towards the NAS; IP {}. 保存.",
        address(plan)
    ));
    page.step(&format!(
        "网络设置 > DHCP 设置 > DHCP 服务端 (DHCP server) > 添加: 服务接口 {name}; 客户端地址: {}; 网关 (gateway) and DNS: the VLAN's address. 保存.",
        pool(plan)
    ));
    if plan.policy != Some(Policy::Open) {
        page.step(&format!(
            "安全设置 > ACL 规则 (Security > ACL): 阻断 (block), 转发 (forward), from {} to {}; these rules do not \
             recognise replies, so the LAN may not reach the VLAN either. Test it, and remove the rule if the \
             LAN must reach the VLAN.",
            plan.subnets[0].net,
            private(true).join(", ")
        ));
    }
}
