//! `ashore completions` and `ashore man`: what a shell and `man` know of the command line, from its definition alone.
//!
//! The scripts ask the program itself for each word. So they know the networks, endpoints and interfaces that there
//! are, and an upgrade needs no new script.

use std::collections::BTreeMap;

use anyhow::Context;
use ashore_core::api::explained;
use ashore_core::api::reply::Status;
use clap::{Arg, Command};

use super::find::status_of;
use crate::cli::{CompletionsArgs, ManArgs, Shell};
use crate::client::{ClientArgs, Failure};
use crate::out::say;

const BASH: &str = include_str!("completions/bash");
const ZSH: &str = include_str!("completions/zsh");
const FISH: &str = include_str!("completions/fish");

/// Prints the script of a shell.
pub(crate) fn run(args: &CompletionsArgs) {
    let script = match args.shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    };
    say!("{}", script.trim_end());
}

/// Writes a manual page for each command.
pub(crate) fn man(args: &ManArgs, cli: Command) -> Result<(), Failure> {
    let directory = &args.directory;
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    clap_mangen::generate_to(cli, directory).with_context(|| directory.display().to_string())?;
    say!(
        "the manual pages are in {}; to read one: man {}/ashore.1",
        directory.display(),
        directory.display()
    );
    Ok(())
}

/// Prints what the last of these words may be, one a line, each with what it is behind a tab. Prints nothing if that
/// is not known: the shell then offers files.
pub(crate) fn complete(cli: &Command, words: &[String]) {
    // The help option and command of clap's own are there only once it is built.
    let mut cli = cli.clone();
    cli.build();
    let candidates = candidates(&cli, words, &|kind, network| live(kind, network));
    for Candidate { word, about } in candidates {
        say!("{word}\t{}", about.lines().next().unwrap_or_default());
    }
}

/// A word that may stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    word: String,
    about: String,
}

/// Names that only the host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Network,
    Endpoint,
    /// A network or an endpoint.
    Either,
    Interface,
    /// A code of a trouble or a refusal.
    Code,
}

/// Finds names of a kind. Endpoints may be asked for on one network only.
type Live<'a> = &'a dyn Fn(Kind, Option<&str>) -> Vec<Candidate>;

fn candidates(cli: &Command, words: &[String], live: Live<'_>) -> Vec<Candidate> {
    let Some((current, before)) = words.split_last() else { return Vec::new() };
    let (mut command, mut position, mut network) = (cli, 0, None);
    let mut awaited: Option<&Arg> = None;
    for word in before {
        if awaited.take().is_some() {
            continue;
        }
        if let Some(option) = word.strip_prefix("--") {
            awaited = option_of(command, option).filter(|arg| arg.get_action().takes_values());
        } else if let Some(below) = command.find_subcommand(word).filter(|_| position == 0) {
            (command, network) = (below, None);
        } else if !word.starts_with('-') {
            position += 1;
            let arg = command.get_positionals().nth(position - 1);
            if arg.is_some_and(|arg| arg.get_id() == "network") {
                network = Some(word.as_str());
            }
        }
    }
    let found = if let Some(arg) = awaited {
        values(arg, command, network, live)
    } else if let Some((option, _)) = current.strip_prefix("--").and_then(|word| word.split_once('=')) {
        let arg = option_of(command, option);
        let values = arg.map(|arg| values(arg, command, network, live)).unwrap_or_default();
        let with_option = |of: Candidate| Candidate { word: format!("--{option}={}", of.word), ..of };
        values.into_iter().map(with_option).collect()
    } else if current.starts_with('-') {
        options(command)
    } else {
        let mut found = if position == 0 { subcommands(command) } else { Vec::new() };
        let positionals: Vec<&Arg> = command.get_positionals().collect();
        let last =
            positionals.last().filter(|arg| arg.get_num_args().is_some_and(|args| args.max_values() > 1));
        let arg = positionals.get(position).or(last);
        found.extend(arg.map(|arg| values(arg, command, network, live)).unwrap_or_default());
        found
    };
    let fitting = found.into_iter().filter(|candidate| candidate.word.starts_with(current.as_str()));
    // A code may be that of a trouble and that of a refusal.
    let words: BTreeMap<String, String> = fitting.map(|Candidate { word, about }| (word, about)).collect();
    words.into_iter().map(|(word, about)| Candidate { word, about }).collect()
}

fn option_of<'a>(command: &'a Command, option: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(option))
}

fn options(command: &Command) -> Vec<Candidate> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let options = shown.filter_map(|arg| {
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        Some(Candidate { word: format!("--{}", arg.get_long()?), about })
    });
    options.collect()
}

fn subcommands(command: &Command) -> Vec<Candidate> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    let about = |command: &Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    shown.map(|command| Candidate { word: command.get_name().to_owned(), about: about(command) }).collect()
}

