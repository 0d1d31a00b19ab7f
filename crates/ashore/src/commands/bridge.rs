//! `ashore bridge`.

use std::path::Path;

use ashore_core::api::reply::Reply;
use ashore_core::api::request::{MoveSpec, Request};
use ashore_core::plan::nic_move::{Direction, Move};

use super::network::warn;
use super::table;
use crate::cli::{BridgeAdoptArgs, BridgeCommand, BridgeConfirmArgs};
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::{self, say};
use crate::persist::{ConfigFile, Configuration, check_release, configuration};

pub(crate) fn run(command: &BridgeCommand) -> Result<(), Failure> {
    match command {
        BridgeCommand::Adopt(args) => adopt(args),
        BridgeCommand::Confirm(args) => confirm(args),
    }
}

fn adopt(args: &BridgeAdoptArgs) -> Result<(), Failure> {
    if args.undo {
        check_release(&args.root, &args.nic, &args.bridge)?;
    }
    match ask(&args.client, &move_request(args))? {
        Reply::OnTrial { moved, seconds } if args.client.json => {
            print_json(&serde_json::json!({ "moved": moved, "seconds": seconds }))
        }
        Reply::OnTrial { moved, seconds } => {
            say!("{} (on trial)", told(&moved));
            if let Some(router) = moved.router {
                say!("  the router {router} answers there");
            }
            foretell(&args.root, &moved);
            say!("  it is rolled back in {seconds} s, unless you run: ashore bridge confirm");
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

/// Prints what a confirmation will write.
fn foretell(root: &Path, moved: &Move) {
    match configuration(root, moved) {
        Ok(Some(Configuration { system, files, .. })) => {
            say!("  confirming it changes {} ({system})", paths(&files));
        }
        Ok(None) => say!("  {}", until_next_start(moved)),
        Err(refusal) => {
            warn(&[refusal.message]);
            if let Some(remedy) = refusal.remedy {
                out::remedy(&remedy.to_string());
            }
        }
    }
}

/// The daemon ends the trial. The configuration that makes the move last is written here, because a confined
/// daemon sees `/etc` read-only. In this order, the worst case of an interruption is a host that boots as it
/// did before.
fn confirm(args: &BridgeConfirmArgs) -> Result<(), Failure> {
    let (moved, warnings) = match ask(&args.client, &Request::KeepMove)? {
        Reply::Kept { moved, warnings } => (moved, warnings),
        other => return Err(unexpected(&other)),
    };
    warn(&warnings);
    let lasting = configuration(&args.root, &moved)?;
    if let Some(lasting) = &lasting {
        lasting.write(&args.root, &moved.bridge)?;
    }
    if args.client.json {
        let files = lasting.iter().flat_map(|lasting| &lasting.files).map(|file| &file.path);
        let system = lasting.as_ref().map(|lasting| lasting.system);
        let files = files.collect::<Vec<_>>();
        return print_json(&serde_json::json!({ "moved": moved, "system": system, "files": files }));
    }
    say!("{} (confirmed)", told(&moved));
    let Some(lasting) = lasting else {
        say!("  {}", until_next_start(&moved));
        return Ok(());
    };
    for file in &lasting.files {
        let done = if file.text.is_some() { "wrote" } else { "removed" };
        say!("  {done} {}", file.path.display());
    }
    if moved.leased && !lasting.now.is_empty() {
        say!(
            "  {} uses it from the next boot on; to hand over the lease before that: {}",
            lasting.system,
            lasting.now
        );
    }
    Ok(())
}

fn paths(files: &[ConfigFile]) -> String {
    table::joined(files.iter().map(|file| file.path.display()))
}

fn until_next_start(moved: &Move) -> &'static str {
    match moved.direction {
        Direction::Adopt => {
            "no system that Ashore knows manages this host's network, so the move lasts until the next boot"
        }
        Direction::Release => "no configuration was written for the bridge, so none is removed",
    }
}

fn told(moved: &Move) -> String {
    let Move { nic, bridge, direction, .. } = moved;
    match direction {
        Direction::Adopt => format!("{nic} is in the bridge {bridge}, with the host's addresses"),
        Direction::Release => format!("{nic} is out of the bridge {bridge}, with the host's addresses"),
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
