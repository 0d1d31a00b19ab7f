//! A network as Podman describes it to `create`, and in each `setup` again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ashore_core::model::ipv6::Ipv6Mode;
use ashore_core::model::lease::{Addressing, LeaseOptions};
use ashore_core::model::network::{EngineNetwork, Network};
use ashore_core::model::own_routes::OwnRoute;
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::name::NetworkName;
use ashore_core::net::option;
use ashore_core::net::range::Range;
use ashore_core::rules::create::NetworkSpec;
use ashore_wire::dhcp4::Servers;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Failed;
use crate::front::caller::{Caller, check_id};
use crate::front::given::Given;

/// What begins the labels that stand for options: Podman's Docker API drops the options of a network.
const LABEL: &str = "ashore.";
/// The name by which Podman's networks have Ashore choose the addresses. Podman accepts it from a plugin alone.
const IPAM: &str = "ashore";

/// The network, with all that Podman said of it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(super) struct Described {
    pub(super) id: String,
    read: Read,
    /// All of it, with what is not read here.
    all: Map<String, Value>,
}

/// The metric of default routes.
pub(super) fn metric(text: &str) -> Result<u32, Failed> {
    text.parse().map_err(|_| Failed(format!("-o metric={text}: it is no number from 0 to {}", u32::MAX)))
}

/// What is read of it.
#[derive(Debug, Deserialize)]
struct Read {
    name: String,
    id: String,
    #[serde(default)]
    network_interface: Option<String>,
    #[serde(default)]
    subnets: Option<Vec<Subnet>>,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    routes: Option<Vec<StaticRoute>>,
    #[serde(default)]
    network_dns_servers: Option<Vec<IpAddr>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    options: Option<BTreeMap<String, String>>,
    #[serde(default)]
    ipam_options: Option<BTreeMap<String, String>>,
}

/// A route of `--route`. Another netavark may have kinds of routes that are not known here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StaticRoute {
    destination: IpNet,
    gateway: IpAddr,
    #[serde(default)]
    metric: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Subnet {
    #[serde(rename = "subnet")]
    net: IpNet,
    #[serde(default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    lease_range: Option<LeaseRange>,
}

#[derive(Debug, Deserialize)]
struct LeaseRange {
    #[serde(default)]
    start_ip: Option<IpAddr>,
    #[serde(default)]
    end_ip: Option<IpAddr>,
}

impl TryFrom<Map<String, Value>> for Described {
    type Error = serde_json::Error;

    fn try_from(all: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let read: Read = serde_json::from_value(Value::Object(all.clone()))?;
        Ok(Described { id: read.id.clone(), read, all })
    }
}

impl Described {
    /// The name by which Podman's user knows it.
    pub(super) fn name(&self) -> Result<NetworkName, Failed> {
        let name = &self.read.name;
        name.parse().map_err(|error| Failed(format!("the network's name `{name}`: {error}")))
    }

    /// The name servers that its user gave it.
    pub(super) fn name_servers(&self) -> &[IpAddr] {
        self.read.network_dns_servers.as_deref().unwrap_or_default()
    }

    /// Options that concern its containers, and not the network.
    pub(super) fn option(&self, name: &str) -> Option<String> {
        self.options().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The options and the labels that stand for options. Podman takes `-o a=1,b=2` for one option, and so does a
    /// quadlet with two of them in one line.
    fn options(&self) -> Vec<(String, String)> {
        let known: BTreeSet<&str> = option::of_podman().chain(OF_CONTAINERS).collect();
        let given = self.read.options.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
        let labels = self.read.labels.iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((key.strip_prefix(LABEL)?, value.as_str())));
        let mut options: Vec<(String, String)> = Vec::new();
        for (key, value) in given.chain(labels) {
            let mut parts = value.split(',');
            options.push((key.to_owned(), parts.next().unwrap_or_default().to_owned()));
            for part in parts {
                let other = part.split_once('=').filter(|(key, _)| known.contains(key));
                if let Some((key, value)) = other {
                    options.push((key.to_owned(), value.to_owned()));
                } else if let Some((_, value)) = options.last_mut() {
                    value.push(',');
                    value.push_str(part);
                }
            }
        }
        options
    }

    /// The network that a caller asks for. Networks belong to root and his Podman: that of another user only joins one.
    pub(super) fn spec_for(&self, caller: &Caller) -> Result<NetworkSpec, Failed> {
        check_id("network", &self.id)?;
        let spec = self.spec()?;
        Ok(if caller.user.is_some() { NetworkSpec { engine: None, ..spec } } else { spec })
    }

