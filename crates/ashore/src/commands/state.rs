//! `ashore state`.

use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::net::remedy::Remedy;

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
            let document = serde_json::from_reader(std::io::stdin().lock()).map_err(not_exported)?;
            let reply = ask(client, &Request::ImportState(document))?;
            done(client, &reply, "the state is replaced")
        }
    }
}

/// The refusal of what is no JSON at all, in the words of the daemon for JSON that is no state.
#[expect(clippy::needless_pass_by_value, reason = "it is a function for `map_err`")]
fn not_exported(error: serde_json::Error) -> Refusal {
    let message = format!("standard input is not an exported state: {error}");
    let remedy = Remedy::from("give it what `ashore state export` has printed: ")
        .and_run("ashore state import < FILE");
    Refusal::of(Code::DocumentInvalid, message, remedy)
}
