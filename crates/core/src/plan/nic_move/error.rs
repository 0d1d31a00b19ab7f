//! Why a NIC cannot be moved into a bridge, or out of it, with what helps.

use crate::net::kind::LinkKind;
use crate::net::name::IfName;
use crate::net::text::Word;

/// Why. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    /// No such interface.
    #[error("there is no interface `{nic}`; this host has {present}")]
    NoNic {
        /// As given.
        nic: IfName,
        /// What there is.
        present: String,
    },
    /// Nothing that a bridge can hold.
    #[error("`{0}` cannot be put into a bridge: it is {1}")]
    NicUnfit(IfName, String),
    /// It is a port already.
    #[error("`{nic}` is a port of `{master}` already")]
    NicIsPort {
        /// The NIC.
        nic: IfName,
        /// What holds it.
        master: String,
    },
    /// An access point takes frames from one MAC.
    #[error(
        "`{0}` is Wi-Fi, and an access point drops frames from any MAC but the client's own, so no bridge can hold it"
    )]
    NicIsWifi(IfName),
    /// Nobody could tell whether it went well.
    #[error("`{nic}` is down{}", if *.up { ", or its cable is out" } else { "" })]
    NicDown {
        /// The NIC.
        nic: IfName,
        /// Whether it is administratively up.
        up: bool,
    },
    /// A network of Ashore's is on it.
    #[error("`{link}` carries the network `{network}` by {kind}")]
    Carries {
        /// The NIC, or the bridge.
        link: IfName,
        /// The network, as people call it.
        network: String,
        /// Its link kind.
        kind: LinkKind,
        /// Whether it is Docker's.
        engine: bool,
    },
    /// Another link is on it.
    #[error("`{link}` carries `{upper}`")]
    HasUpper {
        /// The NIC, or the bridge.
        link: IfName,
        /// What is on it.
        upper: IfName,
        /// Whether that is a VLAN.
        vlan: bool,
    },
    /// Something on it that no step moves.
    #[error("`{link}` has {what}, which Ashore cannot move as it is")]
    Unmovable {
        /// The NIC, or the bridge.
        link: IfName,
        /// What.
        what: String,
    },
    /// The name is taken.
    #[error("there is a link `{0}` already")]
    BridgeExists(IfName),
    /// No bridge of that name.
    #[error("there is no bridge `{0}`")]
    NoBridge(IfName),
    /// The NIC is no port of it.
    #[error("`{nic}` is no port of `{bridge}`, which holds {ports}")]
    NotInIt {
        /// The NIC.
        nic: IfName,
        /// The bridge.
        bridge: IfName,
        /// What it holds.
        ports: String,
    },
    /// Others would be cut off.
    #[error("the bridge `{bridge}` holds {ports} too")]
    OtherPorts {
        /// The bridge.
        bridge: IfName,
        /// The other ports.
        ports: String,
    },
    /// The host would be another machine to the LAN.
    #[error("`{bridge}` has another MAC than `{nic}`, so it was not made for it by `ashore bridge adopt`")]
    OtherMac {
        /// The NIC.
        nic: IfName,
        /// The bridge.
        bridge: IfName,
    },
}

impl BridgeError {
    /// What helps.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            BridgeError::NicDown { nic, up: false } => format!("bring it up first: ip link set dev {} up", nic.word()),
            BridgeError::NicIsPort { master, .. } => {
                format!("use what is there: ashore network create NETWORK --parent {} --kind bridge", Word(master.as_bytes()))
            }
            BridgeError::NicIsWifi(nic) => {
                format!("use --kind ipvlan on it: ashore network create NETWORK --parent {} --kind ipvlan", nic.word())
            }
            BridgeError::Carries { network, kind, engine, .. } => {
                let rm = if *engine { "docker" } else { "ashore" };
                let anew = match kind {
                    LinkKind::Bridge => "",
                    _ => ", and make it anew on the bridge with --kind bridge: its names keep their addresses",
                };
                format!("{rm} network rm {network}{anew}")
            }
            BridgeError::HasUpper { upper, vlan: true, .. } => {
                format!("make the VLAN on the bridge instead: ip link del dev {}, and again when the bridge is there", upper.word())
            }
            BridgeError::HasUpper { upper, .. } => format!("remove it first: ip link del dev {}", upper.word()),
            BridgeError::BridgeExists(name) => format!("choose another name; ip link show dev {} shows it", name.word()),
            BridgeError::OtherPorts { .. } => "take them out first: ip link set dev PORT nomaster".into(),
            BridgeError::Unmovable { .. } => {
                "remove it while the NIC moves, or make the bridge with the tools that manage this host's network".into()
            }
            BridgeError::NoNic { .. }
            | BridgeError::NicUnfit(..)
            | BridgeError::NicDown { .. }
            | BridgeError::NoBridge(_)
            | BridgeError::NotInIt { .. }
            | BridgeError::OtherMac { .. } => return None,
        })
    }
}
