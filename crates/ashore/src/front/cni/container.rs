//! What a runtime says of one container: its names, and what is wished for it.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::Path;

use ashore_core::model::lease::LeaseWishes;
use ashore_core::net::name::EndpointName;
use ashore_core::net::text::Shown;
use ashore_core::net::told::{HostName, client_id};
use ashore_wire::Mac;
use ipnet::IpNet;
use serde_json::{Map, Value};

use super::nerdctl;
use super::nothing::is_nothing;
use super::{Failed, code};
use crate::front::given::nearest;

/// The arguments that runtimes give. `NERDCTL_CNI_DHCP_HOSTNAME` is `--hostname`.
const KNOWN: [&str; 10] = [
    "IgnoreUnknown",
    "IP",
    "MAC",
    "HOSTNAME",
    "CLIENT_ID",
    "K8S_POD_NAMESPACE",
    "K8S_POD_NAME",
    "K8S_POD_INFRA_CONTAINER_ID",
    "K8S_POD_UID",
    "NERDCTL_CNI_DHCP_HOSTNAME",
];

/// `CNI_ARGS`: `KEY=VALUE` and so on, with semicolons between.
#[derive(Debug, Default)]
pub(super) struct Arguments(Vec<(String, String)>);

impl Arguments {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Failed> {
        let wrong = |what: String| Failed::new(code::ENVIRONMENT, format!("CNI_ARGS: {what}"));
        let text = std::str::from_utf8(bytes).map_err(|_| wrong(format!("{} is no text", Shown(bytes))))?;
        let mut all = Vec::new();
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| wrong(format!("`{pair}` is not KEY=VALUE")))?;
            all.push((key.to_owned(), value.to_owned()));
        }
        let arguments = Arguments(all);
        let lenient = matches!(arguments.get("IgnoreUnknown"), Some("1" | "true"));
        match arguments.0.iter().find(|(key, _)| !lenient && !KNOWN.contains(&key.as_str())) {
            None => Ok(arguments),
            Some((key, value)) => Err(wrong(format!("`{key}={value}` is unknown"))
                .try_this(format!("`{}`, if you mean that; or `IgnoreUnknown=1`", nearest(key, &KNOWN)))),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// The name of a container, from which its identity follows. `nerdctl` is where nerdctl has its data.
pub(super) fn identity(
    chosen: Option<&EndpointName>,
    arguments: &Arguments,
    id: &str,
    nerdctl: &Path,
) -> Result<EndpointName, Failed> {
    if let Some(chosen) = chosen {
        return Ok(chosen.clone());
    }
    let named = nerdctl::name_of(nerdctl, id).map_err(|why| {
        // Under another name it would have another address than last time.
        Failed::new(code::OWN + 1, why).try_this("`\"identity\"` under `\"ashore\"`")
    })?;
    if let Some(name) = named {
        return Ok(EndpointName::of_container(&name));
    }
    let pod = arguments.get("K8S_POD_NAME").map(|pod| match arguments.get("K8S_POD_NAMESPACE") {
        Some(namespace) => format!("{namespace}.{pod}"),
        None => pod.to_owned(),
    });
    let hostname = || arguments.get("NERDCTL_CNI_DHCP_HOSTNAME").map(str::to_owned);
    Ok(EndpointName::of_container(&pod.or_else(hostname).unwrap_or_else(|| short(id).to_owned())))
}

/// An id as people see it: of a generated one the first twelve digits. nerdctl puts the namespace before it.
fn short(id: &str) -> &str {
    /// How many digits a generated id has at least.
    const GENERATED: usize = 32;
    const SHORT: usize = 12;
    let digits = id.rsplit('-').next().unwrap_or(id);
    let is_generated = digits.len() >= GENERATED && digits.bytes().all(|c| c.is_ascii_hexdigit());
    if is_generated { &id[..id.len() - digits.len() + SHORT] } else { id }
}

/// What is wished for one container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) ips: Vec<IpAddr>,
    pub(super) mac: Option<Mac>,
    pub(super) lease: LeaseWishes,
}

