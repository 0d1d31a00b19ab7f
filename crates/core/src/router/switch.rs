//! A managed switch between router and NAS. Every maker has words of his own; the things are the same.

use super::page::Page;
use super::{PortName, RouterPlan};

pub(super) fn render(plan: &RouterPlan, page: &mut Page) {
    page.gap();
    let ports = if plan.ports.is_empty() {
        "the ports towards the router and the NAS".to_owned()
    } else {
        let named: Vec<&str> = plan.ports.iter().map(PortName::as_str).collect();
        format!("the ports towards the router and the NAS ({})", named.join(", "))
    };
    let mut steps = Vec::new();
    match plan.vlan {
        Some(vlan) => {
            steps.push(format!("Make VLAN {vlan} (802.1Q VLAN; not port-based or MTU VLAN)."));
            steps.push(format!(
                "Make {ports} members of it, tagged. Their untagged VLAN, native VLAN or PVID stays what it is (1, unless \
                 somebody changed it): the LAN goes on as before. On Cisco's: switchport mode trunk, switchport trunk \
                 allowed vlan add {vlan}."
            ));
            steps.push(
                "Leave all other ports out of it. A machine without a notion of VLANs that shall be in it gets a port that is \
                 an untagged member, with the VLAN's number as its PVID."
                    .to_owned(),
            );
            steps.push(
                "The same on every switch in between. An unmanaged one usually passes tags on.".to_owned(),
            );
        }
        None => steps.push("No VLAN, so nothing to make.".to_owned()),
    }
    steps.push(
        "Port security, or a limit of MACs for a port: off on the NAS's, or as many as there are containers. With macvlan \
         and bridge each has a MAC of its own; with ipvlan all share the NAS's."
            .to_owned(),
    );
    steps.push(
        "DHCP snooping with ARP inspection or IP source guard: the NAS's port is trusted, since no DHCP server gave the \
         containers their addresses."
            .to_owned(),
    );
    steps.push("Save to the start-up configuration, or it is gone with the power.".to_owned());
    for (at, step) in steps.iter().enumerate() {
        page.step(at + 1, step);
    }
}
