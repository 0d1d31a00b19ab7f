//! A daemon that stands in for the real one where calls of engines are tried with any bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::{EndpointReport, Reply, Status};
use ashore_core::api::request::Request;
use ashore_core::model::endpoint::{Source, Stage};
use ashore_core::model::network::Network;
use ashore_core::rules::attach::AttachSpec;
use ashore_core::rules::create::NetworkSpec;
use ashore_kernel::Namespace;
use ashore_plug::wire;

use super::caller::{Caller, Named};
use super::plug;

/// The namespace that each call brings.
pub const NETNS: &str = "/proc/self/ns/net";

/// The answer to a call of root's, and all that was asked of the daemon for it.
pub fn answer(call: &wire::Request) -> (wire::Reply, Vec<Request>) {
    let netns = Namespace::open(Path::new(NETNS))
        .map(|netns| Some(Named::Passed(netns)))
        .map_err(|error| error.to_string());
    let asked = RefCell::new(Vec::new());
    let handle = |request: Request| {
        asked.borrow_mut().push(request.clone());
        reply(request)
    };
    let said = plug::answer(call, &Caller { user: None, netns }, &handle);
    (said, asked.into_inner())
}

fn reply(request: Request) -> Reply {
    match request {
        Request::FindNetwork(spec) => match network(spec) {
            Some(network) => Reply::Created { network, warnings: vec!["noted".to_owned()] },
            None => refused(),
        },
        Request::InspectNetwork { .. } => refused(),
        Request::CheckSetUp(check) if check.ips.is_empty() => {
            let about = ashore_core::api::about::About::default();
            Reply::Refused(Refusal::new(Code::NoEndpoint, about, "there is none".to_owned(), None))
        }
        Request::SetUp { network, attach } | Request::Lend { network, attach } => {
            let mac = attach.mac.or(Some(ashore_wire::Mac([2, 0, 0, 0, 0, 7])));
            Reply::SetUp { endpoint: report(&network, *attach), mac }
        }
        Request::Status => Reply::Status(Status {
            version: String::new(),
            pid: 1,
            networks: Vec::new(),
            endpoints: Vec::new(),
            pending: Vec::new(),
            troubles: Vec::new(),
        }),
        _ => Reply::Done { warnings: Vec::new() },
    }
}

/// The network of a request, on a host whose LAN has one subnet.
fn network(mut spec: NetworkSpec) -> Option<Network> {
    spec.parent = spec.parent.or_else(|| "eth0".parse().ok());
    if spec.subnets.is_empty() {
        spec.subnets.extend("192.168.88.0/24".parse::<ipnet::IpNet>());
    }
    spec.network().ok()
}

fn report(network: &NetworkSpec, attach: AttachSpec) -> EndpointReport {
    let addresses = attach.ips.iter().map(|ip| ipnet::IpNet::from(*ip)).collect();
    EndpointReport {
        network: network.name.to_string(),
        name: attach.name,
        mac: attach.mac,
        seen_mac: None,
        addresses,
        ifname: Some(attach.ifname),
        netns: Some(attach.netns),
        gateways: Vec::new(),
        ownership: attach.caller.map(|caller| caller.engine.into()).unwrap_or_default(),
        source: Source::Range,
        learned: None,
        lease: None,
        lease6: None,
        own_routes: attach.own_routes.routes,
        stage: Stage::Attached,
        since: 0,
        conflicts: BTreeMap::new(),
        lan_name: None,
        warnings: Vec::new(),
    }
}

fn refused() -> Reply {
    let about = ashore_core::api::about::About::default();
    Reply::Refused(Refusal::new(Code::NoNetwork, about, "there is no such network".to_owned(), None))
}
