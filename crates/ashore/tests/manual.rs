//! The manual stays complete: everything that the program says it can do is on the pages of docs/reference.

use std::collections::BTreeSet;
use std::process::Command;

use ashore_core::api::explained::{self, Language};
use ashore_core::api::{refusal, trouble};
use ashore_core::net::option;
use ashore_program::front::docker;
use serde_json::json;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference");

/// All pages of the manual.
fn manual() -> String {
    let mut paths: Vec<_> = std::fs::read_dir(PAGES).unwrap().map(|page| page.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 5, "{paths:?}");
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap() + "\n").collect()
}

/// The output of `ashore … --help`.
fn help(words: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ashore")).args(words).arg("--help").output().unwrap();
    assert!(output.status.success(), "ashore {} --help: {output:?}", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of a section of a help text, such as `Commands`.
fn section<'a>(text: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let heading = format!("{heading}:");
    let lines = text.lines().skip_while(move |line| *line != heading).skip(1);
    lines.take_while(|line| line.is_empty() || line.starts_with(' '))
}

/// The subcommands that a help text lists. Each begins a line, indented by two spaces.
fn subcommands(text: &str) -> Vec<String> {
    let listed = section(text, "Commands").filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = listed.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The long options that a help text lists.
fn options(text: &str) -> BTreeSet<String> {
    let begins = |line: &&str| line.trim_start().starts_with('-');
    let words = section(text, "Options").filter(begins).flat_map(str::split_whitespace);
    let long = words.map(|word| word.trim_end_matches(',')).filter(|word| word.starts_with("--"));
    long.map(str::to_owned).collect()
}

/// Every command with its help text, from the program's own lists.
fn commands() -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(words) = open.pop() {
        let text = help(&words);
        for name in subcommands(&text) {
            open.push(words.iter().cloned().chain([name]).collect());
        }
        found.push((words, text));
    }
    found
}

/// Returns whether a word stands in a text by itself, not as a part of a longer one: `--ip` is not in
/// `--ip-range`.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[test]
fn every_command_and_every_option_is_in_the_manual() {
    let manual = manual();
    let commands = commands();
    assert!(commands.len() > 12, "the lists of commands were not understood: {commands:?}");
    let mut missing = Vec::new();
    for (words, text) in &commands {
        let command = words.iter().fold("ashore".to_owned(), |line, word| format!("{line} {word}"));
        if !has_word(&manual, &command) {
            missing.push(command.clone());
        }
        let options = options(text);
        assert!(options.contains("--help"), "the options of `{command}` were not understood:\n{text}");
        let absent = options.into_iter().filter(|option| !has_word(&manual, option));
        missing.extend(absent.map(|option| format!("{command} {option}")));
    }
    assert!(missing.is_empty(), "docs/reference says nothing of: {missing:#?}");
}

#[test]
fn every_option_of_dockers_is_in_the_manual() {
    let manual = manual();
    for name in option::of_driver() {
        assert!(manual.contains(&format!("`-o {name}=")), "docs/reference says nothing of -o {name}");
    }
    for name in option::of_ipam() {
        assert!(manual.contains(&format!("`--ipam-opt {name}=")), "docs/reference says nothing of {name}");
    }
    for option in docker::ATTACHMENT_OPTIONS {
        assert!(
            manual.contains(&format!("`driver-opt={option}=")),
            "docs/reference says nothing of {option}"
        );
    }
}

#[test]
fn every_exit_code_is_in_the_manual() {
    let manual = manual();
    let text = help(&[]);
    let codes: Vec<&str> =
        section(&text, "Exit codes").filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
    let chapter = manual.split("\n## ").find(|chapter| chapter.starts_with("Exit codes")).unwrap();
    for code in codes {
        assert!(chapter.contains(&format!("\n| {code} | ")), "exit code {code} is not in docs/reference");
    }
}

/// The codes of a chapter's table, each with the second column. The third one says something.
fn coded(chapter: &str) -> Vec<(String, String)> {
    let manual = manual();
    let chapter = manual.split("\n## ").find(|text| text.starts_with(chapter)).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = chapter.lines().filter(|line| line.starts_with("| `")).map(cells);
    let row = |row: Vec<String>| {
        assert!(row.len() == 6 && !row[3].is_empty(), "{row:?}");
        (row[1].trim_matches('`').to_owned(), row[2].clone())
    };
    rows.map(row).collect()
}

/// What a table of codes says of each, without links.
fn said(chapter: &str) -> Vec<[String; 3]> {
    let manual = manual();
    let chapter = manual.split("\n## ").find(|text| text.starts_with(chapter)).unwrap();
    let rows = chapter.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<String> = row.split('|').map(|cell| without_links(cell.trim())).collect();
        [cells[1].trim_matches('`').to_owned(), cells[3].clone(), cells[4].clone()]
    })
    .collect()
}

/// The same with the texts of the links in place of `[text](place)`.
fn without_links(text: &str) -> String {
    let mut parts = text.split("](");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let begin = plain.rfind('[').expect("a link begins");
        plain.remove(begin);
        plain.push_str(part.split_once(')').expect("a link ends").1);
    }
    plain
}

#[test]
fn the_tables_of_codes_say_what_ashore_explain_says() {
    let explained = explained::all(Language::English);
    let explained = explained.iter().map(|of| [of.code.to_owned(), of.means.to_owned(), of.helps.to_owned()]);
    let in_manual = [said("Troubles"), said("Refusals")].concat();
    for (explained, said) in explained.zip(&in_manual) {
        assert_eq!(&explained, said);
    }
    assert_eq!(explained::all(Language::English).len(), in_manual.len());
}

/// How a code or what goes with it is written.
fn written(value: impl serde::Serialize) -> String {
    json!(value).as_str().unwrap().to_owned()
}

#[test]
fn the_table_of_troubles_has_every_code_with_its_severity() {
    let codes = trouble::Code::ALL.iter().map(|code| (written(code), written(code.severity())));
    assert_eq!(coded("Troubles"), codes.collect::<Vec<_>>());
}

#[test]
fn the_table_of_refusals_has_every_code_with_its_kind() {
    let codes = refusal::Code::ALL.iter().map(|code| (written(code), written(code.kind())));
    assert_eq!(coded("Refusals"), codes.collect::<Vec<_>>());
}

#[test]
fn a_part_of_a_word_is_not_the_word() {
    assert!(has_word("give `--ip IP`", "--ip") && has_word("--ip", "--ip"));
    assert!(!has_word("--ip-range RANGE", "--ip") && !has_word("ashore network lsof", "ashore network ls"));
}
