//! A network's options, by the names of the built-in drivers, and Ashore's own options.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use ashore_core::model::lease::{Addressing, LeaseOptions};
use ashore_core::model::network::EngineNetwork;
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::kind::{LinkKind, PortOption};
use ashore_core::net::name::NetworkName;
use ashore_core::net::option::{self, NetworkOption};
use ashore_core::rules::create::NetworkSpec;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::address;

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
    let given = Given::of(&options)?;
    if let Some(flag) = given.text("ipvlan_flag").filter(|flag| *flag != "bridge") {
        return Err(format!(
            "-o ipvlan_flag={flag}: endpoints on one parent always reach each other; leave it out"
        ));
    }
    let mut spec = NetworkSpec {
        name: name(&request.id)?,
        engine: Some(EngineNetwork { kind: EngineKind::Docker, id: request.id, name: None, of: None }),
        parent: given.value(&option::PARENT)?,
        vlan: given.value(&option::VLAN)?,
        gvrp: given.switch(&option::GVRP)?,
        kind: given.kind()?,
        subnets: Vec::new(),
        ranges: Vec::new(),
        gateways: Vec::new(),
        aux: Vec::new(),
        // The pools decide that.
        addressing: Addressing::default(),
        leasing: LeaseOptions::default(),
        ipv6: given.value(&option::IPV6)?.unwrap_or_default(),
        host_access: given.yes(&option::HOST_ACCESS)?,
        internal: is_internal(&options) || given.switch(&option::INTERNAL)?,
        conflict: given.value(&option::CONFLICT)?.unwrap_or_default(),
        mtu: given.value(&option::MTU)?,
        bc_queue_len: given.value(&option::BC_QUEUE_LEN)?,
        port: BTreeSet::new(),
        tagged: given.switch(&option::TAGGED)?,
    };
    for (port, option) in [(PortOption::Isolated, &option::ISOLATED), (PortOption::Hairpin, &option::HAIRPIN)]
    {
        if given.switch(option)? {
            spec.port.insert(port);
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

/// The driver's options that were given, each by one of its names.
struct Given<'a>(Vec<(&'a str, String)>);

impl<'a> Given<'a> {
    fn of(options: &'a Map<String, Value>) -> Result<Self, String> {
        let given = options.get(GENERIC).and_then(Value::as_object).into_iter().flatten();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let given: Vec<(&str, String)> = given.map(|(key, value)| (key.as_str(), text(value))).collect();
        let known: Vec<&str> = option::of_driver().collect();
        match given.iter().find(|(key, _)| !known.contains(key)) {
            None => Ok(Given(given)),
            Some((unknown, _)) => Err(format!(
                "there is no option `{unknown}`; did you mean `{}`? There are {}",
                nearest(unknown, &known),
                known.join(", ")
            )),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, text)| text.as_str())
    }

    fn value<T: FromStr>(&self, option: &NetworkOption) -> Result<Option<T>, String>
    where
        T::Err: Display,
    {
        self.read(option, str::parse)
    }

    fn yes(&self, option: &NetworkOption) -> Result<Option<bool>, String> {
        self.read(option, crate::cli::parse_yes_no)
    }

    fn switch(&self, option: &NetworkOption) -> Result<bool, String> {
        self.yes(option).map(Option::unwrap_or_default)
    }

    fn read<T, E: Display>(
        &self,
        option: &NetworkOption,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, String> {
        let given = option.of_driver().find_map(|name| Some((name, self.text(name)?)));
        let read = |(name, text)| parse(text).map_err(|error| format!("-o {name}={text}: {error}"));
        given.map(read).transpose()
    }

    /// The link kind, if it is given, by the built-in drivers' options or by Ashore's own.
    fn kind(&self) -> Result<Option<LinkKind>, String> {
        let parsed = |name: &str, text: &str, kind: String| {
            kind.parse().map(Some).map_err(|error| format!("-o {name}={text}: {error}"))
        };
        match (self.text("kind"), self.text("macvlan_mode"), self.text("ipvlan_mode")) {
            (None, None, None) => Ok(None),
            (Some(kind), None, None) => parsed("kind", kind, kind.to_owned()),
            (None | Some("macvlan"), Some(mode), None) => {
                parsed("macvlan_mode", mode, format!("macvlan:{mode}"))
            }
            (None | Some("ipvlan"), None, Some(mode)) => {
                parsed("ipvlan_mode", mode, format!("ipvlan:{mode}"))
            }
            _ => {
                Err("the link kind is given twice; keep one of -o kind=, macvlan_mode= and ipvlan_mode="
                    .into())
            }
        }
    }
}

/// The known name that is most similar to an unknown one.
pub(super) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> &'a str {
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other))).copied().unwrap_or_default()
}
