//! Kea's server for IPv4: one entry of `subnet4`, whose pools leave out the range.

use super::page::Page;
use super::{RouterPlan, RouterSubnet};
use crate::vlan::VlanId;

pub(super) fn render(plan: &RouterPlan, page: &mut Page) {
    page.gap();
    page.note(
        "In the list \"subnet4\" of /etc/kea/kea-dhcp4.conf. kea-dhcp4 -t FILE checks it; a restart takes it in.",
    );
    match plan.vlan {
        Some(vlan) => page.note(&format!(
            "\"interfaces\" of \"interfaces-config\" has to name the VLAN's interface ({}.{vlan} or so).",
            plan.lan_or("eth1")
        )),
        None => page.note("An entry for the subnet that is there keeps its id, and gets these pools."),
    }
    let served = plan.served();
    if served.is_empty() {
        page.note("Nothing: Ashore hands out all that there is.");
    }
    let last = served.len().saturating_sub(1);
    for (at, subnet) in served.into_iter().enumerate() {
        entry(subnet, usize::from(plan.vlan.map_or(1, VlanId::get)) + 10_000 * at, at < last, page);
    }
}

fn entry(subnet: &RouterSubnet, id: usize, more: bool, page: &mut Page) {
    let pools: Vec<String> = subnet
        .pools
        .iter()
        .map(|pool| format!("    {{ \"pool\": \"{} - {}\" }}", pool.first(), pool.last()))
        .collect();
    page.line("{");
    page.line(format_args!("  \"id\": {id},"));
    page.line(format_args!("  \"subnet\": \"{}\",", subnet.net));
    page.line("  \"pools\": [");
    page.line(pools.join(",\n"));
    page.line("  ],");
    page.line("  \"option-data\": [");
    page.line(format_args!("    {{ \"name\": \"routers\", \"data\": \"{}\" }},", subnet.router));
    page.line(format_args!("    {{ \"name\": \"domain-name-servers\", \"data\": \"{}\" }}", subnet.router));
    page.line("  ]");
    page.line(if more { "}," } else { "}" });
}
