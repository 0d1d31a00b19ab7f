//! The calls of the IPAM driver.

use std::collections::BTreeMap;

use ashore_core::pool::PoolKey;
use ashore_core::request::{Owner, Reservation, Staged};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Shape, address, given, parse};

/// The option by which the engine says what an address is for (moby, `libnetwork/ipamapi`).
const TYPE: &str = "RequestAddressType";
const GATEWAY: &str = "com.docker.network.gateway";
/// The container's name, from Docker 29 on.
const NAME: &str = "com.docker.network.endpoint.name";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RequestPool {
    #[serde(default)]
    pool: String,
    #[serde(default)]
    sub_pool: String,
    #[serde(default)]
    options: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct PoolId {
    #[serde(rename = "PoolID")]
    pool: PoolKey,
}

#[derive(Deserialize)]
struct AnAddress {
    #[serde(rename = "PoolID")]
    pool: PoolKey,
    #[serde(rename = "Address", default)]
    address: String,
    #[serde(rename = "Options", default)]
    options: Option<BTreeMap<String, String>>,
}

pub(super) fn call(name: &str, body: &[u8]) -> Result<Call, String> {
    let (stage, shape) = match name {
        "GetCapabilities" => {
            // With RequiresMACAddress the engine would invent a MAC at every start. With the replay it tells after its
            // own restart what its containers have.
            let capabilities = json!({ "RequiresMACAddress": false, "RequiresRequestReplay": true });
            (None, Shape::Fixed(capabilities))
        }
        "GetDefaultAddressSpaces" => {
            let spaces = json!({
                "LocalDefaultAddressSpace": "ashore-local",
                "GlobalDefaultAddressSpace": "ashore-global",
            });
            (None, Shape::Fixed(spaces))
        }
        "RequestPool" => {
            let key = pool(&parse::<RequestPool>(body)?)?;
            let opened = json!({ "PoolID": key, "Pool": key.net, "Data": {} });
            (Some(Staged::OpenPool(key)), Shape::Fixed(opened))
        }
        "ReleasePool" => {
            let PoolId { pool } = parse(body)?;
            (Some(Staged::ClosePool(pool)), Shape::Fixed(json!({})))
        }
        "RequestAddress" => (Some(Staged::Reserve(reservation(parse(body)?)?)), Shape::Address),
        "ReleaseAddress" => {
            let AnAddress { pool, address: text, .. } = parse(body)?;
            let ip = address("the address", &text)?.ok_or("no address is named")?;
            (Some(Staged::Free { pool, ip }), Shape::Fixed(json!({})))
        }
        _ => return Err(format!("`IpamDriver.{name}` is no call that Ashore knows")),
    };
    Ok(Call { stage, shape })
}

fn pool(request: &RequestPool) -> Result<PoolKey, String> {
    if let Some(option) = request.options.as_ref().and_then(|options| options.keys().next()) {
        return Err(format!("there is no --ipam-opt {option}; options of the network are given with -o"));
    }
    let net: Option<IpNet> = given("the subnet", &request.pool)?;
    let net =
        net.ok_or("the LAN's subnet is not named; try: --subnet 192.168.88.0/24, or whatever yours is")?;
    Ok(PoolKey { net: net.trunc(), range: given("the range", &request.sub_pool)? })
}

fn reservation(request: AnAddress) -> Result<Reservation, String> {
    let options = request.options.unwrap_or_default();
    let name = options.get(NAME).map(|name| super::owner::endpoint_name(name));
    Ok(Reservation {
        pool: request.pool,
        ip: address("the address", &request.address)?,
        gateway: options.get(TYPE).is_some_and(|kind| kind == GATEWAY),
        owner: name.map(|name| Owner { network: String::new(), network_name: None, name: Some(name) }),
    })
}
