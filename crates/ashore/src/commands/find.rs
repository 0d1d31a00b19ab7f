//! What a name stands for: a network, or an endpoint on one or several networks.

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::{EndpointReport, NetworkReport, Reply, Status};
use ashore_core::api::request::Request;
use ashore_core::api::trouble::Trouble;
use ashore_core::net::remedy::Remedy;

use crate::client::{ClientArgs, Failure, ask, unexpected};
use crate::nearest::nearest;

/// Asks for the status.
pub(super) fn status_of(client: &ClientArgs) -> Result<Box<Status>, Failure> {
    match ask(client, &Request::Status)? {
        Reply::Status(status) => Ok(status.into()),
        other => Err(unexpected(&other)),
    }
}

/// The part of a status that a name stands for. It is refused if that is nothing.
pub(super) fn part_of(status: Status, name: &str) -> Result<Status, Failure> {
    let is_network =
        |report: &NetworkReport| report.network.label() == name || report.network.name.as_str() == name;
    if !status.networks.iter().any(is_network) && !status.endpoints.iter().any(|of| of.name.as_str() == name)
    {
        return Err(unknown(&status, name).into());
    }
    let Status { version, pid, networks, endpoints, troubles, .. } = status;
    let (wanted, others): (Vec<NetworkReport>, Vec<NetworkReport>) =
        networks.into_iter().partition(is_network);
    let labels: Vec<String> = wanted.iter().map(|report| report.network.label().to_owned()).collect();
    let endpoints: Vec<EndpointReport> = endpoints
        .into_iter()
        .filter(|report| report.name.as_str() == name || labels.contains(&report.network))
        .collect();
    // An endpoint depends on the network that it is on.
    let below =
        others.into_iter().filter(|report| endpoints.iter().any(|of| of.network == report.network.label()));
    let networks: Vec<NetworkReport> = wanted.into_iter().chain(below).collect();
    let concerns = |trouble: &Trouble| concerns(&trouble.about, &networks, &endpoints);
    let troubles = troubles.into_iter().filter(concerns).collect();
    Ok(Status { version, pid, networks, endpoints, pending: Vec::new(), troubles })
}

/// Whether something that is wrong touches one of these. What concerns the whole host touches everything.
fn concerns(about: &About, networks: &[NetworkReport], endpoints: &[EndpointReport]) -> bool {
    if let Some(endpoint) = &about.endpoint {
        let same = |of: &EndpointReport| {
            of.name == *endpoint && about.network.as_ref().is_none_or(|network| *network == of.network)
        };
        return endpoints.iter().any(same);
    }
    if let Some(network) = &about.network {
        return networks.iter().any(|of| of.network.label() == network);
    }
    match &about.parent {
        Some(parent) => networks.iter().any(|of| {
            of.network.parent == *parent || of.network.vlan.as_ref().is_some_and(|vlan| vlan.lower == *parent)
        }),
        None => true,
    }
}

fn unknown(status: &Status, name: &str) -> Refusal {
    let networks = status.networks.iter().map(|report| report.network.label());
    let names = networks.chain(status.endpoints.iter().map(|report| report.name.as_str()));
    let remedy = match nearest(name, names) {
        Some(near) => Remedy::from(format!("`{near}`; all that there are: ")).and_run("ashore ls"),
        None => Remedy::from("all that there are: ").and_run("ashore ls"),
    };
    Refusal::of(Code::NoEndpoint, format!("there is no network and no endpoint `{name}`"), remedy)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A status with two networks, an endpoint on each, and troubles.
    pub(in crate::commands) fn example() -> Status {
        let network = |name: &str, parent: &str| {
            serde_json::json!({
                "network": {
                    "name": name, "parent": parent, "kind": {"macvlan": "bridge"},
                    "subnets": [{"net": "192.168.88.0/24", "range": null, "gateway": "192.168.88.1", "aux": {}}],
                    "host_access": true, "internal": false, "conflict": "quick", "mtu": null, "bc_queue_len": null,
                },
                "shim": null, "endpoints": 1, "free": {"192.168.88.0/24": 30},
            })
        };
        let endpoint = |name: &str, network: &str| {
            serde_json::json!({
                "network": network, "name": name, "mac": "ca:1c:c5:2e:05:6b", "addresses": ["192.168.88.192/24"],
                "ifname": "eth0", "netns": "/run/netns/web", "gateways": ["192.168.88.1"], "ownership": "cli",
                "source": "range", "stage": "attached", "since": 1_764_460_000, "conflicts": {},
            })
        };
        let trouble = |about: serde_json::Value, message: &str| serde_json::json!({"code": "no-carrier", "severity": "broken", "about": about, "message": message, "remedy": null});
        serde_json::from_value(serde_json::json!({
            "version": "1", "pid": 1, "pending": [],
            "networks": [network("lan", "eth0"), network("iot", "eth1")],
            "endpoints": [endpoint("web", "lan"), endpoint("cam", "iot")],
            "troubles": [
                trouble(serde_json::json!({"parent": "eth0"}), "eth0"),
                trouble(serde_json::json!({"parent": "eth1"}), "eth1"),
                trouble(serde_json::json!({"network": "lan", "endpoint": "web"}), "web"),
                trouble(serde_json::json!({"network": "lan", "endpoint": "job"}), "job"),
                trouble(serde_json::json!({}), "host"),
            ],
        }))
        .unwrap()
    }

    fn names(status: &Status) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
        (
            status.networks.iter().map(|of| of.network.label()).collect(),
            status.endpoints.iter().map(|of| of.name.as_str()).collect(),
            status.troubles.iter().map(|trouble| trouble.message.as_str()).collect(),
        )
    }

    #[test]
    fn a_name_stands_for_its_network_its_endpoints_and_their_troubles() {
        let of = |name| part_of(example(), name).unwrap();
        assert_eq!(names(&of("lan")), (vec!["lan"], vec!["web"], vec!["eth0", "web", "host"]));
        assert_eq!(names(&of("cam")), (vec!["iot"], vec!["cam"], vec!["eth1", "host"]));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let Failure::Refused(refusal) = part_of(example(), "wbe").unwrap_err() else { panic!() };
        assert_eq!(refusal.message, "there is no network and no endpoint `wbe`");
        assert_eq!(refusal.remedy.unwrap().to_string(), "`web`; all that there are: ashore ls");
        assert_eq!(part_of(example(), "xyz").unwrap_err().exit_code(), 4);
    }
}
