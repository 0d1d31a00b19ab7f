//! The result of ADD, in the shape of each version, and what CHECK reads of it.

use std::net::IpAddr;

use ashore_core::api::reply::EndpointReport;
use ashore_core::net::name::IfName;
use ashore_wire::Mac;
use serde_json::{Map, Value, json};

use super::config::Version;
use super::container::address;
use super::{Failed, code};

/// The result for an endpoint that is on the LAN.
pub(super) fn of(
    version: Version,
    ifname: &IfName,
    sandbox: &str,
    endpoint: &EndpointReport,
    mac: Option<Mac>,
    dns: Option<&Map<String, Value>>,
) -> Value {
    let is_old = version < Version::V100;
    let mut interface = Map::new();
    interface.insert("name".into(), json!(ifname));
    interface.extend(mac.map(|mac| ("mac".into(), json!(mac))));
    interface.insert("sandbox".into(), json!(sandbox));
    let ips = endpoint.addresses.iter().map(|net| {
        let is_v6 = net.addr().is_ipv6();
        let mut ip = Map::new();
        if is_old {
            ip.insert("version".into(), json!(if is_v6 { "6" } else { "4" }));
        }
        ip.insert("interface".into(), json!(0));
        ip.insert("address".into(), json!(net));
        let gateway = endpoint.gateways.iter().find(|gateway| gateway.is_ipv6() == is_v6);
        ip.extend(gateway.map(|gateway| ("gateway".into(), json!(gateway))));
        Value::Object(ip)
    });
    let mut routes: Vec<&str> = endpoint.gateways.iter().map(everywhere).collect();
    routes.dedup();
    let routes: Vec<Value> = routes.iter().map(|to| json!({ "dst": to })).collect();
    let dns = dns.cloned().unwrap_or_else(|| name_servers(endpoint));
    let mut result = Map::new();
    result.insert("cniVersion".into(), json!(version.as_str()));
    result.insert("interfaces".into(), json!([interface]));
    result.insert("ips".into(), ips.collect());
    if !routes.is_empty() {
        result.insert("routes".into(), routes.into());
    }
    if is_old || !dns.is_empty() {
        result.insert("dns".into(), dns.into());
    }
    Value::Object(result)
}

fn everywhere(gateway: &IpAddr) -> &'static str {
    if gateway.is_ipv6() { "::/0" } else { "0.0.0.0/0" }
}

/// The name servers and search domains of the lease and of advertisements.
fn name_servers(endpoint: &EndpointReport) -> Map<String, Value> {
    let lease = endpoint.lease.as_ref().map(|record| &record.lease);
    let told = endpoint.lease6.iter().map(|record| &record.lease.dns);
    let told: Vec<_> = told.chain(endpoint.learned.iter().map(|learned| &learned.dns)).collect();
    let leased = lease.into_iter().flat_map(|lease| lease.dns.iter().map(|ip| IpAddr::from(*ip)));
    // A link-local server has a zone in the container, for which CNI has no place.
    let v6 = told.iter().flat_map(|dns| &dns.servers).filter(|ip| !ip.is_unicast_link_local());
    let servers: Vec<IpAddr> = leased.chain(v6.map(|ip| IpAddr::from(*ip))).collect();
    let domains = lease.into_iter().flat_map(|lease| &lease.search);
    let domains = domains.chain(told.iter().flat_map(|dns| &dns.search));
    let mut search: Vec<String> = Vec::new();
    for domain in domains.map(ToString::to_string) {
        if !search.contains(&domain) {
            search.push(domain);
        }
    }
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
