//! `ashore doctor`.

use std::io::{IsTerminal, stderr};

use ashore_core::api::about::About;
use ashore_core::api::diagnosis::{Complaint, Diagnosis, Finding, Found};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::api::trouble::Severity;
use ashore_core::checks;
use ashore_core::net::kind::{IpvlanMode, MacvlanMode};
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::name::IfName;
use ashore_core::net::step::Step;
use ashore_core::net::vlan::VlanId;
use ashore_kernel::{Kernel, Namespace, OnError};

use crate::cli::DoctorArgs;
use crate::client::{Failure, ask, print_json, unexpected};
use crate::clock::now;
use crate::meaning;
use crate::messages::message;
use crate::out::{self, Style, complain, say};
use crate::platform::platform;

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
    found.extend(kinds());
    found
}

/// Which kinds of links this kernel has: one of each is made in a namespace that goes again.
fn kinds() -> Vec<Finding> {
    const CHECK: &str = "kernel";
    let unknown = |why: String| vec![Finding::unknown(CHECK, About::default(), why)];
    let kernel = match Namespace::new().map_err(anyhow::Error::from).and_then(|there| Ok(Kernel::of(&there)?))
    {
        Ok(kernel) => kernel,
        Err(error) => {
            return unknown(format!(
                "whether the kernel has macvlan and ipvlan takes root to find out: {error:#}"
            ));
        }
    };
    let name = |name: &str| name.parse::<IfName>().expect("it is a name");
    let make = |link: &str, kind: LinkType| {
        let link = LinkSpec { name: name(link), kind, mac: None, mtu: None };
        kernel.apply(&[Step::AddLink { place: Place::Host, link }], OnError::GoOn).errors.is_empty()
    };
    let peer = LinkType::Veth { peer: name("lower1"), peer_place: Place::Host, peer_mac: None };
    if !make("lower", peer) {
        return unknown("whether the kernel has macvlan and ipvlan cannot be tried".into());
    }
    let lower = || name("lower");
    let kinds = [
        (
            "macvlan",
            LinkType::Macvlan {
                parent: lower(),
                mode: MacvlanMode::Bridge,
                bc_queue_len: None,
                bc_limit: None,
            },
        ),
        ("ipvlan", LinkType::Ipvlan { parent: name("lower1"), mode: IpvlanMode::L2 }),
        (
            "802.1Q",
            LinkType::Vlan { parent: lower(), id: VlanId::try_from(2).expect("it is an id"), gvrp: false },
        ),
    ];
    let said = |(what, kind): (&str, LinkType)| {
        if make(what.get(..7).unwrap_or("vlan"), kind) {
            Finding::fine(CHECK, About::default(), format!("the kernel has {what}"))
        } else {
            Finding::unknown(CHECK, About::default(), format!("the kernel has no {what}, or may not load it"))
        }
    };
    kinds.into_iter().map(said).collect()
}

fn print(diagnosis: &Diagnosis) {
    for finding in &diagnosis.findings {
        match &finding.result {
            Found::Fine(what) => out::checked(true, what),
            Found::Unknown(why) => out::marked(Style::Heading, "?", why),
            Found::Trouble(trouble) => {
                if trouble.severity == Severity::Broken {
                    out::checked(false, &trouble.message);
                } else {
                    out::marked(Style::Warning, "!", &trouble.message);
                }
                trouble.remedy.iter().for_each(|remedy| out::helps(&remedy.to_string()));
                out::below(&meaning::of_trouble(trouble.code, trouble.remedy.is_some()));
            }
        }
    }
    if diagnosis.worst().is_none() {
        let all = diagnosis.findings.iter().all(|finding| matches!(finding.result, Found::Fine(_)));
        say!("\n{}", if all { message!("doctor-well") } else { message!("doctor-well-as-far-as-known") });
    }
}
