//! Whether a network has IPv6 on a parent that has none.

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::net::remedy::Remedy;

const CHECK: &str = "ipv6";

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let of = |network: &crate::model::network::Network| {
        let parent = facts.host.link(&network.parent).filter(|_| network.has_ipv6())?;
        let about = About { parent: Some(parent.name.clone()), ..About::network(network) };
        if parent.disable_ipv6.unwrap_or_default() == 0 {
            return Some(Finding::fine(CHECK, about, format!("IPv6 is on at `{}`", parent.name)));
        }
        let message = format!(
            "network `{}` has IPv6, and IPv6 is off at its parent `{}`: the host does not reach its containers by it",
            network.label(),
            parent.name
        );
        let remedy = Remedy::run(format!("sysctl -w net.ipv6.conf.{}.disable_ipv6=0", parent.name.word()));
        Some(Finding::trouble(CHECK, Trouble::new(Code::Ipv6Off, about, message, Some(remedy))))
    };
    facts.networks().filter_map(of).collect()
}
