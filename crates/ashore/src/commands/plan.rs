//! `ashore plan`.

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;

use super::adopt::adopt_request;
use super::attach::{attach_request, detach_request};
use super::bridge::move_request;
use super::network::{create_request, readdress_request, warn};
use crate::cli::{PlanArgs, PlanBridgeCommand, PlanCommand};
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::{one_line, say};

pub(crate) fn run(args: PlanArgs) -> Result<(), Failure> {
    let (client, change) = match args.change {
        None => (args.client, None),
        Some(PlanCommand::Create(create)) => (create.client.clone(), Some(create_request(*create))),
        Some(PlanCommand::Attach(attach)) => (attach.client.clone(), Some(attach_request(attach)?)),
        Some(PlanCommand::Detach(detach)) => (detach.client.clone(), Some(detach_request(&detach))),
        Some(PlanCommand::Adopt(adopt)) => (adopt.client.clone(), Some(adopt_request(&adopt))),
        Some(PlanCommand::Bridge(PlanBridgeCommand::Adopt(adopt))) => {
            (adopt.client.clone(), Some(move_request(&adopt)))
        }
        Some(PlanCommand::Move(to)) => (to.client.clone(), Some(readdress_request(*to))),
        Some(PlanCommand::Rm { network, client }) => (client, Some(Request::RemoveNetwork { network })),
    };
    let (steps, trouble) = match ask(&client, &Request::Plan(change.map(Box::new)))? {
        Reply::Plan(steps) => (steps, None),
        Reply::PlanMeanwhile { steps, trouble } => (steps, Some(trouble.to_string())),
        other => return Err(unexpected(&other)),
    };
    if client.json {
        warn(trouble.as_slice());
        return print_json(&steps);
    }
    if let Some(trouble) = &trouble {
        say!("# {}", one_line(trouble));
    }
    if steps.is_empty() {
        say!("# nothing to change");
    }
    for step in &steps {
        say!("{}", step.command);
    }
    Ok(())
}
