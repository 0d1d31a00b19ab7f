//! The network is tried from a namespace that goes again.

use std::net::IpAddr;

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::net::name::{EndpointName, NetworkName};
use ashore_core::rules::attach::AttachSpec;
use ashore_kernel::Namespace;

use super::Found;
use crate::client::{ClientArgs, Failure, ask, unexpected};
use crate::out::{self, Style};

/// How often a machine is pinged before it counts as one that does not answer. A port may not forward at once.
const TRIES: u32 = 4;

/// What was tried, and whether it worked.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Tried {
    what: String,
    ok: bool,
    /// Whether it must work. A router need not answer a ping.
    must: bool,
}

impl Tried {
    /// Whether something does not work that should.
    pub(super) fn is_broken(&self) -> bool {
        self.must && !self.ok
    }
}

impl Tried {
    /// Prints it.
    pub(super) fn print(&self) {
        let not = if self.ok { "" } else { ": no answer" };
        let text = format!("{}{not}", self.what);
        if self.ok || self.must {
            out::checked(self.ok, &text);
        } else {
            out::marked(Style::Heading, "?", &text);
        }
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
    let name: EndpointName = format!("ashore-setup-{}", std::process::id()).parse().expect("it is a name");
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
        wishes: Default::default(),
        only_requested: false,
        caller: None,
    };
    let report = match ask(client, &Request::Attach(attach))? {
        Reply::Attached(report) => report,
        other => return Err(unexpected(&other)),
    };
    let own = report.addresses.iter().map(ipnet::IpNet::addr).find(IpAddr::is_ipv4);
    let tried = tried(&there, own, found, to);
    // It is taken off whatever was found.
    let off = ask(client, &Request::Detach { network: network.clone(), name: name.clone() });
    let forgotten = ask(client, &Request::Forget { network: Some(network.to_string()), name });
    off.and(forgotten)?;
    Ok(tried)
}

fn tried(there: &Namespace, own: Option<IpAddr>, found: &Found, to: Option<IpAddr>) -> Vec<Tried> {
    let from_there = |ip: IpAddr| there.run(|| ashore_lab::ping(ip, TRIES)).ok().flatten().is_some();
    let mut all = Vec::new();
    let mut say = |what: String, ok: bool, must: bool| all.push(Tried { what, ok, must });
    match own {
        Some(own) => say(format!("a container gets an address of the LAN: {own}"), true, true),
        None => say("a container gets an address of the LAN".into(), false, true),
    }
    if let Some(router) = found.router {
        say(format!("it reaches the router {router}"), from_there(router), false);
    }
    if let Some(host) = found.host {
        say(format!("it reaches this host at {host}"), from_there(host), true);
    }
    if let Some(own) = own {
        say(format!("this host reaches it at {own}"), ashore_lab::ping(own, TRIES).is_some(), true);
    }
    if let Some(to) = to {
        say(format!("it reaches {to}"), from_there(to), true);
    }
    all
}
