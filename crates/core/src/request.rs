//! What can be asked of the daemon, and what it answers: the one way in, whichever front end turned its protocol into
//! this.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ashore_wire::Mac;
use ashore_wire::conflict::Profile;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::bridge::{Direction, Move};
use crate::endpoint::{Source, Stage};
use crate::inventory::Inventory;
use crate::ipv6::{Ipv6Mode, Learned};
use crate::lease::{Addressing, LeaseOptions, LeaseRecord, LeaseRecord6};
use crate::link::{LinkKind, PortOption};
use crate::misplaced::Misplaced;
use crate::name::{EndpointName, IfName, NetworkName};
use crate::network::{EngineNetwork, Network};
use crate::pool::PoolKey;
use crate::range::Range;
use crate::step::Step;
use crate::store::Document;
use crate::survey::PoolReport;
use crate::vlan::VlanId;

mod refusal;

pub use refusal::{Refusal, RefusalKind};

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
    /// Gives a network another parent. Answered by [`Reply::Created`].
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
    Staged(Staged),
    /// What an engine has. Answered by [`Reply::Inventoried`].
    TakeInventory(Inventory),
    /// Moves the host's NIC into a bridge or out of it, on trial. Answered by [`Reply::OnTrial`].
    MoveNic(MoveSpec),
    /// Keeps a move that is on trial. Answered by [`Reply::Kept`].
    KeepMove,
    /// Shows what a request would change, or, without one, what the next reconciliation would.
    Plan(Option<Box<Request>>),
    /// Asks the LAN's DHCP servers for addresses, without taking any. Answered by [`Reply::Pools`].
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
            | Request::Staged(_)
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

/// The stages in which a container engine makes a network and attaches a container: it opens a pool and reserves gateway
/// and auxiliary addresses before the network; it reserves an address, then makes the endpoint, then asks for the link,
/// which it moves, renames and configures itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Staged {
    /// The engine has started anew, and will tell what it still has.
    Begin,
    /// Promises a subnet to a network that is about to be made. Answered by [`Reply::Pool`].
    OpenPool(PoolWish),
    /// Takes the promise back.
    ClosePool(PoolKey),
    /// An address of a pool will be asked for in a moment: the LAN is looked at meanwhile.
    Foresee {
        /// The pool.
        pool: PoolKey,
        /// The address, if it is a certain one.
        ip: Option<IpAddr>,
    },
    /// Reserves an address of a pool. Answered by [`Reply::Address`], or by [`Reply::Gateway`] if it is a router's.
    Reserve(Reservation),
    /// Gives an address back.
    Free {
        /// The pool.
        pool: PoolKey,
        /// The address.
        ip: IpAddr,
    },
    /// The engine was gone before it heard that it has this address.
    Unheard {
        /// The address.
        ip: IpAddr,
    },
    /// Makes a network of pools that were opened before, which its subnets name.
    CreateNetwork(NetworkSpec),
    /// Removes the network of an engine's id.
    RemoveNetwork {
        /// The engine's id of it.
        id: String,
    },
    /// The engine is about to ask for an address for this container, and may not say so.
    Expect {
        /// The engine's id of the network.
        network: String,
        /// The container's name.
        name: EndpointName,
    },
    /// Makes an endpoint on addresses that were reserved before, or that the engine chose itself. Answered by
    /// [`Reply::Prepared`], or by [`Reply::OwnerWanted`] where nobody is known to have them and no owner is named.
    Prepare(Preparation),
    /// Makes the link on the host, for the engine to move. Answered by [`Reply::Joined`].
    Join {
        /// The engine's id of the endpoint.
        id: String,
        /// A path that opens the container's namespace.
        sandbox: Option<PathBuf>,
    },
    /// The container stops using the link.
    Leave {
        /// The engine's id of the endpoint.
        id: String,
    },
    /// Asks whether an endpoint was joined and has not left. Refused if it has no link.
    HasLink {
        /// The engine's id of the endpoint.
        id: String,
    },
    /// Takes the endpoint away; its addresses stay reserved until they are freed. Answered by [`Reply::Deleted`], or by [`Reply::Done`]
    /// where there is none.
    Delete {
        /// The engine's id of the endpoint.
        id: String,
    },
}

