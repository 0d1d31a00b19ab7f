//! What is wrong with a command line, and what its user may have meant: `ashore: …`, then `  try: …`, as for all
//! other errors, with exit code 2.

use std::ffi::OsString;

use ashore_core::net::range::Range;
use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::client::{Failure, Mistake};
use crate::nearest::nearest;

pub(crate) mod typed;

use typed::{meant_by_command, meant_by_option, meant_by_value};

/// The failure for a command line that clap does not accept. Returns `None` if its text is what was asked for: the
/// help or the version.
pub(crate) fn failure(error: &clap::Error, cli: &Command, words: &[OsString]) -> Option<Failure> {
    let (command, path) = addressed(cli, words);
    let (message, remedy) = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return None,
        // A user without a plan gets the overview.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            if !command.has_subcommands() || path.is_empty() =>
        {
            return None;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            (format!("`ashore {path}` needs a command"), listed(command, &path))
        }
        ErrorKind::InvalidSubcommand => unknown_command(error, command, &path),
        ErrorKind::UnknownArgument => of_an_engine(error, command, &path, words)
            .unwrap_or_else(|| unknown_argument(error, command, &path)),
        ErrorKind::InvalidValue => {
            (first_paragraph(error), similar_value(error).unwrap_or_else(|| explained(&path)))
        }
        ErrorKind::ValueValidation => {
            (first_paragraph(error), meant_value(error).unwrap_or_else(|| explained(&path)))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = first_paragraph(error).replace(['<', '>'], "");
            (missing, usage(error).unwrap_or_else(|| explained(&path)))
        }
        _ => (first_paragraph(error), explained(&path)),
    };
    Some(Failure::Usage { mistake: mistake(error.kind()), message, remedy: Some(remedy) })
}

fn mistake(kind: ErrorKind) -> Mistake {
    match kind {
        ErrorKind::InvalidSubcommand
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Mistake::Command,
        ErrorKind::UnknownArgument => Mistake::Option,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => Mistake::Value,
        ErrorKind::MissingRequiredArgument => Mistake::Missing,
        ErrorKind::ArgumentConflict => Mistake::Together,
        _ => Mistake::Other,
    }
}

/// The command that a command line addresses, and the words that lead to it.
fn addressed<'a>(cli: &'a Command, words: &[OsString]) -> (&'a Command, String) {
    let (mut command, mut path) = (cli, Vec::new());
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        match command.find_subcommand(word) {
            Some(next) => {
                command = next;
                path.push(next.get_name());
            }
            None if word.starts_with('-') => {}
            None => break,
        }
    }
    (command, path.join(" "))
}

fn unknown_command(error: &clap::Error, command: &Command, path: &str) -> (String, String) {
    let word = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
    let space = if path.is_empty() { "" } else { " " };
    let message = format!("there is no command `ashore {path}{space}{word}`");
    // What was typed says more than what looks like it. Hidden commands are nobody's to type.
    let meant = if path.is_empty() { meant_by_command(&word) } else { None };
    let near = || {
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        let near = nearest(&word, shown.map(Command::get_name))?;
        Some(format!("ashore {path}{space}{near}"))
    };
    (message, meant.map(str::to_owned).or_else(near).unwrap_or_else(|| listed(command, path)))
}

fn unknown_argument(error: &clap::Error, command: &Command, path: &str) -> (String, String) {
    let argument = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let shown = if path.is_empty() { "ashore".to_owned() } else { format!("ashore {path}") };
    let Some(option) = argument.strip_prefix("--") else {
        let message = if argument.starts_with('-') {
            format!("`{shown}` has no option `{argument}`")
        } else {
            format!("`{shown}` takes no further word, such as `{argument}`")
        };
        return (message, usage(error).unwrap_or_else(|| explained(path)));
    };
    let option = option.split('=').next().unwrap_or_default();
    let has =
        |name: &str| command.get_arguments().any(|arg| arg.get_long() == Some(name) && !arg.is_hide_set());
    let longs = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(clap::Arg::get_long);
    let meant = meant_by_option(option).filter(|meant| has(meant)).or_else(|| nearest(option, longs));
    (
        format!("`{shown}` has no option `--{option}`"),
        meant.map_or_else(|| explained(path), |meant| format!("--{meant}")),
    )
}

