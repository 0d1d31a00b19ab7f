//! What the lines do to the rest of the home, in a few words: who reaches whom, names, discovery, DHCP by another machine,
//! prefixes of a provider, and the switches in between.

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
        "Switches: each one between router and NAS has to carry VLAN {vlan} tagged; most unmanaged ones do. What a managed one needs:"
    ));
    let ports: Vec<String> = plan.ports.iter().map(|port| format!(" --port {port}")).collect();
    page.shown(plan.command(&format!("{} --for switch", ports.concat())));
    // VyOS has them where the LAN is a bridge.
    let has_ports = system.has_ports() && (system != System::Vyos || plan.lan_or("eth1").starts_with("br"));
    if !plan.ports.is_empty() && !has_ports {
        let named: Vec<&str> = plan.ports.iter().map(PortName::as_str).collect();
        page.note(&format!(
            "--port ({}) says nothing to this system, whose ports are interfaces: it is for that.",
            named.join(", ")
        ));
    }
}

fn firewall(plan: &RouterPlan, page: &mut Page) {
    let policy = plan.policy.unwrap_or_default();
    page.note(&format!(
        "NAS and containers: with host access they reach each other on the NAS itself, past this firewall, if the NAS has an \
         address in the VLAN (`--aux-address host=IP`). Otherwise by the router: {}.",
        match policy {
            Policy::Open => "both ways",
            Policy::OneWay => "from the NAS to the containers, not back",
            Policy::Closed => "not at all",
        }
    ));
    if policy != Policy::Open {
        page.note(
            "DNS: the VLAN asks the router. A Pi-hole or AdGuard on the LAN is out of its reach, unless a rule above the others \
             lets TCP and UDP 53 pass to it; then name it in DHCP's DNS option too. The router itself may ask it.",
        );
    }
    page.note(&format!(
        "Discovery (mDNS: AirPlay, printers, HomeKit) does not cross from LAN to VLAN by itself, with any policy. A repeater on the \
         router does it (avahi with enable-reflector, or the router's own mDNS option){}.",
        match policy {
            Policy::Open => "; what is found can then be reached",
            Policy::OneWay => {
                ", if a rule lets UDP 5353 from the VLAN to the router; what the LAN finds in the VLAN it reaches, not the other way round"
            }
            Policy::Closed => ", if a rule lets UDP 5353 from the VLAN to the router; what is found still cannot be reached",
        }
    ));
    page.note(
        "DHCP by another machine: leave out the pool, and have the router relay to it (DHCP relay or helper address); the rules \
         let a client's UDP 67 in.",
    );
    page.note(
        "Port forwards that somebody makes from the internet to a container pass. A VPN's peers are not the LAN: to let them in, \
         give the VPN's interface what the LAN's has.",
    );
    if plan.v6().next().is_some() {
        page.note(
            "IPv6: the prefix here is fixed. One that the provider delegates is the router's to assign to the interface (prefix \
             delegation, \"track interface\", ip6assign); the rules hold for it as well, since they go by interface.",
        );
    }
}
