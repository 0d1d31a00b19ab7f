//! A container that Podman attaches to a network or takes off it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;

use ashore_core::api::reply::EndpointReport;
use ashore_core::model::lease::LeaseWishes;
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::net::name::IfName;
use ashore_core::net::published::{Other, Ports, Published};
use ashore_core::net::told::{HostNameError, client_id};
use ashore_wire::Mac;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Failed;
use super::network::{Described, metric};
use crate::front::given::nearest;
use crate::front::name_servers;

/// Options of one attachment: `podman run --network lan:no_default_route=true`.
const KNOWN: [&str; 5] = ["no_default_route", "dns", "metric", HOSTNAME, CLIENT_ID];
const HOSTNAME: &str = "hostname";
const CLIENT_ID: &str = "client_id";

/// The input of `setup` and `teardown`.
#[derive(Debug, Deserialize)]
pub(super) struct Attachment {
    pub(super) container_id: String,
    /// With a pod, the pod's name.
    pub(super) container_name: String,
    pub(super) network: Described,
    network_options: PerNetwork,
    #[serde(default)]
    port_mappings: Option<Vec<PortMapping>>,
}

/// A port that `-p` was to publish, or a range of them.
#[derive(Debug, Deserialize)]
struct PortMapping {
    container_port: u16,
    #[serde(default)]
    host_port: u16,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    range: u16,
}

#[derive(Debug, Deserialize)]
struct PerNetwork {
    interface_name: String,
    #[serde(default)]
    static_ips: Option<Vec<IpAddr>>,
    #[serde(default)]
    static_mac: Option<String>,
    #[serde(default)]
    options: Option<BTreeMap<String, String>>,
}

/// What its user has chosen.
#[derive(Debug)]
pub(super) struct Choices {
    pub(super) ips: Vec<IpAddr>,
    pub(super) mac: Option<Mac>,
    pub(super) ifname: IfName,
    pub(super) default_route: bool,
    pub(super) own_routes: OwnRoutes,
    pub(super) unaddressed: bool,
    pub(super) wishes: LeaseWishes,
}

impl Attachment {
    pub(super) fn ifname(&self) -> Result<IfName, Failed> {
        let name = &self.network_options.interface_name;
        name.parse().map_err(|error| Failed(format!("the interface name `{name}`: {error}")))
    }

    pub(super) fn choices(&self) -> Result<Choices, Failed> {
        let options = self.network_options.options.iter().flatten();
        if let Some((unknown, _)) = options.clone().find(|(key, _)| !KNOWN.contains(&key.as_str())) {
            return Err(Failed(format!(
                "there is no option `{unknown}` for a container; did you mean `{}`?",
                nearest(unknown, &KNOWN)
            )));
        }
        // Through Podman's Docker API an address comes twice.
        let mut ips: Vec<IpAddr> = self.network_options.static_ips.iter().flatten().copied().collect();
        ips.sort_unstable();
        ips.dedup();
        let mac = self.network_options.static_mac.as_deref().filter(|mac| !mac.is_empty());
        let mac = mac.map(|mac| mac.parse().map_err(|error| Failed(format!("the MAC {mac}: {error}"))));
        let no_route = match self.option("no_default_route") {
            Some(text) => crate::cli::parse_yes_no(&text)
                .map_err(|error| Failed(format!("no_default_route={text}: {error}")))?,
            None => false,
        };
        let metric = self.option("metric").map(|text| metric(&text)).transpose()?;
        let unaddressed = self.network.is_without_addresses();
        if let (true, Some(ip)) = (unaddressed, ips.first()) {
            return Err(Failed(format!(
                "--ip {ip}: the network has --ipam-driver none; leave one of both out"
            )));
        }
        Ok(Choices {
            ips,
            mac: mac.transpose()?,
            ifname: self.ifname()?,
            default_route: !no_route && !unaddressed,
            own_routes: OwnRoutes { metric, routes: self.network.routes() },
            unaddressed,
            wishes: self.wishes()?,
        })
    }

    /// That ports are not published, if any are to be. Podman does not say whether another network of the container does
    /// it.
    pub(super) fn note_of_ports(&self, endpoint: &EndpointReport) -> Option<String> {
        let all = self.port_mappings.iter().flatten().flat_map(|mapping| {
            let other = mapping.protocol.split(',').find_map(|protocol| match protocol {
                "udp" => Some(Other::Udp),
                "sctp" => Some(Other::Sctp),
                _ => None,
            });
            (0..mapping.range.max(1)).filter_map(move |next| {
                let own = mapping.container_port.checked_add(next)?;
                let host = mapping.host_port.checked_add(next).filter(|_| mapping.host_port != 0);
                Some(Published { host, own, other })
            })
        });
        let at = endpoint.addresses.iter().map(ipnet::IpNet::addr);
        Ports::of(all).note(&format!("`{}`", endpoint.name), &endpoint.network, at)
    }

    /// What DHCP servers are to be told of this container. The network's host name is read with the network.
    fn wishes(&self) -> Result<LeaseWishes, Failed> {
        let own = |name: &str| self.network_options.options.as_ref().and_then(|options| options.get(name));
        let wrong = |name: &str, text: &str, why: &dyn Display| Failed(format!("{name}={text}: {why}"));
        let hostname =
            own(HOSTNAME).map(|text| text.parse().map_err(|why: HostNameError| wrong(HOSTNAME, text, &why)));
        let client_id =
            own(CLIENT_ID).map(|text| client_id(text).map_err(|why| wrong(CLIENT_ID, text, &why)));
        Ok(LeaseWishes { hostname: hostname.transpose()?, client_id: client_id.transpose()? })
    }

    /// An option of this attachment, or else of its network.
    fn option(&self, name: &str) -> Option<String> {
        let own = self.network_options.options.as_ref().and_then(|options| options.get(name)).cloned();
        own.or_else(|| self.network.option(name))
    }

    /// The reply to `setup`: what Podman shows, and writes to the container's `resolv.conf`.
    pub(super) fn answer(&self, endpoint: &EndpointReport, mac: Option<Mac>) -> Value {
        let subnets = endpoint.addresses.iter().map(|address| {
            let same = |ip: &&IpAddr| ip.is_ipv6() == address.addr().is_ipv6();
            let mut told = Map::new();
            told.insert("ipnet".into(), json!(address));
            let gateway = endpoint.gateways.iter().find(same);
            told.extend(gateway.map(|gateway| ("gateway".into(), json!(gateway))));
            Value::Object(told)
        });
        let interface = json!({ "mac_address": mac, "subnets": subnets.collect::<Value>() });
        let mut interfaces = Map::new();
        interfaces.insert(self.network_options.interface_name.clone(), interface);
        let (servers, domains) = self.name_servers(endpoint);
        json!({ "interfaces": interfaces, "dns_server_ips": servers, "dns_search_domains": domains })
    }

    /// The name servers and search domains: those of the network, or else of the lease and of advertisements.
    fn name_servers(&self, endpoint: &EndpointReport) -> (Vec<IpAddr>, Vec<String>) {
        if self.option("dns").as_deref() == Some("none") {
            return (Vec::new(), Vec::new());
        }
        let given = self.network.name_servers();
        if !given.is_empty() {
            return (given.to_vec(), Vec::new());
        }
        name_servers::told(endpoint)
    }
}
