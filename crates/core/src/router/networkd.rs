//! A Linux router whose interfaces systemd-networkd makes.

use super::page::Page;
use super::{RouterPlan, linux};

pub(super) fn render(plan: &RouterPlan, page: &mut Page) {
    let Some(vlan) = plan.vlan else {
        linux::untagged(plan, page);
        for subnet in plan.v4() {
            let Some(pool) = subnet.largest_pool() else { continue };
            let before = crate::range::Range::of_net(&subnet.net).offset_of(pool.first()).unwrap_or_default();
            page.note(&format!(
                "With the DHCP server of systemd-networkd itself, which takes one pool: PoolOffset={before} and PoolSize={} \
                 in the section [DHCPServer] of the LAN's .network file, then networkctl reload.",
                pool.len()
            ));
        }
        return;
    };
    let (lan, interface) = linux::interfaces(plan, vlan, page);
    let mut netdev = Page::default();
    netdev.line("[NetDev]");
    netdev.line(format_args!("Name={interface}"));
    netdev.line("Kind=vlan");
    netdev.gap();
    netdev.line("[VLAN]");
    netdev.line(format_args!("Id={vlan}"));
    page.file(&format!("/etc/systemd/network/20-{interface}.netdev"), &netdev);
    page.file(&format!("/etc/systemd/network/20-{interface}.network"), &network_file(plan, &interface));
    page.gap();
    page.note(&format!("{lan} learns of the VLAN by a drop-in beside the file that configures it."));
    page.line(format_args!("file=$(networkctl status {lan} --no-pager | sed -n 's/^ *Network File: *//p')"));
    page.line("if [ -n \"$file\" ]; then");
    page.line("mkdir -p \"/etc/systemd/network/${file##*/}.d\"");
    let mut dropin = Page::default();
    dropin.line("[Network]");
    dropin.line(format_args!("VLAN={interface}"));
    page.file(&format!("\"/etc/systemd/network/${{file##*/}}.d/{}.conf\"", plan.name), &dropin);
    page.line(format_args!("else echo '{lan} is not configured by systemd-networkd' >&2; fi"));
    page.line("networkctl reload");
    page.line(format_args!("networkctl reconfigure {lan}"));
    // systemd has changed its own word for it (IPForward= until 255, IPv4Forwarding= since), and for IPv6 a link's own
    // setting does nothing without the one for all links (Linux 6.1, `ip6_forward`).
    linux::forwarding(plan, page);
    linux::services(plan, lan, &interface, page);
}

fn network_file(plan: &RouterPlan, interface: &str) -> Page {
    let mut file = Page::default();
    file.line("[Match]");
    file.line(format_args!("Name={interface}"));
    file.gap();
    file.line("[Network]");
    for subnet in &plan.subnets {
        file.line(format_args!("Address={}", subnet.interface_address()));
    }
    file
}
