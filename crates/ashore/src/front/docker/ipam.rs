//! The calls of the IPAM driver.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use ashore_core::api::engine_call::{EngineCall, Owner, Reservation};
use ashore_core::model::lease::LeaseOptions;
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::pool::PoolKey;
use ashore_core::net::name::EndpointName;
use ashore_core::net::option::{self, NetworkOption};
use ashore_core::net::text::Word;
use ashore_core::rules::pools::PoolRequest;
use ashore_wire::dhcp4::Servers;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Shape, address, given, parse};
use crate::front::given::meant_or_all;

/// The option by which the engine says what an address is for (moby, `libnetwork/ipamapi`).
const TYPE: &str = "RequestAddressType";
const GATEWAY: &str = "com.docker.network.gateway";
/// The container's name, since Docker 29.
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
    #[serde(default)]
    v6: bool,
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
            // With RequiresMACAddress the engine would invent a MAC at every start. With the replay it tells
            // after its own restart what its containers have. A managed plugin is not activated by a call, so
            // this is the first call that it gets from an engine that has started.
            let capabilities = json!({ "RequiresMACAddress": false, "RequiresRequestReplay": true });
            (Some(EngineCall::Begin(EngineKind::Docker)), Shape::Fixed(capabilities))
        }
        "GetDefaultAddressSpaces" => {
            // All hosts on the LAN know it. For Docker since version 27 this also means that a pool chosen by
            // the plugin is not rejected because the host is on it.
            let spaces =
                json!({ "LocalDefaultAddressSpace": "ashore", "GlobalDefaultAddressSpace": "ashore" });
            (None, Shape::Fixed(spaces))
        }
        "RequestPool" => (Some(EngineCall::OpenPool(pool(&parse::<RequestPool>(body)?)?)), Shape::Pool),
        "ReleasePool" => {
            let PoolId { pool } = parse(body)?;
            (Some(EngineCall::ClosePool(pool)), Shape::Fixed(json!({})))
        }
        "RequestAddress" => (Some(EngineCall::Reserve(reservation(parse(body)?)?)), Shape::Address),
        "ReleaseAddress" => {
            let AnAddress { pool, address: text, .. } = parse(body)?;
            let ip = address("the address", &text)?.ok_or("the address is missing")?;
            (Some(EngineCall::Free { pool, ip }), Shape::Fixed(json!({})))
        }
        _ => return Err(format!("`IpamDriver.{name}` is not a call that Ashore supports")),
    };
    Ok(Call::new(stage, shape))
}

/// A gateway's address, in the form for the engine. A bridge of the engine's own would put the address on
/// this host, and the host would answer for the LAN's router. Engines before 28 do not tell for which driver
/// they ask. So a guarded address is given as an IPv4-mapped address with the corresponding prefix,
/// `::ffff:192.168.88.1/120`. The engine shows it, and passes it to network drivers, as 192.168.88.1/24. But
/// the kernel refuses a prefix of 120 on a link, so such a network is not created (seen on Docker 20.10 and
/// 28.5; moby is the same in between).
pub(super) fn gateway(address: IpNet, guarded: bool) -> String {
    match address {
        IpNet::V4(net) if guarded => format!("::ffff:{}/{}", net.addr(), 96 + net.prefix_len()),
        _ => address.to_string(),
    }
}

fn pool(request: &RequestPool) -> Result<PoolRequest, String> {
    let options = request.options.clone().unwrap_or_default();
    let known: Vec<&str> = option::of_ipam().collect();
    if let Some(unknown) = options.keys().find(|name| !known.contains(&name.as_str())) {
        if option::of_driver().any(|name| name == unknown) {
            let value = &options[unknown];
            let line = option::under("`driver_opts:`", unknown, Some(value.as_str()));
            let given = format!("{unknown}={value}");
            return Err(format!(
                "`{unknown}` is an option of the network; try: -o {}, in a Compose file {line}",
                Word::of(&given)
            ));
        }
        return Err(format!("there is no option --ipam-opt {unknown}; {}", meant_or_all(unknown, &known)));
    }
    let read = Read(&options);
    let net: Option<IpNet> = given("the subnet", &request.pool)?;
    if net.is_none() && request.v6 {
        return Err("the IPv6 subnet is not named; try: --subnet fd88::/64, or the LAN's own".into());
    }
    Ok(PoolRequest {
        repeated: false,
        others: false,
        net: net.map(|net| net.trunc()),
        range: given("the range", &request.sub_pool)?,
        parent: read.value(&option::PARENT)?,
        addressing: read.value(&option::DHCP)?.unwrap_or_default(),
        leasing: LeaseOptions {
            hostname: read.value(&option::HOSTNAME)?,
            register_name: read.yes(&option::REGISTER_NAME)?,
            vendor_class: read.value(&option::VENDOR_CLASS)?,
            timeout: read.value(&option::LEASE_TIMEOUT)?,
            release: read.value(&option::RELEASE)?.unwrap_or_default(),
            fallback: read.value(&option::FALLBACK)?.unwrap_or_default(),
            servers: Servers {
                allow: read.values(&option::DHCP_ALLOW)?,
                deny: read.values(&option::DHCP_DENY)?,
            },
        },
    })
}

/// The IPAM driver's options that were given.
struct Read<'a>(&'a BTreeMap<String, String>);

impl Read<'_> {
    fn value<T: FromStr>(&self, option: &NetworkOption) -> Result<Option<T>, String>
    where
        T::Err: Display,
    {
        let (what, text) = self.text(option);
        given(&what, text)
    }

    fn yes(&self, option: &NetworkOption) -> Result<bool, String> {
        match self.text(option) {
            (_, "") => Ok(false),
            (what, text) => crate::cli::parse_yes_no(text).map_err(|error| format!("{what}={text}: {error}")),
        }
    }

    /// The values of an option, which are separated by commas.
    fn values<T: FromStr>(&self, option: &NetworkOption) -> Result<Vec<T>, String>
    where
        T::Err: Display,
    {
        let (what, text) = self.text(option);
        text.split(',').filter_map(|part| given(&what, part.trim()).transpose()).collect()
    }

    fn text(&self, option: &NetworkOption) -> (String, &str) {
        let name = option.of_ipam().unwrap_or_default();
        (format!("--ipam-opt {name}"), self.0.get(name).map_or("", String::as_str))
    }
}

fn reservation(request: AnAddress) -> Result<Reservation, String> {
    let options = request.options.unwrap_or_default();
    let name = options.get(NAME);
    Ok(Reservation {
        engine: EngineKind::Docker,
        asked_before: None,
        pool: request.pool,
        ip: address("the address", &request.address)?,
        gateway: options.get(TYPE).is_some_and(|kind| kind == GATEWAY),
        owner: name.map(|name| Owner {
            name: Some(EndpointName::of_container(name)),
            formerly: EndpointName::formerly_of_container(name),
            ..Owner::default()
        }),
        chosen: Vec::new(),
    })
}
