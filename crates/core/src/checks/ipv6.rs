//! Whether a network has IPv6 on a parent that has none.

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::net::family::Family;
use crate::net::remedy::Remedy;
use crate::net::step::{Sysctl, SysctlKey};

const CHECK: &str = "ipv6";

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let of = |network: &crate::model::network::Network| {
        let asks = network.has_ipv6() && network.host_access && !network.internal && !network.adopted;
        let parent = facts.host.link(&network.parent).filter(|_| asks)?;
        // A host that has no address there does not want to reach anybody by it.
        facts.host.addresses_of(parent).find(|there| !there.link_scope)?;
        let about = About { parent: Some(parent.name.clone()), ..About::network(network) };
        if parent.disable_ipv6? == 0 {
            return Some(Finding::fine(
                CHECK,
                about,
                format!("IPv6 is on at `{}`, for network `{}`", parent.name, network.label()),
            ));
        }
        let message = format!(
            "network `{}` has IPv6, and IPv6 is off at its parent `{}`: the host does not reach its containers by it",
            network.label(),
            parent.name
        );
        let link = parent.name.clone();
        let remedy = Sysctl { family: Family::Ipv6, link, key: SysctlKey::DisableIpv6 }.command(0);
        let remedy = Remedy::run(remedy);
        Some(Finding::trouble(CHECK, Trouble::new(Code::Ipv6Off, about, message, Some(remedy))))
    };
    facts.networks().filter_map(of).collect()
}
