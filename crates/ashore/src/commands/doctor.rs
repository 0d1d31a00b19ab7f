//! `ashore doctor`.

use std::io::{IsTerminal, stderr};

use ashore_core::api::diagnosis::{Complaint, Diagnosis, Finding, Found};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::api::trouble::Severity;

use crate::cli::DoctorArgs;
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::{complain, one_line, say};

/// The exit code if something may break, and if something does not work.
const MAY_BREAK: u8 = 10;
const BROKEN: u8 = 11;

pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let DoctorArgs { about, parent, to, last, client } = args;
    let request = if *last {
        Request::LastDiagnosis
    } else {
        if stderr().is_terminal() {
            complain!("asking the LAN, which takes some seconds …");
        }
        Request::Diagnose(Complaint { about: about.clone(), parent: parent.clone(), to: *to })
    };
    let diagnosis = match ask(client, &request)? {
        Reply::Diagnosis(diagnosis) => diagnosis,
        Reply::Done { .. } => {
            return Err(Failure::NotAsExpected("nothing was looked for since the daemon started".into()));
        }
        other => return Err(unexpected(&other)),
    };
    if client.json {
        print_json(&diagnosis)?;
    } else {
        print(&diagnosis);
    }
    match diagnosis.worst() {
        None => Ok(()),
        Some(Severity::Warning) => Err(Failure::Unwell("something may break, or needs a look", MAY_BREAK)),
        Some(Severity::Broken) => Err(Failure::Unwell("something does not work", BROKEN)),
    }
}

fn print(diagnosis: &Diagnosis) {
    for finding in &diagnosis.findings {
        lines(finding).iter().for_each(|line| say!("{line}"));
    }
    if diagnosis.worst().is_none() {
        say!("\nnothing stands in the way");
    }
}

fn lines(finding: &Finding) -> Vec<String> {
    match &finding.result {
        Found::Fine(what) => vec![format!("✓ {}", one_line(what))],
        Found::Unknown(why) => vec![format!("? {}", one_line(why))],
        Found::Trouble(trouble) => {
            let sign = if trouble.severity == Severity::Broken { "✗" } else { "!" };
            let mut lines = vec![format!("{sign} {}", one_line(&trouble.message))];
            lines.extend(trouble.remedy.as_ref().map(|remedy| format!("  try: {}", one_line(&remedy.to_string()))));
            lines
        }
    }
}
