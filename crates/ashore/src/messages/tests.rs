use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::out::columns;

/// The messages of a text with the names of their arguments.
fn messages(texts: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut id = "";
    for line in texts.lines().filter(|line| !line.starts_with('#')) {
        if let Some((begin, _)) = line.split_once(" =")
            && line.starts_with(|c: char| c.is_ascii_lowercase())
        {
            id = begin;
            assert!(found.insert(id, BTreeSet::new()).is_none(), "{id} is there twice");
        }
        let arguments = line.split("{ $").skip(1).filter_map(|rest| rest.split(' ').next());
        if let Some(known) = found.get_mut(id) {
            known.extend(arguments);
        }
    }
    found
}

/// Where the sources say messages: the id, and the names of the arguments.
fn said(directory: &Path, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            said(&path, found);
        } else if !path.ends_with("messages.rs") && !path.ends_with("messages/tests.rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            for call in source.split("message!(").skip(1) {
                let Some((id, rest)) = call.trim_start().strip_prefix('"').and_then(|id| id.split_once('"'))
                else {
                    continue;
                };
                found.entry(id.to_owned()).or_default().extend(arguments(rest));
            }
        }
    }
}

/// The names of the arguments in the rest of a call: what stands before ` = ` outside of all brackets.
fn arguments(rest: &str) -> Vec<String> {
    let (mut depth, mut end) = (0_i32, rest.len());
    let mut outside = String::new();
    for (at, c) in rest.char_indices() {
        depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
        if depth < 0 {
            end = at;
            break;
        }
        outside.push(if depth == 0 { c } else { ' ' });
    }
    assert!(end < rest.len(), "a call that does not end: {rest}");
    let named = outside.split(',').filter_map(|one| one.split_once(" = "));
    named.map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn every_message_is_in_both_languages_with_the_same_arguments() {
    assert_eq!(messages(EN), messages(ZH_HANS));
    for texts in [EN, ZH_HANS] {
        let read = FluentResource::try_new(texts.to_owned()).map_err(|(_, errors)| errors);
        read.expect("every message can be read");
    }
}

#[test]
fn every_message_is_said_somewhere_and_nothing_else_is() {
    let mut found = BTreeMap::new();
    said(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let known: BTreeMap<String, BTreeSet<String>> = messages(EN)
        .into_iter()
        .map(|(id, arguments)| (id.to_owned(), arguments.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(found, known);
}

/// Arguments that are numbers.
const NUMBERS: &[&str] = &["good", "all", "seconds", "many", "each"];

/// Messages that are set in lines of the terminal's width when they are printed.
const SET_WHEN_PRINTED: &[&str] = &["setup-not-all-works", "setup-not-made", "setup-too-old"];

#[test]
fn no_line_is_wider_than_a_terminal_of_80_columns() {
    for language in [Language::English, Language::SimplifiedChinese] {
        for (id, names) in messages(EN) {
            // Of the others, none is longer than the longest address of IPv4.
            let arguments: Vec<_> = names
                .iter()
                .map(|name| (*name, if NUMBERS.contains(name) { "1000" } else { "192.168.188.222" }))
                .map(|(name, value)| (name, FluentValue::from(value)))
                .collect();
            let said = text_in(language, id, &arguments);
            assert!(said != id && !said.is_empty(), "{id} is not there");
            for line in said.lines().filter(|_| !SET_WHEN_PRINTED.contains(&id)) {
                assert!(columns(line) <= 80, "{id} has {} columns: {line}", columns(line));
            }
        }
    }
}

#[test]
fn a_column_s_heading_is_short() {
    for (id, _) in messages(EN).into_iter().filter(|(id, _)| id.starts_with("column-")) {
        let of = |language| columns(&text_in(language, id, &[]));
        let [english, chinese] = [of(Language::English), of(Language::SimplifiedChinese)];
        assert!(chinese <= english.max(6), "{id}: {chinese} columns");
    }
}

#[test]
fn a_number_has_its_plural_and_an_argument_stays_as_it_is() {
    let troubles =
        |language, many: usize| text_in(language, "ls-troubles", &[("many", FluentValue::from(many))]);
    assert_eq!(troubles(Language::English, 1), "1 thing needs a look: ashore status");
    assert_eq!(troubles(Language::English, 1200), "1200 things need a look: ashore status");
    assert_eq!(troubles(Language::SimplifiedChinese, 2), "有 2 个问题要看一下：`ashore status`");
    let asked = text_in(Language::SimplifiedChinese, "setup-router", &[("router", "fd88::1".into())]);
    assert_eq!(asked, "那里的路由器是 fd88::1");
    let lines = text_in(Language::English, "lab-introduction-vlan", &[]);
    assert_eq!(lines.lines().nth(1), Some("(.50) and one more container are only in it."));
}

#[test]
fn nothing_is_chosen_before_it_is_said_so() {
    assert_eq!(spoken(), Language::English);
    assert_eq!(message!("lab-left-on", what = "a", machine = "b"), "a on b");
}
