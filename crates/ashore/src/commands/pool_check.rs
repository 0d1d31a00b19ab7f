//! `ashore pool-check`: what the LAN's DHCP servers were seen to hand out.

use ashore_core::api::refusal::{Refusal, RefusalKind};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::survey::PoolReport;
use ashore_core::rules::create::PoolQuestion;

use crate::cli::PoolCheckArgs;
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::say;

pub(crate) fn run(args: PoolCheckArgs) -> Result<(), Failure> {
    // Where nobody names a range, none is wrong.
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
    say!("asked by {parent} for {} {addresses} of {range}", asked.len());
    for seen in servers {
        say!("  the DHCP server {seen}");
    }
    match servers.as_slice() {
        [] if asked.is_empty() => say!(
            "  nobody was asked, so nothing is known of DHCP servers: all that would be asked for is in use; try: ashore pool-check"
        ),
        [] => say!(
            "  no DHCP server offered any: there is none, or it has none left, or gives none to whom it does not know"
        ),
        [_] => {}
        _ => say!(
            "  these are {} servers; unless they share their leases, turn all off but one",
            servers.len()
        ),
    }
    if judged && report.check().is_ok() && !servers.is_empty() {
        say!("  none of the range was offered");
    }
    if let Some(beside) = beside.filter(|_| !judged) {
        say!("  a range beside what was offered: {beside}");
    }
}

fn verdict(report: &PoolReport) -> Result<(), Failure> {
    let taken = |error: ashore_core::rules::create::NetworkError| Refusal {
        kind: RefusalKind::Taken,
        message: error.to_string(),
        hint: error.hint(),
    };
    report.check().map_err(|error| taken(error).into())
}
