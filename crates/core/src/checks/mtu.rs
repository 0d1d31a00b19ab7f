//! Whether the links of a network take larger frames than its parent.

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::net::option;
use crate::net::remedy::Remedy;

const CHECK: &str = "mtu";

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let of = |network: &crate::model::network::Network| {
        let parent = facts.host.link(network.lower_device(facts.host))?;
        let mtu = network.mtu.filter(|mtu| *mtu > parent.mtu)?;
        let message = format!(
            "network `{}` has an MTU of {mtu}, and its parent `{}` has {}: larger packets are lost",
            network.label(),
            parent.name,
            parent.mtu
        );
        let remedy = Remedy::run(format!("ip link set dev {} mtu {mtu}", parent.name.word()))
            .and(", if the LAN takes such frames, or ")
            .then(network.anew(Remedy::set(&option::MTU, &parent.mtu)));
        let about = About { parent: Some(parent.name.clone()), ..About::network(network) };
        Some(Finding::trouble(CHECK, Trouble::new(Code::MtuTooLarge, about, message, Some(remedy))))
    };
    facts.networks().filter_map(of).collect()
}