/// An option as engines' users give it: `-o parent=eth0`, `-d ashore`.
fn of_an_engine(
    error: &clap::Error,
    command: &Command,
    path: &str,
    words: &[OsString],
) -> Option<(String, String)> {
    let letter = text(error, ContextKind::InvalidArg)?;
    let message = format!("`ashore {path}` has no option `{letter}`");
    if path != "network create" {
        return None;
    }
    if letter == "-d" {
        let remedy = "leave it out: each network that `ashore` creates is Ashore's".into();
        return Some((message, remedy));
    }
    let mut given = words.iter().filter_map(|word| word.to_str()).skip_while(|word| !word.starts_with("-o"));
    let glued = given.next().filter(|_| letter == "-o")?.trim_start_matches("-o").trim_start_matches('=');
    let given = if glued.is_empty() { given.next()? } else { glued };
    let (key, value) = given.split_once('=').unwrap_or((given, ""));
    let longs = || command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(clap::Arg::get_long);
    let has = |meant: &&str| longs().any(|long| long == *meant);
    let meant = meant_by_option(key).filter(has).or_else(|| nearest(key, longs()))?;
    let takes = |arg: &&clap::Arg| arg.get_long() == Some(meant) && arg.get_action().takes_values();
    let remedy = match command.get_arguments().find(takes) {
        // A mode of macvlan is a part of the kind.
        Some(_) if key.ends_with("mode") => explained(path),
        Some(_) if !value.is_empty() => format!("--{meant} {value}"),
        None if ["false", "no", "off", "0"].contains(&value) => "leave it out".into(),
        _ => format!("--{meant}"),
    };
    Some((message, remedy))
}

/// The value that was meant by one that cannot be read.
fn meant_value(error: &clap::Error) -> Option<String> {
    let option = text(error, ContextKind::InvalidArg)?;
    let option = option.split(' ').next()?;
    let typed = text(error, ContextKind::InvalidValue)?;
    let meant = match option {
        "--ip-range" => {
            // Only the order of the two is wrong.
            let (first, last) = typed.split_once('-')?;
            let turned = format!("{last}-{first}");
            turned.parse::<Range>().ok().map(|_| turned)
        }
        _ => meant_by_value(option, &typed).map(str::to_owned),
    };
    Some(format!("{option} {}", meant?))
}

/// The commands below a command.
fn listed(command: &Command, path: &str) -> String {
    if path.is_empty() {
        return "`ashore --help` lists the commands".into();
    }
    let shown =
        command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    let names: Vec<&str> = shown.map(Command::get_name).collect();
    if names.is_empty() { explained(path) } else { format!("ashore {path} {}", names.join("|")) }
}

fn explained(path: &str) -> String {
    let space = if path.is_empty() { "" } else { " " };
    format!("`ashore {path}{space}--help` explains it")
}

fn similar_value(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue) else { return None };
    let typed = text(error, ContextKind::InvalidValue)?;
    nearest(&typed, valid.iter().map(String::as_str)).map(str::to_owned)
}

/// The command line that the command expects.
fn usage(error: &clap::Error) -> Option<String> {
    let ContextValue::StyledStr(usage) = error.get(ContextKind::Usage)? else { return None };
    let usage = one_line(usage.to_string().trim().trim_start_matches("Usage:"));
    // The socket is nobody's to give, and the brackets are no shell's.
    Some(usage.replace("--socket <PATH> ", "").replace(['<', '>'], ""))
}

