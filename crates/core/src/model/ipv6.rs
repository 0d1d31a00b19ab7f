//! The source of a network's IPv6 addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::net::choice::NoSuchChoice;

/// The source of a network's IPv6 addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ipv6Mode {
    /// Ashore chooses them from the ranges of the network's IPv6 subnets. A container's kernel may also make
    /// addresses from router advertisements; Ashore does not manage those.
    #[default]
    Range,
    /// Whichever sources the LAN's routers announce.
    Auto,
    /// Ashore makes them from the prefixes that the routers advertise (RFC 4862).
    Slaac,
    /// The LAN's `DHCPv6` server assigns them.
    Dhcp,
    /// None: endpoints have no IPv6.
    Off,
}

impl Ipv6Mode {
    /// All modes.
    pub const ALL: [Ipv6Mode; 5] =
        [Ipv6Mode::Auto, Ipv6Mode::Slaac, Ipv6Mode::Dhcp, Ipv6Mode::Range, Ipv6Mode::Off];

    /// Whether it is the default, which is not serialised.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_range(&self) -> bool {
        *self == Ipv6Mode::Range
    }
}

/// Writes the name that `--ipv6` uses.
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
    type Err = NoSuchChoice;

    fn from_str(text: &str) -> Result<Self, NoSuchChoice> {
        let named = Ipv6Mode::ALL.into_iter().find(|mode| mode.to_string() == text);
        named.ok_or_else(|| NoSuchChoice::new(text, &["auto", "slaac", "dhcp", "range", "off"]))
    }
}
