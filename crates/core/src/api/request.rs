//! The requests to the daemon. Every front end translates its protocol into these, and there is no other way
//! in.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::api::diagnosis::Complaint;
use crate::api::document::Document;
use crate::api::engine_call::EngineCall;
use crate::model::inventory::Inventory;
use crate::model::ownership::EngineKind;
use crate::model::users::{Allowed, User};
use crate::net::name::{EndpointName, IfName, NetworkName};
use crate::plan::nic_move::Direction;
use crate::rules::attach::AttachSpec;
use crate::rules::create::{NetworkSpec, PoolQuestion};
use crate::rules::readdress::Readdress;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Makes a network.
    CreateNetwork(NetworkSpec),
    /// Removes a network that has no endpoint.
    RemoveNetwork {
        /// The network.
        network: NetworkName,
    },
    /// Changes the parent of a network. Answered by `Reply::Created`.
    MoveNetwork {
        /// The network.
        network: NetworkName,
        /// The new parent.
        parent: IfName,
        /// Whether endpoints that are on the old parent are taken off for a moment, and attached again.
        #[serde(default)]
        reconnect: bool,
    },
    /// Gives a network other addresses. Answered by `Reply::Created`.
    Readdress(Readdress),
    /// Lists the networks.
    ListNetworks,
    /// Shows one network.
    InspectNetwork {
        /// The network.
        network: NetworkName,
    },
    /// Attaches a namespace to a network.
    Attach(AttachSpec),
    /// Makes a network for an engine, or finds the one that it has or that has the same name. Answered by
    /// `Reply::Created`.
    FindNetwork(NetworkSpec),
    /// Attaches an engine's container to a network, which is made if it is missing. Answered by `Reply::SetUp`.
    SetUp {
        /// The network.
        network: Box<NetworkSpec>,
        /// The attach. Its network is the one that is found.
        attach: Box<AttachSpec>,
    },
    /// Reserves addresses for a link that another program has made in an engine's container. Answered by
    /// `Reply::SetUp`.
    Lend {
        /// The network.
        network: Box<NetworkSpec>,
        /// The link, and what is wished for it. Its network is the one that is found.
        attach: Box<AttachSpec>,
    },
    /// An engine has taken a container off a network. Its link goes a moment later. Succeeds if there is nothing to
    /// take off.
    TearDown(TearDown),
    /// Takes a container off the network on which it is by a link, before the answer. Succeeds if there is nothing to take
    /// off, and if it cannot be done now: it is tried again.
    TakeOff(Attachment),
    /// Checks that a container is on the LAN as its engine was told. Answered by `Reply::Done`.
    CheckSetUp(SetUpCheck),
    /// Takes off all containers of an engine's network but those that the engine still has.
    KeepSetUp(KeepSetUp),
    /// What a user other than root asks for. Nothing else passes for him.
    OfUser {
        /// The user.
        user: User,
        /// What he asks for.
        call: UserCall,
    },
    /// Allows users other than root to put containers of their own on a network, or does so no longer. Answered by
    /// `Reply::Created`.
    Allow {
        /// The network.
        network: NetworkName,
        /// The users and groups.
        whom: Allowed,
        /// Whether they are to be allowed it no longer. Their containers that are there stay.
        no_longer: bool,
    },
    /// Detaches an endpoint from its network. Succeeds if the endpoint does not exist, because a repeated
    /// detach must succeed.
    Detach {
        /// The network.
        network: NetworkName,
        /// The endpoint.
        name: EndpointName,
    },
    /// Adopts a network of an engine's own macvlan or ipvlan driver: gives host access to it and watches its
    /// addresses.
    Adopt(AdoptSpec),
    /// Gives an adopted network back to its engine.
    Unadopt {
        /// Its name or id.
        network: String,
    },
    /// Forgets what is remembered of a name that is not attached.
    Forget {
        /// The network. Without one, all networks on which the name was.
        network: Option<String>,
        /// The name.
        name: EndpointName,
    },
    /// One call of a container engine, which moves the link itself.
    EngineCall(EngineCall),
    /// Reports the inventory of an engine. Answered by `Reply::Inventoried`.
    TakeInventory(Inventory),
    /// Moves the host's NIC into a bridge or out of it, on trial. Answered by `Reply::OnTrial`.
    MoveNic(MoveSpec),
    /// Confirms a move that is on trial. Answered by `Reply::Kept`.
    KeepMove,
    /// Shows what a request would change. Without a request, shows what the next reconciliation would change.
    Plan(Option<Box<Request>>),
    /// Asks the LAN's DHCP servers for offers, without taking any address. Answered by `Reply::Pools`.
    CheckPool(PoolQuestion),
    /// Shows the status of the daemon, its networks and its endpoints.
    Status,
    /// Looks for what stands in the way, and asks the LAN. Answered by `Reply::Diagnosis`.
    Diagnose(Complaint),
    /// Shows what was found last. Answered by `Reply::Diagnosis`, or by `Reply::Done` if nothing was.
    LastDiagnosis,
    /// Tells what has happened. Answered by `Reply::Events`.
    Events {
        /// Only what comes after this number. Without one, all that is kept.
        after: Option<u64>,
        /// Only what is about this: a network, an endpoint, a parent, an address, a MAC or the code of a trouble.
        about: Option<String>,
    },
    /// Shows who has which address of a network's subnets. Answered by `Reply::Maps`.
    Map {
        /// The network. Without one, all networks.
        network: Option<NetworkName>,
    },
    /// Exports the entire state.
    ExportState,
    /// Replaces the entire state. Refused while there are endpoints.
    ImportState(Document),
    /// Draws a new seed, because this machine is a copy of another. Refused while there are endpoints.
    Rekey,
    /// Says that this machine has the state from now on.
    AcceptMachine,
}

