//! VLAN interfaces as parents: which VLAN a request means, and whether Ashore has to make its interface.

use super::error::NetworkError;
use crate::model::network::Network;
use crate::model::state::State;
use crate::net::kind::LinkKind;
use crate::net::link::Tag;
use crate::net::name::IfName;
use crate::net::observed::{Link, ObservedKind, View};
use crate::net::vlan::{Vlan, VlanId};

impl Vlan {
    /// Checks that the VLAN's frames reach the host. A bridge that filters VLANs silently drops frames of
    /// VLANs that it does not know, both to the host and to ports. The bridge's VLAN interface can still be
    /// made, but receives nothing.
    pub(crate) fn check_reaches_host(&self, host: &View, lower: &Link) -> Result<(), NetworkError> {
        let to_itself = format!("bridge vlan add dev {} vid {} self", lower.name.word(), self.id);
        let itself = Some(to_itself).filter(|_| !self.passes(lower));
        let missing: Vec<String> = itself.into_iter().chain(self.missing_at_ports(host, lower)).collect();
        if lower.vlans.is_none() || missing.is_empty() {
            return Ok(());
        }
        Err(NetworkError::BridgeFilters { vlan: self.clone(), missing })
    }

    /// Checks that a link's ports can be in this VLAN and reach the LAN there.
    pub(crate) fn check_takes_ports(&self, host: &View, lower: &Link) -> Result<(), NetworkError> {
        if lower.kind != ObservedKind::Bridge {
            // With the VLAN's own interface as parent, the kind would have to be macvlan.
            return Err(NetworkError::ParentIsNoBridge(self.name()));
        }
        let missing: Vec<String> = self.missing_at_ports(host, lower).into_iter().collect();
        let vlan = self.clone();
        if lower.vlans.is_none() {
            let filter = format!("ip link set dev {} type bridge vlan_filtering 1", lower.name.word());
            return Err(NetworkError::BridgeMixes { vlan, missing: [vec![filter], missing].concat() });
        }
        if missing.is_empty() { Ok(()) } else { Err(NetworkError::BridgeFilters { vlan, missing }) }
    }

    /// Whether a link lets this VLAN through: a port, or a bridge to the host itself.
    fn passes(&self, link: &Link) -> bool {
        link.vlans.as_ref().is_some_and(|vlans| vlans.contains_key(&self.id))
    }

    /// The command that lets a bridge pass this VLAN to a port. Returns `None` if it already does so for a
    /// port other than Ashore's.
    fn missing_at_ports(&self, host: &View, bridge: &Link) -> Option<String> {
        let ports =
            host.links.iter().filter(|port| port.master == Some(bridge.index) && port.tag().is_none());
        if ports.clone().any(|port| self.passes(port)) {
            return None;
        }
        // The port that most likely faces the LAN. Containers' ports are veths.
        let facing =
            ports.into_iter().find(|port| port.kind != ObservedKind::Veth).map(|port| port.name.word());
        Some(format!("bridge vlan add dev {} vid {}", facing.as_deref().unwrap_or("PORT"), self.id))
    }
}

impl State {
    /// Returns a network as it is once Ashore makes its VLAN interface. This applies if the parent was
    /// somebody else's VLAN interface, is named after the interface below it (`eth0.200`), and is gone. An
    /// engine deletes the VLAN interface that it made together with its own network, and with it all links on
    /// that interface.
    pub fn taking_over(&self, network: &Network, host: &View) -> Option<Network> {
        let is_others = network.vlan.is_none() && !network.adopted && network.kind != LinkKind::Bridge;
        if !is_others || host.link(&network.parent).is_some() {
            return None;
        }
        let (lower, id) = host.dotted(&network.parent).ok()??;
        let below = host.link(&lower).filter(|below| below.tag().is_none() && below.master.is_none())?;
        let vlan = Vlan { lower: below.name.clone(), id, gvrp: false };
        // The VLAN interface may have been renamed.
        let is_there = host.links.iter().any(|link| vlan.is(link, host));
        (!is_there).then(|| Network { vlan: Some(vlan), ..network.clone() })
    }
}

