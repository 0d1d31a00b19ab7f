//! What the host's own firewall does to networks on a bridge. It is reported, and left to the owner of the
//! rules.

use ashore_core::api::about::About;

use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::network::Network;
use ashore_core::net::family::Family;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::remedy::Remedy;
use ashore_kernel::drops_bridged;

use super::Controller;
use crate::unlocked::Unlocked;

impl Controller {
    /// Reports what the host's firewall keeps from the endpoints of these networks, with the remedy.
    pub(super) fn cut_by_firewall<'a>(
        &self,
        _: &Unlocked,
        networks: impl IntoIterator<Item = &'a Network>,
    ) -> Vec<Trouble> {
        let mut on_bridges =
            networks.into_iter().filter(|network| network.kind == LinkKind::Bridge).peekable();
        if on_bridges.peek().is_none() {
            return Vec::new();
        }
        let dropping = drops_bridged(self.copies.host());
        let of_network = |network: &'a Network| {
            let has = |family: &&Family| match family {
                Family::Ipv4 => network.subnets.iter().any(|subnet| subnet.net.addr().is_ipv4()),
                Family::Ipv6 => network.has_ipv6(),
            };
            dropping.iter().filter(has).map(|family| cut(network, *family)).collect::<Vec<_>>()
        };
        on_bridges.flat_map(of_network).collect()
    }
}

fn cut(network: &Network, family: Family) -> Trouble {
    let tables = match family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    };
    let message = format!(
        "network `{}` is on the bridge `{}`, and this host's firewall drops bridged packets, unless one of its rules \
         accepts them: net.bridge.bridge-nf-call-{tables} is 1, and the policy of FORWARD is DROP",
        network.label(),
        network.bridge()
    );
    let remedy = Remedy::run(format!("sysctl -w net.bridge.bridge-nf-call-{tables}=0"))
        .and(", or ")
        .and_run(format!("{tables} -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT"));
    let about = About { parent: Some(network.bridge().clone()), ..About::network(network) };
    Trouble::new(Code::FirewallDrops, about, message, Some(remedy))
}
