//! A network's options, by the names of the built-in drivers, and Ashore's own options.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::model::network::EngineNetwork;
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::name::NetworkName;
use ashore_core::net::option;
use ashore_core::rules::create::NetworkSpec;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::address;
use crate::front::given::Given;

const GENERIC: &str = "com.docker.network.generic";
const INTERNAL: &str = "com.docker.network.internal";

/// One subnet of a network, as the engine describes it.
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

/// The network that the engine requests.
pub(super) fn network(request: CreateNetwork) -> Result<NetworkSpec, String> {
    let options = request.options.unwrap_or_default();
    let given = options.get(GENERIC).and_then(Value::as_object).into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let given = given.map(|(key, value)| (key.as_str(), text(value))).collect();
    let given = Given::of(given, &option::of_driver().collect::<Vec<_>>())?;
    if let Some(flag) = given.text("ipvlan_flag").filter(|flag| *flag != "bridge") {
        return Err(format!(
            "-o ipvlan_flag={flag}: endpoints on one parent always reach each other; leave it out"
        ));
    }
    let mut spec = given.spec(name(&request.id)?)?;
    spec.engine = Some(EngineNetwork { kind: EngineKind::Docker, id: request.id, name: None, of: None });
    spec.internal |= is_internal(&options);
    for data in request.ipv4.into_iter().flatten().chain(request.ipv6.into_iter().flatten()) {
        spec.subnets.push(data.pool);
        spec.gateways.extend(address("the gateway", &data.gateway)?);
        for (name, text) in data.aux_addresses.into_iter().flatten() {
            let ip: Option<IpAddr> = address(&format!("--aux-address {name}"), &text)?;
            spec.aux.extend(ip.map(|ip| (name, ip)));
        }
    }
    Ok(spec)
}

/// Whether a network was created with `--internal`.
pub(super) fn is_internal(options: &Map<String, Value>) -> bool {
    options.get(INTERNAL).and_then(Value::as_bool).unwrap_or(false)
}

/// The name of a network: the first twelve digits of its id, as the engine itself shortens it.
fn name(id: &str) -> Result<NetworkName, String> {
    id.get(..12).unwrap_or(id).parse().map_err(|error| format!("the network's id: {error}"))
}
