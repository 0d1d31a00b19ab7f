//! Who chooses the addresses, by a configuration's `ipam`, and what another plugin has chosen.

use std::net::IpAddr;

use ashore_core::model::own_routes::{OwnRoute, OwnRoutes};
use ipnet::IpNet;
use serde_json::{Map, Value};

use super::nothing::is_nothing;
use super::{Failed, code};

/// What the plugin is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A link with addresses of Ashore's choice.
    Link,
    /// A link with addresses that another plugin has chosen.
    LinkOnly,
    /// Addresses alone: another plugin makes the link.
    Addresses,
}

/// What is known of another plugin's choice.
#[derive(Debug)]
pub(super) enum Choice {
    /// There is no other plugin.
    None,
    /// It is not executed yet.
    ToCome,
    /// What it has chosen.
    Made(Chosen),
}

/// What another plugin has chosen for a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Chosen {
    /// The addresses, each with its gateway.
    pub(super) ips: Vec<(IpNet, Option<IpAddr>)>,
    /// The routes, each with how it was told.
    pub(super) routes: Vec<(OwnRoute, Value)>,
    pub(super) dns: Map<String, Value>,
}

impl Chosen {
    /// Reads a plugin's answer: an abbreviated result of whatever version.
    pub(super) fn parse(answer: &[u8]) -> Result<Self, Failed> {
        let all: Map<String, Value> = serde_json::from_slice(answer).map_err(|error| {
            Failed::new(code::UNDECODED, format!("the IPAM plugin's answer cannot be decoded: {error}"))
        })?;
        let list = |key: &str| all.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut chosen = Chosen {
            dns: all.get("dns").and_then(Value::as_object).cloned().unwrap_or_default(),
            ..Chosen::default()
        };
        for ip in list("ips") {
            let net: IpNet = parsed(ip, "address")?.ok_or_else(|| wrong(ip, "it has no address"))?;
            chosen.ips.push((net, router(ip, "gateway", &net)?));
        }
        if chosen.ips.is_empty() {
            return Err(Failed::new(code::CONFIG, "the IPAM plugin has chosen no address"));
        }
        for route in list("routes") {
            chosen.routes.push((chosen.route(route)?, route.clone()));
        }
        Ok(chosen)
    }

    fn route(&self, route: &Value) -> Result<OwnRoute, Failed> {
        let to: IpNet = parsed(route, "dst")?.ok_or_else(|| wrong(route, "it has no destination"))?;
        let unknown = |(key, value): &(&String, &Value)| {
            !["dst", "gw", "priority"].contains(&key.as_str()) && !is_nothing(value)
        };
        if let Some((key, value)) = route.as_object().and_then(|all| all.iter().find(unknown)) {
            return Err(Failed::new(
                code::UNSUPPORTED,
                format!("`\"{key}\": {value}` of the IPAM plugin's route to {to} is not supported"),
            ));
        }
        let same = |gateway: &IpAddr| gateway.is_ipv6() == to.addr().is_ipv6();
        let usual = || self.ips.iter().filter_map(|(_, gateway)| *gateway).find(same);
        let metric = route.get("priority").filter(|priority| !is_nothing(priority));
        let metric = metric.map(|metric| metric.as_u64().and_then(|metric| metric.try_into().ok()));
        let metric = match metric {
            Some(None) => return Err(wrong(route, "its priority is no number of 32 bits")),
            Some(metric) => metric,
            None => None,
        };
        Ok(OwnRoute { to: to.trunc(), via: router(route, "gw", &to)?.or_else(usual), metric })
    }

    /// The routes that the container gets. A configuration may want no default route.
    pub(super) fn own_routes(&self, default_route: bool) -> OwnRoutes {
        let routes = self.routes.iter().map(|(route, _)| route);
        let wanted = routes.filter(|route| default_route || route.to.prefix_len() > 0);
        OwnRoutes { metric: None, routes: wanted.cloned().collect() }
    }
}

/// The value of a key, if it is there.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(of: &Value, key: &str) -> Result<Option<T>, Failed> {
    let Some(value) = of.get(key).filter(|value| !is_nothing(value)) else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| wrong(of, format!("`{key}` is no text")))?;
    text.parse().map(Some).map_err(|error| wrong(of, format!("`{key}` is `{text}`: {error}")))
}

/// The router of a key, if it is there, for what is of a network's family.
fn router(of: &Value, key: &str, net: &IpNet) -> Result<Option<IpAddr>, Failed> {
    match parsed(of, key)? {
        Some(IpAddr::V4(ip)) if net.addr().is_ipv6() => {
            Err(wrong(of, format!("`{key}` is {ip}, an IPv4 address for {net}")))
        }
        Some(IpAddr::V6(ip)) if net.addr().is_ipv4() => {
            Err(wrong(of, format!("`{key}` is {ip}, an IPv6 address for {net}")))
        }
        Some(ip) if ip.is_unspecified() => Err(wrong(of, format!("`{key}` is {ip}, which is no router"))),
        router => Ok(router),
    }
}

fn wrong(what: &Value, why: impl std::fmt::Display) -> Failed {
    /// How many characters of an answer are told.
    const MOST: usize = 200;
    let what = what.to_string();
    let cut = if what.chars().nth(MOST).is_some() { "…" } else { "" };
    let what: String = what.chars().take(MOST).collect();
    Failed::new(code::CONFIG, format!("the IPAM plugin's answer has {what}{cut}: {why}"))
}
