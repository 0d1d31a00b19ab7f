//! `ashore pool-check`: shows what the LAN's DHCP servers offer.

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::survey::PoolReport;
use ashore_core::rules::create::PoolQuestion;

use crate::cli::PoolCheckArgs;
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::say;

pub(crate) fn run(args: PoolCheckArgs) -> Result<(), Failure> {
    // If the user names no range, none is judged.
    let judged = args.network.is_some() || args.range.is_some();
    let PoolCheckArgs { network, parent, vlan, range, client } = args;
    match ask(&client, &Request::CheckPool(PoolQuestion { network, parent, vlan, range }))? {
        Reply::Pools(reports) => {
            if client.json {
                print_json(&reports)?;
            } else {
                for report in &reports {
                    print(report, judged);
                }
            }
            reports.iter().filter(|_| judged).try_for_each(verdict)
        }
        other => Err(unexpected(&other)),
    }
}

fn print(report: &PoolReport, judged: bool) {
    let PoolReport { parent, range, asked, servers, beside } = report;
    let addresses = if asked.len() == 1 { "address" } else { "addresses" };
    say!("asked on {parent} for {} {addresses} of {range}", asked.len());
    for seen in servers {
        say!("  the DHCP server {seen}");
    }
    match servers.as_slice() {
        [] if asked.is_empty() => {
            say!(
                "  no server was asked, because all addresses to ask for are in use; try: ashore pool-check"
            );
        }
        [] => say!(
            "  no DHCP server offered any: there is none, it has none left, or it serves known clients only"
        ),
        [_] => {}
        _ => say!(
            "  there are {} servers; turn off all but one, unless they share their leases",
            servers.len()
        ),
    }
    if judged && report.check().is_ok() && !servers.is_empty() {
        say!("  no address of the range was offered");
    }
    if let Some(beside) = beside.filter(|_| !judged) {
        say!("  a range clear of what was offered: {beside}");
    }
}

fn verdict(report: &PoolReport) -> Result<(), Failure> {
    report.check().map_err(|error| Refusal::from(&error).into())
}
