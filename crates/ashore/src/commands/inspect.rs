//! `ashore ls` and `ashore inspect`.

use ashore_core::api::reply::Status;
use serde_json::{Value, json};

use super::find::{part_of, status_of};
use super::status::{print_trouble, span};
use super::table;
use crate::cli::InspectArgs;
use crate::client::{ClientArgs, Failure, print_json};
use crate::clock::now;
use crate::messages::message;
use crate::out::{self, Style, one_line, say};

/// Lists networks and endpoints in short.
pub(crate) fn list(client: &ClientArgs) -> Result<(), Failure> {
    let status = status_of(client)?;
    if client.json {
        return print_json(&json!({ "networks": status.networks, "endpoints": status.endpoints }));
    }
    let networks: Vec<Vec<String>> = status
        .networks
        .iter()
        .map(|report| {
            let network = &report.network;
            let subnets = table::joined(network.subnets.iter().map(|subnet| subnet.net));
            vec![
                network.label().to_owned(),
                network.parent.to_string(),
                subnets,
                report.endpoints.to_string(),
            ]
        })
        .collect();
    let columns = [
        message!("column-network"),
        message!("column-parent"),
        message!("column-subnet"),
        message!("column-endpoints"),
    ];
    table::print(&columns, &networks);
    if !status.endpoints.is_empty() {
        say!("");
        let endpoints: Vec<Vec<String>> = status
            .endpoints
            .iter()
            .map(|report| {
                let addresses = table::joined(report.addresses.iter().map(ipnet::IpNet::addr));
                vec![report.name.to_string(), report.network.clone(), addresses]
            })
            .collect();
        let columns = [message!("column-name"), message!("column-network"), message!("column-address")];
        table::print(&columns, &endpoints);
    }
    if !status.troubles.is_empty() {
        say!("");
        out::marked(Style::Warning, "!", &message!("ls-troubles", many = status.troubles.len()));
    }
    Ok(())
}

/// Shows all that is known of a name.
pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let Status { mut networks, endpoints, troubles, .. } = part_of(*status_of(&args.client)?, &args.name)?;
    // The network that an endpoint is on was not asked for.
    networks
        .retain(|report| report.network.label() == args.name || report.network.name.as_str() == args.name);
    if args.client.json {
        return print_json(&json!({ "networks": networks, "endpoints": endpoints, "troubles": troubles }));
    }
    let mut is_first = true;
    let mut block = |heading: String, value: &Value, hidden: &[&str]| {
        if !std::mem::take(&mut is_first) {
            say!("");
        }
        out::styled(Style::Heading, &one_line(&heading));
        for (path, text) in known(value, hidden) {
            out::hung(&format!("  {}  ", one_line(&path)), &text);
        }
    };
    for report in &networks {
        block(format!("network {}", report.network.label()), &json!(report), &["network.name"]);
    }
    for report in &endpoints {
        block(format!("{} on {}", report.name, report.network), &json!(report), &["name", "network"]);
    }
    for trouble in &troubles {
        say!("");
        print_trouble(trouble);
    }
    Ok(())
}

/// All that a value holds, each as a padded path and what is there. So nothing that a later version knows is forgotten
/// here.
fn known(value: &Value, hidden: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect("", value, &mut found);
    found.retain(|(path, _)| !hidden.contains(&path.as_str()));
    let width = found.iter().map(|(path, _)| path.len()).max().unwrap_or(0);
    found.into_iter().map(|(path, text)| (format!("{path:width$}"), text)).collect()
}

fn collect(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Null => {}
        Value::Array(items) if items.iter().all(is_scalar) => {
            if !items.is_empty() {
                found.push((path.to_owned(), items.iter().map(scalar).collect::<Vec<_>>().join(" ")));
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                collect(&below(&(at + 1).to_string()), item, found);
            }
        }
        Value::Object(items) => {
            for (key, item) in items {
                match item.as_u64().filter(|_| key == "since") {
                    Some(since) => {
                        found.push((below(key), format!("{} ago", span(now().saturating_sub(since)))));
                    }
                    None => collect(&below(key), item, found),
                }
            }
        }
        scalar_value => found.push((path.to_owned(), scalar(scalar_value))),
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::find::tests::example;
    use super::*;

    fn lines_of(value: &Value, hidden: &[&str]) -> Vec<String> {
        known(value, hidden).into_iter().map(|(path, text)| format!("{path}  {text}")).collect()
    }

    #[test]
    fn all_that_is_known_of_an_endpoint_has_a_line() {
        let lines = lines_of(&json!(example().endpoints[0]), &["name", "network"]);
        let has = |line: &str| lines.iter().any(|known| known == line);
        assert!(has("addresses  192.168.88.192/24") && has("netns      /run/netns/web"), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.starts_with("since ") && line.ends_with(" days ago")),
            "{lines:?}"
        );
        assert!(!lines.iter().any(|line| line.starts_with("name ")), "{lines:?}");
    }

    #[test]
    fn what_lies_deeper_is_named_by_its_path() {
        let lines = lines_of(&json!(example().networks[0]), &[]);
        let has =
            |start: &str, end: &str| lines.iter().any(|line| line.starts_with(start) && line.ends_with(end));
        assert!(
            has("network.subnets.1.gateway ", " 192.168.88.1") && has("network.host_access ", " yes"),
            "{lines:?}"
        );
        assert!(has("free.192.168.88.0/24 ", " 30"), "{lines:?}");
    }
}
