//! VLAN interfaces as parents: which one a request means, and whether Ashore has to make it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::link::{LinkKind, Place, Tag, link_name};
use crate::name::IfName;
use crate::network::{HOST_AUX, Network, NetworkError, Subnet};
use crate::observed::{Link, ObservedKind, View};
use crate::state::State;

/// A VLAN's number: 1 to 4094, since 802.1Q keeps 0 and 4095 for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct VlanId(u16);

/// Why something is no VLAN's number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no VLAN: they are numbered from 1 to 4094")]
pub struct VlanIdError(pub String);

/// A VLAN interface that Ashore makes for its networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vlan {
    /// The interface that carries the tagged frames.
    pub lower: IfName,
    /// The VLAN's number.
    pub id: VlanId,
    /// Whether switches are told of it by GVRP.
    #[serde(default)]
    pub gvrp: bool,
}

/// How a port of a bridge is a member of a VLAN (`BRIDGE_VLAN_INFO_PVID`, `BRIDGE_VLAN_INFO_UNTAGGED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Membership {
    /// Whether what comes in without a tag belongs to it.
    pub pvid: bool,
    /// Whether what goes out loses its tag.
    pub untagged: bool,
}

impl Membership {
    /// For a machine that knows nothing of VLANs.
    pub const UNTAGGED: Self = Membership { pvid: true, untagged: true };
    /// For one that speaks 802.1Q itself.
    pub const TAGGED: Self = Membership { pvid: false, untagged: false };

    /// Whether it is for a machine that knows nothing of VLANs.
    pub fn is_untagged(&self) -> bool {
        *self == Self::UNTAGGED
    }
}

impl Default for Membership {
    fn default() -> Self {
        Membership::UNTAGGED
    }
}

/// As the words at the end of `bridge vlan add`, each with a space before it.
impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.pvid { " pvid" } else { "" })?;
        f.write_str(if self.untagged { " untagged" } else { "" })
    }
}

impl VlanId {
    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for VlanId {
    type Error = VlanIdError;

    fn try_from(id: u16) -> Result<Self, VlanIdError> {
        if (1..=4094).contains(&id) { Ok(VlanId(id)) } else { Err(VlanIdError(id.to_string())) }
    }
}

impl From<VlanId> for u16 {
    fn from(id: VlanId) -> u16 {
        id.0
    }
}

impl FromStr for VlanId {
    type Err = VlanIdError;

