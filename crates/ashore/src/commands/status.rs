//! `ashore status`.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use ashore_core::api::explained;
use ashore_core::api::reply::{EndpointReport, LanName, LanNameState, NetworkReport, Status};
use ashore_core::api::trouble::{Severity, Trouble};
use ashore_core::model::endpoint::{Source, Stage};

use super::find::{part_of, status_of};
use super::table;
use crate::cli::StatusArgs;
use crate::client::{Failure, Mistake, print_json};
use crate::clock::now;
use crate::meaning;
use crate::messages::message;
use crate::out::{self, Style, say};

/// How often `--watch` asks.
const EVERY: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &StatusArgs) -> Result<(), Failure> {
    if !args.watch {
        return show(args);
    }
    if !out::is_terminal() {
        return Err(Failure::Usage {
            mistake: Mistake::Other,
            message: "--watch draws on a terminal, and standard output is none".into(),
            remedy: Some("for a program: ashore status --json".into()),
        });
    }
    loop {
        out::clear();
        match show(args) {
            // A daemon that is started again is soon back.
            Err(failure @ (Failure::Unreachable { .. } | Failure::NoAnswer(_))) => {
                out::marked(Style::Bad, "!", &failure.to_string());
            }
            shown => shown?,
        }
        thread::sleep(EVERY);
    }
}

fn show(args: &StatusArgs) -> Result<(), Failure> {
    let status = *status_of(&args.client)?;
    let status = match &args.name {
        Some(name) => part_of(status, name)?,
        None => status,
    };
    if args.client.json {
        return print_json(&status);
    }
    print(&status);
    Ok(())
}

fn print(status: &Status) {
    say!("ashore {} (pid {})\n", status.version, status.pid);
    let networks: Vec<Vec<String>> = status.networks.iter().map(network_row).collect();
    let columns = [
        message!("column-network"),
        message!("column-parent"),
        message!("column-kind"),
        message!("column-subnet"),
        message!("column-range"),
        message!("column-free"),
        message!("column-shim"),
        message!("column-endpoints"),
    ];
    table::print(&columns, &networks);
    say!("");
    let mut endpoints: Vec<Vec<String>> = status.endpoints.iter().map(endpoint_row).collect();
    let mut columns = vec![
        message!("column-name"),
        message!("column-network"),
        message!("column-mac"),
        message!("column-address"),
        message!("column-source"),
        message!("column-state"),
        message!("column-conflicts"),
    ];
    let engines = status.networks.iter().filter_map(|report| report.network.ownership().engine());
    if engines.collect::<BTreeSet<_>>().len() > 1 {
        columns.insert(1, message!("column-of"));
        for (row, report) in endpoints.iter_mut().zip(&status.endpoints) {
            row.insert(1, report.ownership.to_string());
        }
    }
    // Most networks tell the LAN no names.
    if status.endpoints.iter().any(|report| report.lan_name.is_some()) {
        columns.push(message!("column-lan-name"));
        for (row, report) in endpoints.iter_mut().zip(&status.endpoints) {
            row.push(report.lan_name.as_ref().map_or("-".into(), lan_name));
        }
    }
    table::print(&columns, &endpoints);
    for note in status.endpoints.iter().flat_map(|report| &report.warnings) {
        say!("");
        out::marked(Style::Heading, "-", note);
    }
    for trouble in &status.troubles {
        say!("");
        print_trouble(trouble);
    }
    let codes: BTreeSet<String> =
        status.troubles.iter().filter_map(|trouble| explained::written(&trouble.code)).collect();
    // As for errors: a script has the codes with --json.
    if out::is_terminal() && !codes.is_empty() {
        let codes = codes.into_iter().collect::<Vec<_>>().join(" ");
        say!("\n  {} ashore explain {codes}", message!("more"));
    }
    if !status.pending.is_empty() {
        say!("\n{}", message!("status-pending"));
        status.pending.iter().for_each(|step| say!("  {}", step.command));
    }
}

/// Prints a trouble and what helps.
pub(super) fn print_trouble(trouble: &Trouble) {
    let style = match trouble.severity {
        Severity::Broken => Style::Bad,
        Severity::Warning => Style::Warning,
    };
    out::marked(style, "!", &trouble.to_string());
    out::below(&meaning::of_trouble(trouble.code, trouble.remedy.is_some()));
}

fn network_row(report: &NetworkReport) -> Vec<String> {
    let network = &report.network;
    vec![
        network.label().to_owned(),
        network.parent.to_string(),
        network.kind.to_string(),
        table::joined(network.subnets.iter().map(|subnet| subnet.net)),
        table::joined(network.sources()),
        table::joined(report.free.values()),
        report.shim.as_ref().map_or("-".into(), ToString::to_string),
        report.endpoints.to_string(),
    ]
}

/// A duration for people, rounded down.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

/// A name on the LAN, and why it is not the wanted one.
fn lan_name(told: &LanName) -> String {
    let LanName { wanted, name, state, taken_by } = told;
    match (state, taken_by) {
        (LanNameState::Announced, _) if name == wanted => name.clone(),
        (LanNameState::Announced, Some(ip)) => {
            message!(
                "status-lan-name-of-another",
                name = name.as_str(),
                wanted = wanted.as_str(),
                ip = ip.to_string()
            )
        }
        (LanNameState::Announced, None) => {
            message!("status-lan-name-other", name = name.as_str(), wanted = wanted.as_str())
        }
        _ => message!("status-lan-name-not-yet", name = name.as_str()),
    }
}

fn endpoint_row(report: &EndpointReport) -> Vec<String> {
    let source = match (report.source, &report.lease) {
        (Source::Range, _) => message!("status-source-range"),
        (Source::Fixed, _) => message!("status-source-fixed"),
        (Source::Engine, _) => message!("status-source-engine"),
        (Source::None, _) => message!("status-source-none"),
        (Source::Lease, None) => message!("status-source-no-lease"),
        (Source::Lease, Some(lease)) => match lease.left(now()) {
            Some(seconds) => message!("status-source-lease-left", span = span(seconds)),
            None => message!("status-source-lease"),
        },
    };
    let stage = match report.stage {
        Stage::Reserved => message!("status-stage-reserved"),
        Stage::Attaching => message!("status-stage-attaching"),
        Stage::Attached => message!("status-stage-attached"),
        Stage::Detaching => message!("status-stage-detaching"),
    };
    vec![
        report.name.to_string(),
        report.network.clone(),
        report.mac.map_or_else(|| message!("status-parents-mac"), |mac| mac.to_string()),
        table::joined(report.addresses.iter()),
        source,
        stage,
        match report.conflicts.len() {
            0..=2 => table::joined(report.conflicts.keys()),
            many => message!("status-machines", many = many),
        },
    ]
}
