//! `ashore bridge`.

use ashore_core::bridge::{Direction, Move};
use ashore_core::request::{MoveSpec, Reply, Request};

use super::network::warn;
use crate::cli::{BridgeAdoptArgs, BridgeCommand, BridgeConfirmArgs};
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::say;

pub(crate) fn run(command: &BridgeCommand) -> Result<(), Failure> {
    match command {
        BridgeCommand::Adopt(args) => adopt(args),
        BridgeCommand::Confirm(args) => confirm(args),
    }
}

fn adopt(args: &BridgeAdoptArgs) -> Result<(), Failure> {
    match ask(&args.client, &move_request(args))? {
        Reply::OnTrial { moved, seconds } if args.client.json => {
            print_json(&serde_json::json!({ "moved": moved, "seconds": seconds }))
        }
        Reply::OnTrial { moved, seconds } => {
            say!("{}, on trial", told(&moved));
            if let Some(router) = moved.router {
                say!("  the router {router} answers there");
            }
            say!(
                "  it is put back in {seconds} s unless you still reach this host, and say: ashore bridge confirm"
            );
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

fn confirm(args: &BridgeConfirmArgs) -> Result<(), Failure> {
    match ask(&args.client, &Request::KeepMove)? {
        Reply::Kept { moved, warnings } if args.client.json => {
            warn(&warnings);
            print_json(&moved)
        }
        Reply::Kept { moved, warnings } => {
            say!("{}, to stay", told(&moved));
            warn(&warnings);
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

fn told(moved: &Move) -> String {
    let Move { nic, bridge, direction, .. } = moved;
    match direction {
        Direction::Adopt => format!("{nic} is in the bridge {bridge}, and the host with it"),
        Direction::Release => format!("{nic} is out of the bridge {bridge}, and the host with it"),
    }
}

pub(super) fn move_request(args: &BridgeAdoptArgs) -> Request {
    Request::MoveNic(MoveSpec {
        direction: if args.undo { Direction::Release } else { Direction::Adopt },
        nic: args.nic.clone(),
        bridge: args.bridge.clone(),
        seconds: args.timeout,
    })
}
