//! A CNI network configuration: what is the specification's own of it, and what is asked of this plugin.

use ashore_core::net::name::{EndpointName, IfName, NetworkName};
use ashore_core::rules::create::NetworkSpec;
use serde_json::{Map, Value, json};

use super::container::{Arguments, Wishes};
use super::nothing::is_nothing;
use super::options::Options;
use super::{Failed, code};
use crate::front::caller::check_id;
use crate::front::given::nearest;

/// The names by which the plugin is called, besides that of its file.
const OWN_TYPES: [&str; 2] = ["ashore", "ashore-plug"];

/// Keys of any configuration. They are read elsewhere, or are the runtime's.
const OF_ANY: [&str; 13] = [
    "cniVersion",
    "cniVersions",
    "name",
    "type",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
    "capabilities",
    "args",
    "runtimeConfig",
    "prevResult",
    "ipam",
    "dns",
];

/// The section of this plugin's own settings.
const OWN: &str = "ashore";

/// A version of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V031,
    V040,
    V100,
    V110,
}

impl Version {
    const ALL: [Version; 4] = [Version::V031, Version::V040, Version::V100, Version::V110];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Version::V031 => "0.3.1",
            Version::V040 => "0.4.0",
            Version::V100 => "1.0.0",
            Version::V110 => "1.1.0",
        }
    }

    fn of(text: &str) -> Option<Self> {
        Version::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The answer to VERSION.
    pub(super) fn all(stdin: &[u8]) -> Value {
        let supported = Version::ALL.map(Version::as_str);
        json!({ "cniVersion": Config::version_of_answer(stdin).as_str(), "supportedVersions": supported })
    }
}

/// A network configuration.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) version: Version,
    pub(super) name: String,
    all: Map<String, Value>,
}

/// What a configuration asks this plugin for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) network: NetworkSpec,
    /// Whether it names one of Ashore's networks, and says nothing else of it.
    pub(super) is_named_only: bool,
    /// The name of its containers.
    pub(super) identity: Option<EndpointName>,
    pub(super) default_route: bool,
}

impl Config {
    pub(super) fn parse(stdin: &[u8]) -> Result<Self, Failed> {
        let all = decoded(stdin)?;
        let version = match all.get("cniVersion").map(|version| version.as_str().unwrap_or_default()) {
            // So the specification has it.
            None | Some("") => "0.1.0",
            Some(version) => version,
        };
        let version = Version::of(version).ok_or_else(|| {
            Failed::new(code::VERSION, format!("the version {version} of CNI is not supported"))
                .try_this(format!("one of {}", Version::ALL.map(Version::as_str).join(", ")))
        })?;
        Config::named(all, version)
    }

    /// The same for a call that must not fail: of whatever version.
    pub(super) fn parse_leniently(stdin: &[u8]) -> Result<Self, Failed> {
        Config::named(decoded(stdin)?, Config::version_of_answer(stdin))
    }

    fn named(all: Map<String, Value>, version: Version) -> Result<Self, Failed> {
        let name = all.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !is_word(&name) {
            let wrong =
                if name.is_empty() { "is missing".to_owned() } else { format!("`{name}` is invalid") };
            return Err(Failed::new(
                code::CONFIG,
                format!("name: the network's name {wrong}; use letters, digits, `_`, `.` and `-`"),
            ));
        }
        check_id("network configuration", &name).map_err(|why| Failed::new(code::CONFIG, why))?;
        Ok(Config { version, name, all })
    }

    /// The version in which a call is answered, also if it cannot be read.
    pub(super) fn version_of_answer(stdin: &[u8]) -> Version {
        let asked = serde_json::from_slice::<Value>(stdin).ok();
        let asked = asked.and_then(|all| Version::of(all.get("cniVersion")?.as_str()?));
        asked.unwrap_or(Version::V110)
    }

    /// Whether its version has a command.
    pub(super) fn allows(&self, command: &str, since: Version) -> Result<(), Failed> {
        if self.version >= since {
            return Ok(());
        }
        let (has, needs) = (self.version.as_str(), since.as_str());
        Err(Failed::new(
            code::VERSION,
            format!("the version {has} of CNI has no {command}; it came with {needs}"),
        ))
    }

    /// The result that ADD has answered, or the plugin before in the list.
    pub(super) fn previous(&self) -> Option<&Map<String, Value>> {
        self.all.get("prevResult").and_then(Value::as_object)
    }

    /// The name servers that its user gave it.
    pub(super) fn dns(&self) -> Option<&Map<String, Value>> {
        self.all.get("dns").and_then(Value::as_object).filter(|dns| !dns.values().all(is_nothing))
    }

