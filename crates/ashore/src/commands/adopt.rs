//! `ashore adopt`.

use ashore_core::api::reply::Reply;
use ashore_core::api::request::{AdoptSpec, Request};

use super::network::{done, warn};
use crate::cli::AdoptArgs;
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::say;

pub(crate) fn run(args: &AdoptArgs) -> Result<(), Failure> {
    if args.undo {
        let request = Request::Unadopt { network: args.network.clone() };
        let reply = ask(&args.client, &request)?;
        return done(&args.client, &reply, &format!("network {} is not adopted any more", args.network));
    }
    match ask(&args.client, &adopt_request(args))? {
        Reply::Created { network, warnings } if args.client.json => {
            warn(&warnings);
            print_json(&network)
        }
        Reply::Created { network, warnings } => {
            warn(&warnings);
            let access = if network.host_access { "reaches" } else { "does not reach" };
            say!("network {} is adopted: the host {access} its containers", network.label());
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) fn adopt_request(args: &AdoptArgs) -> Request {
    if args.undo {
        return Request::Unadopt { network: args.network.clone() };
    }
    Request::Adopt(AdoptSpec { network: args.network.clone(), host_access: args.host_access.unwrap_or(true) })
}
