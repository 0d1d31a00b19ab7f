//! The calls of the network driver.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::name::IfName;
use ashore_core::request::Staged;
use ashore_wire::Mac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};

use super::options::network;
use super::{Call, Shape, given, parse};

/// The MAC that the user chose, as six bytes in base64 (moby, `libnetwork/netlabel`).
const MAC: &str = "com.docker.network.endpoint.macaddress";

/// One subnet of a network, as the engine tells it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IpamData {
    pub(super) pool: IpNet,
    #[serde(default)]
    pub(super) gateway: String,
    #[serde(default)]
    pub(super) aux_addresses: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
pub(super) struct CreateNetwork {
    #[serde(rename = "NetworkID")]
    pub(super) id: String,
    #[serde(rename = "Options", default)]
    pub(super) options: Option<serde_json::Map<String, Value>>,
    #[serde(rename = "IPv4Data", default)]
    pub(super) ipv4: Option<Vec<IpamData>>,
    #[serde(rename = "IPv6Data", default)]
    pub(super) ipv6: Option<Vec<IpamData>>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "NetworkID")]
    network: String,
    #[serde(rename = "EndpointID", default)]
    endpoint: String,
    #[serde(rename = "SandboxKey", default)]
    sandbox: String,
}

#[derive(Deserialize)]
struct CreateEndpoint {
    #[serde(rename = "NetworkID")]
    network: String,
    #[serde(rename = "EndpointID")]
    endpoint: String,
    #[serde(rename = "Interface", default)]
    interface: Option<Interface>,
    #[serde(rename = "Options", default)]
    options: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Interface {
    address: String,
    #[serde(rename = "AddressIPv6")]
    address_ipv6: String,
    mac_address: String,
}

pub(super) fn call(name: &str, body: &[u8]) -> Result<Call, String> {
    let nothing = Shape::Fixed(json!({}));
    let (stage, shape) = match name {
        "GetCapabilities" => (None, Shape::Fixed(json!({ "Scope": "local", "ConnectivityScope": "global" }))),
        "CreateNetwork" => (Some(Staged::CreateNetwork(network(parse(body)?)?)), nothing),
        "DeleteNetwork" => (Some(Staged::RemoveNetwork { id: parse::<Named>(body)?.network }), nothing),
        "CreateEndpoint" => {
            let request: CreateEndpoint = parse(body)?;
            let mac_given = request.interface.as_ref().is_some_and(|there| !there.mac_address.is_empty());
            (Some(prepare(request)?), Shape::Interface { mac_given })
        }
        "EndpointOperInfo" => (None, Shape::Fixed(json!({ "Value": {} }))),
        "Join" => (Some(join(parse(body)?)), Shape::Join),
        "Leave" => (Some(Staged::Leave { id: parse::<Named>(body)?.endpoint }), nothing),
        "DeleteEndpoint" => (Some(Staged::Delete { id: parse::<Named>(body)?.endpoint }), nothing),
        // Ports need no mapping here, and other nodes are found by ARP.
        "DiscoverNew" | "DiscoverDelete" | "ProgramExternalConnectivity" | "RevokeExternalConnectivity" => {
            (None, nothing)
        }
        _ => return Err(format!("`NetworkDriver.{name}` is no call that Ashore knows")),
    };
    Ok(Call { stage, shape })
}

fn join(request: Named) -> Staged {
    let sandbox = Some(request.sandbox).filter(|key| !key.is_empty()).map(Into::into);
    Staged::Join { id: request.endpoint, sandbox }
}

fn prepare(request: CreateEndpoint) -> Result<Staged, String> {
    let interface = request.interface.unwrap_or_default();
    let v4: Option<IpNet> = given("the address", &interface.address)?;
    let v6: Option<IpNet> = given("the address", &interface.address_ipv6)?;
    let mac = match given("the MAC", &interface.mac_address)? {
        Some(mac) => Some(mac),
        None => request.options.as_ref().and_then(|options| options.get(MAC)).map(mac_of).transpose()?,
    };
    Ok(Staged::Prepare {
        network: request.network,
        id: request.endpoint,
        addresses: v4.into_iter().chain(v6).collect(),
        mac,
    })
}

fn mac_of(value: &Value) -> Result<Mac, String> {
    let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
    let octets: Option<[u8; 6]> = bytes.and_then(|bytes| bytes.try_into().ok());
    octets.map(Mac).ok_or_else(|| format!("{MAC} is no MAC of six bytes: {value}"))
}

/// Where the engine finds the link. It numbers the container's interfaces itself, and adds the default routes.
pub(super) fn joined(link: &IfName, gateways: &[IpAddr]) -> Value {
    let text = |v6| gateways.iter().find(|ip| ip.is_ipv6() == v6).map_or(String::new(), ToString::to_string);
    json!({
        "InterfaceName": { "SrcName": link, "DstPrefix": "eth" },
        "Gateway": text(false),
        "GatewayIPv6": text(true),
        "StaticRoutes": [],
        // Without it the engine would give a container without a gateway a second interface, behind NAT.
        "DisableGatewayService": true,
    })
}
