//! README.md and the book. What is there in two languages says the same: the same commands and outputs, the same links.
//! Every link of every document leads somewhere, every chapter is in the table of contents, and no sentence is long.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

const ENGLISH: &str = "README.md";
const CHINESE: &str = "README.zh-CN.md";
/// The documents that are there in English and in Chinese.
const PAIRS: [(&str, &str); 5] = [
    (ENGLISH, CHINESE),
    ("docs/docker.md", "docs/zh/docker.md"),
    ("docs/from-macvlan.md", "docs/zh/from-macvlan.md"),
    ("docs/trouble.md", "docs/zh/trouble.md"),
    ("docs/tried.md", "docs/zh/tried.md"),
];
/// The book's table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";
/// The chapters that are for reading.
const CHAPTERS: [&str; 7] = ["docker", "from-macvlan", "addresses", "ipv6", "vlans", "podman", "trouble"];
/// The most lines of these together: what can be read in one sitting.
const MOST_LINES: usize = 600;
/// The most words in a sentence of README.md, and of the chapters.
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

/// The places that a document links to or shows, as it writes them.
fn written_links(text: &str) -> Vec<String> {
    let (prose, _) = parted(text);
    let places = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    places.map(|(place, _)| place.to_owned()).filter(|place| !place.contains("://")).collect()
}

/// What a document links to in this repository: the file, and the anchor or nothing.
fn links(name: &str) -> BTreeSet<(String, String)> {
    let written = written_links(&read(name));
    let resolved = written.iter().map(|link| {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let to = if file.is_empty() { name.to_owned() } else { beside(name, file) };
        (to, anchor.to_owned())
    });
    resolved.collect()
}

/// A path that is written in a document, from the root of the repository.
fn beside(document: &str, path: &str) -> String {
    let mut parts = Vec::new();
    for part in Path::new(document).with_file_name(path).components() {
        match part {
            Component::ParentDir => assert!(parts.pop().is_some(), "{document} links {path}"),
            part => parts.push(part.as_os_str().to_str().unwrap().to_owned()),
        }
    }
    parts.join("/")
}

/// All documents that people read here.
fn documents() -> Vec<String> {
    let mut found: Vec<String> =
        ["README.md", "README.zh-CN.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
            .map(str::to_owned)
            .into();
    let mut open = vec![root().join("docs")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
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
    assert!(parted(&read(ENGLISH)).1.len() > 4, "the blocks of {ENGLISH} were not understood");
    for (english, chinese) in PAIRS {
        let blocks = [english, chinese].map(|name| parted(&read(name)).1);
        for (in_english, in_chinese) in blocks[0].iter().zip(&blocks[1]) {
            assert_eq!(in_english, in_chinese, "{chinese}");
        }
        assert_eq!(blocks[0].len(), blocks[1].len(), "{chinese}");
    }
}

#[test]
fn both_have_the_same_sections_and_links() {
    // A Chinese document leads to Chinese ones where there are such, and to their own headings.
    let in_english = |(file, anchor): (String, String)| {
        let pair = PAIRS.iter().find(|(english, chinese)| [*english, *chinese].contains(&file.as_str()));
        pair.map_or((file, anchor), |(english, _)| ((*english).to_owned(), String::new()))
    };
    for (english, chinese) in PAIRS {
        assert_eq!(levels(&read(english)), levels(&read(chinese)), "{chinese}");
        let [one, other] = [english, chinese].map(|name| {
            let links = links(name).into_iter().map(in_english);
            links.collect::<BTreeSet<_>>()
        });
        assert_eq!(one, other, "{chinese}");
    }
}

#[test]
fn each_links_the_other_in_its_first_lines() {
    for (english, chinese) in PAIRS {
        for (name, other) in [(english, chinese), (chinese, english)] {
            let text = read(name);
            let begin = text.lines().take(5).collect::<Vec<_>>().join("\n");
            let leads = written_links(&begin).iter().any(|link| beside(name, link) == other);
            assert!(leads, "{name}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut lost = Vec::new();
    for name in documents() {
        for (file, anchor) in links(&name) {
            let there = root().join(&file).exists();
            let found = there && (anchor.is_empty() || anchors(&read(&file)).contains(&anchor));
            if !found {
                lost.push(format!("{name}: {file}#{anchor}"));
            }
        }
    }
    assert!(links(ENGLISH).len() > 10, "the links of {ENGLISH} were not understood");
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn every_chapter_is_in_the_table_of_contents() {
    let listed: BTreeSet<String> = links(SUMMARY).into_iter().map(|(file, _)| file).collect();
    let there = documents().into_iter().filter(|name| name.starts_with("docs/") && name != SUMMARY);
    assert_eq!(listed, there.collect());
}

#[test]
fn no_sentence_is_long() {
    let chapters = CHAPTERS.map(|name| format!("docs/{name}.md"));
    let mut long = Vec::new();
    for name in std::iter::once(ENGLISH).chain(chapters.iter().map(String::as_str)) {
        for sentence in sentences(&read(name)) {
            let words = sentence.split(' ').filter(|word| word.chars().any(char::is_alphanumeric)).count();
            if words > MOST_WORDS {
                long.push(format!("{name}, {words} words: {sentence}"));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_chapters_are_read_in_one_sitting() {
    let lines: usize = CHAPTERS.iter().map(|name| read(&format!("docs/{name}.md")).lines().count()).sum();
    assert!(lines <= MOST_LINES, "{lines} lines");
}
