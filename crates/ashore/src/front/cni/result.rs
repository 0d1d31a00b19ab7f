//! The result of ADD, in the shape of each version, and what CHECK reads of it.

use std::net::IpAddr;

use ashore_core::api::reply::EndpointReport;
use ashore_core::model::own_routes::OwnRoute;
use ashore_core::net::name::IfName;
use ashore_wire::Mac;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::config::Version;
use super::container::address;
use super::ipam::Chosen;
use super::{Failed, code};
use crate::front::name_servers;

/// The result for an endpoint that is on the LAN, or that has been lent addresses.
pub(super) struct Answer<'a> {
    pub(super) version: Version,
    pub(super) endpoint: &'a EndpointReport,
    /// What another plugin has chosen.
    pub(super) chosen: Option<&'a Chosen>,
    /// The name servers that the configuration gives.
    pub(super) dns: Option<&'a Map<String, Value>>,
}

impl Answer<'_> {
    /// With the link that Ashore has made.
    pub(super) fn with_link(&self, ifname: &IfName, sandbox: &str, mac: Option<Mac>) -> Value {
        let mut interface = Map::new();
        interface.insert("name".into(), json!(ifname));
        interface.extend(mac.map(|mac| ("mac".into(), json!(mac))));
        interface.insert("sandbox".into(), json!(sandbox));
        self.whole(Some(interface))
    }

    /// With addresses alone.
    pub(super) fn without_link(&self) -> Value {
        self.whole(None)
    }

    fn whole(&self, interface: Option<Map<String, Value>>) -> Value {
        let is_old = self.version < Version::V100;
        let dns = self.dns.cloned().unwrap_or_else(|| match self.chosen {
            Some(chosen) => chosen.dns.clone(),
            None => dns_told(self.endpoint),
        });
        let mut result = Map::new();
        result.insert("cniVersion".into(), json!(self.version.as_str()));
        result.insert("ips".into(), self.ips(is_old, interface.is_some()));
        result.extend(interface.map(|interface| ("interfaces".into(), json!([interface]))));
        let routes = self.routes();
        if !routes.is_empty() {
            result.insert("routes".into(), routes.into());
        }
        if is_old || !dns.is_empty() {
            result.insert("dns".into(), dns.into());
        }
        Value::Object(result)
    }

    fn ips(&self, is_old: bool, has_link: bool) -> Value {
        let gateway_of = |net: &IpNet| {
            let chosen = self.chosen.map(|chosen| &chosen.ips);
            match chosen {
                Some(ips) => ips.iter().find(|(there, _)| there.addr() == net.addr())?.1,
                None => {
                    self.endpoint.gateways.iter().copied().find(|ip| ip.is_ipv6() == net.addr().is_ipv6())
                }
            }
        };
        let ips = self.endpoint.addresses.iter().map(|net| {
            let mut ip = Map::new();
            if is_old {
                ip.insert("version".into(), json!(if net.addr().is_ipv6() { "6" } else { "4" }));
            }
            if has_link {
                ip.insert("interface".into(), json!(0));
            }
            ip.insert("address".into(), json!(net));
            ip.extend(gateway_of(net).map(|gateway| ("gateway".into(), json!(gateway))));
            Value::Object(ip)
        });
        ips.collect()
    }

    fn routes(&self) -> Vec<Value> {
        if let Some(chosen) = self.chosen {
            let is_set = |route: &OwnRoute| self.endpoint.own_routes.contains(route);
            return chosen
                .routes
                .iter()
                .filter(|(route, _)| is_set(route))
                .map(|(_, told)| told.clone())
                .collect();
        }
        let mut routes: Vec<&str> = self.endpoint.gateways.iter().map(everywhere).collect();
        routes.dedup();
        routes.iter().map(|to| json!({ "dst": to })).collect()
    }
}

fn everywhere(gateway: &IpAddr) -> &'static str {
    if gateway.is_ipv6() { "::/0" } else { "0.0.0.0/0" }
}

/// The name servers and search domains of the lease and of advertisements.
fn dns_told(endpoint: &EndpointReport) -> Map<String, Value> {
    let (servers, search) = name_servers::told(endpoint);
    let mut dns = Map::new();
    if !servers.is_empty() {
        dns.insert("nameservers".into(), json!(servers));
    }
    if !search.is_empty() {
        dns.insert("search".into(), json!(search));
    }
    dns
}

/// The addresses of a link in a result, which may be that of a later plugin.
pub(super) fn addresses_of(
    result: &Map<String, Value>,
    ifname: &IfName,
    sandbox: &str,
) -> Result<Vec<IpAddr>, Failed> {
    let list = |key: &str| result.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_it = |link: &Value| text(link, "name") == ifname.as_str() && text(link, "sandbox") == sandbox;
    let Some(index) = list("interfaces").iter().position(is_it) else {
        return Err(Failed::new(
            code::CONFIG,
            format!("prevResult has no interface `{ifname}` with the sandbox {sandbox}"),
        ));
    };
    let is_its = |ip: &&Value| match ip.get("interface").and_then(Value::as_u64) {
        Some(at) => usize::try_from(at) == Ok(index),
        None => list("interfaces").len() == 1,
    };
    let mut addresses = Vec::new();
    for ip in list("ips").iter().filter(is_its) {
        let text = text(ip, "address");
        addresses.push(
            address(&text).ok_or_else(|| {
                Failed::new(code::CONFIG, format!("prevResult: `{text}` is not an address"))
            })?,
        );
    }
    Ok(addresses)
}
