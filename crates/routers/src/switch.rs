//! A managed switch between router and NAS. Every maker has its own words for the same things.

use ashore_core::net::name::PortName;

use crate::page::Parts;
use crate::plan::RouterPlan;

pub(super) fn render(plan: &RouterPlan) -> Parts {
    let mut parts = Parts::default();
    parts.before.note(
        "Most switches apply a change at once but keep it only when it is saved: a power cycle before the last \
         step restores the previous configuration. Keep a copy of the configuration (backup, or show \
         running-config). Never remove the port through which you manage the switch from its untagged VLAN.",
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
            steps.step(&format!("Create VLAN {vlan} (802.1Q VLAN; not port-based or MTU VLAN)."));
            steps.step(&format!(
                "Make {members} tagged members of it. Do not change their untagged VLAN, native VLAN or PVID \
                 (1 by default): the LAN works as before. On Cisco: switchport mode trunk, switchport trunk \
                 allowed vlan add {vlan}."
            ));
            steps.step(
                "Leave all other ports out of it. To put a machine without VLAN support into it, make its port \
                 an untagged member, with the VLAN's number as its PVID.",
            );
            steps.step("Do the same on every switch in between. An unmanaged switch usually passes tags on.");
        }
        None => steps.step("No VLAN, so there is nothing to create."),
    }
    steps.step(
        "Port security, or a limit of MACs per port: turn it off on the NAS's port, or allow as many MACs as \
         there are containers. With macvlan and bridge, each container has its own MAC; with ipvlan, all share \
         the NAS's MAC.",
    );
    steps.step(
        "DHCP snooping with ARP inspection or IP source guard: make the NAS's port trusted, because no DHCP \
         server assigned the containers' addresses.",
    );
    steps.step(
        "IGMP and MLD snooping may stay on. In a VLAN, some device must be the querier, or discovery \
                stops working after minutes.",
    );
    steps.step("Save to the start-up configuration. Otherwise the changes are lost at the next power cycle.");
    match plan.vlan {
        Some(vlan) => {
            parts.away.note(&format!("Take {members} out of VLAN {vlan}, delete the VLAN, and save."));
        }
        None => parts.away.note("Set the port back to what it was, and save."),
    }
    parts
}
