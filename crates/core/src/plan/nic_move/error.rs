//! The reasons to refuse to move a NIC into a bridge or out of it, each with a remedy.

use crate::model::ownership::EngineKind;
use crate::net::kind::LinkKind;
use crate::net::name::IfName;
use crate::net::option::KIND;
use crate::net::remedy::{Front, Remedy};
use crate::net::text::Word;

/// Why a NIC cannot be moved. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    /// There is no such interface.
    #[error("there is no interface `{nic}`; this host has {present}")]
    NoNic {
        /// The NIC as given.
        nic: IfName,
        /// The NICs of this host.
        present: String,
    },
    /// A bridge cannot hold a link of this kind.
    #[error("`{0}` cannot be put into a bridge: it is {1}")]
    NicUnfit(IfName, String),
    /// The NIC is already a port.
    #[error("`{nic}` is a port of `{master}` already")]
    NicIsPort {
        /// The NIC.
        nic: IfName,
        /// The bridge or bond that holds it.
        master: String,
    },
    /// An access point accepts frames from one MAC only.
    #[error(
        "`{0}` is Wi-Fi, and an access point drops frames from any MAC but the client's own, so it cannot be a port of a bridge"
    )]
    NicIsWifi(IfName),
    /// The NIC is down, so nothing could show whether the move succeeded.
    #[error("`{nic}` is down{}", if *.up { ", or its cable is out" } else { "" })]
    NicDown {
        /// The NIC.
        nic: IfName,
        /// Whether the NIC is administratively up.
        up: bool,
    },
    /// The NIC or the bridge carries one of Ashore's networks.
    #[error("`{link}` carries the network `{network}` of kind {kind}")]
    Carries {
        /// The NIC, or the bridge.
        link: IfName,
        /// The network's label.
        network: String,
        /// Its link kind.
        kind: LinkKind,
        /// The kind of the engine that has the network, if one has it.
        engine: Option<EngineKind>,
    },
    /// The NIC or the bridge carries another link.
    #[error("`{link}` carries `{upper}`")]
    HasUpper {
        /// The NIC, or the bridge.
        link: IfName,
        /// The link on it.
        upper: IfName,
        /// Whether that link is a VLAN interface.
        vlan: bool,
    },
    /// The NIC or the bridge has something that no step can move.
    #[error("`{link}` has {what}, which Ashore cannot move as it is")]
    Unmovable {
        /// The NIC, or the bridge.
        link: IfName,
        /// What cannot be moved.
        what: String,
    },
    /// A link already has the name of the bridge.
    #[error("there is a link `{0}` already")]
    BridgeExists(IfName),
    /// There is no bridge of that name.
    #[error("there is no bridge `{0}`")]
    NoBridge(IfName),
    /// The NIC is not a port of the bridge.
    #[error("`{nic}` is not a port of `{bridge}`, which holds {ports}")]
    NotInIt {
        /// The NIC.
        nic: IfName,
        /// The bridge.
        bridge: IfName,
        /// The ports that it holds.
        ports: String,
    },
    /// The bridge has other ports, which would be cut off.
    #[error("the bridge `{bridge}` also holds {ports}")]
    OtherPorts {
        /// The bridge.
        bridge: IfName,
        /// The other ports.
        ports: String,
    },
    /// The MACs differ, so the LAN would see the host as another machine.
    #[error("`{bridge}` has another MAC than `{nic}`, so `ashore bridge adopt` did not make it for this NIC")]
    OtherMac {
        /// The NIC.
        nic: IfName,
        /// The bridge.
        bridge: IfName,
    },
}

impl BridgeError {
    /// The remedy, or `None` if the message says enough.
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            BridgeError::NicDown { nic, up: false } => {
                Remedy::from("bring it up first: ").and_run(format!("ip link set dev {} up", nic.word()))
            }
            BridgeError::NicIsPort { master, .. } => Remedy::from("use what is there: ").and_run(format!(
                "ashore network create NETWORK --parent {} --kind bridge",
                Word::of(master)
            )),
            BridgeError::NicIsWifi(nic) => Remedy::from("use ")
                .and_set(&KIND, "ipvlan")
                .and(" on it: ")
                .and_run(format!("ashore network create NETWORK --parent {} --kind ipvlan", nic.word())),
            BridgeError::Carries { network, kind, engine, .. } => {
                let rm = engine.map_or("ashore", EngineKind::program);
                let remedy = Remedy::run(format!("{rm} network rm {}", Word::of(network)));
                match kind {
                    LinkKind::Bridge => remedy,
                    _ => remedy
                        .and(", and create it again on the bridge with ")
                        .and_set(&KIND, "bridge")
                        .and(": its names keep their addresses")
                        .in_words_of(engine.map_or(Front::CommandLine, EngineKind::front)),
                }
            }
            BridgeError::HasUpper { upper, vlan: true, .. } => Remedy::from("make the VLAN on the bridge instead: ")
                .and_run(format!("ip link del dev {}", upper.word()))
                .and(", and create it again once the bridge exists"),
            BridgeError::HasUpper { upper, .. } => {
                Remedy::from("remove it first: ").and_run(format!("ip link del dev {}", upper.word()))
            }
            BridgeError::BridgeExists(name) => Remedy::from("choose another name; ")
                .and_run(format!("ip link show dev {}", name.word()))
                .and(" shows it"),
            BridgeError::OtherPorts { .. } => {
                Remedy::from("take them out first: ").and_run("ip link set dev PORT nomaster")
            }
            BridgeError::Unmovable { .. } => {
                "remove it while the NIC moves, or make the bridge with the tools that manage this host's network".into()
            }
            BridgeError::NoBridge(_) => {
                Remedy::from("see those that there are: ").and_run("ip link show type bridge")
            }
            BridgeError::NoNic { .. }
            | BridgeError::NicUnfit(..)
            | BridgeError::NicDown { .. }
            | BridgeError::NotInIt { .. }
            | BridgeError::OtherMac { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_name_for_a_network_is_one_word_of_a_command() {
        let error = BridgeError::Carries {
            link: "eth0".parse().unwrap(),
            network: "$(id); it's".into(),
            kind: LinkKind::Bridge,
            engine: Some(EngineKind::Docker),
        };
        let remedy = error.remedy().unwrap();
        let commands: Vec<&str> = remedy.commands().collect();
        assert!(!commands.is_empty());
        let word = crate::net::text::Word::of("$(id); it's").to_string();
        for command in commands {
            assert!(!command.replace(&word, "").contains("$("), "{command}");
        }
    }
}
