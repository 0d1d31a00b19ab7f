//! The kinds of links that put endpoints on the LAN, and the options of bridge ports.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a macvlan child treats its siblings (`IFLA_MACVLAN_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Siblings reach each other directly inside the host.
    #[default]
    Bridge,
    /// Siblings never reach each other.
    Private,
    /// Every frame goes out on the wire; siblings meet only if the switch sends it back (hairpin).
    Vepa,
    /// A single child takes over the parent, including its MAC. There is no second child.
    Passthru,
}

/// At which layer an ipvlan child switches (`IFLA_IPVLAN_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// Switches frames, with the parent's MAC.
    #[default]
    L2,
    /// Switches packets, which are routed in the parent's namespace. There is no broadcast.
    L3,
    /// Like l3, but the host's netfilter sees the packets.
    L3s,
}

/// The kind of link that puts an endpoint on the LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// A macvlan child of the parent, with a MAC of its own.
    Macvlan(MacvlanMode),
    /// An ipvlan child of the parent, with the parent's MAC.
    Ipvlan(IpvlanMode),
    /// A veth whose host end is a port of the parent. The parent is a bridge.
    Bridge,
}

impl Default for LinkKind {
    fn default() -> Self {
        LinkKind::Macvlan(MacvlanMode::Bridge)
    }
}

impl LinkKind {
    /// Whether no sibling on the host can reach the endpoints, so that a shim is useless. In private and vepa
    /// mode the host's frames leave on the wire; passthru leaves no room for a second child (Linux 6.18,
    /// `macvlan.c`).
    pub fn hides_from_host(self) -> bool {
        matches!(self, LinkKind::Macvlan(MacvlanMode::Private | MacvlanMode::Vepa | MacvlanMode::Passthru))
    }

    /// Whether endpoints of both kinds can share one parent. The kernel has one `rx_handler` for an
    /// interface, so macvlan and ipvlan exclude each other. It keeps one mode for all ipvlan children of a
    /// parent, and allows no sibling beside a passthru child. The other macvlan modes can be mixed. Bridge
    /// ports have handlers of their own, so children of the bridge itself can exist beside them.
    pub fn compatible_with(self, other: LinkKind) -> bool {
        let passthru = LinkKind::Macvlan(MacvlanMode::Passthru);
        match (self, other) {
            (LinkKind::Macvlan(_), LinkKind::Macvlan(_)) => (self == passthru) == (other == passthru),
            (LinkKind::Bridge, other) | (other, LinkKind::Bridge) => other != passthru,
            _ => self == other,
        }
    }

    /// Whether endpoints always have the parent's MAC, whatever MAC is requested. The kernel gives a passthru
    /// child the parent's MAC, and changing the child's MAC changes the parent's too.
    pub fn shares_parents_mac(self) -> bool {
        matches!(self, LinkKind::Ipvlan(_) | LinkKind::Macvlan(MacvlanMode::Passthru))
    }
}

/// An optional behaviour of a bridge port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortOption {
    /// The port passes no frames to other isolated ports (`IFLA_BRPORT_ISOLATED`, Linux 4.18).
    Isolated,
    /// The port can send a frame back out of the port where it arrived (`IFLA_BRPORT_MODE`): 802.1Qbg's
    /// reflective relay.
    Hairpin,
    /// The bridge learns no MAC from frames that arrive at the port (`IFLA_BRPORT_LEARNING` is off).
    Unlearning,
}

impl PortOption {
    /// All options.
    pub const ALL: [PortOption; 3] = [PortOption::Isolated, PortOption::Hairpin, PortOption::Unlearning];

    /// The name and value for `bridge link set`, for a port with the option (`does`) or without it.
    pub fn setting(self, does: bool) -> (&'static str, bool) {
        match self {
            PortOption::Isolated => ("isolated", does),
            PortOption::Hairpin => ("hairpin", does),
            PortOption::Unlearning => ("learning", !does),
        }
    }
}

/// Writes the name that Ashore's options use.
impl fmt::Display for PortOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PortOption::Isolated => "isolated",
            PortOption::Hairpin => "hairpin",
            PortOption::Unlearning => "unlearning",
        })
    }
}

impl MacvlanMode {
    /// The mode's name in `ip link` and in Docker's `macvlan_mode`.
    pub fn as_str(self) -> &'static str {
        match self {
            MacvlanMode::Bridge => "bridge",
            MacvlanMode::Private => "private",
            MacvlanMode::Vepa => "vepa",
            MacvlanMode::Passthru => "passthru",
        }
    }
}

impl IpvlanMode {
    /// The mode's name in `ip link` and in Docker's `ipvlan_mode`.
    pub fn as_str(self) -> &'static str {
        match self {
            IpvlanMode::L2 => "l2",
            IpvlanMode::L3 => "l3",
            IpvlanMode::L3s => "l3s",
        }
    }
}

/// The text does not name a link kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a link kind; the kinds are macvlan, macvlan:private, macvlan:vepa, macvlan:passthru, ipvlan, ipvlan:l3, ipvlan:l3s and bridge"
)]
pub struct LinkKindError(pub String);

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkKind::Macvlan(mode) => write!(f, "macvlan:{}", mode.as_str()),
            LinkKind::Ipvlan(mode) => write!(f, "ipvlan:{}", mode.as_str()),
            LinkKind::Bridge => f.write_str("bridge"),
        }
    }
}

impl FromStr for LinkKind {
    type Err = LinkKindError;

    fn from_str(text: &str) -> Result<Self, LinkKindError> {
        Ok(match text {
            "macvlan" | "macvlan:bridge" => LinkKind::Macvlan(MacvlanMode::Bridge),
            "macvlan:private" => LinkKind::Macvlan(MacvlanMode::Private),
            "macvlan:vepa" => LinkKind::Macvlan(MacvlanMode::Vepa),
            "macvlan:passthru" => LinkKind::Macvlan(MacvlanMode::Passthru),
            "ipvlan" | "ipvlan:l2" => LinkKind::Ipvlan(IpvlanMode::L2),
            "ipvlan:l3" => LinkKind::Ipvlan(IpvlanMode::L3),
            "ipvlan:l3s" => LinkKind::Ipvlan(IpvlanMode::L3s),
            "bridge" => LinkKind::Bridge,
            _ => return Err(LinkKindError(text.to_owned())),
        })
    }
}