impl Request {
    /// Whether the request can be repeated if its reply was lost, with the same reply.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Request::ListNetworks
            | Request::InspectNetwork { .. }
            | Request::Attach(_)
            | Request::Detach { .. }
            | Request::FindNetwork(_)
            | Request::SetUp { .. }
            | Request::Lend { .. }
            | Request::TearDown(_)
            | Request::TakeOff(_)
            | Request::CheckSetUp(_)
            | Request::KeepSetUp(_)
            | Request::OfUser { .. }
            | Request::Allow { .. }
            | Request::Adopt(_)
            | Request::KeepMove
            | Request::Plan(_)
            | Request::CheckPool(_)
            | Request::Status
            | Request::Diagnose(_)
            | Request::LastDiagnosis
            | Request::Events { .. }
            | Request::Map { .. }
            | Request::AcceptMachine
            | Request::ExportState => true,
            Request::CreateNetwork(_)
            | Request::RemoveNetwork { .. }
            | Request::MoveNetwork { .. }
            | Request::Readdress(_)
            | Request::Unadopt { .. }
            | Request::Forget { .. }
            | Request::EngineCall(_)
            | Request::TakeInventory(_)
            | Request::MoveNic(_)
            | Request::Rekey
            | Request::ImportState(_) => false,
        }
    }

    /// Whether the request only reads what the daemon knows: it changes nothing, sends nothing to the LAN, and
    /// its reply holds no secret. Only such a request passes the read socket.
    pub fn is_reading(&self) -> bool {
        match self {
            Request::ListNetworks
            | Request::InspectNetwork { .. }
            | Request::Status
            | Request::LastDiagnosis
            | Request::Events { .. }
            | Request::Map { .. }
            | Request::Plan(None) => true,
            // A plan with a change opens paths that the caller names, and may ask engines. The state holds the
            // seed of all MACs.
            Request::Plan(Some(_))
            | Request::ExportState
            // A diagnosis sends frames to the LAN.
            | Request::Diagnose(_)
            | Request::CheckPool(_)
            | Request::CreateNetwork(_)
            | Request::RemoveNetwork { .. }
            | Request::MoveNetwork { .. }
            | Request::Readdress(_)
            | Request::Attach(_)
            | Request::Detach { .. }
            | Request::FindNetwork(_)
            | Request::SetUp { .. }
            | Request::Lend { .. }
            | Request::TearDown(_)
            | Request::TakeOff(_)
            // A check opens a path that the caller names.
            | Request::CheckSetUp(_)
            | Request::KeepSetUp(_)
            | Request::OfUser { .. }
            | Request::Allow { .. }
            | Request::Adopt(_)
            | Request::Unadopt { .. }
            | Request::Forget { .. }
            | Request::EngineCall(_)
            | Request::TakeInventory(_)
            | Request::MoveNic(_)
            | Request::KeepMove
            | Request::Rekey
            | Request::AcceptMachine
            | Request::ImportState(_) => false,
        }
    }

    /// The name of the existing network to which the request refers. Returns `None` if it refers to none.
    pub fn network_mut(&mut self) -> Option<&mut NetworkName> {
        match self {
            Request::RemoveNetwork { network }
            | Request::MoveNetwork { network, .. }
            | Request::InspectNetwork { network }
            | Request::Allow { network, .. }
            | Request::Detach { network, .. } => Some(network),
            Request::Attach(spec) => Some(&mut spec.network),
            Request::Readdress(to) => Some(&mut to.network),
            Request::CheckPool(question) => question.network.as_mut(),
            Request::Map { network } => network.as_mut(),
            Request::Plan(change) => change.as_mut()?.network_mut(),
            _ => None,
        }
    }
}

