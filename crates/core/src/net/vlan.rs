//! VLANs: their IDs, the interfaces that Ashore makes for them, and how bridge ports are members of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::net::kind::LinkKind;
use crate::net::name::{IfName, link_name};

/// A VLAN ID, 1 to 4094: 802.1Q reserves 0 and 4095.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct VlanId(u16);

/// The text or number is not a VLAN ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a VLAN ID; VLAN IDs are 1 to 4094")]
pub struct VlanIdError(pub String);

/// A VLAN interface that Ashore makes for its networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vlan {
    /// The interface that carries the tagged frames.
    pub lower: IfName,
    /// The VLAN ID.
    pub id: VlanId,
    /// Whether GVRP announces the VLAN to switches.
    #[serde(default)]
    pub gvrp: bool,
}

/// How a bridge port is a member of a VLAN (`BRIDGE_VLAN_INFO_PVID`, `BRIDGE_VLAN_INFO_UNTAGGED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Membership {
    /// Whether frames that arrive without a tag belong to the VLAN.
    pub pvid: bool,
    /// Whether frames leave the port without the tag.
    pub untagged: bool,
}

impl Membership {
    /// For a machine that does not use VLAN tags.
    pub const UNTAGGED: Self = Membership { pvid: true, untagged: true };
    /// For a machine that uses 802.1Q tags itself.
    pub const TAGGED: Self = Membership { pvid: false, untagged: false };

    /// Whether it is for a machine that does not use VLAN tags.
    pub fn is_untagged(&self) -> bool {
        *self == Self::UNTAGGED
    }
}

impl Default for Membership {
    fn default() -> Self {
        Membership::UNTAGGED
    }
}

/// Writes the words at the end of a `bridge vlan add` command, each after a space.
impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.pvid { " pvid" } else { "" })?;
        f.write_str(if self.untagged { " untagged" } else { "" })
    }
}

impl VlanId {
    /// The VLAN ID as a number.
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

    /// Accepts only digits without a leading zero: nobody calls VLAN 20 `eth0.020`.
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
    /// The interface's name: `eth0.200`, or a hash if that is longer than the kernel allows.
    pub fn name(&self) -> IfName {
        let name = format!("{}.{}", self.lower, self.id);
        name.parse().unwrap_or_else(|_| link_name("vlan-", &name))
    }

    /// The name of Ashore's own port in the VLAN of a bridge: `br0-vlan200`, or a hash. The user's own
    /// interface for the VLAN may exist beside it.
    pub fn port_name(&self) -> IfName {
        let name = format!("{}-vlan{}", self.lower, self.id);
        name.parse().unwrap_or_else(|_| link_name("vlan-", &name))
    }

    /// The name of the interface that Ashore makes for networks of this kind.
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
        // USB adapters are named after their MAC, which leaves no room for a suffix.
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
