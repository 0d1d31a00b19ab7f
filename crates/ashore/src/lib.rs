//! The program. It parses a command line, and acts as a client of the daemon, as the daemon, or as the lab.
//!
//! It is a library only so that its parsers of outside input can be tested separately.

mod cli;
mod client;
mod clock;
mod commands;
mod daemon;
mod engines;
mod files;
pub mod front;
mod handle;
mod kinds;
mod language;
mod meaning;
mod messages;
mod nearest;
mod out;
mod persist;
mod platform;
mod protocol;
mod scripts;
mod sockets;
mod supervise;
mod trial;
mod unlocked;
mod usage;

use std::ffi::OsString;
use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;

use ashore_core::api::explained;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command};
use crate::client::{Failure, print_refusal};
use crate::messages::message;
use crate::out::{Style, one_line};

/// Runs the program with the command line of this process.
pub fn run() -> ExitCode {
    let words = meant(std::env::args_os().collect());
    let matches = match Cli::command().try_get_matches_from(&words) {
        Ok(matches) => matches,
        Err(error) => match usage::failure(&error, &Cli::command(), &words) {
            Some(failure) => {
                if are_for_people(&words) {
                    messages::speak(language::of_user());
                }
                report(&failure);
                return ExitCode::from(failure.exit_code());
            }
            // The help or the version.
            None => error.exit(),
        },
    };
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // A program reads the same whatever the locale, and so does whoever reads the daemon's log.
    let is_for_people =
        !wants_json(&matches) && !matches!(cli.command, Command::Daemon(_) | Command::Guard { .. });
    if is_for_people {
        messages::speak(language::of_user());
    }
    let done = match cli.command {
        Command::Lab(args) => commands::lab::run(&args),
        Command::Network(command) => commands::network::run(command),
        Command::Attach(args) => commands::attach::attach(args),
        Command::Detach(args) => commands::attach::detach(&args),
        Command::Adopt(args) => commands::adopt::run(&args),
        Command::Forget(args) => commands::forget::run(&args),
        Command::Plan(args) => commands::plan::run(args),
        Command::RouterConfig(args) => commands::router_config::run(*args),
        Command::Bridge(command) => commands::bridge::run(&command),
        Command::Guard { trial } => daemon::guard(&trial),
        Command::PoolCheck(args) => commands::pool_check::run(args),
        Command::Events(args) => commands::events::run(&args),
        Command::Map(args) => commands::map::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Setup(args) => commands::setup::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Completions(args) => {
            commands::completions::run(&args);
            Ok(())
        }
        Command::Complete { words } => {
            commands::completions::complete(&Cli::command(), &words);
            Ok(())
        }
        Command::Man(args) => commands::completions::man(&args, Cli::command()),
        Command::Ls(client) => commands::inspect::list(&client),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::State(command) => commands::state::run(&command),
        Command::Install(args) => commands::install::install(&args),
        Command::Uninstall(args) => commands::install::uninstall(&args),
        Command::Daemon(args) => daemon::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let (Failure::Refused(refusal), true) = (&failure, wants_json(&matches)) {
                print_refusal(refusal);
            }
            report(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The command line. Who wants a network and names none, on a terminal, is asked: that is `ashore setup`.
fn meant(words: Vec<OsString>) -> Vec<OsString> {
    match words.as_slice() {
        [program, network, create]
            if network == "network"
                && create == "create"
                && stdin().is_terminal()
                && stdout().is_terminal() =>
        {
            vec![program.clone(), "setup".into()]
        }
        _ => words,
    }
}

/// Whether a command line that cannot be read was typed for people: it asks for no JSON, and its output is in no log.
fn are_for_people(words: &[OsString]) -> bool {
    let is_of_service = words.get(1).is_some_and(|command| command == "daemon" || command == "guard");
    !is_of_service && !words.iter().any(|word| word == "--json")
}

/// Whether the command was to print JSON.
fn wants_json(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some((_, of_command)) => wants_json(of_command),
        None => matches.try_get_one::<bool>("json").ok().flatten().is_some_and(|json| *json),
    }
}

/// Prints what went wrong, and the remedy on a line of its own.
fn report(failure: &Failure) {
    match failure {
        Failure::Refused(refusal) => out::error(Style::Bad, &one_line(&refusal.message)),
        other => out::error(Style::Bad, &other.to_string()),
    }
    if let Some(hint) = failure.hint() {
        out::remedy(&hint);
    }
    out::below_error(&meaning::of_failure(failure));
    if let Failure::Refused(refusal) = failure
        && let Some(code) = explained::written(&refusal.code)
    {
        out::more(&message!("more"), &code);
    }
}