    /// The network that Podman's user asks for.
    pub(super) fn spec(&self) -> Result<NetworkSpec, Failed> {
        let read = &self.read;
        self.check_routes()?;
        self.option("metric").map(|text| metric(&text)).transpose()?;
        let options = self.options();
        let of_network = options.iter().filter(|(key, _)| !OF_CONTAINERS.contains(&key.as_str()));
        let of_network = of_network.map(|(key, value)| (key.as_str(), value.clone())).collect();
        let given = Given::of(of_network, &option::of_podman().collect::<Vec<_>>())?;
        let mut spec = given.spec(self.name()?)?;
        spec.engine = Some(EngineNetwork {
            kind: EngineKind::Podman,
            id: read.id.clone(),
            name: Some(read.name.clone()),
            of: None,
        });
        if let Some(interface) = read.network_interface.as_ref().filter(|name| !name.is_empty()) {
            let named = interface
                .parse()
                .map_err(|error| Failed(format!("--interface-name {interface}: {error}")))?;
            match &spec.parent {
                Some(parent) if *parent != named => {
                    return Err(Failed(format!(
                        "-o parent={parent} and --interface-name {interface} name two interfaces; leave one out"
                    )));
                }
                _ => spec.parent = Some(named),
            }
        }
        spec.internal |= read.internal;
        let ipam = self.ipam();
        for subnet in read.subnets.iter().flatten() {
            spec.subnets.push(subnet.net.trunc());
            spec.gateways.extend(subnet.gateway);
            spec.ranges.extend(subnet.range(ipam == Some(IPAM))?);
        }
        if let Some(text) = given.text(option::PODMANS_AUX_ADDRESS) {
            for part in text.split(';') {
                let aux = crate::cli::parse_aux(part);
                spec.aux.push(
                    aux.map_err(|error| format!("-o {}={part}: {error}", option::PODMANS_AUX_ADDRESS))?,
                );
            }
        }
        spec.leasing = LeaseOptions {
            hostname: given.value(&option::HOSTNAME)?,
            register_name: given.yes(&option::REGISTER_NAME)?.unwrap_or_default(),
            vendor_class: given.value(&option::VENDOR_CLASS)?,
            timeout: given.value(&option::LEASE_TIMEOUT)?,
            release: given.value(&option::RELEASE)?.unwrap_or_default(),
            fallback: given.value(&option::FALLBACK)?.unwrap_or_default(),
            servers: Servers {
                allow: listed(&given, &option::DHCP_ALLOW)?,
                deny: listed(&given, &option::DHCP_DENY)?,
            },
        };
        spec.addressing = given.value(&option::DHCP)?.unwrap_or_default();
        match ipam {
            Some("dhcp") => spec.addressing = Addressing::Dhcp,
            Some("none") if spec.addressing != Addressing::default() || spec.ipv6 != Ipv6Mode::default() => {
                return Err(Failed(
                    "--ipam-driver none: a link without an address has none of DHCP or of routers either; leave one \
                     of both out"
                        .to_owned(),
                ));
            }
            _ => {}
        }
        Ok(spec)
    }

    fn ipam(&self) -> Option<&str> {
        self.read.ipam_options.as_ref().and_then(|options| options.get("driver")).map(String::as_str)
    }

    /// Whether its containers get no address.
    pub(super) fn is_without_addresses(&self) -> bool {
        self.ipam() == Some("none")
    }

    /// The routes that its user gave its containers.
    pub(super) fn routes(&self) -> Vec<OwnRoute> {
        let routes = self.read.routes.iter().flatten();
        let own = |route: &StaticRoute| OwnRoute {
            to: route.destination.trunc(),
            via: Some(route.gateway),
            metric: route.metric,
        };
        routes.map(own).collect()
    }

    /// Checks that the next hop of each route is in one of the subnets, if there are some.
    fn check_routes(&self) -> Result<(), Failed> {
        let nets: Vec<IpNet> = self.read.subnets.iter().flatten().map(|subnet| subnet.net.trunc()).collect();
        for StaticRoute { destination: to, gateway, .. } in self.read.routes.iter().flatten() {
            if gateway.is_ipv6() != to.addr().is_ipv6() {
                return Err(Failed(format!("--route {to},{gateway}: both must be of one family")));
            }
            if !nets.is_empty() && !nets.iter().any(|net| net.contains(gateway)) {
                let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
                return Err(Failed(format!(
                    "--route {to},{gateway}: {gateway} is not in {}",
                    nets.join(" or ")
                )));
            }
        }
        Ok(())
    }

