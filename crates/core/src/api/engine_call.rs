//! The calls by which a container engine makes a network and attaches a container.

use std::net::IpAddr;
use std::path::PathBuf;

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::lease::LeaseWishes;
use crate::model::ownership::EngineKind;
use crate::model::pool::PoolKey;
use crate::net::name::{EndpointName, IfName};
use crate::net::option::{CLIENT_ID, NetworkOption, OWN_HOSTNAME};
use crate::net::published::Ports;
use crate::net::told::{self, HostNameError};
use crate::rules::create::NetworkSpec;
use crate::rules::pools::PoolRequest;

/// A call of a container engine. To make a network, the engine opens a pool and reserves the gateway and
/// auxiliary addresses, then makes the network. To attach a container, it reserves an address, makes the
/// endpoint, and requests the link, which it moves, renames and configures itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineCall {
    /// An engine of this kind has restarted and will report what it still has.
    Begin(EngineKind),
    /// Reserves a subnet for a network that is about to be made. Answered by `Reply::Pool`.
    OpenPool(PoolRequest),
    /// Withdraws the reservation of the subnet.
    ClosePool(PoolKey),
    /// An address of a pool will be requested in a moment. The daemon checks the LAN meanwhile.
    Foresee {
        /// The pool.
        pool: PoolKey,
        /// The address, if a specific one will be requested.
        ip: Option<IpAddr>,
    },
    /// Reserves an address of a pool. Answered by `Reply::Address`, or by `Reply::Gateway` if it is a
    /// router's address.
    Reserve(Reservation),
    /// Frees an address.
    Free {
        /// The pool.
        pool: PoolKey,
        /// The address.
        ip: IpAddr,
    },
    /// The engine disconnected before it received the reply that reserved this address.
    Unheard {
        /// The address.
        ip: IpAddr,
    },
    /// Makes a network from pools that were opened before. The network's subnets identify the pools.
    CreateNetwork(NetworkSpec),
    /// Removes the network with this id of the engine.
    RemoveNetwork {
        /// The engine's id of the network.
        id: String,
    },
    /// The engine is about to request an address for this container, and may not say for which container.
    Expect {
        /// The engine's id of the network.
        network: String,
        /// The container's name.
        name: EndpointName,
    },
    /// Makes an endpoint with addresses that were reserved before, or that the engine chose itself. Answered
    /// by `Reply::Prepared`, or by `Reply::OwnerWanted` if the owner of the addresses is not known and the
    /// call names none.
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
    /// Checks that an endpoint was joined and has not left. Refused if it has no link.
    HasLink {
        /// The engine's id of the endpoint.
        id: String,
    },
    /// Removes the endpoint. Its addresses stay reserved until they are freed. Answered by `Reply::Deleted`,
    /// or by `Reply::Done` if there is no such endpoint.
    Delete {
        /// The engine's id of the endpoint.
        id: String,
    },
}

/// An engine's request for an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The kind of the engine. Networks of several engines may share a pool.
    #[serde(default)]
    pub engine: EngineKind,
    /// When the address was first requested, in seconds since 1970, if that reply was lost. An address that
    /// was reserved since then and belongs to no endpoint yet is the reply to this request.
    #[serde(default)]
    pub asked_before: Option<u64>,
    /// The pool.
    pub pool: PoolKey,
    /// The requested address. `None` if any address will do.
    pub ip: Option<IpAddr>,
    /// Whether it is the address of the LAN's router.
    pub gateway: bool,
    /// The container for which it is, if known.
    pub owner: Option<Owner>,
    /// Addresses that users chose for containers, as far as the engine was asked. They are not handed out to
    /// other containers while other addresses are free.
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
    /// The container for which it is, if that was looked up.
    pub owner: Option<Owner>,
    /// The ports that the user has the engine publish.
    #[serde(flatten)]
    pub ports: Ports,
}

/// A container as the engine's user knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The engine's id of the network.
    pub network: String,
    /// The user's name for the network.
    pub network_name: Option<String>,
    /// The container's name.
    pub name: Option<EndpointName>,
    /// The name under which earlier versions knew the container, if its own name is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formerly: Option<EndpointName>,
    /// The MAC that the user chose.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// The container's labels that stand for options.
    #[serde(default)]
    pub labels: Labels,
}

/// The labels of a container that stand for options: what the user wants DHCP servers to be told, as he wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Labels {
    /// The host name.
    pub hostname: Option<String>,
    /// The client identifier.
    pub client_id: Option<String>,
}

impl Labels {
    /// What they ask for. The error has the option whose value is none, and why.
    pub fn wishes(&self) -> Result<LeaseWishes, (&'static NetworkOption, String)> {
        let hostname = self.hostname.as_deref().map(str::parse).transpose();
        let client_id = self.client_id.as_deref().map(told::client_id).transpose();
        Ok(LeaseWishes {
            hostname: hostname.map_err(|error: HostNameError| (&OWN_HOSTNAME, error.to_string()))?,
            client_id: client_id.map_err(|error| (&CLIENT_ID, error.to_string()))?,
        })
    }
}
