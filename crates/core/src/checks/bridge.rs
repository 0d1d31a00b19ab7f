//! Bridges of the host that hold back what containers need.

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::net::kind::LinkKind;
use crate::net::remedy::Remedy;

const CHECK: &str = "bridge";

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for network in facts.parents().into_values().filter(|network| network.kind == LinkKind::Bridge) {
        let Some(bridge) = facts.host.link(network.bridge()) else { continue };
        let Some(settings) = facts.host.bridges.get(&bridge.index) else { continue };
        let about = About { parent: Some(bridge.name.clone()), ..About::network(network) };
        let (name, word) = (&bridge.name, bridge.name.word());
        let before = found.len();
        if facts.host.facing(bridge).is_empty() {
            let message = format!(
                "no NIC is a port of the bridge `{name}`: its containers reach each other and this host alone"
            );
            let remedy = Remedy::run(format!("ip link set dev NIC master {word}"));
            found.push(Finding::trouble(
                CHECK,
                Trouble::new(Code::NoCarrier, about.clone(), message, Some(remedy)),
            ));
        }
        if settings.spanning_tree && settings.forward_delay > 0 {
            let seconds = settings.forward_delay * 2 / 100;
            let message = format!(
                "the bridge `{name}` has spanning tree on: the port of a new container forwards nothing for {seconds} s"
            );
            let remedy = Remedy::from("unless the bridge has a second way to the LAN: ")
                .and_run(format!("ip link set dev {word} type bridge stp_state 0"));
            found.push(Finding::trouble(
                CHECK,
                Trouble::new(Code::BridgeWaits, about.clone(), message, Some(remedy)),
            ));
        }
        if found.len() == before {
            found.push(Finding::fine(
                CHECK,
                about,
                format!("the bridge `{name}` passes everything on at once"),
            ));
        }
    }
    found
}
