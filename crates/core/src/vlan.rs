//! VLAN interfaces as parents: which one a request means, and whether Ashore has to make it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::desired::link_name;
use crate::link::Tag;
use crate::name::IfName;
use crate::network::NetworkError;
use crate::observed::{Link, ObservedKind, View};

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

    /// Whether a link is this VLAN, whatever its name.
    pub fn is(&self, link: &Link, host: &View) -> bool {
        let below = link.lower.filter(|lower| !lower.elsewhere).map(|lower| lower.index);
        matches!(link.kind, ObservedKind::Vlan { id, .. } if id == self.id.get())
            && below.is_some()
            && host.link(&self.lower).map(|lower| lower.index) == below
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

    /// The parts of a name such as `eth0.200`, if there is such an `eth0`.
    fn dotted(&self, name: &IfName) -> Result<Option<(IfName, VlanId)>, NetworkError> {
        let parts = name.as_str().rsplit_once('.');
        let parts = parts.and_then(|(lower, id)| Some((lower.parse::<IfName>().ok()?, id)));
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
        (link.tag() == Some(Tag::Vlan(vlan.name()))).then_some(vlan)
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
}
