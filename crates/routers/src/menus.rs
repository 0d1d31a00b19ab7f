//! OPNsense and pfSense: steps through their menus instead of commands. The two came from one code base and
//! have diverged since.

use ashore_core::net::vlan::VlanId;

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{PRIVATE, Policy, RouterPlan, RouterSubnet, joined, span};

/// The system whose menus are described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Menus {
    OpnSense,
    PfSense,
}

pub(super) fn render(plan: &RouterPlan, menus: Menus) -> Parts {
    let mut parts = Parts::default();
    parts.before.note(match menus {
        Menus::OpnSense => {
            "System > Configuration > Backups > Download. To go back without a browser: \"Restore a backup\" \
             in the console's menu restores any earlier configuration. As root on ZFS also System > Snapshots."
        }
        Menus::PfSense => {
            "Diagnostics > Backup & Restore > Download. To go back without a browser: \"Restore recent \
             configuration\" in the console's menu restores any earlier configuration."
        }
    });
    let Some(vlan) = plan.vlan else {
        untagged(plan, menus, &mut parts);
        return parts;
    };
    if menus == Menus::OpnSense {
        parts.before.note(
            "OPNsense advises against tagged and untagged VLANs on one trunk, because some switches leak \
             advertisements and broadcasts between them. If you have a spare port, create the VLAN there, and \
             connect it to a switch port that is only in this VLAN, tagged. On the LAN's own port it works \
             with most switches.",
        );
    }
    interface(plan, menus, vlan, &mut parts.lines);
    dhcp(plan, menus, &plan.name.to_uppercase(), &mut parts.lines);
    firewall(plan, menus, &mut parts.lines);
    away(plan, menus, &mut parts.away);
    parts
}

fn untagged(plan: &RouterPlan, menus: Menus, parts: &mut Parts) {
    for subnet in plan.unknown() {
        lan_pool::first_advice(plan, subnet, &mut parts.lines);
    }
    parts.lines.step(&format!(
        "Open {}, and write down the current values.",
        match menus {
            Menus::OpnSense => {
                "Services > Dnsmasq DNS & DHCP > DHCP ranges (or Services > Kea DHCP > Kea DHCPv4 > Subnets > Pools)"
            }
            Menus::PfSense => "Services > DHCP Server > LAN > Address Pool Range",
        }
    ));
    if plan.served().is_empty() {
        let (first, last) = match menus {
            Menus::OpnSense => ("Start address", "End address"),
            Menus::PfSense => ("From", "To"),
        };
        lan_pool::in_words(plan, first, last, &mut parts.lines);
        parts.lines.step(match menus {
            Menus::OpnSense => "The part of the old pool above the range can become a second entry. Apply.",
            Menus::PfSense => {
                "The part of the old pool above the range can become an Additional Pool. Apply Changes."
            }
        });
    } else {
        dhcp(plan, menus, "LAN", &mut parts.lines);
    }
    parts.away.note("Set the same fields back to what you wrote down.");
}

fn interface(plan: &RouterPlan, menus: Menus, vlan: VlanId, page: &mut Page) {
    let name = plan.name.to_uppercase();
    let parent = plan.trunk_or("the port of LAN (Interfaces > Assignments tells which, such as igc1)");
    let (add, assign) = match menus {
        Menus::OpnSense => {
            ("Interfaces > Devices > VLAN > +", "Interfaces > Assignments > Assign a new interface")
        }
        Menus::PfSense => {
            ("Interfaces > Assignments > VLANs > Add", "Interfaces > Assignments > Available network ports")
        }
    };
    page.step(&format!(
        "{add}: Parent: {parent}; VLAN tag: {vlan}; Description: {}. Save{}.",
        plan.description(),
        if menus == Menus::OpnSense { ", Apply" } else { "" }
    ));
    page.step(&format!("{assign}: VLAN {vlan}; description {name}; Add, Save."));
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
    page.step(&format!(
        "Interfaces > {name}: Enable; {}; no upstream gateway. Save, Apply.",
        types.join("; ")
    ));
}

fn dhcp(plan: &RouterPlan, menus: Menus, name: &str, page: &mut Page) {
    for subnet in plan.served() {
        match menus {
            Menus::OpnSense => opnsense_dhcp(plan, subnet, name, page),
            Menus::PfSense => pfsense_dhcp(subnet, name, page),
        }
    }
    if plan.vlan.is_none() || plan.advertised().is_empty() {
        return;
    }
    match menus {
        Menus::OpnSense => {
            page.step(&format!(
                "Only one of two services may send the advertisements. With Dnsmasq, if the system wizard of \
                 25.7 or later was used (Services > Dnsmasq DNS & DHCP > General: Router Advertisements is \
                 on): DHCP ranges > +: Interface {name}; Start address ::; Constructor {name}; RA Mode \
                 ra-only. Apply."
            ));
            page.step(&format!(
                "Otherwise with radvd: Services > Router Advertisements > + (until 25.7: its page {name}): \
                 Interface {name}; mode Unmanaged (hosts choose their own addresses). Save, Apply."
            ));
        }
        Menus::PfSense => page.step(&format!(
            "Services > Router Advertisement > {name}: Router Mode Unmanaged (hosts choose their own addresses). Save."
        )),
    }
}

