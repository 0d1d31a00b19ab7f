//! OPNsense and pfSense: no commands, but steps through their menus. Both came from one tree, and still differ in words only.

use super::linux::PRIVATE;
use super::page::Page;
use super::{Policy, RouterPlan, RouterSubnet, joined, span};
use crate::vlan::VlanId;

/// Whose menus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Menus {
    OpnSense,
    PfSense,
}

/// Steps, counted.
struct Steps<'a> {
    page: &'a mut Page,
    number: usize,
}

impl Steps<'_> {
    fn step(&mut self, text: &str) {
        self.number += 1;
        self.page.step(self.number, text);
    }
}

pub(super) fn render(plan: &RouterPlan, menus: Menus, page: &mut Page) {
    page.gap();
    let mut steps = Steps { page, number: 0 };
    match plan.vlan {
        Some(vlan) => {
            interface(plan, menus, vlan, &mut steps);
            dhcp(plan, menus, &plan.name.to_uppercase(), &mut steps);
            firewall(plan, menus, &mut steps);
        }
        None => dhcp(plan, menus, "LAN", &mut steps),
    }
}

fn interface(plan: &RouterPlan, menus: Menus, vlan: VlanId, steps: &mut Steps<'_>) {
    let name = plan.name.to_uppercase();
    let parent = plan.lan_interface.as_ref().map_or_else(
        || "the port of LAN (Interfaces > Assignments tells which, such as igc1)".to_owned(),
        ToString::to_string,
    );
    let (add, assign) = match menus {
        Menus::OpnSense => {
            ("Interfaces > Devices > VLAN > +", "Interfaces > Assignments > Assign a new interface")
        }
        Menus::PfSense => {
            ("Interfaces > Assignments > VLANs > Add", "Interfaces > Assignments > Available network ports")
        }
    };
    steps.step(&format!(
        "{add}: Parent: {parent}; VLAN tag: {vlan}; Description: {}. Save{}.",
        plan.description(),
        if menus == Menus::OpnSense { ", Apply" } else { "" }
    ));
    steps.step(&format!("{assign}: VLAN {vlan}; description {name}; Add, Save."));
    let types: Vec<String> = plan
        .subnets
        .iter()
        .map(|subnet| {
            let family = if subnet.is_v4() { "IPv4" } else { "IPv6" };
            format!(
                "{family} Configuration Type: Static {family}; {family} address: {}",
                subnet.interface_address()
            )
        })
        .collect();
    steps.step(&format!(
        "Interfaces > {name}: Enable; {}; no upstream gateway. Save, Apply.",
        types.join("; ")
    ));
}

fn dhcp(plan: &RouterPlan, menus: Menus, name: &str, steps: &mut Steps<'_>) {
    for subnet in plan.served() {
        match menus {
            Menus::OpnSense => opnsense_dhcp(plan, subnet, name, steps),
            Menus::PfSense => pfsense_dhcp(subnet, name, steps),
        }
    }
    if plan.vlan.is_some() && plan.v6().next().is_some() {
        let menu = match menus {
            Menus::OpnSense => format!("Services > Router Advertisements > {name}"),
            Menus::PfSense => format!("Services > Router Advertisement > {name}"),
        };
        steps.step(&format!("{menu}: mode Unmanaged (hosts choose their own addresses). Save."));
    }
}

fn opnsense_dhcp(plan: &RouterPlan, subnet: &RouterSubnet, name: &str, steps: &mut Steps<'_>) {
    let pairs: Vec<String> =
        subnet.pools.iter().map(|pool| format!("{} to {}", pool.first(), pool.last())).collect();
    let instead = if plan.vlan.is_some() { "" } else { ", in place of what is there" };
    steps.step(&format!(
        "With Dnsmasq (the default since 25.7): Services > Dnsmasq DNS & DHCP > DHCP ranges, one entry for each{instead}: \
         Interface {name}; {}. Under General, Interface: {name} too. Apply.",
        pairs.join("; ")
    ));
    steps.step(&format!(
        "Or with Kea: Services > Kea DHCP > Kea DHCPv4 > Subnets: {}; Pools, one for each line: {}; under Settings, \
         Interfaces: {name} too. Apply.",
        subnet.net,
        joined(&subnet.pools, " and ")
    ));
}

fn pfsense_dhcp(subnet: &RouterSubnet, name: &str, steps: &mut Steps<'_>) {
    let Some(first) = subnet.largest_pool() else { return };
    let more: Vec<String> = subnet.pools.iter().filter(|pool| **pool != first).map(span).collect();
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(" Then Additional Pools > Add Address Pool: {}.", more.join(" and "))
    };
    steps.step(&format!(
        "Services > DHCP Server > {name}: Enable; Address Pool Range: {} to {}. Save, Apply Changes.{more}",
        first.first(),
        first.last()
    ));
}

fn firewall(plan: &RouterPlan, menus: Menus, steps: &mut Steps<'_>) {
    let name = plan.name.to_uppercase();
    let net = |of: &str| match menus {
        Menus::OpnSense => format!("{of} net"),
        Menus::PfSense => format!("{of} subnets"),
    };
    if plan.policy == Some(Policy::Open) {
        steps.step(&format!(
            "Firewall > Rules > {name}: Pass; Protocol any; Source {}; Destination any. Apply. A new interface has no rule, \
             and lets nothing pass.",
            net(&name)
        ));
        return;
    }
    let alias = match menus {
        Menus::OpnSense => "Firewall > Aliases > +: type Network(s)",
        Menus::PfSense => "Firewall > Aliases > IP > Add: type Network(s)",
    };
    steps.step(&format!("{alias}; name PRIVATE; content {}. Save, Apply.", PRIVATE.join(", ")));
    steps.step(&format!(
        "Firewall > Rules > {name}, in this order (the first that fits decides): (a) Pass; TCP/UDP; Source {0}; Destination \
         {name} address, port 53. (b) Pass; ICMP; Source {0}; Destination {name} address. (c) Reject; any; Source {0}; \
         Destination This Firewall. (d) Reject; any; Source {0}; Destination PRIVATE. (e) Reject; any; Source {0}; \
         Destination {1}. (f) Pass; any; Source {0}; Destination any. Apply.",
        net(&name),
        net("LAN")
    ));
    if plan.policy == Some(Policy::Closed) {
        steps.step(&format!(
            "Firewall > Rules > LAN, above \"Default allow LAN to any rule\": Reject; any; Source any; Destination {}. \
             Apply.",
            net(&name)
        ));
    } else {
        steps.step("The LAN reaches the VLAN by its own \"Default allow LAN to any rule\".");
    }
}
