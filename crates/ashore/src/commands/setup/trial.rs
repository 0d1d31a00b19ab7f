//! The network is tried from a namespace that goes again.

use std::net::IpAddr;

use ashore_core::api::diagnosis::{self, Complaint};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::api::trouble::Severity;
use ashore_core::model::lease::LeaseWishes;
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::net::name::{EndpointName, NetworkName};
use ashore_core::rules::attach::AttachSpec;
use ashore_kernel::Namespace;

use super::Found;
use crate::client::{ClientArgs, Failure, ask, unexpected};
use crate::meaning;
use crate::messages::message;
use crate::out::{self, Style, complain};

/// How often a machine is pinged before it counts as one that does not answer. A port may not forward at once.
const TRIES: u32 = 4;

/// What was tried, and whether it worked.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Tried {
    what: String,
    ok: bool,
    /// Whether it must work. A router need not answer a ping.
    must: bool,
    /// Whether `what` says what is wrong.
    #[serde(skip)]
    reason: bool,
    /// What that means, in the language of the user.
    #[serde(skip)]
    meaning: Vec<String>,
}

impl Tried {
    /// Whether something does not work that should.
    pub(super) fn is_broken(&self) -> bool {
        self.must && !self.ok
    }
}

impl Tried {
    /// The trial itself failed.
    pub(super) fn failed(failure: &Failure) -> Self {
        Tried {
            what: message!("trial-failed", failure = failure.to_string()),
            ok: false,
            must: true,
            reason: true,
            meaning: meaning::of_failure(failure),
        }
    }

    /// Prints it.
    pub(super) fn print(&self) {
        let text = if self.ok || self.reason {
            self.what.clone()
        } else {
            message!("trial-no-answer", what = self.what.as_str())
        };
        if self.ok || self.must {
            out::checked(self.ok, &text);
        } else {
            out::marked(Style::Heading, "?", &text);
        }
        out::below(&self.meaning);
    }
}

/// Attaches a namespace, tries whom it reaches, and takes it off again.
pub(super) fn of(
    client: &ClientArgs,
    network: &NetworkName,
    found: &Found,
    to: Option<IpAddr>,
) -> Result<Vec<Tried>, Failure> {
    let there = Namespace::new().map_err(anyhow::Error::from)?;
    // One name for all trials: one that was killed leaves its name to the next, which forgets it.
    let name: EndpointName = "ashore-setup".parse().expect("it is a name");
    let attach = AttachSpec {
        network: network.clone(),
        name: name.clone(),
        netns: there.path().to_owned(),
        ips: Vec::new(),
        mac: None,
        ifname: "eth0".parse().expect("it is a name"),
        default_route: true,
        own_routes: OwnRoutes::default(),
        unaddressed: false,
        wishes: LeaseWishes::default(),
        only_requested: false,
        caller: None,
    };
    let report = match ask(client, &Request::Attach(attach))? {
        Reply::Attached(report) => report,
        other => return Err(unexpected(&other)),
    };
    let own = report.addresses.iter().map(ipnet::IpNet::addr).find(IpAddr::is_ipv4);
    let mut tried = tried(&there, own, found, to);
    tried.extend(diagnosed(client, network));
    // It is taken off whatever was found. What was found is told whatever comes of that.
    let off = ask(client, &Request::Detach { network: network.clone(), name: name.clone() });
    // On all networks: of one of Docker's, this program knows the id alone, and the daemon by now the name.
    let forgotten = ask(client, &Request::Forget { network: None, name });
    if let Err(failure) = off.and(forgotten) {
        complain!("ashore: {}", message!("trial-left", failure = failure.to_string()));
    }
    Ok(tried)
}

/// What the doctor finds while the endpoint is there, such as a switch that drops its frames.
fn diagnosed(client: &ClientArgs, network: &NetworkName) -> Vec<Tried> {
    let complaint = Complaint { about: Some(network.to_string()), ..Complaint::default() };
    let Ok(Reply::Diagnosis(diagnosis)) = ask(client, &Request::Diagnose(complaint)) else {
        return Vec::new();
    };
    let troubles = diagnosis.findings.into_iter().filter_map(|finding| match finding.result {
        diagnosis::Found::Trouble(trouble) => Some(trouble),
        diagnosis::Found::Unknown(_) | diagnosis::Found::Fine(_) => None,
    });
    let told = troubles.map(|trouble| Tried {
        what: trouble.to_string(),
        ok: false,
        must: trouble.severity == Severity::Broken,
        reason: true,
        meaning: meaning::of_trouble(trouble.code, trouble.remedy.is_some()),
    });
    told.collect()
}

fn tried(there: &Namespace, own: Option<IpAddr>, found: &Found, to: Option<IpAddr>) -> Vec<Tried> {
    let from_there = |ip: IpAddr| there.run(|| ashore_lab::ping(ip, TRIES)).ok().flatten().is_some();
    let mut all = Vec::new();
    let mut say = |what: String, ok: bool, must: bool| {
        all.push(Tried { what, ok, must, reason: false, meaning: Vec::new() });
    };
    match own {
        Some(own) => say(message!("trial-address", own = own.to_string()), true, true),
        None => say(message!("trial-no-address"), false, true),
    }
    if let Some(router) = found.router {
        say(message!("trial-router", router = router.to_string()), from_there(router), false);
    }
    if let Some(host) = found.host {
        say(message!("trial-host", host = host.to_string()), from_there(host), true);
    }
    if let Some(own) = own {
        let is_reached = ashore_lab::ping(own, TRIES).is_some();
        say(message!("trial-from-host", own = own.to_string()), is_reached, true);
    }
    if let Some(to) = to {
        // A machine need not answer a ping.
        say(message!("trial-to", to = to.to_string()), from_there(to), false);
    }
    all
}