    /// Digits alone, the first no zero: `eth0.020` is not what anybody calls VLAN 20.
    fn from_str(text: &str) -> Result<Self, VlanIdError> {
        let id = text.parse::<u16>().ok().filter(|id| id.to_string() == text);
        id.and_then(|id| id.try_into().ok()).ok_or_else(|| VlanIdError(text.to_owned()))
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Vlan {
    /// What the interface is called: `eth0.200`, or a hash where that is longer than the kernel takes.
    pub fn name(&self) -> IfName {
        let name = format!("{}.{}", self.lower, self.id);
        name.parse().unwrap_or_else(|_| link_name("vlan-", &name))
    }

    /// What Ashore's own port in it is called, where it is a bridge's: `br0-vlan200`, or a hash. The user's own interface for
    /// the VLAN may be beside it.
    pub fn port_name(&self) -> IfName {
        let name = format!("{}-vlan{}", self.lower, self.id);
        name.parse().unwrap_or_else(|_| link_name("vlan-", &name))
    }

    /// The interface that Ashore makes for networks of a kind.
    pub fn interface(&self, kind: LinkKind) -> IfName {
        if kind == LinkKind::Bridge { self.port_name() } else { self.name() }
    }

    /// A bridge that filters VLANs drops the frames of those that it does not know, on their way to the host as to a port, and
    /// says nothing: its own interface for the VLAN can be made, and is deaf.
    pub(crate) fn check_reaches_host(&self, host: &View, lower: &Link) -> Result<(), NetworkError> {
        let to_itself = format!("bridge vlan add dev {} vid {} self", lower.name.word(), self.id);
        let itself = Some(to_itself).filter(|_| !self.passes(lower));
        let missing: Vec<String> = itself.into_iter().chain(self.missing_at_ports(host, lower)).collect();
        if lower.vlans.is_none() || missing.is_empty() {
            return Ok(());
        }
        Err(NetworkError::BridgeFilters { vlan: self.clone(), missing })
    }

    /// Whether ports of a link can be in it, and meet the LAN there.
    pub(crate) fn check_takes_ports(&self, host: &View, lower: &Link) -> Result<(), NetworkError> {
        if lower.kind != ObservedKind::Bridge {
            // On the VLAN's own interface it would have to be macvlan.
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

    /// Whether a link lets it through, to a port or to the host by a bridge itself.
    fn passes(&self, link: &Link) -> bool {
        link.vlans.as_ref().is_some_and(|vlans| vlans.contains_key(&self.id))
    }

    /// What is to be typed for a bridge to let it through to a port, if it does to none but Ashore's own.
    fn missing_at_ports(&self, host: &View, bridge: &Link) -> Option<String> {
        let ports =
            host.links.iter().filter(|port| port.master == Some(bridge.index) && port.tag().is_none());
        if ports.clone().any(|port| self.passes(port)) {
            return None;
        }
        // The one that faces the LAN, as far as can be seen: containers' are veths.
        let facing =
            ports.into_iter().find(|port| port.kind != ObservedKind::Veth).map(|port| port.name.word());
        Some(format!("bridge vlan add dev {} vid {}", facing.as_deref().unwrap_or("PORT"), self.id))
    }

    /// Whether a link is this VLAN, whatever its name.
    pub fn is(&self, link: &Link, host: &View) -> bool {
        matches!(link.kind, ObservedKind::Vlan { id, .. } if id == self.id.get())
            && host.link(&self.lower).is_some_and(|lower| link.is_child_of(lower, &Place::Host))
    }
}

impl Network {
    /// The interface that must be there, and up, for the network to be on its LAN: the parent, or what Ashore makes it on.
    pub fn lowest(&self, host: &View) -> &IfName {
        let users = |link: &Link| link.tag() != Some(Tag::Vlan(self.parent.clone()));
        match &self.vlan {
            Some(vlan) if self.bridge_vlan().is_some() || !host.link(&self.parent).is_some_and(users) => {
                &vlan.lower
            }
            _ => &self.parent,
        }
    }

    /// Whether the host, if it is to have access, has it only as machines of other subnets do: on a VLAN that Ashore makes
    /// it has no address but one that is reserved for it.
    pub fn host_goes_by_router(&self) -> bool {
        let reserved = |subnet: &Subnet| subnet.aux.contains_key(HOST_AUX);
        self.vlan.is_some() && self.host_access && !self.subnets.iter().any(reserved)
    }

    /// The VLAN of a bridge that its endpoints' ports are in.
    pub fn bridge_vlan(&self) -> Option<&Vlan> {
        self.vlan.as_ref().filter(|_| self.kind == LinkKind::Bridge)
    }

    /// With kind `bridge`, the bridge that its endpoints' ports are on.
    pub fn bridge(&self) -> &IfName {
        self.bridge_vlan().map_or(&self.parent, |vlan| &vlan.lower)
    }

    /// Whether anything can be heard and said by the parent, as far as it is Ashore's own port. A new one passes nothing until the
    /// kernel's link watch has seen both ends (Linux 6.1).
    pub fn is_passing(&self, host: &View) -> bool {
        let parent = &self.parent;
        let ends = [Tag::Vlan(parent.clone()), Tag::VlanPort(parent.clone())];
        let passes = |tag: &Tag| host.tagged(tag).is_some_and(|link| link.carrier);
        self.bridge_vlan().is_none() || ends.iter().all(passes)
    }

    /// The interface by which the host itself is on the network's LAN, if it is: the parent, or its own in a bridge's VLAN.
    pub fn hosts_own<'a>(&self, host: &'a View) -> Option<&'a Link> {
        match self.bridge_vlan() {
            Some(vlan) => host.links.iter().find(|link| vlan.is(link, host)),
            None => host.link(&self.parent),
        }
    }
}

impl State {
    /// A network whose parent, called after the interface below as in `eth0.200`, was somebody else's and has gone: as it is once
    /// the VLAN is Ashore's to make. An engine deletes the one that it made with its own network, and all that stands on it.
    pub fn taking_over(&self, network: &Network, host: &View) -> Option<Network> {
        let is_others = network.vlan.is_none() && !network.adopted && network.kind != LinkKind::Bridge;
        if !is_others || host.link(&network.parent).is_some() {
            return None;
        }
        let (lower, id) = host.dotted(&network.parent).ok()??;
        let below = host.link(&lower).filter(|below| below.tag().is_none() && below.master.is_none())?;
        let vlan = Vlan { lower: below.name.clone(), id, gvrp: false };
        // It may have another name since.
        let is_there = host.links.iter().any(|link| vlan.is(link, host));
        (!is_there).then(|| Network { vlan: Some(vlan), ..network.clone() })
    }
}

impl View {
    /// What a parent and perhaps a VLAN's number mean on this host: the parent's name, and the VLAN if it is one that
    /// Ashore makes, or has made. `eth0.200` is VLAN 200 on `eth0` if there is none of that name, and a VLAN of the user's
    /// own is taken as it is, whatever its name.
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

    /// The same for endpoints that are to be ports of a bridge: `br0.200` is VLAN 200 of the bridge, also where the host has an
    /// interface of its own for it.
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

    /// The host's own interface for a VLAN may be on a bridge that keeps the VLAN from it.
    pub(crate) fn check_not_deaf(&self, parent: &Link) -> Result<(), NetworkError> {
        let Some(vlan) = self.vlan_of_bridge(parent) else { return Ok(()) };
        self.link(&vlan.lower).map_or(Ok(()), |bridge| vlan.check_reaches_host(self, bridge))
    }

    /// The VLAN of a bridge that a link is the host's own interface for.
    fn vlan_of_bridge(&self, link: &Link) -> Option<Vlan> {
        let ObservedKind::Vlan { id, .. } = link.kind else { return None };
        let lower = self.link_at(link.lower?.index).filter(|lower| lower.kind == ObservedKind::Bridge)?;
        Some(Vlan { lower: lower.name.clone(), id: id.try_into().ok()?, gvrp: false })
    }

    /// The parts of a name such as `eth0.200`, if there is such an `eth0`.
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

    /// The VLAN that a link of Ashore's is.
    pub(crate) fn own_vlan(&self, link: &Link) -> Option<Vlan> {
        let ObservedKind::Vlan { id, gvrp } = link.kind else { return None };
        let lower = self.link_at(link.lower?.index)?.name.clone();
        let vlan = Vlan { lower, id: id.try_into().ok()?, gvrp };
        (link.tag() == Some(Tag::Vlan(link.name.clone()))).then_some(vlan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_is_numbered_from_1_to_4094() {
        for text in ["1", "200", "4094"] {
            assert_eq!(text.parse::<VlanId>().unwrap().to_string(), text);
        }
        for text in ["", "0", "4095", "65736", "-1", "+7", "007", "abc", "2 "] {
            assert!(text.parse::<VlanId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn its_interface_is_called_after_the_one_below() {
        let vlan = |lower: &str| Vlan { lower: lower.parse().unwrap(), id: VlanId(200), gvrp: false };
        assert_eq!(vlan("eth0").name().as_str(), "eth0.200");
        // USB adapters are named after their MAC, which leaves no room.
        let long = vlan("enx001122334455").name();
        assert!(long.as_str().starts_with("vlan-") && long.as_str().len() == 15, "{long}");
        assert_ne!(long, vlan("enx001122334456").name());
    }

    #[test]
    fn ashores_own_port_is_beside_the_hosts_own_interface() {
        let vlan = |lower: &str| Vlan { lower: lower.parse().unwrap(), id: VlanId(200), gvrp: false };
        assert_eq!(vlan("vmbr0").port_name().as_str(), "vmbr0-vlan200");
        let long = vlan("bridge-lan0").port_name();
        assert!(long.as_str().starts_with("vlan-") && long.as_str().len() == 15, "{long}");
        assert_ne!(long, vlan("bridge-lan0").name());
    }
}