/// What an argument may be.
fn values(arg: &Arg, command: &Command, network: Option<&str>, live: Live<'_>) -> Vec<Candidate> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let help = |value: &clap::builder::PossibleValue| value.get_help().map(ToString::to_string);
        return possible
            .iter()
            .map(|value| Candidate {
                word: value.get_name().to_owned(),
                about: help(value).unwrap_or_default(),
            })
            .collect();
    }
    // A network that is to be made has no name yet.
    let is_new = command.get_name() == "create";
    let shows = matches!(command.get_name(), "status" | "inspect");
    let value = arg.get_value_names().and_then(|names| names.first()).map(clap::builder::Str::as_str);
    let kind = match arg.get_id().as_str() {
        "network" if !is_new => Kind::Network,
        "name" if shows => Kind::Either,
        "name" if arg.is_positional() => Kind::Endpoint,
        "nic" | "bridge" => Kind::Interface,
        "codes" => Kind::Code,
        // The link in a container is not one of the host's.
        "ifname" => return Vec::new(),
        _ if value == Some("IFNAME") => Kind::Interface,
        _ => return Vec::new(),
    };
    live(kind, network)
}

/// The names of a kind that there are now. Who may not ask the daemon gets none.
fn live(kind: Kind, network: Option<&str>) -> Vec<Candidate> {
    let candidate = |word: &str, about: &str| Candidate { word: word.to_owned(), about: about.to_owned() };
    match kind {
        Kind::Interface => {
            let links = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
            let names = links.filter_map(|link| link.file_name().into_string().ok());
            names.filter(|name| name != "lo").map(|name| candidate(&name, "interface")).collect()
        }
        Kind::Code => explained::all().iter().map(|of| candidate(of.code, of.means)).collect(),
        Kind::Network | Kind::Endpoint | Kind::Either => {
            let status = status_of(&ClientArgs::usual());
            status.map(|status| of_status(&status, kind, network)).unwrap_or_default()
        }
    }
}

fn of_status(status: &Status, kind: Kind, network: Option<&str>) -> Vec<Candidate> {
    let networks = status.networks.iter().filter(|_| kind != Kind::Endpoint).map(|report| Candidate {
        word: report.network.label().to_owned(),
        about: format!("network on {}", report.network.parent),
    });
    let endpoints = status.endpoints.iter().filter(|_| kind != Kind::Network);
    let endpoints = endpoints.filter(|report| network.is_none_or(|network| network == report.network));
    let endpoints = endpoints
        .map(|report| Candidate { word: report.name.to_string(), about: format!("on {}", report.network) });
    networks.chain(endpoints).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::find::tests::example;
    use super::*;
    use crate::cli::Cli;

    /// What may follow a line, where the host has the example's networks.
    fn words(line: &str) -> Vec<String> {
        let mut cli = Cli::command();
        cli.build();
        let live = |kind: Kind, network: Option<&str>| match kind {
            Kind::Interface => vec![Candidate { word: "eth0".into(), about: String::new() }],
            Kind::Code => super::live(kind, network),
            _ => of_status(&example(), kind, network),
        };
        let typed: Vec<String> = line.split(' ').skip(1).map(str::to_owned).collect();
        candidates(&cli, &typed, &live).into_iter().map(|candidate| candidate.word).collect()
    }

    #[test]
    fn commands_and_options_are_those_of_the_definition() {
        assert_eq!(words("ashore net"), ["network"]);
        assert_eq!(words("ashore network i"), ["inspect"]);
        assert_eq!(words("ashore network create lan --ip"), ["--ip-range", "--ipv6"]);
        assert_eq!(words("ashore router-config --for op"), ["openwrt", "opnsense"]);
        assert_eq!(words("ashore router-config --for=kea"), ["--for=kea"]);
        assert_eq!(words("ashore completions f"), ["fish"]);
        assert!(
            !words("ashore ").contains(&"guard".to_owned())
                && !words("ashore ").contains(&"complete".to_owned())
        );
    }

    #[test]
    fn names_are_those_that_there_are() {
        assert_eq!(words("ashore network inspect "), ["iot", "lan"]);
        assert_eq!(words("ashore attach l"), ["lan"]);
        assert_eq!(words("ashore detach lan "), ["web"]);
        assert_eq!(words("ashore detach --json iot "), ["cam"]);
        assert_eq!(words("ashore forget "), ["cam", "web"]);
        assert_eq!(words("ashore forget --network "), ["iot", "lan"]);
        assert_eq!(words("ashore status "), ["cam", "iot", "lan", "web"]);
        assert_eq!(words("ashore network create new --parent "), ["eth0"]);
        assert_eq!(words("ashore bridge adopt "), ["eth0"]);
        assert_eq!(words("ashore explain parent-d parent-mi"), ["parent-missing"]);
    }

    #[test]
    fn where_nothing_is_known_the_shell_offers_files() {
        for line in [
            "ashore attach lan --netns ",
            "ashore network create ",
            "ashore attach lan --ifname ",
            "ashore man ",
        ] {
            assert!(words(line).is_empty(), "{line}: {:?}", words(line));
        }
    }

    #[test]
    fn each_script_asks_the_program() {
        for script in [BASH, ZSH, FISH] {
            assert!(script.contains("ashore complete -- "), "{script}");
        }
    }
}
