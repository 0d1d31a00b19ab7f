//! `ashore attach` and `ashore detach`.

use std::path::PathBuf;

use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::lease::LeaseWishes;
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::net::name::EndpointName;
use ashore_core::net::option;
use ashore_core::net::remedy::Remedy;
use ashore_core::rules::attach::AttachSpec;

use super::network::{done, warn};
use super::table;
use crate::cli::{AttachArgs, DetachArgs};
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::say;

pub(crate) fn attach(args: AttachArgs) -> Result<(), Failure> {
    let client = args.client.clone();
    match ask(&client, &attach_request(args)?)? {
        Reply::Attached(report) if client.json => print_json(&report),
        Reply::Attached(report) => {
            let mac = report.mac.map_or("the parent's MAC".to_owned(), |mac| mac.to_string());
            say!(
                "{} is on {} as {} ({mac})",
                report.name,
                report.network,
                table::joined(report.addresses.iter())
            );
            warn(&report.warnings);
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

pub(crate) fn detach(args: &DetachArgs) -> Result<(), Failure> {
    let reply = ask(&args.client, &detach_request(args))?;
    done(&args.client, &reply, &format!("{} is off {}", args.name, args.network))
}

pub(super) fn detach_request(args: &DetachArgs) -> Request {
    Request::Detach { network: args.network.clone(), name: args.name.clone() }
}

pub(super) fn attach_request(args: AttachArgs) -> Result<Request, Failure> {
    let (netns, own_name) = match (args.target.netns, args.target.pid) {
        (Some(path), _) => {
            let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            // The daemon has another working directory.
            (std::path::absolute(path).map_err(anyhow::Error::from)?, name)
        }
        (None, Some(pid)) => (PathBuf::from(format!("/proc/{pid}/ns/net")), Some(format!("pid-{pid}"))),
        (None, None) => unreachable!("clap requires one of the two"),
    };
    let name = match args.name {
        Some(name) => name,
        None => own_name.and_then(|name| name.parse::<EndpointName>().ok()).ok_or_else(|| {
            Refusal::of(
                Code::NameUnderivable,
                format!("no endpoint name can be derived from {}", netns.display()),
                Remedy::from("set one with ").and_give(&option::NAME),
            )
        })?,
    };
    Ok(Request::Attach(AttachSpec {
        network: args.network,
        name,
        netns,
        ips: args.ips,
        mac: args.mac,
        ifname: args.ifname,
        default_route: !args.no_default_route,
        own_routes: OwnRoutes::default(),
        unaddressed: false,
        only_requested: false,
        wishes: LeaseWishes { hostname: args.hostname, client_id: args.client_id },
        caller: None,
    }))
}
