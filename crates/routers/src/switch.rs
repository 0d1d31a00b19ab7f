//! A managed switch between router and NAS. Every maker has words of his own; the things are the same.

use ashore_core::net::name::PortName;

use crate::page::Parts;
use crate::plan::RouterPlan;

pub(super) fn render(plan: &RouterPlan) -> Parts {
    let mut parts = Parts::default();
    parts.before.note(
        "Most switches run a change at once and keep it only when it is saved: a power cycle before the last step brings back what \
         was. Keep a copy of the configuration (backup, or show running-config). Never take the port that you come in by out of \
         its untagged VLAN.",
    );
    let members = if plan.ports.is_empty() {
        "the ports towards the router and the NAS".to_owned()
    } else {
        let named: Vec<&str> = plan.ports.iter().map(PortName::as_str).collect();
        format!("the ports towards the router and the NAS ({})", named.join(", "))
    };
    let steps = &mut parts.lines;
    match plan.vlan {
        Some(vlan) => {
            steps.step(&format!("Make VLAN {vlan} (802.1Q VLAN; not port-based or MTU VLAN)."));
            steps.step(&format!(
                "Make {members} members of it, tagged. Their untagged VLAN, native VLAN or PVID stays what it is (1, unless \
                 somebody changed it): the LAN goes on as before. On Cisco's: switchport mode trunk, switchport trunk \
                 allowed vlan add {vlan}."
            ));
            steps.step(
                "Leave all other ports out of it. A machine without a notion of VLANs that shall be in it gets a port that is \
                 an untagged member, with the VLAN's number as its PVID.",
            );
            steps.step("The same on every switch in between. An unmanaged one usually passes tags on.");
        }
        None => steps.step("No VLAN, so nothing to make."),
    }
    steps.step(
        "Port security, or a limit of MACs for a port: off on the NAS's, or as many as there are containers. With macvlan \
         and bridge each has a MAC of its own; with ipvlan all share the NAS's.",
    );
    steps.step(
        "DHCP snooping with ARP inspection or IP source guard: the NAS's port is trusted, since no DHCP server gave the \
         containers their addresses.",
    );
    steps.step("IGMP and MLD snooping may stay on; with a VLAN, something in it has to be the querier, or discovery ends after minutes.");
    steps.step("Save to the start-up configuration, or it is gone with the power.");
    match plan.vlan {
        Some(vlan) => {
            parts.away.note(&format!("Take {members} out of VLAN {vlan}, delete the VLAN, and save."));
        }
        None => parts.away.note("What was set for the port, back to what it was, and save."),
    }
    parts
}
