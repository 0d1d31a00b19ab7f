//! A CNI network configuration: what is the specification's own of it, and what is asked of this plugin.

use ashore_core::model::lease::Addressing;
use ashore_core::net::name::{EndpointName, IfName};
use ashore_core::rules::create::NetworkSpec;
use ashore_plug::CNI_VERSIONS;
use serde_json::{Map, Value, json};

use super::container::{Arguments, Wishes};
use super::ipam::Role;
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
/// The reference plugin that leases addresses. Ashore leases itself: it keeps a lease by the container's name.
const LEASES: &str = "dhcp";
/// The bridge that the reference plugin takes if none is named.
const BRIDGE: &str = "cni0";

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

    /// As the specification writes it.
    pub(super) fn as_str(self) -> &'static str {
        CNI_VERSIONS[self as usize]
    }

    fn of(text: &str) -> Option<Self> {
        Version::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The answer to VERSION.
    pub(super) fn all(stdin: &[u8]) -> Value {
        let version = Config::version_of_answer(stdin).as_str();
        json!({ "cniVersion": version, "supportedVersions": CNI_VERSIONS })
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
    pub(super) role: Role,
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
                .try_this(format!("one of {}", CNI_VERSIONS.join(", ")))
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

    /// What it asks the plugin of this name for.
    pub(super) fn asked(&self, program: &str) -> Result<Asked, Failed> {
        let role = self.role(program)?;
        let mut own = self.own()?;
        let mut chooser = self.ipam(role)?;
        let mut options = Options::default();
        let mut take = |key: &str| {
            let (of_ipam, of_own) = (chooser.remove(key), own.remove(key));
            of_ipam.map(|value| (value, "ipam")).or(of_own.map(|value| (value, OWN)))
        };
        let identity = match take("identity") {
            None | Some((Value::Null, _)) => None,
            Some((value, section)) => Some(value.as_str().unwrap_or_default().parse().map_err(|error| {
                Failed::new(code::CONFIG, format!("`\"identity\": {value}` under `\"{section}\"`: {error}"))
            })?),
        };
        let network = take("network");
        if let Some((other, section)) = network.as_ref().filter(|(network, _)| !network.is_string()) {
            return Err(Failed::new(
                code::CONFIG,
                format!("`\"network\": {other}` under `\"{section}\"`: it must be a name"),
            ));
        }
        let default_route = options.take_own(own, OWN)? & options.take_own(chooser, "ipam")?;
        if role == Role::Addresses {
            options.take_place(&self.of_other_plugin())?;
        } else {
            let unknown = options.take_reference(&self.all, |key| key == OWN || OF_ANY.contains(&key))?;
            if let Some((key, value)) = unknown {
                let known = Options::reference().chain(OF_ANY).chain([OWN]).collect::<Vec<_>>();
                return Err(Failed::new(code::UNSUPPORTED, format!("`\"{key}\": {value}` is not supported"))
                    .try_this(format!("`\"{}\"`, if you mean that; or leave it out", nearest(key, &known))));
            }
        }
        let named = network.as_ref().and_then(|(network, _)| network.as_str()).unwrap_or(&self.name);
        let name = named
            .parse()
            .map_err(|error| Failed::new(code::CONFIG, format!("the network `{named}`: {error}")))?;
        let mut spec = options.spec(name)?;
        if self.ipam_type() == LEASES {
            spec.addressing = Addressing::Dhcp;
        }
        let leases = spec.addressing == Addressing::Dhcp;
        if leases && role != Role::Link {
            return Err(Failed::new(
                code::UNSUPPORTED,
                format!("leases under `type: \"{}\"` with `ipam.type: \"{}\"`", self.main_type(), self.ipam_type()),
            )
            .try_this("`\"type\": \"ashore\"` with `\"ipam\": {\"type\": \"dhcp\"}`: a lease is renewed by the link that Ashore makes"));
        }
        Ok(Asked {
            is_named_only: network.is_some() && options.is_empty() && !leases,
            network: spec,
            role,
            identity,
            default_route,
        })
    }

    fn main_type(&self) -> &str {
        self.all.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    fn ipam_type(&self) -> &str {
        let ipam = self.all.get("ipam").and_then(|ipam| ipam.get("type"));
        ipam.and_then(Value::as_str).unwrap_or_default()
    }

    /// What the plugin of this name is asked for.
    fn role(&self, program: &str) -> Result<Role, Failed> {
        let is_own = |kind: &str| kind == program || OWN_TYPES.contains(&kind);
        let (main, ipam) = (self.main_type(), self.ipam_type());
        if main.is_empty() || is_own(main) {
            let chosen_here = ipam.is_empty() || is_own(ipam) || ipam == LEASES;
            return Ok(if chosen_here { Role::Link } else { Role::LinkOnly });
        }
        match main {
            // It was called by a name that its configuration does not have.
            _ if ipam.is_empty() || ipam == LEASES => Ok(Role::Link),
            _ if !is_own(ipam) => Ok(Role::LinkOnly),
            "macvlan" | "bridge" => Ok(Role::Addresses),
            other => Err(Failed::new(
                code::UNSUPPORTED,
                format!("`ipam.type: \"{ipam}\"` under `type: \"{other}\"` is not supported"),
            )
            .try_this(format!(
                "`\"type\": \"ashore\"`, which takes the options of {other} and chooses the addresses too"
            ))),
        }
    }

    /// Ashore's own settings under `ipam`. Those of another plugin are read by that one.
    fn ipam(&self, role: Role) -> Result<Map<String, Value>, Failed> {
        let mut ipam = self.all.get("ipam").and_then(Value::as_object).cloned().unwrap_or_default();
        if role == Role::LinkOnly {
            return Ok(Map::new());
        }
        let is_leases = self.ipam_type() == LEASES;
        ipam.retain(|key, value| key != "type" && !is_nothing(value));
        match ipam.iter().next().filter(|_| is_leases) {
            None => Ok(ipam),
            Some((key, value)) => {
                Err(Failed::new(code::UNSUPPORTED, format!("`ipam.{key}: {value}` is not supported"))
                    .try_this(
                        "leave it out: Ashore leases itself, with the container's name as the host name",
                    ))
            }
        }
    }

    /// The configuration of the plugin that makes the link, with the bridge that it takes if none is named.
    fn of_other_plugin(&self) -> Map<String, Value> {
        let mut all = self.all.clone();
        if self.main_type() == "bridge" {
            let bridge = all.entry("bridge").or_insert_with(|| json!(BRIDGE));
            if is_nothing(bridge) {
                *bridge = json!(BRIDGE);
            }
        }
        all
    }

    /// What the runtime asks for, for one container.
    pub(super) fn wishes(&self, arguments: &Arguments, role: Role) -> Result<Wishes, Failed> {
        let empty = Map::new();
        let runtime = self.all.get("runtimeConfig").and_then(Value::as_object).unwrap_or(&empty);
        let unknown =
            |(key, value): &(&String, &Value)| !["ips", "mac"].contains(&key.as_str()) && !is_nothing(value);
        // Another plugin that chooses the addresses has the same configuration, and follows what it knows of it.
        let mut unknown = runtime.iter().filter(|_| role != Role::LinkOnly).filter(unknown);
        if let Some((key, value)) = unknown.next() {
            return Err(Failed::new(
                code::UNSUPPORTED,
                format!("`runtimeConfig.{key}: {value}` is not supported"),
            )
            .try_this(format!("leave `\"{key}\"` of `\"capabilities\"` out")));
        }
        let args = self.all.get("args").and_then(|args| args.get("cni"));
        let wishes = Wishes::of(
            &[
                ("runtimeConfig.ips", runtime.get("ips")),
                ("args.cni.ips", args.and_then(|args| args.get("ips"))),
            ],
            &[("runtimeConfig.mac", runtime.get("mac"))],
            arguments,
            self.all.get("mac"),
        )?;
        let wishes = wishes.with_lease(args.and_then(Value::as_object), arguments)?;
        if role != Role::Link && !wishes.lease.is_nothing() {
            return Err(Failed::new(
                code::UNSUPPORTED,
                "HOSTNAME and CLIENT_ID are for leases, and another plugin has a part in these addresses",
            ));
        }
        Ok(wishes)
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
