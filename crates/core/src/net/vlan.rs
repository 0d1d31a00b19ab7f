//! VLANs: their numbers, the interfaces that Ashore makes for them, and what ports are in them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::net::kind::LinkKind;
use crate::net::name::{IfName, link_name};

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
