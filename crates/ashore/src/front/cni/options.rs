//! The options of a network in a CNI configuration: those of the reference plugins macvlan, ipvlan, bridge and vlan by
//! their own names, and Ashore's own under `"ashore"`.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use ashore_core::model::lease::{Addressing, LeaseOptions};
use ashore_core::net::kind::{LinkKind, PortOption};
use ashore_core::net::name::NetworkName;
use ashore_core::net::option::{self, NetworkOption};
use ashore_core::rules::create::NetworkSpec;
use ashore_wire::dhcp4::Servers;
use serde_json::{Map, Value};

use super::nothing::is_nothing;
use super::{Failed, code};
use crate::front::given::nearest;
use crate::usage::typed::meant_by_value;

/// Keys of the reference plugins that are options of Ashore's.
const REFERENCE: [(&str, &NetworkOption); 9] = [
    ("master", &option::PARENT),
    ("bridge", &option::PARENT),
    ("mode", &option::KIND),
    ("mtu", &option::MTU),
    ("bcqueuelen", &option::BC_QUEUE_LEN),
    ("vlanId", &option::VLAN),
    ("vlan", &option::VLAN),
    ("hairpinMode", &option::HAIRPIN),
    ("portIsolation", &option::ISOLATED),
];

/// Those of them that say on which LAN a link is.
const OF_PLACE: [&str; 4] = ["master", "bridge", "vlan", "vlanId"];

/// Keys of the reference plugins that Ashore cannot follow, each with what there is instead.
const UNSUPPORTED: [(&str, &str); 9] = [
    ("isGateway", "leave it out: the LAN's router is the gateway"),
    ("isDefaultGateway", "leave it out: the LAN's router is the gateway"),
    ("forceAddress", "leave it out: the bridge keeps its own address"),
    ("ipMasq", "leave it out: the addresses are the LAN's own, and nothing is translated"),
    ("promiscMode", "`\"hairpinMode\": true`"),
    ("linkInContainer", "leave it out: the parent is the host's"),
    ("macspoofchk", "leave it out"),
    ("disableContainerInterface", "leave it out"),
    ("vlanTrunk", "`\"vlan\"`, and `\"tagged\": true` under `\"ashore\"`"),
];

/// Keys of the reference plugins that ask for what Ashore does anyway, or that are read elsewhere: it looks for
/// each address before it is used, and a port is in its own VLAN alone.
const ANYWAY: [&str; 3] = ["enabledad", "preserveDefaultVlan", "mac"];

/// Keys of the reference plugin `bridge` with which it would take the address of the LAN's router for the host, or
/// translate the containers' addresses. Ashore cannot lend addresses for that.
const OF_ROUTERS: [&str; 3] = ["isGateway", "isDefaultGateway", "ipMasq"];

/// Further names of options under `"ashore"`: netavark's, and the plurals of what may be a list.
const ALSO: [(&str, &NetworkOption); 5] = [
    ("mode", &option::KIND),
    ("aux_address", &option::AUX_ADDRESS),
    ("subnets", &option::SUBNET),
    ("ranges", &option::IP_RANGE),
    ("gateways", &option::GATEWAY),
];

/// Keys under `"ashore"` that are no options of a network.
const OF_CONTAINERS: [&str; 3] = ["network", "identity", "default_route"];

/// An option that was given.
#[derive(Debug)]
struct Entry {
    option: &'static NetworkOption,
    key: String,
    /// The key and its value, for a message.
    shown: String,
    value: Value,
}

/// The options that were given.
#[derive(Debug, Default)]
pub(super) struct Options(Vec<Entry>);

/// The option with a name under `"ashore"`: its name on the command line, or one of its names in Docker or Podman.
fn named(key: &str) -> Option<&'static NetworkOption> {
    let key = key.replace('-', "_");
    let has = |option: &&&NetworkOption| {
        option.flag.replace('-', "_") == key
            || option.of_driver().chain(option.of_ipam()).any(|name| name == key)
    };
    let also = || ALSO.iter().find(|(name, _)| *name == key).map(|(_, option)| *option);
    option::ALL.iter().find(has).copied().or_else(also)
}