impl Wishes {
    /// Reads the wishes where they may be, each with the key that is there: the first that is given counts, then
    /// `CNI_ARGS`, and for the MAC at last the configuration.
    pub(super) fn of(
        ips: &[(&str, Option<&Value>)],
        macs: &[(&str, Option<&Value>)],
        arguments: &Arguments,
        mac_of_config: Option<&Value>,
    ) -> Result<Self, Failed> {
        let given = |all: &[(&str, Option<&Value>)]| {
            let mut all = all.iter().filter_map(|(key, value)| Some(((*key).to_owned(), (*value)?.clone())));
            all.find(|(_, value)| !is_nothing(value))
        };
        let mut wishes = Wishes::default();
        match given(ips) {
            Some((key, Value::Array(all))) => {
                for one in &all {
                    let text = one.as_str().unwrap_or_default();
                    wishes.add(address(text).ok_or_else(|| {
                        Failed::new(code::CONFIG, format!("`{key}`: {one} is not an IP address"))
                    })?);
                }
            }
            Some((key, other)) => {
                return Err(Failed::new(code::CONFIG, format!("`{key}: {other}`: it must be a list")));
            }
            None => {
                for text in arguments.get("IP").into_iter().flat_map(|all| all.split(',')) {
                    wishes.add(address(text.trim()).ok_or_else(|| {
                        Failed::new(code::ENVIRONMENT, format!("CNI_ARGS: IP={text} is not an IP address"))
                    })?);
                }
            }
        }
        let mac = |key: &str, value: &Value| {
            value
                .as_str()
                .unwrap_or_default()
                .parse()
                .map(Some)
                .map_err(|error| Failed::new(code::CONFIG, format!("`{key}: {value}`: {error}")))
        };
        wishes.mac =
            match (given(macs), arguments.get("MAC"), given(&[("mac", mac_of_config)])) {
                (Some((key, value)), ..) | (None, None, Some((key, value))) => mac(&key, &value)?,
                (None, Some(text), _) => Some(text.parse().map_err(|error| {
                    Failed::new(code::ENVIRONMENT, format!("CNI_ARGS: MAC={text}: {error}"))
                })?),
                (None, None, None) => None,
            };
        Ok(wishes)
    }

    /// Reads what DHCP servers are to be told: `args.cni` counts first, then `CNI_ARGS`.
    pub(super) fn with_lease(
        self,
        args: Option<&Map<String, Value>>,
        arguments: &Arguments,
    ) -> Result<Self, Failed> {
        fn one<T, E: Display>(
            (key, args): (&str, Option<&Map<String, Value>>),
            arguments: &Arguments,
            parse: impl Fn(&str) -> Result<T, E>,
        ) -> Result<Option<T>, Failed> {
            let wrong = |code, what: String, why: String| Failed::new(code, format!("{what}: {why}"));
            if let Some(value) = args.and_then(|args| args.get(key)).filter(|value| !is_nothing(value)) {
                let what = format!("`args.cni.{key}: {value}`");
                let text = value
                    .as_str()
                    .ok_or_else(|| wrong(code::CONFIG, what.clone(), "it must be text".into()))?;
                return parse(text).map(Some).map_err(|why| wrong(code::CONFIG, what, why.to_string()));
            }
            let name = key.to_uppercase();
            let Some(text) = arguments.get(&name) else { return Ok(None) };
            let what = format!("CNI_ARGS: {name}={text}");
            parse(text).map(Some).map_err(|why| wrong(code::ENVIRONMENT, what, why.to_string()))
        }
        let hostname = one(("hostname", args), arguments, str::parse::<HostName>)?;
        let client_id = one(("client_id", args), arguments, client_id)?;
        Ok(Wishes { lease: LeaseWishes { hostname, client_id }, ..self })
    }

    fn add(&mut self, ip: IpAddr) {
        if !self.ips.contains(&ip) {
            self.ips.push(ip);
        }
    }
}

/// An address, with or without the length of its prefix.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()))
}
