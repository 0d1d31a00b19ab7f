//! README.md and its Chinese version say the same: the same commands and outputs, the same links. Every link leads
//! somewhere, and no sentence is long.

use std::path::{Path, PathBuf};

const ENGLISH: &str = "README.md";
const CHINESE: &str = "README.zh-CN.md";
/// The most words in a sentence of README.md.
const MOST_WORDS: usize = 25;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A text without its fenced blocks, and the blocks, each with the line that opens it.
fn parted(text: &str) -> (String, Vec<String>) {
    let (mut prose, mut blocks) = (String::new(), Vec::<String>::new());
    let mut is_open = false;
    for line in text.lines() {
        let is_fence = line.starts_with("```");
        if is_fence && !is_open {
            blocks.push(String::new());
        }
        let into = match blocks.last_mut() {
            Some(block) if is_open || is_fence => block,
            _ => &mut prose,
        };
        into.push_str(line);
        into.push('\n');
        is_open ^= is_fence;
    }
    assert!(!is_open, "a fenced block does not end");
    (prose, blocks)
}

/// The places that a text links to or shows, in this repository, sorted.
fn links(text: &str) -> Vec<String> {
    let (prose, _) = parted(text);
    let places = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let mut links: Vec<String> = places
        .map(|(place, _)| place.to_owned())
        .filter(|place| !place.contains("://") && ![ENGLISH, CHINESE].contains(&place.as_str()))
        .collect();
    links.sort();
    links
}

/// The levels of the headings of a text, in order.
fn levels(text: &str) -> Vec<usize> {
    let (prose, _) = parted(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| line.chars().take_while(|c| *c == '#').count()).collect()
}

/// The anchors of the headings of a document, as a repository's host makes them.
fn anchors(document: &str) -> Vec<String> {
    let (prose, _) = parted(document);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The sentences of a text: of its paragraphs, items of lists and cells of tables, without its fenced blocks.
fn sentences(text: &str) -> Vec<String> {
    let (prose, _) = parted(text);
    let mut parts: Vec<String> = vec![String::new()];
    for line in prose.lines() {
        if line.starts_with('|') {
            parts.extend(line.split('|').map(str::to_owned));
            parts.push(String::new());
        } else if line.is_empty() || line.starts_with(['#', '!', '-']) {
            parts.push(line.to_owned());
        } else if let Some(part) = parts.last_mut() {
            part.push(' ');
            part.push_str(line);
        }
    }
    let mut sentences = Vec::new();
    for part in parts {
        let mut sentence = Vec::new();
        for word in part.split_whitespace() {
            sentence.push(word);
            if word.trim_end_matches([')', '`']).ends_with(['.', '?', '!']) {
                sentences.push(std::mem::take(&mut sentence).join(" "));
            }
        }
        sentences.push(sentence.join(" "));
    }
    sentences
}

#[test]
fn both_have_the_same_commands_and_outputs() {
    let blocks = [ENGLISH, CHINESE].map(|name| parted(&read(name)).1);
    assert!(blocks[0].len() > 5, "the blocks of {ENGLISH} were not understood: {blocks:?}");
    for (english, chinese) in blocks[0].iter().zip(&blocks[1]) {
        assert_eq!(english, chinese);
    }
    assert_eq!(blocks[0].len(), blocks[1].len());
}

#[test]
fn both_have_the_same_sections_and_links() {
    let [english, chinese] = [ENGLISH, CHINESE].map(read);
    assert_eq!(levels(&english), levels(&chinese));
    assert_eq!(links(&english), links(&chinese));
}

#[test]
fn each_links_the_other_in_its_first_lines() {
    for (name, other) in [(ENGLISH, CHINESE), (CHINESE, ENGLISH)] {
        let text = read(name);
        assert!(text.lines().take(5).any(|line| line.contains(&format!("]({other})"))), "{name}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let links = links(&read(ENGLISH));
    assert!(links.len() > 10, "the links of {ENGLISH} were not understood: {links:?}");
    for link in links {
        let (name, anchor) = link.split_once('#').unwrap_or((&link, ""));
        assert!(root().join(name).is_file(), "{ENGLISH} links {name}, which is not there");
        let document = if anchor.is_empty() { String::new() } else { read(name) };
        assert!(anchor.is_empty() || anchors(&document).iter().any(|found| found == anchor), "{link}");
    }
}

#[test]
fn no_sentence_is_long() {
    for sentence in sentences(&read(ENGLISH)) {
        let words = sentence.split(' ').filter(|word| word.chars().any(char::is_alphanumeric)).count();
        assert!(words <= MOST_WORDS, "{words} words: {sentence}");
    }
}
