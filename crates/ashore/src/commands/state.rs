//! `ashore state`.

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;

use super::network::done;
use crate::cli::StateCommand;
use crate::client::{Failure, ask, print_json, unexpected};

pub(crate) fn run(command: &StateCommand) -> Result<(), Failure> {
    match command {
        StateCommand::Export(client) => match ask(client, &Request::ExportState)? {
            Reply::State(document) => print_json(&document),
            other => Err(unexpected(&other)),
        },
        StateCommand::Import(client) => {
            let document = serde_json::from_reader(std::io::stdin().lock())
                .map_err(|error| anyhow::anyhow!("standard input is not an exported state: {error}"))?;
            let reply = ask(client, &Request::ImportState(document))?;
            done(client, &reply, "the state is replaced")
        }
    }
}
