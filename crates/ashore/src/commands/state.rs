//! `ashore state`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ashore_core::api::document::Document;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::net::remedy::Remedy;

use super::backup;
use super::network::done;
use crate::cli::{RestoreArgs, StateCommand};
use crate::client::{Failure, ask, print_json, unexpected};
use crate::daemon::{take_lock, unreadable};
use crate::files;
use crate::out::say;

/// The maximum length of a document, in bytes. A daemon takes none that is longer.
const LONGEST: u64 = 16 << 20;

pub(crate) fn run(command: &StateCommand) -> Result<(), Failure> {
    match command {
        StateCommand::Export(client) => match ask(client, &Request::ExportState)? {
            Reply::State(document) => print_json(&document),
            other => Err(unexpected(&other)),
        },
        StateCommand::Import(client) => {
            let document = read("standard input", std::io::stdin().lock())?;
            let reply = ask(client, &Request::ImportState(document))?;
            done(client, &reply, "the state is replaced")
        }
        StateCommand::Backup(args) => backup::run(args),
        StateCommand::Restore(args) => restore(args),
        StateCommand::Rekey(client) => {
            let said = "the state has a new seed, from which names get other MACs when they are attached";
            done(client, &ask(client, &Request::Rekey)?, said)
        }
        StateCommand::Accept(client) => {
            done(client, &ask(client, &Request::AcceptMachine)?, "the state is this machine's")
        }
    }
}

/// Restores a state without a daemon, because there may be none that reads what is there.
fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let name = args.file.display().to_string();
    let file = File::open(&args.file).map_err(|error| not_exported(&name, &error))?;
    let document = read(&name, file)?;
    // No daemon may start meanwhile.
    let _lock = take_lock()?;
    files::make_directories(&args.state, 0o700)
        .map_err(|source| ashore_store::StoreError::Directory { path: args.state.clone(), source })
        .map_err(unreadable)?;
    let backlog =
        if args.run.is_dir() { files::backlog(&args.run).map_err(anyhow::Error::from)? } else { None };
    let restored = ashore_store::restore(&args.state, document, backlog).map_err(unreadable)?;
    say!("{name} is the state now");
    if let Some(before) = restored.before {
        say!("# what was there: {}", before.display());
    }
    if args.state == Path::new(ashore_store::DIRECTORY) {
        say!("# if the daemon does not start by itself: systemctl start ashore");
    }
    Ok(())
}

/// Reads a document. One that is longer than a daemon takes is cut, and so is none.
fn read(name: &str, from: impl Read) -> Result<Document, Failure> {
    let read = serde_json::from_reader(std::io::BufReader::new(from.take(LONGEST)));
    read.map_err(|error| not_exported(name, &error))
}

/// The refusal of what is no JSON at all, in the words of the daemon for JSON that is no state.
fn not_exported(name: &str, error: &dyn std::error::Error) -> Failure {
    let message = format!("{name} is not an exported state: {error}");
    let remedy = Remedy::from("give it what `ashore state export` has printed: ")
        .and_run("ashore state import < FILE");
    Refusal::of(Code::DocumentInvalid, message, remedy).into()
}
