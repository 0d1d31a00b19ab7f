//! The reasons to refuse an attach.

use std::path::PathBuf;

use ashore_wire::Mac;

use crate::model::ownership::EngineKind;
use crate::net::kind::LinkKind;
use crate::net::name::{EndpointName, IfName, NetworkName};
use crate::net::option::{KIND, MAC, NAME};
use crate::net::remedy::Remedy;
use crate::net::text::Word;
use crate::rules::allocate::AddressError;
use crate::rules::create::NetworkError;
use crate::rules::users::UserError;
use crate::rules::wishes::WishError;

/// Why a namespace cannot be attached to a network. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// There is no such network.
    #[error("there is no network `{0}`")]
    NoNetwork(NetworkName),
    /// Another endpoint on the network has the name.
    #[error("network `{network}` has an endpoint `{name}` already, in {place}")]
    NameTaken {
        /// The network.
        network: String,
        /// The name.
        name: EndpointName,
        /// The path of that endpoint's namespace, with what it has there if that is no link of Ashore's, or `an engine`.
        place: String,
        /// The kind of the engine that has that endpoint's container, if one has it.
        engine: Option<EngineKind>,
    },
    /// The parent existed when the network was made, but does not now.
    #[error("the parent `{parent}` of network `{network}` is gone; its endpoints come back with it")]
    ParentGone {
        /// The parent.
        parent: IfName,
        /// The network.
        network: String,
        /// What to do if the parent does not come back.
        remedy: Remedy,
    },
    /// The parent is down.
    #[error("the parent `{0}` is down")]
    ParentDown(IfName),
    /// The parent has become a port since the network was made. The kernel passes a port's frames to its
    /// bridge or bond, not to the links on the port.
    #[error(
        "the parent `{parent}` of network `{network}` is now a port of `{master}`, and can carry nothing else"
    )]
    ParentIsPort {
        /// The parent.
        parent: IfName,
        /// The network.
        network: String,
        /// The bridge or bond.
        master: IfName,
    },
    /// A passthru parent has room for one endpoint only.
    #[error("macvlan passthru has room for one endpoint on `{parent}`, and `{holder}` has it")]
    PassthruTaken {
        /// The parent.
        parent: IfName,
        /// The endpoint on the parent.
        holder: EndpointName,
    },
    /// The namespace is the host's own.
    #[error("{0} is the host's own namespace; an endpoint needs a namespace of its own")]
    HostNamespace(PathBuf),
    /// The namespace has a link of the requested name.
    #[error("{netns} has a link `{ifname}` already")]
    IfnameTaken {
        /// The namespace.
        netns: PathBuf,
        /// The name.
        ifname: IfName,
    },
    /// Another endpoint of the namespace has the default route.
    #[error("{netns} already has a default route, through its endpoint `{name}` of network `{network}`")]
    DefaultRouteTaken {
        /// The namespace.
        netns: PathBuf,
        /// The endpoint that has it.
        name: EndpointName,
        /// The network.
        network: String,
    },
    /// The host now has addresses on the parent of a passthru network.
    #[error(transparent)]
    CutsHost(#[from] NetworkError),
    /// ipvlan and passthru share the parent's MAC.
    #[error("{0} shares the parent's MAC, so an endpoint on it cannot have one of its own")]
    MacOnIpvlan(LinkKind),
    /// The MAC cannot be a single machine's.
    #[error("{0} cannot be the MAC of a single machine: it is multicast, broadcast or zero")]
    MacUnfit(Mac),
    /// The MAC is in use.
    #[error("the MAC {mac} is in use by {holder}")]
    MacTaken {
        /// The MAC.
        mac: Mac,
        /// What has the MAC.
        holder: String,
    },
    /// DHCP servers cannot be told what is wanted.
    #[error(transparent)]
    Wish(#[from] WishError),
    /// No address can be assigned.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A user other than root may not have this.
    #[error(transparent)]
    User(#[from] UserError),
}

impl AttachError {
    /// The remedy, or `None` if the message says enough.
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            AttachError::NoNetwork(name) => Remedy::from("list the networks with ")
                .and_run("`ashore network ls`")
                .and(", or create it: ")
                .and_run(format!("ashore network create {name} …")),
            AttachError::NameTaken { network, name, engine, .. } => {
                let off = engine.map_or("ashore detach", EngineKind::takes_off);
                // Podman does not tell that it has renamed a container.
                let renamed = |remedy: Remedy| match engine {
                    Some(EngineKind::Podman) => remedy
                        .and("; if that container was renamed since: ")
                        .and_run("podman network reload --all"),
                    _ => remedy,
                };
                let other = Remedy::from("give it another ").and_give(&NAME);
                renamed(other.and(", or detach that one first: ").and_run(format!(
                    "{off} {} {}",
                    Word::of(network),
                    known_to(*engine, name)
                )))
            }
            AttachError::ParentDown(parent) => {
                Remedy::from("bring it up: ").and_run(format!("ip link set dev {} up", parent.word()))
            }
            AttachError::ParentIsPort { network, master, .. } => {
                let network = Word::of(network);
                Remedy::run(format!("ashore network move {network} --parent {}", master.word()))
            }
            AttachError::PassthruTaken { holder, .. } => Remedy::from("take that one off first: ")
                .and_run(format!("ashore detach NETWORK {holder}"))
                .and("; or make the network again with ")
                .and_set(&KIND, "macvlan")
                .and(", for more than one endpoint on a NIC"),
            // The engine's containers have a namespace of their own, where Ashore names no link and sets no
            // default route.
            AttachError::HostNamespace(_) => {
                "make one with `ip netns add NAME`, or name a container's process with --pid".into()
            }
            AttachError::IfnameTaken { .. } => "choose another name with --ifname".into(),
            AttachError::DefaultRouteTaken { .. } => "attach this one with --no-default-route".into(),
            AttachError::MacOnIpvlan(_) => {
                Remedy::unset(&MAC).and(", or use ").and_set(&KIND, "macvlan").and(" for the network")
            }
            AttachError::MacUnfit(_) => Remedy::from("give a locally administered unicast MAC, such as ")
                .and_set(&MAC, "02:00:00:00:00:01"),
            AttachError::MacTaken { .. } => {
                Remedy::from("choose another, or ").and_unset(&MAC).and(": the name alone gives a stable one")
            }
            AttachError::Wish(error) => error.remedy(),
            AttachError::Address(error) => return error.remedy(),
            AttachError::User(error) => error.remedy(),
            AttachError::CutsHost(error) => return error.remedy(),
            AttachError::ParentGone { remedy, .. } => remedy.clone(),
        })
    }
}

/// The name by which the users of an engine know a container.
fn known_to(engine: Option<EngineKind>, name: &EndpointName) -> &str {
    if engine.is_some() { name.own() } else { name.as_str() }
}
