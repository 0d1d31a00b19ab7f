//! Parents with new names, and networks that move to another parent.

use std::collections::BTreeMap;

use crate::model::network::Network;
use crate::model::state::{Change, State};
use crate::net::kind::LinkKind;
use crate::net::link::Tag;
use crate::net::name::IfName;
use crate::net::observed::{Link, ObservedKind, View};
use crate::net::vlan::Vlan;
use crate::rules::create::NetworkError;

impl Network {
    /// Returns the network with the interface `from` replaced by `to`. Interfaces that Ashore made on it keep
    /// their names.
    #[must_use]
    pub fn moved(&self, from: &IfName, to: &IfName) -> Network {
        let other = |name: &IfName| if name == from { to.clone() } else { name.clone() };
        let vlan = self.vlan.as_ref().map(|vlan| Vlan { lower: other(&vlan.lower), ..vlan.clone() });
        Network { parent: other(&self.parent), vlan, ..self.clone() }
    }
}

/// The link that the network's VLAN interface is on now. When Ashore made the VLAN interface, that link had
/// the name in the network's record.
fn below<'a>(network: &Network, host: &'a View) -> Option<&'a Link> {
    network.vlan.as_ref().filter(|_| network.bridge_vlan().is_none())?;
    let own = host.tagged(&Tag::Vlan(network.parent.clone()))?;
    host.link_at(own.lower?.index).filter(|_| matches!(own.kind, ObservedKind::Vlan { .. }))
}

impl State {
    /// Returns the network with another parent, if it can be there. As when a network is made, `parent` is an
    /// interface, or a VLAN on it. If `parent` is a plain interface, a network in a VLAN stays in that VLAN;
    /// if `parent` is another VLAN, the network moves to that.
    pub fn moved_to(&self, network: &Network, parent: &IfName, host: &View) -> Result<Network, NetworkError> {
        let named = host.resolved(parent);
        let is_vlan = |name: &IfName| {
            host.link(name).is_some_and(|link| matches!(link.kind, ObservedKind::Vlan { .. }))
        };
        // A VLAN inside a VLAN is meant only if the network was already in one.
        let stays = |vlan: &&Vlan| host.link(&named).is_some() && (is_vlan(&vlan.lower) || !is_vlan(&named));
        let id = network.vlan.as_ref().filter(stays).map(|vlan| vlan.id);
        let (parent, vlan) = if network.kind == LinkKind::Bridge {
            host.meant_on_bridge(&named, id)?
        } else {
            host.meant(&named, id)?
        };
        let gvrp = network.vlan.as_ref().is_some_and(|vlan| vlan.gvrp);
        let moved = Network { parent, vlan: vlan.map(|vlan| Vlan { gvrp, ..vlan }), ..network.clone() };
        moved.check(host)?;
        match self.with(&[Change::DelNetwork(network.name.clone())]).check_beside_others(&moved) {
            // The network's own endpoints hold their addresses on it.
            Ok(()) | Err(NetworkError::AddressHeld { .. }) => Ok(moved),
            Err(error) => Err(error),
        }
    }

    /// The networks whose interfaces have new names: each network with its new names, then the old and the
    /// new name of the interface. `seen` has the indices that interfaces had when they were last there. An
    /// interface keeps its index, and the links on it show that index. Most programs that rename an interface
    /// also leave it the old name as an alternative name.
    pub fn renamed_parents(
        &self,
        seen: &BTreeMap<IfName, u32>,
        host: &View,
    ) -> Vec<(Network, IfName, IfName)> {
        let renamed = self.networks.values().filter_map(|network| {
            let was = network.lower_device(host);
            if host.link(was).is_some() {
                return None;
            }
            let by_number = seen.get(was).and_then(|index| host.link_at(*index));
            let by_number = by_number.or_else(|| below(network, host));
            let by_altname = || host.altnames.get(was).and_then(|index| host.link_at(*index));
            let link = by_number.or_else(by_altname)?;
            let (is, was) = (link.name.clone(), was.clone());
            (link.tag().is_none() && is.is_plain()).then(|| (network.moved(&was, &is), was, is))
        });
        renamed.collect()
    }
}
