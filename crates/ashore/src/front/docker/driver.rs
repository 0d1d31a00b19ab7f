//! The calls of the network driver.

use std::net::IpAddr;

use ashore_core::api::engine_call::{EngineCall, Preparation};
use ashore_core::net::name::IfName;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};

use super::attachment::Attachment;
use super::options::{is_internal, network};
use super::{Call, Shape, given, parse};

/// Asked by engines since version 28: whether a network needs no gateway address.
#[derive(Deserialize)]
struct GwAllocCheck {
    #[serde(rename = "Options", default)]
    options: Option<serde_json::Map<String, Value>>,
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
        "GetCapabilities" => (
            None,
            Shape::Fixed(json!({ "Scope": "local", "ConnectivityScope": "global", "GwAllocChecker": true })),
        ),
        "GwAllocCheck" => {
            let request: GwAllocCheck = parse(body)?;
            let skip = is_internal(&request.options.unwrap_or_default());
            (None, Shape::Fixed(json!({ "SkipIPv4": skip, "SkipIPv6": skip })))
        }
        "CreateNetwork" => (Some(EngineCall::CreateNetwork(network(parse(body)?)?)), nothing),
        "DeleteNetwork" => (Some(EngineCall::RemoveNetwork { id: parse::<Named>(body)?.network }), nothing),
        "CreateEndpoint" => {
            let request: CreateEndpoint = parse(body)?;
            let mac_given = request.interface.as_ref().is_some_and(|there| !there.mac_address.is_empty());
            let attachment = Attachment::of(&request.options.clone().unwrap_or_default())?;
            let stage = Some(prepare(request, &attachment)?);
            return Ok(Call { attachment, ..Call::new(stage, Shape::Interface { mac_given }) });
        }
        "EndpointOperInfo" => (None, Shape::Fixed(json!({ "Value": {} }))),
        "Join" => (Some(join(parse(body)?)), Shape::Join),
        "Leave" => (Some(EngineCall::Leave { id: parse::<Named>(body)?.endpoint }), nothing),
        "DeleteEndpoint" => (Some(EngineCall::Delete { id: parse::<Named>(body)?.endpoint }), nothing),
        // Ports need no mapping, and other nodes are found by ARP.
        "DiscoverNew" | "DiscoverDelete" | "ProgramExternalConnectivity" | "RevokeExternalConnectivity" => {
            (None, nothing)
        }
        _ => return Err(format!("`NetworkDriver.{name}` is not a call that Ashore supports")),
    };
    Ok(Call::new(stage, shape))
}

fn join(request: Named) -> EngineCall {
    let sandbox = Some(request.sandbox).filter(|key| !key.is_empty()).map(Into::into);
    EngineCall::Join { id: request.endpoint, sandbox }
}

fn prepare(request: CreateEndpoint, attachment: &Attachment) -> Result<EngineCall, String> {
    let interface = request.interface.unwrap_or_default();
    let v4: Option<IpNet> = given("the address", &interface.address)?;
    let v6: Option<IpNet> = given("the address", &interface.address_ipv6)?;
    Ok(EngineCall::Prepare(Preparation {
        network: request.network,
        id: request.endpoint,
        addresses: v4.into_iter().chain(v6).collect(),
        mac: given("the MAC", &interface.mac_address)?.or(attachment.mac),
        ifname: attachment.ifname.clone(),
        owner: None,
        ports: attachment.ports.clone(),
    }))
}

/// The reply to `Join`: where the engine finds the link. The engine adds the default routes itself. Up to
/// 29.7 it names the link by the prefix and the first free number. Since 29.8 it accepts a whole name (moby
/// pull request 52866).
pub(super) fn joined(
    link: &IfName,
    inside: Option<&IfName>,
    gateways: &[IpAddr],
    on_link: &[IpNet],
) -> Value {
    let prefix = inside.map_or("eth", |name| name.as_str().trim_end_matches(|c: char| c.is_ascii_digit()));
    let text = |v6| gateways.iter().find(|ip| ip.is_ipv6() == v6).map_or(String::new(), ToString::to_string);
    // A route on the link (`types.CONNECTED` of libnetwork), which the engine sets before the gateway's.
    let connected = |net: &IpNet| json!({ "Destination": net, "RouteType": 1, "NextHop": "" });
    json!({
        "InterfaceName": { "SrcName": link, "DstPrefix": prefix, "DstName": inside },
        "Gateway": text(false),
        "GatewayIPv6": text(true),
        "StaticRoutes": on_link.iter().map(connected).collect::<Vec<_>>(),
        // Otherwise the engine would give a container without a gateway a second interface, behind NAT.
        "DisableGatewayService": true,
    })
}