/// What is wrong, as clap says it. Its guesses and its usage come after an empty line.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    one_line(paragraph.trim().trim_start_matches("error: "))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn said(line: &str) -> (String, String) {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let error = Cli::command().try_get_matches_from(&words).expect_err(line);
        let failure = failure(&error, &Cli::command(), &words).expect(line);
        assert_eq!(failure.exit_code(), 2, "{line}");
        (failure.to_string(), failure.hint().unwrap_or_default())
    }

    #[test]
    fn a_usage_error_says_what_is_wrong_and_what_helps() {
        for (line, message, remedy) in [
            ("ashore dhcp", "there is no command `ashore dhcp`", "ashore network create NETWORK --dhcp"),
            ("ashore logs", "`ashore logs`", "journalctl -u ashore"),
            ("ashore atach lan", "`ashore atach`", "ashore attach"),
            ("ashore frobnicate", "`ashore frobnicate`", "`ashore --help` lists the commands"),
            ("ashore network crate lan", "`ashore network crate`", "ashore network create"),
            ("ashore network frobnicate", "`ashore network frobnicate`", "ashore network create|ls|"),
            ("ashore network", "`ashore network` needs a command", "ashore network create|ls|"),
            ("ashore network create lan --mode bridge", "no option `--mode`", "--kind"),
            ("ashore network create lan --iface eth0", "no option `--iface`", "--parent"),
            ("ashore network create lan --subent 1", "no option `--subent`", "--subnet"),
            (
                "ashore network create lan --frobnicate",
                "no option `--frobnicate`",
                "ashore network create --help",
            ),
            ("ashore status --jsno", "no option `--jsno`", "--json"),
            ("ashore detach lan", "NAME", "ashore detach"),
            ("ashore detach lan web more", "no further word, such as `more`", "ashore detach"),
            ("ashore router-config --for keaa", "'keaa'", "kea"),
            ("ashore router-config --for zzz", "possible values", "ashore router-config --help"),
            ("ashore network create lan --vlan 0", "`0` is not a VLAN ID", "ashore network create --help"),
            ("ashore network create lan --kind macvln", "`macvln`", "--kind macvlan"),
            ("ashore network create lan --kind frobnicate", "the kinds are", "ashore network create --help"),
            ("ashore network create lan --ipv6 yes", "`yes` is not one of", "--ipv6 auto"),
            (
                "ashore network create lan --ip-range 10.0.0.9-10.0.0.5",
                "ends before it begins",
                "--ip-range 10.0.0.5-10.0.0.9",
            ),
            ("ashore network create lan -o parent=eth0", "no option `-o`", "--parent eth0"),
            ("ashore network create -oparent=eth0 lan", "no option `-o`", "--parent eth0"),
            ("ashore network create lan -o dhcp=true", "no option `-o`", "--dhcp"),
            ("ashore attach lan", "--netns", "ashore attach --netns PATH|--pid PID NETWORK"),
            ("ashore network create -d ashore lan", "no option `-d`", "leave it out"),
        ] {
            let (said, hint) = said(line);
            assert!(said.contains(message) && !said.contains('\n'), "{line}: {said}");
            assert!(hint.contains(remedy) && !hint.contains('\n'), "{line}: {hint}");
        }
    }

    #[test]
    fn no_hidden_command_is_named() {
        let (_, hint) = said("ashore gaurd");
        assert_eq!(hint, "`ashore --help` lists the commands");
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for line in ["ashore --help", "ashore --version", "ashore network create --help", "ashore"] {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            let error = Cli::command().try_get_matches_from(&words).unwrap_err();
            assert!(failure(&error, &Cli::command(), &words).is_none(), "{line}");
        }
    }

    #[test]
    fn every_command_that_is_proposed_exists() {
        for proposed in typed::commands() {
            let words: Vec<&str> = proposed.split(' ').collect();
            if words[0] != "ashore" || words[1].starts_with("--") {
                continue;
            }
            let cli = Cli::command();
            let (command, path) = addressed(&cli, &words.iter().map(Into::into).collect::<Vec<_>>());
            assert!(!path.is_empty(), "{proposed}");
            for option in words.iter().filter_map(|word| word.strip_prefix("--")) {
                assert!(command.get_arguments().any(|arg| arg.get_long() == Some(option)), "{proposed}");
            }
        }
    }
}