/// What a user other than root can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserCall {
    /// Finds a network that is allowed to him. Answered by `Reply::Created`.
    FindNetwork(Box<NetworkSpec>),
    /// Attaches a container of his to it, by the engine that runs it. Answered by `Reply::SetUp`.
    SetUp {
        /// The network.
        network: Box<NetworkSpec>,
        /// The attach, whose caller is the user.
        attach: Box<AttachSpec>,
    },
    /// His engine has taken a container off a network, as in [`Request::TearDown`].
    TearDown(TearDown),
}

/// A container that its engine has taken off a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TearDown {
    /// The kind of the engine.
    pub engine: EngineKind,
    /// The engine's id of the network.
    pub network: String,
    /// The name by which the engine's user knows the network.
    pub network_name: NetworkName,
    /// The engine's id of the container.
    pub container: String,
    /// The link's name in the container. A container may be on a network by several links.
    pub ifname: Option<IfName>,
}

/// A container that an engine has set up, and the link by which it is on a network. It may be on several networks, and
/// on one by several links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The kind of the engine.
    pub engine: EngineKind,
    /// The engine's id of the container.
    pub container: String,
    /// The link's name in the container.
    pub ifname: IfName,
}

/// What an engine was told of a container that it has set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetUpCheck {
    /// The container and its link.
    pub of: Attachment,
    /// A path that opens the container's namespace.
    #[serde(with = "crate::net::odd_path")]
    pub netns: PathBuf,
    /// The addresses of the link.
    pub ips: Vec<IpAddr>,
}

/// The containers that an engine has on one of its networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepSetUp {
    /// The kind of the engine.
    pub engine: EngineKind,
    /// What the ids of all its containers on this network begin with.
    pub of: String,
    /// The containers, by their ids and the names of their links.
    pub keep: Vec<(String, IfName)>,
}

/// A network of an engine's own driver that is to be adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptSpec {
    /// Its name or id.
    pub network: String,
    /// Whether the host and the containers can reach each other. If not, only the addresses are watched.
    pub host_access: bool,
}

/// The move of a NIC into a bridge or out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveSpec {
    /// The direction.
    pub direction: Direction,
    /// The NIC.
    pub nic: IfName,
    /// The bridge.
    pub bridge: IfName,
    /// The length of the trial in seconds.
    pub seconds: u32,
}
