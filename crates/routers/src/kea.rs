//! Kea's server for IPv4: one entry of `subnet4`, whose pools leave out the range. All but the entry is a comment, which Kea
//! takes in its files too.

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{RouterPlan, RouterSubnet};

pub(super) fn render(plan: &RouterPlan) -> Parts {
    let mut parts = Parts::default();
    parts.before.note("Keep a copy, and put nothing into force that does not pass Kea's own test:");
    parts.before.shown("cp -a /etc/kea/kea-dhcp4.conf /root/");
    parts.before.shown("kea-dhcp4 -t /etc/kea/kea-dhcp4.conf && systemctl restart kea-dhcp4-server");
    let lines = &mut parts.lines;
    let unknown = lan_pool::unknown(plan, "\"pools\" of its entry in /etc/kea/kea-dhcp4.conf.", lines);
    let served = plan.served();
    if !served.is_empty() {
        lines.note("In the list \"subnet4\" of /etc/kea/kea-dhcp4.conf; then the test, and the restart.");
        match plan.vlan {
            Some(vlan) => lines.note(&format!(
                "The id may be no other entry's. \"interfaces\" of \"interfaces-config\" has to name the VLAN's interface ({}.{vlan} or so), \
                 or the router has to relay to Kea.",
                plan.trunk_or("eth1")
            )),
            None => lines.note(
                "The entry that is there for the subnet keeps its id, its options and its reservations, and gets these in place of its \
                 pools.",
            ),
        }
    } else if unknown.is_empty() {
        lines.note("Nothing: Ashore hands out all that there is.");
    }
    let last = served.len().saturating_sub(1);
    for (at, subnet) in served.into_iter().enumerate() {
        if let Some(vlan) = plan.vlan {
            entry(subnet, usize::from(vlan.get()) + 10_000 * at, at < last, lines);
        } else {
            lines.note(&format!("{}:", subnet.net));
            pools(subnet, "", lines);
        }
    }
    parts.away.note(match plan.vlan {
        Some(_) => "Take the entry out again, test, restart.",
        None => "Put back the pools of the copy, test, restart. Leases that Kea gave meanwhile stay good.",
    });
    parts
}

fn entry(subnet: &RouterSubnet, id: usize, more: bool, page: &mut Page) {
    page.line("{");
    page.line(format_args!("  \"id\": {id},"));
    page.line(format_args!("  \"subnet\": \"{}\",", subnet.net));
    pools(subnet, ",", page);
    page.line("  \"option-data\": [");
    page.line(format_args!("    {{ \"name\": \"routers\", \"data\": \"{}\" }},", subnet.router));
    page.line(format_args!("    {{ \"name\": \"domain-name-servers\", \"data\": \"{}\" }}", subnet.router));
    page.line("  ]");
    page.line(if more { "}," } else { "}" });
}

fn pools(subnet: &RouterSubnet, end: &str, page: &mut Page) {
    let pools: Vec<String> = subnet
        .pools
        .iter()
        .map(|pool| format!("    {{ \"pool\": \"{} - {}\" }}", pool.first(), pool.last()))
        .collect();
    page.line("  \"pools\": [");
    page.line(pools.join(",\n"));
    page.line(format_args!("  ]{end}"));
}
