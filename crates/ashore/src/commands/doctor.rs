//! `ashore doctor`.

use std::io::{IsTerminal, stderr};

use ashore_core::api::about::About;
use ashore_core::api::diagnosis::{Complaint, Diagnosis, Finding, Found};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::api::trouble::{Code, Severity};
use ashore_core::checks;
use ashore_core::net::name::IfName;
use ashore_kernel::Kernel;

use crate::cli::DoctorArgs;
use crate::client::{Failure, ask, has_said_it_waits, print_json, unexpected};
use crate::clock::now;
use crate::kinds;
use crate::meaning;
use crate::messages::message;
use crate::out::{self, Style, complain, say};
use crate::platform::platform;
use crate::scripts;

/// The exit code if something may break, and if something does not work.
const MAY_BREAK: u8 = 10;
const BROKEN: u8 = 11;

pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let DoctorArgs { about, parent, to, last, client } = args;
    let request = if *last {
        Request::LastDiagnosis
    } else {
        if stderr().is_terminal() {
            complain!("{}", message!("doctor-asking"));
            has_said_it_waits();
        }
        Request::Diagnose(Complaint { about: about.clone(), parent: parent.clone(), to: *to })
    };
    let diagnosis = match ask(client, &request) {
        Err(unreachable @ Failure::Unreachable { .. }) if !last => {
            // Much can be said without a daemon, of which there may be none yet.
            let diagnosis = Diagnosis::of(now(), of_host(parent.as_ref()));
            if client.json {
                print_json(&diagnosis)?;
            } else {
                print(&diagnosis);
            }
            return Err(unreachable);
        }
        Err(other) => return Err(other),
        Ok(Reply::Diagnosis(diagnosis)) => diagnosis,
        Ok(Reply::Done { .. }) => {
            return Err(Failure::NotAsExpected("nothing was looked for since the daemon started".into()));
        }
        Ok(other) => return Err(unexpected(&other)),
    };
    if client.json {
        print_json(&diagnosis)?;
    } else {
        print(&diagnosis);
    }
    match diagnosis.worst() {
        None => Ok(()),
        Some(Severity::Warning) => Err(Failure::Unwell(message!("doctor-warning"), MAY_BREAK)),
        Some(Severity::Broken) => Err(Failure::Unwell(message!("doctor-broken"), BROKEN)),
    }
}

/// What can be said of this host without a daemon.
fn of_host(parent: Option<&IfName>) -> Vec<Finding> {
    let observed = Kernel::here().map_err(anyhow::Error::from).and_then(|kernel| Ok(kernel.observe(&[])?));
    let mut found = match observed {
        Ok(observed) => checks::host(&observed.host, platform(), parent),
        Err(error) => {
            vec![Finding::unknown("host", About::default(), format!("the kernel cannot be asked: {error:#}"))]
        }
    };
    found.extend(kinds_here());
    scripts::name_them(&mut found);
    found
}

/// Which kinds of links this kernel has, of which a network may be.
fn kinds_here() -> Vec<Finding> {
    const CHECK: &str = "kernel";
    let of = |what: String| Finding::unknown(CHECK, About::default(), what);
    let kinds = match kinds::tried(&kinds::ALL) {
        Ok(kinds) => kinds,
        Err(error) => {
            return vec![of(format!(
                "which kinds of links the kernel has could not be found out, perhaps for want of root: {error:#}"
            ))];
        }
    };
    let said = |(kind, has): (&str, Option<bool>)| match has {
        Some(true) => Finding::fine(CHECK, About::default(), format!("the kernel has {kind}")),
        Some(false) => of(format!("the kernel has no {kind}, or may not load it")),
        None => of(format!("whether the kernel has {kind} cannot be tried")),
    };
    kinds.into_iter().map(said).collect()
}

fn print(diagnosis: &Diagnosis) {
    for finding in &diagnosis.findings {
        match &finding.result {
            Found::Fine(what) => {
                out::checked(true, what);
                out::below(&meaning::of_finding(finding));
            }
            Found::Unknown(why) => {
                out::marked(Style::Heading, "?", why);
                out::below(&meaning::of_finding(finding));
            }
            Found::Trouble(trouble) => {
                if trouble.severity == Severity::Broken {
                    out::checked(false, &trouble.message);
                } else {
                    out::marked(Style::Warning, "!", &trouble.message);
                }
                trouble.remedy.iter().for_each(|remedy| out::helps(&remedy.to_string()));
                out::below(&meaning::of_trouble(trouble.code, trouble.remedy.is_some()));
                // A code of a later version than this program's is explained by that version.
                let code = serde_json::to_value(trouble.code).ok();
                let code = code.as_ref().and_then(serde_json::Value::as_str);
                code.filter(|_| trouble.code != Code::Unknown).into_iter().for_each(out::explained);
            }
        }
    }
    if diagnosis.worst().is_none() {
        let all = diagnosis.findings.iter().all(|finding| matches!(finding.result, Found::Fine(_)));
        say!("\n{}", if all { message!("doctor-well") } else { message!("doctor-well-as-far-as-known") });
    }
}
