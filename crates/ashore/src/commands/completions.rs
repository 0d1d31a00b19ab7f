//! `ashore completions` and `ashore man`: what a shell and `man` know of the command line, from its definition alone.
//!
//! The scripts ask the program itself for each word. So they know the networks, endpoints and interfaces that there
//! are, and an upgrade needs no new script.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use ashore_core::api::explained::{self, Language};
use ashore_core::api::reply::Status;
use clap::{Arg, Command};

use super::find::status_of;
use crate::cli::{CompletionsArgs, ManArgs, Shell};
use crate::client::{ClientArgs, Failure};
use crate::out::{one_line, say};

const BASH: &str = include_str!("completions/bash");
const ZSH: &str = include_str!("completions/zsh");
const FISH: &str = include_str!("completions/fish");

/// Prints the script of a shell.
pub(crate) fn run(args: &CompletionsArgs) {
    say!("{}", script(args.shell).trim_end());
}

/// The script of a shell.
pub(crate) fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    }
}

/// Writes a manual page for each command.
pub(crate) fn man(args: &ManArgs, cli: Command) -> Result<(), Failure> {
    let directory = &args.directory;
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    for (name, text) in pages(cli)? {
        let path = directory.join(name);
        if is_page_of_others(&path) {
            say!("# left: {}, which is no page of ashore's own", path.display());
            continue;
        }
        put(&path, &text).with_context(|| path.display().to_string())?;
    }
    say!(
        "the manual pages are in {}; to read one: man {}/ashore.1",
        directory.display(),
        directory.display()
    );
    Ok(())
}

/// The manual page of each command, by its file's name.
pub(crate) fn pages(cli: Command) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut cli = cli.disable_help_subcommand(true);
    cli.build();
    let (mut pages, mut open) = (BTreeMap::new(), vec![cli]);
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands().filter(|below| !below.is_hide_set()).cloned());
        let page = clap_mangen::Man::new(command);
        let mut text = Vec::new();
        page.render(&mut text).context("a manual page")?;
        pages.insert(page.get_filename(), text);
    }
    Ok(pages)
}

/// Whether there is something that no version has written as the page of that name, or that cannot be read.
pub(crate) fn is_page_of_others(path: &Path) -> bool {
    let Ok(there) = path.symlink_metadata() else { return false };
    let title = format!(".TH {} 1", path.file_stem().unwrap_or_default().display());
    let is_titled =
        |page: Vec<u8>| String::from_utf8_lossy(&page).lines().take(4).any(|line| line.starts_with(&title));
    !(there.is_file() && fs::read(path).is_ok_and(is_titled))
}

/// Puts a file in place of what has its name. Root may write into a directory of another user, whose links must not lead
/// it to a file elsewhere.
fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    // What an ended run has left. If it is a link, the link goes.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create_new(&new)?.write_all(text)?;
    fs::rename(&new, path)
}

/// Prints what the last of these words may be, one a line, each with what it is behind a tab. Prints nothing if that
/// is not known: the shell then offers files.
pub(crate) fn complete(cli: &Command, words: &[String]) {
    // The help option and command of clap's own are there only once it is built.
    let mut cli = cli.clone();
    cli.build();
    let candidates = candidates(&cli, words, &|kind, network| live(kind, network));
    candidates.iter().filter_map(Candidate::line).for_each(|line| say!("{line}"));
}

/// A word that may stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    word: String,
    about: String,
}

impl Candidate {
    /// The line that tells a script of it. Returns `None` for a word that a line cannot hold, or that would command the
    /// terminal: a link may have such a name.
    fn line(&self) -> Option<String> {
        let Candidate { word, about } = self;
        let is_text = !word.chars().any(char::is_control);
        is_text.then(|| format!("{word}\t{}", one_line(about.lines().next().unwrap_or_default())))
    }
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
            let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
            let names = links.filter_map(|link| link.file_name().into_string().ok());
            names.filter(|name| name != "lo").map(|name| candidate(&name, "interface")).collect()
        }
        Kind::Code => {
            explained::all(Language::English).iter().map(|of| candidate(of.code, of.means)).collect()
        }
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

/// The manual pages of some version in a directory.
pub(crate) fn own_pages(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut own = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_named = name == "ashore.1" || name.starts_with("ashore-") && name.ends_with(".1");
        if is_named && !is_page_of_others(&path) {
            own.push(path);
        }
    }
    Ok(own)
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
        let known = |kind: Kind, network: Option<&str>| match kind {
            Kind::Interface => vec![Candidate { word: "eth0".into(), about: String::new() }],
            Kind::Code => super::live(kind, network),
            _ => of_status(&example(), kind, network),
        };
        let typed: Vec<String> = line.split(' ').skip(1).map(str::to_owned).collect();
        candidates(&cli, &typed, &known).into_iter().map(|candidate| candidate.word).collect()
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

    #[test]
    fn a_word_that_a_line_cannot_hold_is_left_out() {
        let line = |word: &str| Candidate { word: word.into(), about: "on\x1b[2J lan".into() }.line();
        assert_eq!(line("$(id)").unwrap(), "$(id)\ton\\x1b[2J lan");
        for word in ["a\tb", "a\nb", "a\x1b[2Jb", "a\u{9b}b"] {
            assert_eq!(line(word), None, "{word:?}");
        }
    }

    #[test]
    fn bash_takes_no_name_for_code() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        fs::write(&script, BASH).unwrap();
        let asks = r#"
            source ./script
            ashore() { printf '%s\n' "$@" > asked; printf '%s\tan interface\n' '$(touch harm)' 'a b' '*' "it's"; }
            COMP_WORDS=(ashore attach '\$\(t') COMP_CWORD=2
            _ashore
            printf '%s\n' "${#COMPREPLY[@]}" "${COMPREPLY[@]}"
            # As when the user accepts one.
            for word in "${COMPREPLY[@]}"; do eval "printf '%s\n' $word"; done
        "#;
        let mut bash = std::process::Command::new("bash");
        let ran = bash.args(["--norc", "-c", asks]).current_dir(directory.path()).output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        let accepted = "$(touch harm)\na b\n*\nit's\n";
        let replied = "4\n\\$\\(touch\\ harm\\)\na\\ b\n\\*\nit\\'s\n";
        assert_eq!(said, format!("{replied}{accepted}"), "{}", String::from_utf8_lossy(&ran.stderr));
        assert!(!directory.path().join("harm").exists());
        let asked = fs::read_to_string(directory.path().join("asked")).unwrap();
        assert_eq!(asked, "complete\n--\nattach\n$(t\n");
    }

    #[test]
    fn no_link_leads_a_manual_page_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let (pages, elsewhere) = (directory.path().join("pages"), directory.path().join("elsewhere"));
        fs::create_dir(&pages).unwrap();
        fs::write(&elsewhere, "kept").unwrap();
        for link in ["ashore.1", "ashore-status.1.new"] {
            std::os::unix::fs::symlink(&elsewhere, pages.join(link)).unwrap();
        }
        man(&ManArgs { directory: pages.clone() }, Cli::command()).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "kept");
        // Somebody has put it there, so it stays.
        assert!(pages.join("ashore.1").is_symlink());
        let page = pages.join("ashore-status.1");
        assert!(fs::symlink_metadata(&page).unwrap().is_file());
        assert!(fs::read_to_string(&page).unwrap().contains("ashore\\-status"));
        assert!(pages.join("ashore-network-create.1").exists() && !pages.join("ashore-guard.1").exists());
        let names = fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| name.to_string_lossy().ends_with(".1")));
    }
}
