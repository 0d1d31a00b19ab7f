//! The daemon's replies.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::api::diagnosis::Diagnosis;
use crate::api::document::Document;
use crate::api::map::LanMap;
use crate::api::refusal::Refusal;
use crate::api::trouble::Trouble;
use crate::model::endpoint::{Source, Stage};
use crate::model::event::Event;
use crate::model::learned::Learned;
use crate::model::lease::{LeaseRecord, LeaseRecord6};
use crate::model::network::{EngineNetwork, Network};
use crate::model::own_routes::OwnRoute;
use crate::model::ownership::Ownership;
use crate::model::pool::PoolKey;
use crate::model::survey::PoolReport;
use crate::net::name::{EndpointName, IfName};
use crate::net::step::Step;
use crate::plan::nic_move::Move;
use crate::rules::wrong_identity::WrongIdentity;

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The request is done, and there is nothing else to report.
    Done {
        /// What went wrong without doing harm.
        warnings: Vec<String>,
    },
    /// The network was made, or its parent was changed.
    Created {
        /// The network.
        network: Network,
        /// What will prevent it from working properly.
        warnings: Vec<String>,
    },
    /// One network.
    Network(Network),
    /// All networks.
    Networks(Vec<Network>),
    /// The endpoint is on the LAN.
    Attached(EndpointReport),
    /// An engine's container is on the LAN.
    SetUp {
        /// The endpoint.
        endpoint: EndpointReport,
        /// The MAC on its link, which may be the parent's.
        mac: Option<Mac>,
    },
    /// The pool is open.
    Pool {
        /// The pool's key.
        key: PoolKey,
        /// The subnet to tell the engine. It is [`crate::model::pool::ANY_SUBNET`] if the engine would refuse
        /// the real one.
        told: IpNet,
    },
    /// The address is reserved.
    Address(IpNet),
    /// A router's address is reserved for a network.
    Gateway {
        /// The address.
        address: IpNet,
        /// Whether drivers other than Ashore's must be prevented from setting it on this host.
        guarded: bool,
    },
    /// The endpoint is made.
    Prepared {
        /// The endpoint's MAC. `None` if the link shares the parent's MAC.
        mac: Option<Mac>,
    },
    /// The caller must find the owner of an address in the engine's list of containers and then repeat the
    /// call.
    OwnerWanted(EngineNetwork),
    /// The link is ready to be moved.
    Joined {
        /// Its name on the host.
        link: IfName,
        /// Its name in the container, if the user chose one.
        ifname: Option<IfName>,
        /// The routers of the container's default routes.
        gateways: Vec<IpAddr>,
        /// Destinations on the link that its addresses' prefixes do not cover: routers outside those
        /// prefixes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        on_link: Vec<IpNet>,
    },
    /// The endpoint is removed. Its addresses are still reserved.
    Deleted {
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// The engine's inventory was processed.
    Inventoried {
        /// Containers to reconnect so that they get their own addresses and MACs. All containers of a group
        /// are disconnected before the first one is connected.
        wrong_identities: Vec<Vec<WrongIdentity>>,
        /// Whether the next inventory should follow soon: something is missing from this one and will be
        /// given up, or containers are to be reconnected once no other container is starting.
        waiting: bool,
    },
    /// What was forgotten of a name: networks, with the name's addresses on them.
    Forgotten(Vec<(String, Vec<IpAddr>)>),
    /// The NIC was moved. It moves back unless the move is confirmed.
    OnTrial {
        /// The move.
        moved: Move,
        /// The time until it moves back, in seconds.
        seconds: u64,
    },
    /// The move is confirmed.
    Kept {
        /// The move.
        moved: Move,
        /// What went wrong without doing harm.
        warnings: Vec<String>,
    },
    /// The steps that would be taken.
    Plan(Vec<PlannedStep>),
    /// The same while other requests are being carried out: some of the steps may be theirs.
    PlanMeanwhile {
        /// The steps.
        steps: Vec<PlannedStep>,
        /// Says so.
        trouble: Trouble,
    },
    /// What DHCP servers offered, for each range that was checked.
    Pools(Vec<PoolReport>),
    /// The status of the daemon, its networks and its endpoints.
    Status(Status),
    /// What stands in the way.
    Diagnosis(Diagnosis),
    /// What has happened.
    Events {
        /// The events, the oldest first.
        events: Vec<Event>,
        /// The last number that was given, to ask for what comes after it.
        last: u64,
    },
    /// Who has which address, for each subnet.
    Maps(Vec<LanMap>),
    /// The entire state.
    State(Document),
    /// The request was refused, with the reason. Nothing was done.
    Refused(Refusal),
}

/// A step, as data and as the command that a user would type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// The step.
    pub step: Step,
    /// The command.
    pub command: String,
}

/// An endpoint, for users and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointReport {
    /// The network, under the name that users know.
    pub network: String,
    /// The container's name on it.
    pub name: EndpointName,
    /// Its MAC. `None` if it is the parent's.
    pub mac: Option<Mac>,
    /// The current MAC of its link, if its container changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_mac: Option<Mac>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// The link's name in the container, if Ashore chose it.
    pub ifname: Option<IfName>,
    /// The path of its namespace, if Ashore put the link there.
    pub netns: Option<PathBuf>,
    /// The routers of its default routes.
    pub gateways: Vec<IpAddr>,
    /// Whom its container belongs to.
    pub ownership: Ownership,
    /// The source of its addresses.
    pub source: Source,
    /// What it uses of the LAN's router advertisements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Box<Learned>>,
    /// The lease of its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Box<LeaseRecord>>,
    /// Its DHCPv6 lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease6: Option<Box<LeaseRecord6>>,
    /// The routes that its user chose, as far as it has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_routes: Vec<OwnRoute>,
    /// Its stage.
    pub stage: Stage,
    /// When it was attached, in seconds since 1970.
    pub since: u64,
    /// Machines on the LAN that claimed its address, with the time of the last claim in seconds since 1970.
    pub conflicts: BTreeMap<Mac, u64>,
    /// The name by which the LAN knows it, if its network has the LAN told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lan_name: Option<LanName>,
    /// What will prevent it from working properly. Reported once, when it is attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A name on the LAN, by multicast DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanName {
    /// The name that it should have, as `web.local`.
    pub wanted: String,
    /// The name that it has or asks for: another one, if a machine or a container has the wanted one.
    pub name: String,
    /// How far it has come.
    pub state: LanNameState,
    /// The machine that had the wanted name last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<IpAddr>,
}

/// How far a name on the LAN has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LanNameState {
    /// The endpoint has no address yet.
    Waiting,
    /// The LAN is asked whether a machine has the name.
    Probing,
    /// Another machine wants or has it, and it is asked for again in a moment.
    Conflict,
    /// The LAN is told of it.
    Announced,
}

/// The status of the daemon, its networks and its endpoints.
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
    /// What the next reconciliation would change. Empty if nothing differs.
    pub pending: Vec<PlannedStep>,
    /// What is wrong at present.
    pub troubles: Vec<Trouble>,
}

/// A network, for users and programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkReport {
    /// The network. A network with leases has the subnet that the leases are in now.
    pub network: Network,
    /// The shim that gives host access, if it exists.
    pub shim: Option<IfName>,
    /// The number of its endpoints.
    pub endpoints: usize,
    /// The number of free addresses in its ranges, by subnet.
    pub free: BTreeMap<IpNet, u64>,
}