fn opnsense_dhcp(plan: &RouterPlan, subnet: &RouterSubnet, name: &str, page: &mut Page) {
    let pairs: Vec<String> =
        subnet.pools.iter().map(|pool| format!("{} to {}", pool.first(), pool.last())).collect();
    let instead = if plan.vlan.is_some() { "" } else { ", in place of the existing ones" };
    page.step(&format!(
        "With Dnsmasq (what the wizard sets up since 25.7): Services > Dnsmasq DNS & DHCP > DHCP ranges, one entry for each{instead}: \
         Interface {name}; {}. Under General, Interface: {name} too. Apply.",
        pairs.join("; ")
    ));
    page.step(&format!(
        "Or with Kea: Services > Kea DHCP > Kea DHCPv4 > Subnets: {}; Pools, one per line: {}; under Settings, \
         Interfaces: {name} too. Apply.",
        subnet.net,
        joined(&subnet.pools, " and ")
    ));
}

fn pfsense_dhcp(subnet: &RouterSubnet, name: &str, page: &mut Page) {
    let Some(first) = subnet.largest_pool() else { return };
    let more: Vec<String> = subnet.pools.iter().filter(|pool| **pool != first).map(span).collect();
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(" Then Additional Pools > Add Address Pool: {}.", more.join(" and "))
    };
    page.step(&format!(
        "Services > DHCP Server > {name}: Enable; Address Pool Range: {} to {}. Save, Apply Changes.{more}",
        first.first(),
        first.last()
    ));
}

fn firewall(plan: &RouterPlan, menus: Menus, page: &mut Page) {
    let name = plan.name.to_uppercase();
    let net = |of: &str| match menus {
        Menus::OpnSense => format!("{of} net"),
        Menus::PfSense => format!("{of} subnets"),
    };
    // The new page and the old one exist side by side, and the rules of both apply.
    let rules = match menus {
        Menus::OpnSense => "Firewall > Rules [new] (or Rules, if yours are still there)",
        Menus::PfSense => "Firewall > Rules",
    };
    let families = if plan.v6().next().is_some() { "IPv4+IPv6" } else { "IPv4" };
    if plan.policy == Some(Policy::Open) {
        page.step(&format!(
            "{rules} > {name}: Pass; {families}; Protocol any; Source {}; Destination any. Apply. A new interface has no rule, \
             and lets nothing pass.",
            net(&name)
        ));
        return;
    }
    let alias = match menus {
        Menus::OpnSense => "Firewall > Aliases > +: type Network(s)",
        Menus::PfSense => "Firewall > Aliases > IP > Add: type Network(s)",
    };
    page.step(&format!("{alias}; name {name}_PRIVATE; content {}. Save, Apply.", PRIVATE.join(", ")));
    page.step(&format!(
        "{rules} > {name}, all {families}, in this order (the first match decides): (a) Pass; TCP/UDP; Source \
         {0}; Destination {name} address, port 53. (b) Pass; ICMP; Source {0}; Destination {name} address. (c) \
         Reject; any; Source {0}; Destination This Firewall. (d) Reject; any; Source {0}; Destination \
         {name}_PRIVATE. (e) Reject; any; Source {0}; Destination {1}. (f) Pass; any; Source {0}; Destination \
         any. Apply.",
        net(&name),
        net("LAN")
    ));
    if plan.policy == Some(Policy::Closed) {
        page.step(&format!(
            "{rules} > LAN, above \"Default allow LAN to any rule\": Reject; {families}; any; Source any; Destination {}. \
             Apply.",
            net(&name)
        ));
    } else {
        page.step("The LAN reaches the VLAN by its own \"Default allow LAN to any rule\".");
    }
    page.step(
        "Firewall > NAT > Outbound: the automatic and hybrid modes cover the new subnet. In manual mode, add \
         the LAN's rule again with this source.",
    );
}

fn away(plan: &RouterPlan, menus: Menus, page: &mut Page) {
    let name = plan.name.to_uppercase();
    page.note(&format!(
        "In reverse order: remove the rules of {name}{}, its DHCP ranges or pools and its advertisements. \
         Interfaces > {name}: Enable off. Interfaces > Assignments: delete it. Then delete the VLAN in {}{}. \
         Apply each.",
        if plan.policy == Some(Policy::Closed) { " and the one of LAN" } else { "" },
        match menus {
            Menus::OpnSense => "Interfaces > Devices > VLAN",
            Menus::PfSense => "Interfaces > Assignments > VLANs",
        },
        if plan.policy == Some(Policy::Open) {
            String::new()
        } else {
            format!(" and the alias {name}_PRIVATE")
        }
    ));
}