/// An engine's wish for a pool. What is left out is found on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolWish {
    /// Whether it was asked for before, and the answer lost.
    #[serde(default)]
    pub repeated: bool,
    /// Whether the engine opens it for a network of another driver, as far as it lets know.
    #[serde(default)]
    pub others: bool,
    /// The LAN's subnet.
    pub net: Option<IpNet>,
    /// What is handed out of it.
    pub range: Option<Range>,
    /// The host's interface that faces the LAN.
    pub parent: Option<IfName>,
    /// Where its addresses come from.
    #[serde(default)]
    pub addressing: Addressing,
    /// How they are leased, where they are.
    #[serde(default)]
    pub leasing: LeaseOptions,
}

/// An engine's wish for an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// When it was asked for before, in seconds since 1970, if the answer was lost: what was reserved since and is
    /// nobody's is this one's.
    #[serde(default)]
    pub asked_before: Option<u64>,
    /// The pool.
    pub pool: PoolKey,
    /// The address asked for.
    pub ip: Option<IpAddr>,
    /// Whether it is the LAN's router that has it.
    pub gateway: bool,
    /// Whom it is for, where that is known.
    pub owner: Option<Owner>,
    /// Addresses that users chose for containers, as far as the engine was asked. They are left to those while others are free.
    #[serde(default)]
    pub chosen: Vec<IpAddr>,
}

/// An engine's wish for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preparation {
    /// The engine's id of the network.
    pub network: String,
    /// The engine's id of the endpoint.
    pub id: String,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// The MAC that the user chose.
    pub mac: Option<Mac>,
    /// The link's name in the container that the user chose.
    pub ifname: Option<IfName>,
    /// Whom it is for, where that was looked for.
    pub owner: Option<Owner>,
}

/// A container as an engine's user knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The engine's id of the network.
    pub network: String,
    /// The user's name of the network.
    pub network_name: Option<String>,
    /// The container's name.
    pub name: Option<EndpointName>,
    /// The name under which earlier versions knew it, if its own is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formerly: Option<EndpointName>,
    /// The MAC that its user chose.
    #[serde(default)]
    pub mac: Option<Mac>,
}

/// A network to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its name.
    pub name: NetworkName,
    /// The engine that it belongs to, unless it is the user's own.
    #[serde(default)]
    pub engine: Option<EngineNetwork>,
    /// The host's interface that faces the LAN; without one, what the default route or the subnet says.
    #[serde(default)]
    pub parent: Option<IfName>,
    /// The VLAN on that interface; its own interface is made if there is none.
    #[serde(default)]
    pub vlan: Option<VlanId>,
    /// Whether switches are told of that VLAN by GVRP.
    #[serde(default)]
    pub gvrp: bool,
    /// How endpoints get onto the LAN; without a word, as fits the parent.
    #[serde(default)]
    pub kind: Option<LinkKind>,
    /// The LAN's subnets; without any, the parent's own.
    #[serde(default)]
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
    /// Where IPv4 addresses come from.
    #[serde(default)]
    pub addressing: Addressing,
    /// How they are leased, where they are.
    #[serde(default)]
    pub leasing: LeaseOptions,
    /// Where IPv6 addresses come from.
    #[serde(default)]
    pub ipv6: Ipv6Mode,
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
    /// bridge: what the endpoints' ports do that not every port does.
    #[serde(default)]
    pub port: BTreeSet<PortOption>,
    /// bridge, in a VLAN: whether the endpoints speak 802.1Q themselves.
    #[serde(default)]
    pub tagged: bool,
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

/// Whose addresses DHCP servers are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolQuestion {
    /// Those of a network.
    pub network: Option<NetworkName>,
    /// By which interface; without one by that of the network, the range or the default route.
    pub parent: Option<IfName>,
    /// The VLAN on that interface.
    pub vlan: Option<VlanId>,
    /// Those of a range; without one and without a network those of the parent's subnet.
    pub range: Option<Range>,
}

/// A namespace to be put on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachSpec {
    /// The network.
    pub network: NetworkName,
    /// The container's name on it, from which its identity follows.
    pub name: EndpointName,
    /// A path that opens its namespace.
    #[serde(with = "crate::odd_path")]
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
        /// The subnet to tell the engine, which is [`crate::pool::UNTOLD`] where it would not take the real one.
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
        misplaced: Vec<Vec<Misplaced>>,
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
