//! `ashore status`.

use ashore_core::endpoint::{Source, Stage};
use ashore_core::request::{EndpointReport, NetworkReport, Reply, Request, Status};

use super::table;
use crate::cli::ClientArgs;
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::say;

pub(crate) fn run(client: &ClientArgs) -> Result<(), Failure> {
    match ask(client, &Request::Status)? {
        Reply::Status(status) if client.json => print_json(&status),
        Reply::Status(status) => {
            print(&status);
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

fn print(status: &Status) {
    say!("ashore {} (pid {})\n", status.version, status.pid);
    let networks: Vec<Vec<String>> = status.networks.iter().map(network_row).collect();
    table::print(&["NETWORK", "PARENT", "KIND", "SUBNET", "RANGE", "FREE", "SHIM", "ENDPOINTS"], &networks);
    say!("");
    let endpoints: Vec<Vec<String>> = status.endpoints.iter().map(endpoint_row).collect();
    table::print(&["NAME", "NETWORK", "MAC", "ADDRESS", "SOURCE", "STATE", "CONFLICTS"], &endpoints);
    for trouble in &status.troubles {
        say!("\n! {trouble}");
    }
    if !status.pending.is_empty() {
        say!("\nnot yet as it should be; the next reconciliation will do:");
        status.pending.iter().for_each(|step| say!("  {}", step.command));
    }
}

fn network_row(report: &NetworkReport) -> Vec<String> {
    let network = &report.network;
    vec![
        network.label().to_owned(),
        network.parent.to_string(),
        network.kind.to_string(),
        table::joined(network.subnets.iter().map(|subnet| subnet.net)),
        table::joined(network.subnets.iter().map(|subnet| match subnet.range {
            Some(range) if subnet.chosen => format!("{range} (chosen)"),
            Some(range) => range.to_string(),
            None => "all".to_owned(),
        })),
        table::joined(report.free.values()),
        report.shim.as_ref().map_or("-".into(), ToString::to_string),
        report.endpoints.to_string(),
    ]
}

fn endpoint_row(report: &EndpointReport) -> Vec<String> {
    let source = match report.source {
        Source::Range => "range",
        Source::Fixed => "fixed",
        Source::Engine => "engine",
    };
    let stage = match report.stage {
        Stage::Reserved => "reserved",
        Stage::Attaching => "attaching",
        Stage::Attached => "attached",
        Stage::Detaching => "detaching",
    };
    vec![
        report.name.to_string(),
        report.network.clone(),
        report.mac.map_or("(parent's)".into(), |mac| mac.to_string()),
        table::joined(report.addresses.iter()),
        source.to_owned(),
        stage.to_owned(),
        match report.conflicts.len() {
            0..=2 => table::joined(report.conflicts.keys()),
            many => format!("{many} machines"),
        },
    ]
}
