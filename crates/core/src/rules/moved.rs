//! Parents under other names, and networks that move to another parent.

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
    /// The same with another interface in the place of one that it stands on. What Ashore has made on that keeps its name.
    #[must_use]
    pub fn moved(&self, from: &IfName, to: &IfName) -> Network {
        let other = |name: &IfName| if name == from { to.clone() } else { name.clone() };
        let vlan = self.vlan.as_ref().map(|vlan| Vlan { lower: other(&vlan.lower), ..vlan.clone() });
        Network { parent: other(&self.parent), vlan, ..self.clone() }
    }
}

/// What the interface of a network's VLAN stands on, which was made on the one that the network names.
fn below<'a>(network: &Network, host: &'a View) -> Option<&'a Link> {
    network.vlan.as_ref().filter(|_| network.bridge_vlan().is_none())?;
    let own = host.tagged(&Tag::Vlan(network.parent.clone()))?;
    host.link_at(own.lower?.index).filter(|_| matches!(own.kind, ObservedKind::Vlan { .. }))
}

impl State {
    /// A network with another parent, if it can be there: an interface, or a VLAN on it, as when a network is made. One in a VLAN stays
    /// in that if the interface below is named, and goes to another where such a one is.
    pub fn moved_to(&self, network: &Network, parent: &IfName, host: &View) -> Result<Network, NetworkError> {
        let named = host.resolved(parent);
        let is_vlan = |name: &IfName| {
            host.link(name).is_some_and(|link| matches!(link.kind, ObservedKind::Vlan { .. }))
        };
        // One VLAN inside another is meant only where it was so before.
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
            // Its own endpoints have their addresses on it.
            Ok(()) | Err(NetworkError::AddressHeld { .. }) => Ok(moved),
            Err(error) => Err(error),
        }
    }

    /// Networks whose interfaces have other names now: as they are with those, and the names. `seen` has the numbers that interfaces had
    /// when they were last there. An interface keeps its number, what stands on it tells that, and most programs that rename one leave its old name to it as an
    /// alternative.
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