    /// What Podman is told of the network: what it said, with what was left open filled in. Podman shows it, and
    /// sends it with each `setup`.
    pub(super) fn filled(&self, network: &Network) -> Value {
        let mut all = self.all.clone();
        let vlan = network.vlan.as_ref();
        let parent = vlan.map_or(&network.parent, |vlan| &vlan.lower);
        let subnets = network.subnets.iter().map(|subnet| {
            let range =
                subnet.range.map(|range| json!({ "start_ip": range.first(), "end_ip": range.last() }));
            let mut told = Map::new();
            told.insert("subnet".into(), json!(subnet.net));
            told.extend(subnet.gateway.map(|gateway| ("gateway".into(), json!(gateway))));
            told.extend(range.map(|range| ("lease_range".into(), range)));
            Value::Object(told)
        });
        let mut options: Map<String, Value> =
            self.read.options.iter().flatten().map(|(key, value)| (key.clone(), json!(value))).collect();
        let has = |names: &[&str]| self.options().iter().any(|(key, _)| names.contains(&key.as_str()));
        if !has(&["kind", "mode", "macvlan_mode", "ipvlan_mode"]) {
            options.insert("kind".into(), json!(network.kind.to_string()));
        }
        if let Some(vlan) = vlan.filter(|_| !has(&["vlan"])) {
            options.insert("vlan".into(), json!(vlan.id.to_string()));
        }
        if network.addressing == Addressing::Dhcp && !has(&["addressing"]) {
            options.insert("addressing".into(), json!("dhcp"));
        }
        all.insert("network_interface".into(), json!(parent));
        if self.is_without_addresses() {
            // Podman takes no subnets with that.
            all.insert("options".into(), Value::Object(options));
            all.insert("dns_enabled".into(), json!(false));
            return Value::Object(all);
        }
        all.insert("subnets".into(), subnets.collect());
        all.insert("ipv6_enabled".into(), json!(network.has_ipv6()));
        all.insert("options".into(), Value::Object(options));
        if self.ipam().is_none_or(|driver| driver != "host-local" || self.read.subnets.is_none()) {
            all.insert("ipam_options".into(), json!({ "driver": IPAM }));
        }
        // aardvark does not serve a plugin's networks. Podman warns at each start if it is not installed, and takes
        // name servers only with this set.
        if self.name_servers().is_empty() {
            all.insert("dns_enabled".into(), json!(false));
        }
        Value::Object(all)
    }
}

/// Options of a network that concern its containers alone.
const OF_CONTAINERS: [&str; 3] = ["no_default_route", "dns", "metric"];

fn listed<T: std::str::FromStr<Err: std::fmt::Display>>(
    given: &Given<'_>,
    option: &'static option::NetworkOption,
) -> Result<Vec<T>, String> {
    let parse = |text: &str| text.split(',').map(|part| part.trim().parse()).collect::<Result<Vec<T>, _>>();
    Ok(given.read(option.of_ipam().into_iter(), parse)?.unwrap_or_default())
}

impl Subnet {
    /// The range from which addresses are chosen. Podman tells `--ip-range 192.168.88.192/27` as the addresses from
    /// .193 to .223; it means the same addresses as in Docker. `is_exact` says that the range is as Ashore has told it.
    fn range(&self, is_exact: bool) -> Result<Option<Range>, Failed> {
        let Some(LeaseRange { start_ip, end_ip }) = &self.lease_range else { return Ok(None) };
        let whole = Range::of_net(&self.net.trunc());
        let (first, last) = (start_ip.unwrap_or(whole.first()), end_ip.unwrap_or(whole.last()));
        let range = Range::between(first, last).ok_or_else(|| {
            let has = |ip| self.net.contains(ip);
            let turned = format!("; try: --ip-range {last}-{first}");
            let turned = if has(&first) && has(&last) { turned } else { String::new() };
            Failed(format!("the range {first}-{last} of {} ends before it begins{turned}", self.net))
        })?;
        Ok(Some(if is_exact { range } else { range.block_without_first().unwrap_or(range) }))
    }
}
