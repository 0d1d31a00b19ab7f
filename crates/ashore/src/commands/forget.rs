//! `ashore forget`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ashore_core::api::document::Document;
use ashore_core::api::refusal::Code;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::identity::{Identity, Mark, Scope};
use ashore_core::model::indexed::Marked;
use ashore_core::net::name::EndpointName;
use serde::{Deserialize, Serialize};

use super::find::status_of;
use super::table;
use crate::cli::ForgetArgs;
use crate::client::{Failure, ask, print_json, unexpected};
use crate::clock::now;
use crate::out::say;

pub(crate) fn run(args: &ForgetArgs) -> Result<(), Failure> {
    let Some(name) = &args.name else { return unused(args) };
    let dropped = forgotten(args, args.network.clone(), name)?;
    if args.client.json {
        return print_json(&dropped);
    }
    for (network, addresses) in dropped {
        say!("{name} is forgotten on {network}: {}", table::joined(addresses.iter()));
    }
    Ok(())
}

fn forgotten(
    args: &ForgetArgs,
    network: Option<String>,
    name: &EndpointName,
) -> Result<Vec<(String, Vec<IpAddr>)>, Failure> {
    match ask(&args.client, &Request::Forget { network, name: name.clone() })? {
        Reply::Forgotten(dropped) => Ok(dropped),
        other => Err(unexpected(&other)),
    }
}

/// What is remembered of a name, as the state has it.
#[derive(Deserialize)]
struct Row {
    scope: Scope,
    name: EndpointName,
    #[serde(flatten)]
    identity: Identity,
}

/// A name that nobody needs.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Unused {
    network: String,
    name: EndpointName,
    addresses: Vec<IpAddr>,
}

/// Forgets the names that nobody needs, each by a request of its own. So one that is attached meanwhile is kept.
fn unused(args: &ForgetArgs) -> Result<(), Failure> {
    let document = match ask(&args.client, &Request::ExportState)? {
        Reply::State(document) => document,
        other => return Err(unexpected(&other)),
    };
    let attached = status_of(&args.client)?.endpoints.into_iter();
    let attached = attached.map(|endpoint| (endpoint.network, endpoint.name)).collect();
    let mut found = unused_in(&document, &attached, args.network.as_deref(), now());
    if !args.dry_run {
        let mut kept = Vec::new();
        for (at, unused) in found.iter().enumerate() {
            match forgotten(args, Some(unused.network.clone()), &unused.name) {
                Err(Failure::Refused(refusal))
                    if matches!(refusal.code, Code::NameAttached | Code::NothingRemembered) =>
                {
                    kept.push(at);
                }
                dropped => drop(dropped?),
            }
            if !args.client.json && !kept.contains(&at) {
                print(unused, "is forgotten");
            }
        }
        let mut at = 0..;
        found.retain(|_| at.next().is_none_or(|at| !kept.contains(&at)));
    }
    if args.client.json {
        return print_json(&found);
    }
    if args.dry_run {
        for unused in &found {
            print(unused, "would be forgotten");
        }
    }
    if found.is_empty() {
        say!("no name is unused");
    }
    Ok(())
}

fn print(unused: &Unused, what: &str) {
    let Unused { network, name, addresses } = unused;
    say!("{name} {what} on {network}: {}", table::joined(addresses.iter()));
}

/// The names of a state that are not attached and that the daemon itself would forget if it remembered too many:
/// neither an engine nor the user of the command line has them, no address was chosen for them, and no lease lasts.
fn unused_in(
    document: &Document,
    attached: &BTreeSet<(String, EndpointName)>,
    network: Option<&str>,
    now: u64,
) -> Vec<Unused> {
    let rows = document.rows.iter().filter(|(key, _)| key.starts_with("identity/"));
    let rows = rows.filter_map(|(_, row)| serde_json::from_value::<Row>(row.clone()).ok());
    rows.filter(|Row { scope, name, identity }| {
        let may_go = identity.marks().into_iter().any(|mark| match mark {
            Mark::Spare(..) => true,
            Mark::SpareAfter(_, end) => end <= now,
            _ => false,
        });
        may_go
            && network.is_none_or(|network| network == scope.label())
            && !attached.contains(&(scope.label().to_owned(), name.clone()))
    })
    .map(|Row { scope, name, identity }| Unused {
        network: scope.0,
        addresses: identity.all_addresses().collect(),
        name,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_nobody_has_is_unused() {
        let row = |scope: &str, name: &str, bearer: &str| {
            json!({
                "scope": scope, "name": name, "mac": null, "addresses": ["192.168.88.200"], "last_used": 1,
                "bearer": bearer,
            })
        };
        let rows = [
            ("lan", "gone", "removed"),
            ("lan", "pid-4711", "made-up"),
            ("lan", "back", "removed"),
            ("lan", "nas", "user"),
            ("lan", "stopped", "container"),
            ("lan", "old", "unknown"),
            ("iot", "gone", "removed"),
        ];
        let rows =
            rows.map(|(scope, name, bearer)| (format!("identity/{scope}/{name}"), row(scope, name, bearer)));
        let seed = ("seed".to_owned(), json!("00"));
        let document = Document { schema: 1, rows: rows.into_iter().chain([seed]).collect() };
        let attached = BTreeSet::from([("lan".to_owned(), "back".parse().unwrap())]);
        let names = |network| -> Vec<String> {
            let found = unused_in(&document, &attached, network, 1000);
            found.iter().map(|unused| format!("{}/{}", unused.network, unused.name)).collect()
        };
        assert_eq!(names(None), ["iot/gone", "lan/gone", "lan/pid-4711"]);
        assert_eq!(names(Some("iot")), ["iot/gone"]);
        let found = unused_in(&document, &attached, Some("iot"), 1000);
        assert_eq!(found[0].addresses, ["192.168.88.200".parse::<IpAddr>().unwrap()]);
    }
}
