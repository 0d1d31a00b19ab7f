//! A network's options, by the names of the built-in drivers, and Ashore's own options.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr;

use ashore_core::model::ipv6::Ipv6Mode;
use ashore_core::model::lease::{Addressing, LeaseOptions};
use ashore_core::model::network::EngineNetwork;
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::kind::{LinkKind, PortOption};
use ashore_core::net::name::NetworkName;
use ashore_core::rules::create::NetworkSpec;
use ashore_wire::conflict::Profile;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::address;

const GENERIC: &str = "com.docker.network.generic";
const INTERNAL: &str = "com.docker.network.internal";

/// All options that `-o` accepts.
pub const KNOWN: [&str; 19] = [
    "parent",
    "vlan",
    "gvrp",
    "kind",
    "macvlan_mode",
    "ipvlan_mode",
    "ipvlan_flag",
    "host_access",
    "conflict",
    "ipv6",
    "mtu",
    "com.docker.network.driver.mtu",
    "bc_queue_len",
    "isolated",
    "hairpin",
    "tagged",
    "internal",
    // How the engine itself, since version 28, announces an address to the LAN when a container starts.
    "com.docker.network.advertise_addr_nmsgs",
    "com.docker.network.advertise_addr_ms",
];

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
    let given = options.get(GENERIC).and_then(Value::as_object);
    let given: Vec<(&str, String)> = given
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let value = |wanted: &str| given.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str());
    if let Some((unknown, _)) = given.iter().find(|(key, _)| !KNOWN.contains(key)) {
        return Err(unknown_option(unknown));
    }
    if let Some(flag) = value("ipvlan_flag").filter(|flag| *flag != "bridge") {
        return Err(format!(
            "-o ipvlan_flag={flag}: endpoints on one parent always reach each other; leave it out"
        ));
    }
    let flag = |name: &str| value(name).map_or(Ok(false), |text| yes(name, text));
    let mut spec = NetworkSpec {
        name: name(&request.id)?,
        engine: Some(EngineNetwork { kind: EngineKind::Docker, id: request.id, name: None, of: None }),
        parent: value("parent").map(|text| option("parent", text)).transpose()?,
        vlan: value("vlan").map(|text| option("vlan", text)).transpose()?,
        gvrp: value("gvrp").map_or(Ok(false), |text| yes("gvrp", text))?,
        kind: kind(value("kind"), value("macvlan_mode"), value("ipvlan_mode"))?,
        subnets: Vec::new(),
        ranges: Vec::new(),
        gateways: Vec::new(),
        aux: Vec::new(),
        // The pools decide that.
        addressing: Addressing::default(),
        leasing: LeaseOptions::default(),
        ipv6: value("ipv6").map_or(Ok(Ipv6Mode::default()), |text| option("ipv6", text))?,
        host_access: value("host_access").map(|text| yes("host_access", text)).transpose()?,
        internal: is_internal(&options) || flag("internal")?,
        conflict: value("conflict").map_or(Ok(Profile::default()), |text| option("conflict", text))?,
        mtu: value("mtu")
            .or(value("com.docker.network.driver.mtu"))
            .map(|text| option("mtu", text))
            .transpose()?,
        bc_queue_len: value("bc_queue_len").map(|text| option("bc_queue_len", text)).transpose()?,
        port: BTreeSet::new(),
        tagged: flag("tagged")?,
    };
    for option in PortOption::CHOICES {
        if flag(&option.to_string())? {
            spec.port.insert(option);
        }
    }
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

fn option<T: FromStr>(name: &str, text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| format!("-o {name}={text}: {error}"))
}

fn yes(name: &str, text: &str) -> Result<bool, String> {
    crate::cli::parse_yes_no(text).map_err(|error| format!("-o {name}={text}: {error}"))
}

/// The link kind, if it is given, by the built-in drivers' options or by Ashore's own.
fn kind(kind: Option<&str>, macvlan: Option<&str>, ipvlan: Option<&str>) -> Result<Option<LinkKind>, String> {
    match (kind, macvlan, ipvlan) {
        (None, None, None) => Ok(None),
        (Some(kind), None, None) => option("kind", kind).map(Some),
        (None | Some("macvlan"), Some(mode), None) => {
            let parsed = format!("macvlan:{mode}").parse();
            parsed.map(Some).map_err(|error| format!("-o macvlan_mode={mode}: {error}"))
        }
        (None | Some("ipvlan"), None, Some(mode)) => {
            let parsed = format!("ipvlan:{mode}").parse();
            parsed.map(Some).map_err(|error| format!("-o ipvlan_mode={mode}: {error}"))
        }
        _ => Err("the link kind is given twice; keep one of -o kind=, macvlan_mode= and ipvlan_mode=".into()),
    }
}

fn unknown_option(unknown: &str) -> String {
    format!(
        "there is no option `{unknown}`; did you mean `{}`? There are {}",
        nearest(unknown, &KNOWN),
        KNOWN.join(", ")
    )
}

/// The known name that is most similar to an unknown one.
pub(super) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> &'a str {
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other))).copied().unwrap_or_default()
}
