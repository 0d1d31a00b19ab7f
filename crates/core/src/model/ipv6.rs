//! Where a network's IPv6 addresses come from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a network's IPv6 addresses come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ipv6Mode {
    /// Ashore chooses them from the ranges of the network's IPv6 subnets. What a container's kernel makes of the routers'
    /// advertisements beside is its own.
    #[default]
    Range,
    /// From where the LAN's routers say.
    Auto,
    /// Ashore makes them of the prefixes that the routers advertise (RFC 4862).
    Slaac,
    /// The LAN's `DHCPv6` server hands them out.
    Dhcp,
    /// From nowhere: endpoints have no IPv6 at all.
    Off,
}

impl Ipv6Mode {
    /// All of them.
    pub const ALL: [Ipv6Mode; 5] =
        [Ipv6Mode::Auto, Ipv6Mode::Slaac, Ipv6Mode::Dhcp, Ipv6Mode::Range, Ipv6Mode::Off];

    /// Whether it is the default, which is not written down.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_range(&self) -> bool {
        *self == Ipv6Mode::Range
    }
}

/// By its name in `--ipv6`.
impl fmt::Display for Ipv6Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ipv6Mode::Range => "range",
            Ipv6Mode::Auto => "auto",
            Ipv6Mode::Slaac => "slaac",
            Ipv6Mode::Dhcp => "dhcp",
            Ipv6Mode::Off => "off",
        })
    }
}

impl FromStr for Ipv6Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Ipv6Mode::ALL.into_iter().find(|mode| mode.to_string() == text);
        named.ok_or_else(|| format!("`{text}` is none of auto, slaac, dhcp, range and off"))
    }
}
