//! What the daemon answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::api::document::Document;
use crate::api::refusal::Refusal;
use crate::model::endpoint::{Source, Stage};
use crate::model::learned::Learned;
use crate::model::lease::{LeaseRecord, LeaseRecord6};
use crate::model::network::{EngineNetwork, Network};
use crate::model::pool::PoolKey;
use crate::model::survey::PoolReport;
use crate::net::name::{EndpointName, IfName};
use crate::net::step::Step;
use crate::plan::nic_move::Move;
use crate::rules::wrong_identity::WrongIdentity;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done, and there is nothing to say.
    Done {
        /// What did not go as it should and does no harm.
        warnings: Vec<String>,
    },
    /// The network is made, or has another parent.
    Created {
        /// It.
        network: Network,
        /// What will keep it from working as it should.
        warnings: Vec<String>,
    },
    /// One network.
    Network(Network),
    /// All networks.
    Networks(Vec<Network>),
    /// The endpoint is on the LAN.
    Attached(EndpointReport),
    /// A pool is open.
    Pool {
        /// Which one.
        key: PoolKey,
        /// The subnet to tell the engine, which is [`crate::model::pool::ANY_SUBNET`] where it would not take the real one.
        told: IpNet,
    },
    /// An address is reserved.
    Address(IpNet),
    /// A router's address is kept for a network.
    Gateway {
        /// The address.
        address: IpNet,
        /// Whether no other driver than Ashore's must be able to put it on this host.
        guarded: bool,
    },
    /// The endpoint's MAC; none where the link shares the parent's.
    Prepared {
        /// The MAC.
        mac: Option<Mac>,
    },
    /// The engine's list of containers has to tell whom an address is for, and then the same is to be asked again.
    OwnerWanted(EngineNetwork),
    /// The link is there to be moved.
    Joined {
        /// Its name on the host.
        link: IfName,
        /// Its name in the container, where the user chose one.
        ifname: Option<IfName>,
        /// The default routes that the container shall get.
        gateways: Vec<IpAddr>,
        /// What is on the link beside its addresses' prefixes: routers that lie outside of those.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        on_link: Vec<IpNet>,
    },
    /// The endpoint is gone, and its addresses are still reserved.
    Deleted {
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// An engine's list was taken in.
    Inventoried {
        /// Containers to connect anew, to get their own addresses and MACs. All containers of a group are disconnected before the first
        /// is connected.
        wrong_identities: Vec<Vec<WrongIdentity>>,
        /// Whether the next list should come soon: something is missing from this one and will be given up, or containers are to be
        /// connected anew once no other container is starting.
        waiting: bool,
    },
    /// What is no longer remembered of a name: networks, and its addresses on them.
    Forgotten(Vec<(String, Vec<IpAddr>)>),
    /// The NIC has moved, and moves back unless that is confirmed.
    OnTrial {
        /// The move.
        moved: Move,
        /// In how many seconds.
        seconds: u64,
    },
    /// The move stays.
    Kept {
        /// The move.
        moved: Move,
        /// What did not go as it should and does no harm.
        warnings: Vec<String>,
    },
    /// What would be changed.
    Plan(Vec<PlannedStep>),
    /// What DHCP servers offered, for each range that was asked about.
    Pools(Vec<PoolReport>),
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
    /// The MAC that its link has instead, since its container has changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_mac: Option<Mac>,
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
    /// What it has of what the LAN's routers advertise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Box<Learned>>,
    /// The lease of its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Box<LeaseRecord>>,
    /// The lease of an IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease6: Option<Box<LeaseRecord6>>,
    /// How far it is.
    pub stage: Stage,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Machines on the LAN that claimed its address, and when last (seconds since 1970).
    pub conflicts: BTreeMap<Mac, u64>,
    /// What will keep it from working as it should; said once, when it is attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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
    /// As it is: one of leases with the subnet that these are of by now.
    pub network: Network,
    /// The shim that gives host access, while there is one.
    pub shim: Option<IfName>,
    /// How many endpoints it has.
    pub endpoints: usize,
    /// How many addresses of its ranges are left, by subnet.
    pub free: BTreeMap<IpNet, u64>,
}
