//! What can be asked of the daemon, and what it answers: the one way in, whichever front end turned its protocol into
//! this.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ashore_wire::Mac;
use ashore_wire::conflict::Profile;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::endpoint::{Source, Stage};
use crate::link::LinkKind;
use crate::name::{EndpointName, IfName, NetworkName};
use crate::network::Network;
use crate::range::Range;
use crate::step::Step;
use crate::store::Document;

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
    /// Shows what a request would change, or, without one, what the next reconciliation would.
    Plan(Option<Box<Request>>),
    /// Shows who is where.
    Status,
    /// Gives out the whole state.
    ExportState,
    /// Replaces the whole state. Refused while there are endpoints.
    ImportState(Document),
}

/// A network to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its name.
    pub name: NetworkName,
    /// What an engine calls it, where that differs from the name.
    #[serde(default)]
    pub title: Option<String>,
    /// The host's interface that faces the LAN.
    pub parent: IfName,
    /// How endpoints get onto the LAN.
    #[serde(default)]
    pub kind: LinkKind,
    /// The LAN's subnets.
    pub subnets: Vec<IpNet>,
    /// What Ashore hands out, at most one range for a subnet.
    #[serde(default)]
    pub ranges: Vec<Range>,
    /// The LAN's routers, at most one for a subnet.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Addresses never handed out, with their names.
    #[serde(default)]
    pub aux: Vec<(String, IpAddr)>,
    /// Whether host and containers reach each other; without a word, wherever the link kind allows it.
    #[serde(default)]
    pub host_access: Option<bool>,
    /// No default route for endpoints.
    #[serde(default)]
    pub internal: bool,
    /// Conflict detection.
    #[serde(default)]
    pub conflict: Profile,
    /// MTU of the endpoints' links in bytes.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// macvlan: broadcasts that may wait, in frames.
    #[serde(default)]
    pub bc_queue_len: Option<u32>,
}

/// A namespace to be put on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachSpec {
    /// The network.
    pub network: NetworkName,
    /// The container's name on it, from which its identity follows.
    pub name: EndpointName,
    /// A path that opens its namespace.
    pub netns: PathBuf,
    /// Addresses asked for, at most one of each family.
    #[serde(default)]
    pub ips: Vec<IpAddr>,
    /// The MAC asked for.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// The link's name in the namespace.
    pub ifname: IfName,
    /// Whether it gets a default route.
    pub default_route: bool,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done, and there is nothing to say.
    Done {
        /// What did not go as it should and does no harm.
        warnings: Vec<String>,
    },
    /// One network.
    Network(Network),
    /// All networks.
    Networks(Vec<Network>),
    /// The endpoint is on the LAN.
    Attached(EndpointReport),
    /// What would be changed.
    Plan(Vec<PlannedStep>),
    /// Who is where.
    Status(Status),
    /// The whole state.
    State(Document),
    /// Nothing was done, and why.
    Refused(Refusal),
}

/// A step, as data and as the command that a person would type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// The step.
    pub step: Step,
    /// The command.
    pub command: String,
}

/// An endpoint, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointReport {
    /// The network, as people call it.
    pub network: String,
    /// The container's name on it.
    pub name: EndpointName,
    /// Its MAC; none where it is the parent's.
    pub mac: Option<Mac>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// The link's name in the container, where Ashore gave it.
    pub ifname: Option<IfName>,
    /// Its namespace, where Ashore put the link in it.
    pub netns: Option<PathBuf>,
    /// Its default routes.
    pub gateways: Vec<IpAddr>,
    /// Where its addresses came from.
    pub source: Source,
    /// How far it is.
    pub stage: Stage,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Machines on the LAN that claimed its address, and when last (seconds since 1970).
    pub conflicts: BTreeMap<Mac, u64>,
}

/// Who is where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// All networks.
    pub networks: Vec<NetworkReport>,
    /// All endpoints.
    pub endpoints: Vec<EndpointReport>,
    /// What the next reconciliation would change: empty when all is as it should be.
    pub pending: Vec<PlannedStep>,
    /// What is wrong, in sentences.
    pub troubles: Vec<String>,
}

/// A network, for people and programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkReport {
    /// As it was made.
    pub network: Network,
    /// The shim that gives host access, while there is one.
    pub shim: Option<IfName>,
    /// How many endpoints it has.
    pub endpoints: usize,
    /// How many addresses of its ranges are left, by subnet.
    pub free: BTreeMap<IpNet, u64>,
}

/// Why a request was refused, in the order in which a person needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal, from which the exit code follows.
    pub kind: RefusalKind,
    /// What was wrong, where, and why.
    pub message: String,
    /// The command or option that helps.
    pub hint: Option<String>,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The request is wrong in itself or does not fit the host.
    Invalid,
    /// It names something that does not exist.
    NotFound,
    /// It needs something that another holds: a name, an address, a parent.
    Taken,
    /// The kernel refused a step; what was done was undone.
    Kernel,
    /// The state could not be written; what was done was undone.
    State,
}
