//! A Linux router whose interfaces ifupdown makes: Debian's usual, and by the same words ifupdown2 (Proxmox).

use super::page::Page;
use super::{RouterPlan, linux};

pub(super) fn render(plan: &RouterPlan, page: &mut Page) {
    let Some(vlan) = plan.vlan else {
        linux::untagged(plan, page);
        return;
    };
    let (lan, interface) = linux::interfaces(plan, vlan, page);
    let mut stanzas = Page::default();
    stanzas.line(format_args!("auto {interface}"));
    for subnet in &plan.subnets {
        let family = if subnet.is_v4() { "inet" } else { "inet6" };
        stanzas.line(format_args!("iface {interface} {family} static"));
        stanzas.line(format_args!("    address {}", subnet.interface_address()));
        stanzas.line(format_args!("    vlan-raw-device {lan}"));
    }
    page.file(&format!("/etc/network/interfaces.d/{interface}"), &stanzas);
    page.line(format_args!("ifup {interface}"));
    linux::forwarding(plan, page);
    linux::services(plan, lan, &interface, page);
}
