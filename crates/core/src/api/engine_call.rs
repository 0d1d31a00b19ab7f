//! The stages in which a container engine makes a network and attaches a container.

use std::net::IpAddr;
use std::path::PathBuf;

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::pool::PoolKey;
use crate::net::name::{EndpointName, IfName};
use crate::rules::create::NetworkSpec;
use crate::rules::pools::PoolRequest;

/// The stages in which a container engine makes a network and attaches a container: it opens a pool and reserves gateway
/// and auxiliary addresses before the network; it reserves an address, then makes the endpoint, then asks for the link,
/// which it moves, renames and configures itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineCall {
    /// The engine has started anew, and will tell what it still has.
    Begin,
    /// Promises a subnet to a network that is about to be made. Answered by `Reply::Pool`.
    OpenPool(PoolRequest),
    /// Takes the promise back.
    ClosePool(PoolKey),
    /// An address of a pool will be asked for in a moment: the LAN is looked at meanwhile.
    Foresee {
        /// The pool.
        pool: PoolKey,
        /// The address, if it is a certain one.
        ip: Option<IpAddr>,
    },
    /// Reserves an address of a pool. Answered by `Reply::Address`, or by `Reply::Gateway` if it is a router's.
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
    /// `Reply::Prepared`, or by `Reply::OwnerWanted` where nobody is known to have them and no owner is named.
    Prepare(Preparation),
    /// Makes the link on the host, for the engine to move. Answered by `Reply::Joined`.
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
    /// Takes the endpoint away; its addresses stay reserved until they are freed. Answered by `Reply::Deleted`, or by `Reply::Done`
    /// where there is none.
    Delete {
        /// The engine's id of the endpoint.
        id: String,
    },
}

/// An engine's request for an address.
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

/// An engine's request for an endpoint.
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