    fn own(&self) -> Result<Map<String, Value>, Failed> {
        match self.all.get(OWN) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(own)) => Ok(own.clone()),
            Some(other) => {
                Err(Failed::new(code::CONFIG, format!("`\"{OWN}\": {other}`: it must be an object")))
            }
        }
    }

    /// The name of the network of Ashore's.
    fn network_name(&self) -> Result<NetworkName, Failed> {
        let own = self.own()?;
        let named = own.get("network").and_then(Value::as_str).unwrap_or(&self.name);
        named.parse().map_err(|error| Failed::new(code::CONFIG, format!("the network `{named}`: {error}")))
    }

    /// What it asks the plugin of this name for.
    pub(super) fn asked(&self, program: &str) -> Result<Asked, Failed> {
        self.check_type(program)?;
        let mut own = self.own()?;
        let identity = match own.remove("identity") {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_str().unwrap_or_default().parse().map_err(|error| {
                Failed::new(code::CONFIG, format!("`\"identity\": {value}` under `\"{OWN}\"`: {error}"))
            })?),
        };
        let network = own.remove("network");
        if let Some(other) = network.as_ref().filter(|network| !network.is_string()) {
            return Err(Failed::new(
                code::CONFIG,
                format!("`\"network\": {other}` under `\"{OWN}\"`: it must be a name"),
            ));
        }
        let mut options = Options::default();
        let default_route = options.take_own(own)?;
        let unknown = options.take_reference(&self.all, |key| key == OWN || OF_ANY.contains(&key))?;
        if let Some((key, value)) = unknown {
            let known = Options::reference().chain(OF_ANY).chain([OWN]).collect::<Vec<_>>();
            return Err(Failed::new(code::UNSUPPORTED, format!("`\"{key}\": {value}` is not supported"))
                .try_this(format!("`\"{}\"`, if you mean that; or leave it out", nearest(key, &known))));
        }
        Ok(Asked {
            is_named_only: network.is_some() && options.is_empty(),
            network: options.spec(self.network_name()?)?,
            identity,
            default_route,
        })
    }

    /// Checks that this plugin is the one that makes the links, and that it chooses the addresses.
    fn check_type(&self, program: &str) -> Result<(), Failed> {
        let is_own = |kind: &str| kind == program || OWN_TYPES.contains(&kind);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let own = text(self.all.get("type"));
        let ipam = self.all.get("ipam").and_then(Value::as_object);
        let chooser = text(ipam.and_then(|ipam| ipam.get("type")));
        let unsupported = |what: String, remedy: String| {
            Err(Failed::new(code::UNSUPPORTED, format!("{what} is not supported")).try_this(remedy))
        };
        if !own.is_empty() && !is_own(&own) && is_own(&chooser) {
            return unsupported(
                format!("`ipam.type: \"{chooser}\"` under `type: \"{own}\"`"),
                format!(
                    "`\"type\": \"ashore\"`, which takes the options of {own} and chooses the addresses too"
                ),
            );
        }
        if !chooser.is_empty() && !is_own(&chooser) {
            return unsupported(
                format!("`ipam.type: \"{chooser}\"`"),
                "leave `\"ipam\"` out: Ashore chooses the addresses, of `\"subnet\"` and `\"ip_range\"` under \
                 `\"ashore\"`, or of the LAN's DHCP server with `\"dhcp\": true` there"
                    .to_owned(),
            );
        }
        match ipam.into_iter().flatten().find(|(key, value)| *key != "type" && !is_nothing(value)) {
            None => Ok(()),
            Some((key, value)) => unsupported(
                format!("`ipam.{key}: {value}`"),
                "`\"subnet\"`, `\"ip_range\"` and `\"gateway\"` under `\"ashore\"`".to_owned(),
            ),
        }
    }

    /// What the runtime asks for, for one container.
    pub(super) fn wishes(&self, arguments: &Arguments) -> Result<Wishes, Failed> {
        let empty = Map::new();
        let runtime = self.all.get("runtimeConfig").and_then(Value::as_object).unwrap_or(&empty);
        let unknown =
            |(key, value): &(&String, &Value)| !["ips", "mac"].contains(&key.as_str()) && !is_nothing(value);
        if let Some((key, value)) = runtime.iter().find(unknown) {
            return Err(Failed::new(
                code::UNSUPPORTED,
                format!("`runtimeConfig.{key}: {value}` is not supported"),
            )
            .try_this(format!("leave `\"{key}\"` of `\"capabilities\"` out")));
        }
        let args = self.all.get("args").and_then(|args| args.get("cni"));
        Wishes::of(
            &[
                ("runtimeConfig.ips", runtime.get("ips")),
                ("args.cni.ips", args.and_then(|args| args.get("ips"))),
            ],
            &[("runtimeConfig.mac", runtime.get("mac"))],
            arguments,
            self.all.get("mac"),
        )
    }

    /// The containers that the runtime still has on this network, with the names of their links.
    pub(super) fn valid_attachments(&self) -> Result<Vec<(String, IfName)>, Failed> {
        const KEY: &str = "cni.dev/valid-attachments";
        let malformed = |what: &Value| Failed::new(code::CONFIG, format!("{KEY}: {what} is no attachment"));
        let all = match self.all.get(KEY) {
            Some(Value::Array(all)) => all.as_slice(),
            Some(Value::Null) => &[],
            Some(other) => return Err(malformed(other)),
            // Without it everything would go.
            None => return Err(Failed::new(code::CONFIG, format!("{KEY} is missing"))),
        };
        let one = |one: &Value| {
            let text = |key: &str| one.get(key).and_then(Value::as_str);
            let ifname = text("ifname").and_then(|ifname| ifname.parse().ok());
            text("containerID").map(str::to_owned).zip(ifname).ok_or_else(|| malformed(one))
        };
        all.iter().map(one).collect()
    }
}

fn decoded(stdin: &[u8]) -> Result<Map<String, Value>, Failed> {
    serde_json::from_slice(stdin).map_err(|error| {
        Failed::new(code::UNDECODED, format!("the network configuration cannot be decoded: {error}"))
    })
}

/// Whether the specification allows a text as the id of a container or the name of a network.
pub(super) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}
