//! What can be asked of the daemon, and what it answers: the one way in, whichever front end turned its protocol into
//! this.

use serde::{Deserialize, Serialize};

use crate::api::document::Document;
use crate::api::engine_call::EngineCall;
use crate::model::inventory::Inventory;
use crate::net::name::{EndpointName, IfName, NetworkName};
use crate::plan::nic_move::Direction;
use crate::rules::attach::AttachSpec;
use crate::rules::create::{NetworkSpec, PoolQuestion};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Makes a network.
    CreateNetwork(NetworkSpec),
    /// Removes a network that has no endpoint.
    RemoveNetwork {
        /// Which.
        network: NetworkName,
    },
    /// Gives a network another parent. Answered by `Reply::Created`.
    MoveNetwork {
        /// Which.
        network: NetworkName,
        /// The interface.
        parent: IfName,
    },
    /// Lists the networks.
    ListNetworks,
    /// Shows one network.
    InspectNetwork {
        /// Which.
        network: NetworkName,
    },
    /// Puts a namespace on a network.
    Attach(AttachSpec),
    /// Takes an endpoint off its network. Succeeds when it is not there, because a repeated detach must.
    Detach {
        /// The network.
        network: NetworkName,
        /// The endpoint.
        name: EndpointName,
    },
    /// Gives host access to a network of an engine's own macvlan or ipvlan driver, and watches its addresses.
    Adopt(AdoptSpec),
    /// Leaves an adopted network to its engine again.
    Unadopt {
        /// Its name or id.
        network: String,
    },
    /// Drops what is remembered of a name that is not attached.
    Forget {
        /// The network; all on which the name was, without one.
        network: Option<String>,
        /// The name.
        name: EndpointName,
    },
    /// One stage of an attach by a container engine, which moves the link itself.
    EngineCall(EngineCall),
    /// What an engine has. Answered by `Reply::Inventoried`.
    TakeInventory(Inventory),
    /// Moves the host's NIC into a bridge or out of it, on trial. Answered by `Reply::OnTrial`.
    MoveNic(MoveSpec),
    /// Keeps a move that is on trial. Answered by `Reply::Kept`.
    KeepMove,
    /// Shows what a request would change, or, without one, what the next reconciliation would.
    Plan(Option<Box<Request>>),
    /// Asks the LAN's DHCP servers for addresses, without taking any. Answered by `Reply::Pools`.
    CheckPool(PoolQuestion),
    /// Shows who is where.
    Status,
    /// Gives out the whole state.
    ExportState,
    /// Replaces the whole state. Refused while there are endpoints.
    ImportState(Document),
}

impl Request {
    /// Whether it can be asked a second time where the first answer was lost, and is then answered the same.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Request::ListNetworks
            | Request::InspectNetwork { .. }
            | Request::Attach(_)
            | Request::Detach { .. }
            | Request::Adopt(_)
            | Request::KeepMove
            | Request::Plan(_)
            | Request::CheckPool(_)
            | Request::Status
            | Request::ExportState => true,
            Request::CreateNetwork(_)
            | Request::RemoveNetwork { .. }
            | Request::MoveNetwork { .. }
            | Request::Unadopt { .. }
            | Request::Forget { .. }
            | Request::EngineCall(_)
            | Request::TakeInventory(_)
            | Request::MoveNic(_)
            | Request::ImportState(_) => false,
        }
    }

    /// The name by which the request means a network that is there already.
    pub fn network_mut(&mut self) -> Option<&mut NetworkName> {
        match self {
            Request::RemoveNetwork { network }
            | Request::MoveNetwork { network, .. }
            | Request::InspectNetwork { network }
            | Request::Detach { network, .. } => Some(network),
            Request::Attach(spec) => Some(&mut spec.network),
            Request::CheckPool(question) => question.network.as_mut(),
            Request::Plan(change) => change.as_mut()?.network_mut(),
            _ => None,
        }
    }
}

/// A network of an engine's own driver, to be given host access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptSpec {
    /// Its name or id.
    pub network: String,
    /// Whether host and containers reach each other; without it only their addresses are watched.
    pub host_access: bool,
}

/// A NIC's move into a bridge or out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveSpec {
    /// Which way.
    pub direction: Direction,
    /// The NIC.
    pub nic: IfName,
    /// The bridge.
    pub bridge: IfName,
    /// For how long the move is on trial, in seconds.
    pub seconds: u32,
}