impl Options {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys of the reference plugins.
    pub(super) fn reference() -> impl Iterator<Item = &'static str> {
        let own = REFERENCE.iter().map(|(key, _)| *key);
        own.chain(UNSUPPORTED.iter().map(|(key, _)| *key)).chain(ANYWAY)
    }

    /// Takes a section of Ashore's own options, `"ashore"` or `"ipam"`. Returns whether its containers get a default
    /// route.
    pub(super) fn take_own(&mut self, own: Map<String, Value>, section: &str) -> Result<bool, Failed> {
        let mut default_route = true;
        for (key, value) in own {
            let shown = format!("`\"{key}\": {value}` under `\"{section}\"`");
            if key.replace('-', "_") == "default_route" {
                default_route = value.is_null() || yes_no(&shown, &value)?;
                continue;
            }
            let Some(option) = named(&key) else {
                let known: Vec<&str> =
                    option::ALL.iter().map(|option| option.key()).chain(OF_CONTAINERS).collect();
                return Err(Failed::new(code::UNSUPPORTED, format!("{shown}: there is no such option"))
                    .try_this(format!("`\"{}\"`; there are {}", nearest(&key, &known), known.join(", "))));
            };
            self.add(option, key, shown, value);
        }
        Ok(default_route)
    }

    /// Takes of the configuration of another plugin, which makes the link, what says on which LAN the link is.
    pub(super) fn take_place(&mut self, all: &Map<String, Value>) -> Result<(), Failed> {
        let of_router =
            all.iter().find(|(key, value)| OF_ROUTERS.contains(&key.as_str()) && !is_nothing(value));
        if let Some((key, value)) = of_router {
            let instead = UNSUPPORTED
                .iter()
                .find(|(name, _)| name == key)
                .map_or("leave it out", |(_, instead)| *instead);
            let shown = format!("`\"{key}\": {value}` with addresses of the LAN is not supported");
            return Err(Failed::new(code::UNSUPPORTED, shown).try_this(instead));
        }
        for (key, option) in REFERENCE.iter().filter(|(key, _)| OF_PLACE.contains(key)) {
            let Some(value) = all.get(*key) else { continue };
            self.add(option, (*key).to_owned(), format!("`\"{key}\": {value}`"), value.clone());
        }
        Ok(())
    }

    /// Takes the keys of the reference plugins. Returns the first key that is neither theirs nor known.
    pub(super) fn take_reference<'a>(
        &mut self,
        all: &'a Map<String, Value>,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Option<(&'a str, &'a Value)>, Failed> {
        for (key, value) in all {
            let shown = format!("`\"{key}\": {value}`");
            // A key with a domain is for somebody else.
            if is_known(key) || ANYWAY.contains(&key.as_str()) || key.contains(['/', '.']) {
                continue;
            }
            if let Some((_, instead)) = UNSUPPORTED.iter().find(|(name, _)| name == key) {
                if is_nothing(value) {
                    continue;
                }
                return Err(
                    Failed::new(code::UNSUPPORTED, format!("{shown} is not supported")).try_this(*instead)
                );
            }
            match REFERENCE.iter().find(|(name, _)| name == key) {
                Some((_, option)) => self.add(option, key.clone(), shown, value.clone()),
                None => return Ok(Some((key, value))),
            }
        }
        Ok(None)
    }

    fn add(&mut self, option: &'static NetworkOption, key: String, shown: String, value: Value) {
        // What is false is given too, where true is the default.
        let is_left_out = match &value {
            Value::Bool(_) => false,
            other => is_nothing(other),
        };
        if !is_left_out {
            self.0.push(Entry { option, key, shown, value });
        }
    }

    /// The network that the options describe.
    pub(super) fn spec(&self, name: NetworkName) -> Result<NetworkSpec, Failed> {
        let isolated = self.yes(&option::ISOLATED)?.unwrap_or_default().then_some(PortOption::Isolated);
        let hairpin = self.yes(&option::HAIRPIN)?.unwrap_or_default().then_some(PortOption::Hairpin);
        Ok(NetworkSpec {
            parent: self.one(&option::PARENT)?,
            vlan: self.one(&option::VLAN)?,
            gvrp: self.yes(&option::GVRP)?.unwrap_or_default(),
            kind: self.kind()?,
            subnets: self.list(&option::SUBNET)?,
            ranges: self.list(&option::IP_RANGE)?,
            gateways: self.list(&option::GATEWAY)?,
            aux: self.parsed(&option::AUX_ADDRESS, crate::cli::parse_aux)?,
            addressing: self.addressing()?,
            leasing: LeaseOptions {
                hostname: self.one(&option::HOSTNAME)?,
                register_name: self.yes(&option::REGISTER_NAME)?.unwrap_or_default(),
                vendor_class: self.one(&option::VENDOR_CLASS)?,
                timeout: self.one(&option::LEASE_TIMEOUT)?,
                release: self.one(&option::RELEASE)?.unwrap_or_default(),
                fallback: self.one(&option::FALLBACK)?.unwrap_or_default(),
                servers: Servers {
                    allow: self.list(&option::DHCP_ALLOW)?,
                    deny: self.list(&option::DHCP_DENY)?,
                },
            },
            ipv6: self.one(&option::IPV6)?.unwrap_or_default(),
            host_access: self.yes(&option::HOST_ACCESS)?,
            mdns: self.yes(&option::MDNS)?.unwrap_or_default(),
            internal: self.yes(&option::INTERNAL)?.unwrap_or_default(),
            conflict: self.one(&option::CONFLICT)?.unwrap_or_default(),
            mtu: self.one(&option::MTU)?,
            bc_queue_len: self.one(&option::BC_QUEUE_LEN)?,
            bc_limit: self.one(&option::BC_LIMIT)?,
            port: isolated.into_iter().chain(hairpin).collect::<BTreeSet<_>>(),
            tagged: self.yes(&option::TAGGED)?.unwrap_or_default(),
            ..NetworkSpec::named(name)
        })
    }

    fn given<'a>(&'a self, option: &'static NetworkOption) -> impl Iterator<Item = &'a Entry> {
        self.0.iter().filter(move |entry| std::ptr::eq(entry.option, option))
    }

    /// All values of an option, in whatever form.
    fn parsed<T: PartialEq, E: Display>(
        &self,
        option: &'static NetworkOption,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, Failed> {
        let mut all = Vec::new();
        for entry in self.given(option) {
            for text in texts(&entry.value).ok_or_else(|| wrong(entry, "a value or a list of them"))? {
                let value = parse(&text).map_err(|error| wrong(entry, error))?;
                if !all.contains(&value) {
                    all.push(value);
                }
            }
        }
        Ok(all)
    }

    fn list<T: FromStr<Err: Display> + PartialEq>(
        &self,
        option: &'static NetworkOption,
    ) -> Result<Vec<T>, Failed> {
        self.parsed(option, str::parse)
    }

    /// The only value of an option. It may be given by two names.
    fn only<T>(&self, option: &'static NetworkOption, mut values: Vec<T>) -> Result<Option<T>, Failed> {
        if values.len() > 1 {
            let given: Vec<&str> = self.given(option).map(|entry| entry.shown.as_str()).collect();
            return Err(Failed::new(
                code::CONFIG,
                format!("{}: there can be one; leave the others out", given.join(" and ")),
            ));
        }
        Ok(values.pop())
    }

    fn one<T: FromStr<Err: Display> + PartialEq>(
        &self,
        option: &'static NetworkOption,
    ) -> Result<Option<T>, Failed> {
        self.only(option, self.list(option)?)
    }

    fn yes(&self, option: &'static NetworkOption) -> Result<Option<bool>, Failed> {
        self.only(option, self.parsed(option, crate::cli::parse_yes_no)?)
    }

    /// `"addressing": "dhcp"`, or `"dhcp": true`.
    fn addressing(&self) -> Result<Addressing, Failed> {
        let parse = |text: &str| match text {
            "yes" | "true" => Ok(Addressing::Dhcp),
            "no" | "false" => Ok(Addressing::Range),
            other => other.parse(),
        };
        Ok(self.only(&option::DHCP, self.parsed(&option::DHCP, parse)?)?.unwrap_or_default())
    }

    /// The link kind: `"kind"`, or a mode of macvlan or of ipvlan, whose names differ; and what `"bridge"` says.
    fn kind(&self) -> Result<Option<LinkKind>, Failed> {
        let bare = self
            .given(&option::KIND)
            .find(|entry| entry.key == "kind" && matches!(entry.value.as_str(), Some("macvlan" | "ipvlan")));
        let modes = self.given(&option::KIND).filter(|entry| entry.key != "kind").count();
        let mut kinds: Vec<LinkKind> = Vec::new();
        for entry in self.given(&option::KIND) {
            let mode = entry.value.as_str().ok_or_else(|| wrong(entry, "a word"))?;
            if bare.is_some_and(|bare| std::ptr::eq(bare, entry)) && modes > 0 {
                continue;
            }
            let is_of_ipvlan = match bare.and_then(|bare| bare.value.as_str()) {
                Some(bare) => bare == "ipvlan",
                None => matches!(mode, "l2" | "l3" | "l3s"),
            };
            let family = match entry.key.as_str() {
                "kind" => "",
                key if key.starts_with("ipvlan") || key == "mode" && is_of_ipvlan => "ipvlan:",
                _ => "macvlan:",
            };
            let kind = format!("{family}{mode}").parse::<LinkKind>().map_err(|error| {
                let failed = wrong(entry, error);
                match meant_by_value("--kind", mode).filter(|_| family.is_empty()) {
                    Some(meant) => failed.try_this(format!("`\"kind\": \"{meant}\"`")),
                    None => failed,
                }
            })?;
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        if let Some(bridge) = self.given(&option::PARENT).find(|entry| entry.key == "bridge") {
            match kinds.as_slice() {
                [] => kinds.push(LinkKind::Bridge),
                [LinkKind::Bridge] => {}
                [other, ..] => return Err(wrong(bridge, format!("the kind cannot be {other} too"))),
            }
        }
        self.only(&option::KIND, kinds)
    }
}

fn wrong(entry: &Entry, why: impl Display) -> Failed {
    Failed::new(code::CONFIG, format!("{}: {why}", entry.shown))
}

fn yes_no(shown: &str, value: &Value) -> Result<bool, Failed> {
    let text = texts(value).and_then(|all| all.first().cloned()).unwrap_or_default();
    crate::cli::parse_yes_no(&text).map_err(|why| Failed::new(code::CONFIG, format!("{shown}: {why}")))
}

/// A value as texts: itself, or what is listed in it. `"aux_address": {"host": "192.168.88.9"}` is one text too.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Bool(yes) => Some(vec![if *yes { "yes" } else { "no" }.to_owned()]),
        Value::Number(number) => Some(vec![number.to_string()]),
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(all) => {
            let each: Option<Vec<Vec<String>>> = all.iter().map(texts).collect();
            Some(each?.concat())
        }
        Value::Object(all) => {
            all.iter().map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect()
        }
    }
}