impl View {
    /// Resolves a parent and an optional VLAN ID on this host. Returns the parent's name, and the VLAN if
    /// Ashore makes it or has made it. `eth0.200` means VLAN 200 on `eth0` if no link has that name. A VLAN
    /// interface of the user's is used as it is, whatever its name.
    pub(crate) fn meant(
        &self,
        parent: &IfName,
        id: Option<VlanId>,
    ) -> Result<(IfName, Option<Vlan>), NetworkError> {
        let vlan = |lower: &IfName, id| Vlan { lower: lower.clone(), id, gvrp: false };
        let made = match (id, self.link(parent)) {
            (Some(id), _) => Some(vlan(parent, id)),
            (None, None) => self.dotted(parent)?.map(|(lower, id)| vlan(&lower, id)),
            (None, Some(link)) => self.own_vlan(link),
        };
        let Some(vlan) = made else { return Ok((parent.clone(), None)) };
        let name = vlan.name();
        match self.links.iter().find(|link| vlan.is(link, self)) {
            Some(link) if link.tag() != Some(Tag::Vlan(name.clone())) => Ok((link.name.clone(), None)),
            None if self.link(&name).is_some() => Err(NetworkError::VlanNameTaken { name, vlan }),
            _ => Ok((name, Some(vlan))),
        }
    }

    /// The same for endpoints that are ports of a bridge. `br0.200` means VLAN 200 of the bridge, even if the
    /// host has its own VLAN interface `br0.200`.
    pub(crate) fn meant_on_bridge(
        &self,
        parent: &IfName,
        id: Option<VlanId>,
    ) -> Result<(IfName, Option<Vlan>), NetworkError> {
        let vlan = |lower: &IfName, id| Vlan { lower: lower.clone(), id, gvrp: false };
        let vlan = match (id, self.link(parent)) {
            (Some(id), _) => Some(vlan(parent, id)),
            (None, None) => self.dotted(parent)?.map(|(lower, id)| vlan(&lower, id)),
            (None, Some(link)) => self.vlan_of_bridge(link),
        };
        let Some(vlan) = vlan else { return Ok((parent.clone(), None)) };
        let name = vlan.port_name();
        let ours = |link: &Link| link.tag() == Some(Tag::Vlan(name.clone()));
        match self.link(&name) {
            Some(link) if !ours(link) => Err(NetworkError::VlanNameTaken { name, vlan }),
            _ => Ok((name, Some(vlan))),
        }
    }

    /// Checks that the bridge below a VLAN interface of the host lets the VLAN through to it.
    pub(crate) fn check_not_deaf(&self, parent: &Link) -> Result<(), NetworkError> {
        let Some(vlan) = self.vlan_of_bridge(parent) else { return Ok(()) };
        self.link(&vlan.lower).map_or(Ok(()), |bridge| vlan.check_reaches_host(self, bridge))
    }

    /// The VLAN of a bridge for which a link is the host's own interface.
    fn vlan_of_bridge(&self, link: &Link) -> Option<Vlan> {
        let ObservedKind::Vlan { id, .. } = link.kind else { return None };
        let lower = self.link_at(link.lower?.index).filter(|lower| lower.kind == ObservedKind::Bridge)?;
        Some(Vlan { lower: lower.name.clone(), id: id.try_into().ok()?, gvrp: false })
    }

    /// Splits a name such as `eth0.200` into the interface and the VLAN ID. Returns `None` if there is no
    /// such interface.
    fn dotted(&self, name: &IfName) -> Result<Option<(IfName, VlanId)>, NetworkError> {
        let parts = name.as_str().rsplit_once('.');
        let parts = parts.and_then(|(lower, id)| Some((self.resolved(&lower.parse().ok()?), id)));
        match parts.filter(|(lower, _)| self.link(lower).is_some()) {
            None => Ok(None),
            Some((lower, id)) => match id.parse() {
                Ok(id) => Ok(Some((lower, id))),
                Err(error) => Err(NetworkError::NoVlan { parent: name.clone(), error }),
            },
        }
    }
}
