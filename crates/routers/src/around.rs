//! Explains what the lines mean for the rest of the home: who reaches whom, DNS, discovery, DHCP from another
//! machine, delegated prefixes, and the switches in between.

use ashore_core::net::name::PortName;

use crate::page::Page;
use crate::plan::{Policy, RouterPlan};
use crate::system::System;

pub(super) fn render(plan: &RouterPlan, system: System, page: &mut Page) {
    let Some(vlan) = plan.vlan else { return };
    if system == System::Switch {
        return;
    }
    page.gap();
    page.line("# --- What it means for the rest ---");
    if system.has_firewall() {
        firewall(plan, page);
    }
    page.note(&format!(
        "Switches: each switch between router and NAS must carry VLAN {vlan} tagged; most unmanaged ones do. \
         For a managed one:"
    ));
    let ports: Vec<String> = plan.ports.iter().map(|port| format!(" --port {port}")).collect();
    page.shown(plan.command(&format!("{} --for switch", ports.concat())));
    // On VyOS, a port belongs to the LAN only if the LAN is a bridge.
    let has_ports = system.has_ports() && (system != System::Vyos || plan.lan_or("eth1").starts_with("br"));
    if !plan.ports.is_empty() && !has_ports {
        let named: Vec<&str> = plan.ports.iter().map(PortName::as_str).collect();
        page.note(&format!(
            "--port ({}) has no effect on this system, whose ports are interfaces. It is meant for the switch \
             above.",
            named.join(", ")
        ));
    }
}

fn firewall(plan: &RouterPlan, page: &mut Page) {
    let policy = plan.policy.unwrap_or_default();
    page.note(&format!(
        "NAS and containers: with host access, they reach each other on the NAS itself, without passing this \
         firewall, if the NAS has an address in the VLAN (`--aux-address host=IP`). Otherwise the router \
         connects them: {}.",
        match policy {
            Policy::Open => "both ways",
            Policy::OneWay => "from the NAS to the containers, not back",
            Policy::Closed => "not at all",
        }
    ));
    if policy != Policy::Open {
        page.note(
            "DNS: machines in the VLAN ask the router. They cannot reach a Pi-hole or AdGuard on the LAN, \
             unless a rule above the others lets TCP and UDP port 53 pass to it. In that case, also name it in \
             the DNS option of DHCP. The router itself can ask it.",
        );
    }
    page.note(&format!(
        "Discovery (mDNS: AirPlay, printers, HomeKit) does not cross between LAN and VLAN by itself, whatever \
         the policy. It needs a repeater on the router (avahi with enable-reflector, or the router's own mDNS \
         option){}.",
        match policy {
            Policy::Open => "; devices that are found can then be reached",
            Policy::OneWay => {
                ", and a rule that lets UDP 5353 pass from the VLAN to the router; the LAN then reaches what \
                 it finds in the VLAN, but not the other way round"
            }
            Policy::Closed => ", and a rule that lets UDP 5353 pass from the VLAN to the router; devices that \
                               are found still cannot be reached",
        }
    ));
    page.note(
        "DHCP from another machine: leave the pool out, and let the router relay to that machine (DHCP relay \
         or helper address). The rules let a client's UDP 67 in.",
    );
    page.note(
        "Port forwards that you create from the internet to a container pass. Peers of a VPN do not count as \
         the LAN: to let them in, give the VPN's interface what the LAN's interface has.",
    );
    if plan.v6().next().is_some() {
        page.note(
            "IPv6: the prefix here is fixed. Let the router assign a prefix that the provider delegates to the \
             interface (prefix delegation, \"track interface\", ip6assign). The rules apply to it as well, \
             because they match interfaces.",
        );
    }
}
