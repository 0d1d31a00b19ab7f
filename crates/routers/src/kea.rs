//! Kea's DHCPv4 server: one entry of `subnet4` whose pools leave out the range. Everything but the entry is a
//! comment, which Kea accepts in its files.

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{RouterPlan, RouterSubnet};

pub(super) fn render(plan: &RouterPlan) -> Parts {
    let mut parts = Parts::default();
    parts.before.note("Keep a copy, and restart Kea only with a file that passes its own test:");
    parts.before.shown("cp -a /etc/kea/kea-dhcp4.conf /root/");
    parts.before.shown("kea-dhcp4 -t /etc/kea/kea-dhcp4.conf && systemctl restart kea-dhcp4-server");
    let lines = &mut parts.lines;
    let unknown = lan_pool::unknown(plan, "see \"pools\" of its entry in /etc/kea/kea-dhcp4.conf.", lines);
    let served = plan.served();
    if !served.is_empty() {
        lines.note("Edit the list \"subnet4\" of /etc/kea/kea-dhcp4.conf, then test and restart.");
        match plan.vlan {
            Some(vlan) => lines.note(&format!(
                "Add this entry. No other entry may have its id. \"interfaces\" of \"interfaces-config\" must \
                 name the VLAN's interface (such as {}.{vlan}), or the router must relay to Kea.",
                plan.trunk_or("eth1")
            )),
            None => lines.note(
                "The subnet's existing entry keeps its id, its options and its reservations. Replace its pools \
                 with these.",
            ),
        }
    } else if unknown.is_empty() {
        lines.note("Nothing: no addresses are left for DHCP.");
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
        Some(_) => "Remove the entry, test, and restart.",
        None => {
            "Restore the pools from the copy, test, and restart. Leases that Kea assigned meanwhile stay \
                 valid."
        }
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
